// SPDX-License-Identifier: Apache-2.0
//
// A network that exists only in memory: stream sockets, listeners and a clock,
// for SimDriver and for the tests that play the peers. Everything it does
// follows from its seed. It behaves as Linux does with TCP on loopback:
// FIN comes behind the data, closing with unread input sends RST, an error is
// told once (ECONNRESET) and then reads end and writes get EPIPE. Pipes are
// filled and emptied as splice(2) does it (sim_pipes.h).
//
// Test code only. One thread. Descriptor numbers are never used twice and are
// no descriptors of the kernel, so that using a closed one is always noticed.
#ifndef SPICEGATE_GATEWAY_IO_SIM_NETWORK_H_
#define SPICEGATE_GATEWAY_IO_SIM_NETWORK_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include "gateway/io/driver.h"
#include "gateway/io/sim_bytes.h"
#include "gateway/io/sim_pipes.h"

namespace spicegate {

// The one source of chance: the same seed gives the same run everywhere.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}

  uint64_t Next();
  // Uniform in [0, bound); bound > 0.
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  // True with the given probability. 0 and 1 are exact.
  bool Chance(double probability);

 private:
  uint64_t state_;
};

// What may go wrong: probabilities in [0, 1], drawn anew at every chance.
// Only the product's side of a connection suffers them, never a SimPeer.
struct SimFaults {
  double partial_read = 0;     // Recv, SpliceIn return less than there is
  double partial_write = 0;    // Send, SpliceOut take less than fits
  double spurious_ready = 0;   // Poll completes although nothing is ready
  double spurious_eagain = 0;  // bytes do not move, although they could
  double no_memory = 0;        // likewise: -ENOBUFS or -ENOMEM
  double recv_error = 0;       // Recv, SpliceIn fail, and the connection
  double send_error = 0;       // Send, SpliceOut likewise
  double connect_error = 0;    // Connect fails although somebody listens
  double connect_stall = 0;    // Connect is never answered
  double accept_error = 0;     // Accept ends with -EMFILE or the like
  double open_error = 0;       // OpenSocket: -EMFILE
  double pipe_error = 0;       // OpenPipe: -EMFILE or -ENFILE
  double small_pipe = 0;       // OpenPipe gives less than was asked for
  double odd_segments = 0;     // SpliceIn finds segments of 1 byte to 32 KiB
  double reset_discards = 0;   // RST overtakes data that was under way
  // A cancelled operation that could complete does so, instead of ending
  // with -ECANCELED.
  double cancel_loses = 0.5;
  // A completion is handed out up to this many turns late.
  unsigned max_delay_turns = 0;
};

struct SimOptions {
  uint64_t seed = 1;
  // What one direction of a connection holds before Send says -EAGAIN.
  size_t link_capacity_bytes = 64 * 1024;
  SimFaults faults;
  // What the product's pipes may hold together before new ones are smaller.
  size_t pipe_quota_bytes = 64 * 1024 * 1024;
};

// 127.0.0.1 with `port`: the addresses of the simulated network.
sockaddr_in SimAddress(uint16_t port);

class SimNetwork;

// The test's end of a connection. Calls never fail by chance and never wait.
// Destroying an open peer closes it. The network outlives it.
class SimPeer {
 public:
  SimPeer() = default;
  SimPeer(SimNetwork* network, int fd) : network_(network), fd_(fd) {}
  SimPeer(SimPeer&& other) noexcept
      : network_(other.network_), fd_(std::exchange(other.fd_, -1)) {}
  SimPeer& operator=(SimPeer&& other) noexcept;
  ~SimPeer() { Close(); }

  bool open() const { return fd_ >= 0; }

  // As IoDriver::Recv and Send.
  ssize_t Read(std::span<uint8_t> out);
  ssize_t Write(std::span<const uint8_t> in);
  // Everything that is there now; `ended` tells whether EOF or an error came
  // behind it.
  std::string ReadAll(bool* ended = nullptr);
  // The number of bytes that were taken.
  size_t WriteString(const std::string& text);

  // What became of the connection, without touching it: the product's FIN or
  // RST is here (whatever is still to be read before it), the RST alone, and
  // whether a fault broke it.
  bool ended() const;
  bool was_reset() const;
  bool broken() const;
  // How many of the bytes written here the product has read.
  int64_t num_delivered() const;

  int ShutdownWrite();
  // FIN (RST when input is unread, as the kernel has it), or RST.
  void Close();
  void Reset();

 private:
  SimNetwork* network_ = nullptr;
  int fd_ = -1;
};

class SimNetwork {
 public:
  explicit SimNetwork(const SimOptions& options);
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;
  ~SimNetwork();

  // ---- For tests.

  // A connection; both ends belong to the product until one is adopted.
  std::pair<int, int> SocketPair();
  // Makes the test the owner of `fd`: it no longer counts in OpenSockets.
  SimPeer Adopt(int fd);
  // The other end of a connection of its own.
  std::pair<int, SimPeer> Connection();

  // A listener, or -EADDRINUSE.
  int Listen(const sockaddr_in& address, size_t backlog = 128);
  // A connection from the test to a listener; not open() when refused.
  SimPeer ConnectPeer(const sockaddr_in& address);
  // Takes a connection off a listener for the test; not open() without one.
  SimPeer AcceptPeer(int listen_fd);

  // Sockets and listeners that belong to the product.
  size_t OpenSockets() const { return num_open_; }
  // Pipes that are not closed.
  size_t OpenPipes() const { return pipes_.num_open(); }
  // Bytes in a pipe.
  size_t PipedBytes(const Pipe& pipe) const { return pipes_.NumBytes(pipe); }
  // How often the bytes of one of the product's sockets were taken by SpliceIn
  // where Recv took those before, and the other way round.
  uint64_t num_switches_to_splice() const { return num_switches_to_splice_; }
  uint64_t num_switches_to_recv() const { return num_switches_to_recv_; }
  // Connections that faults or Fail have broken.
  uint64_t num_broken() const { return num_broken_; }
  SimRandom* random() { return &random_; }
  const SimOptions& options() const { return options_; }

  // Moves the clock, which starts above 0.
  void AdvanceMs(int64_t ms) { now_ms_ += ms; }
  int64_t now_ms() const { return now_ms_; }

  // ---- For SimDriver. Each checks that `fd` is open.

  int Open();
  void Close(int fd, bool reset);
  ssize_t Recv(int fd, std::span<uint8_t> out);
  ssize_t Send(int fd, std::span<const uint8_t> in);
  int ShutdownWrite(int fd);
  // POLLIN, POLLOUT, POLLERR and POLLHUP as tcp_poll reports them.
  int PollMask(int fd);
  // Bytes that Recv would give, room that Send would find.
  size_t Readable(int fd);
  size_t Writable(int fd);
  bool connected(int fd);
  // Breaks a connection from both sides.
  void Fail(int fd);
  // 0, -ECONNREFUSED, -EAGAIN (the backlog is full) or -EISCONN.
  int Connect(int fd, const std::string& address);
  // A descriptor or -EAGAIN.
  int Accept(int listen_fd);
  // Drops the connection that waits longest, as the peer's RST does.
  void AbortOldest(int listen_fd);
  Pipe OpenPipe(size_t size_bytes);
  void ClosePipe(const Pipe& pipe) { pipes_.Close(pipe); }
  bool PipeIsFull(const Pipe& pipe) const { return pipes_.IsFull(pipe); }
  // As IoDriver's. The pipe of SpliceOut holds `max_bytes`.
  ssize_t SpliceIn(int fd, const Pipe& pipe, size_t max_bytes);
  ssize_t SpliceOut(const Pipe& pipe, int fd, size_t max_bytes);
  // Operations in flight on `fd`, kept by drivers.
  void AddOps(int fd, int change);

 private:
  friend class SimPeer;

  // How bytes left a socket.
  enum class Way : uint8_t { kNone, kRecv, kSplice };

  struct Socket {
    bool listening = false;
    bool fresh = true;  // neither connected nor listening yet
    bool of_test = false;
    bool fin_in = false;  // the peer's FIN is here, behind `inbox`
    bool fin_out = false;
    bool dead = false;  // reset: nothing moves but what `inbox` still has
    int error = 0;      // told once, as SO_ERROR
    int peer = -1;      // -1: not connected, or the other end is closed
    int num_ops = 0;
    bool broken = false;        // by Fail
    int64_t num_delivered = 0;  // what the peer has read from here
    Way last_way = Way::kNone;
    SimBytes inbox;
    std::string address;  // a listener's
    size_t max_backlog = 0;
    std::deque<int> backlog;
  };

  Socket& Get(int fd);
  Socket* PeerOf(const Socket& socket);
  int Make();
  void Join(int a, int b);
  void ReceiveReset(Socket* socket);
  size_t Room(const Socket& socket);
  void Erase(int fd);
  // Recv, and the second half of SpliceIn.
  ssize_t TakeIn(int fd, std::span<uint8_t> out, Way way);
  void NoteWay(Socket* socket, Way way);

  const SimOptions options_;
  SimRandom random_;
  int64_t now_ms_ = 1'000;
  int next_fd_ = 1'000'000;  // above any real descriptor
  size_t num_open_ = 0;
  uint64_t num_broken_ = 0;
  uint64_t num_switches_to_splice_ = 0;
  uint64_t num_switches_to_recv_ = 0;
  std::unordered_map<int, std::unique_ptr<Socket>> sockets_;
  std::map<std::string, int> listeners_;
  SimPipes pipes_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_SIM_NETWORK_H_
