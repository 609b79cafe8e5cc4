// SPDX-License-Identifier: Apache-2.0
//
// One way of moving bytes between two sockets, with its settings, and what
// every implementation of a way offers to the runner.
#ifndef SPICEGATE_BENCH_WAYS_WAY_H_
#define SPICEGATE_BENCH_WAYS_WAY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace spicegate {

enum class Mover : uint8_t {
  kCopy,        // recv(2) and send(2), inline on readiness
  kSplice,      // splice(2) through a pipe, inline on readiness
  kHybrid,      // copies what comes small, splices what comes large
  kRingSplice,  // IORING_OP_SPLICE both ways
  kProvided,    // receives into provided buffers, send(2) inline
  kRingSend,    // receives into provided buffers, IORING_OP_SEND
  kSendZc,      // receives into provided buffers, IORING_OP_SEND_ZC
  kBundle,      // receives and sends bundles of provided buffers
};

// How an inline mover learns that a socket is ready.
enum class Readiness : uint8_t {
  kEpoll,      // edge-triggered, armed once for each socket
  kOneshot,    // POLL_ADD whenever a call said EAGAIN
  kMultishot,  // a multishot POLL_ADD, armed once for each socket
};

struct Way {
  std::string name;
  Mover mover = Mover::kCopy;
  Readiness readiness = Readiness::kOneshot;

  size_t buffer_bytes = 64 * 1024;
  size_t pipe_bytes = 256 * 1024;
  // The hybrid splices after a read of this much, and copies again after two
  // smaller ones.
  size_t threshold_bytes = 32 * 1024;
  size_t quantum_bytes = 256 * 1024;  // a direction's share of one turn
  unsigned num_buffers = 64;          // provided buffers of the whole relay

  // Of the relay's sockets; 0 leaves the kernel's own tuning on.
  int send_buffer_bytes = 0;
  int receive_buffer_bytes = 0;
  bool no_delay = true;
  // Says that more follows (MSG_MORE, SPLICE_F_MORE) when a read was full.
  bool cork = false;
  // Reads again after a read that did not fill the buffer, before waiting.
  bool retry_short_read = true;
  bool multishot_receive = false;  // kProvided
};

// Pairs of sockets joined in one of the ways. Made and used by one thread.
class Relay {
 public:
  virtual ~Relay() = default;

  // Owns both descriptors, which are non-blocking, from now on.
  virtual void Add(int client_fd, int server_fd) = 0;

  // Relays until every pair has ended: both streams, or one with an error.
  virtual void Run() = 0;
};

// Why this kernel cannot do it; empty when it can.
std::string WhyImpossible(const Way& way);

// Aborts the process when the kernel refuses what WhyImpossible did not know.
std::unique_ptr<Relay> MakeRelay(const Way& way);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_WAY_H_
