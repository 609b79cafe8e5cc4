// SPDX-License-Identifier: Apache-2.0
//
// Both sides of the relayed connections on one thread: servers that send as
// much as goes, or clients that ask and servers that answer.
#ifndef SPICEGATE_BENCH_WAYS_LOAD_H_
#define SPICEGATE_BENCH_WAYS_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace spicegate {

struct Workload {
  std::string name;
  int connections = 1;
  // Bulk: the size of the server's writes. 0: ping-pong of small messages.
  size_t write_bytes = 0;
  size_t message_bytes = 64;
  bool in_halves = false;  // asks in two writes, as a header and its body
  // Ends each stream after this many bytes, and looks at every byte. 0: runs
  // until it is stopped, and looks at none.
  size_t stream_bytes = 0;

  bool bulk() const { return write_bytes != 0; }
};

class Load {
 public:
  // Descriptors, non-blocking, which the load owns: the client's of pair i and
  // the server's of pair i belong together.
  Load(const Workload& workload, std::vector<int> client_fds,
       std::vector<int> server_fds);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Goes on for `duration_ns`, or until every stream is over; then true.
  bool RunFor(int64_t duration_ns);

  // Forgets what was counted.
  void ResetCounts();
  uint64_t num_bytes() const { return num_bytes_; }  // received by clients
  uint64_t num_round_trips() const { return latencies_ns_.size(); }
  // Of ping-pong, in no order.
  std::vector<uint32_t>* latencies_ns() { return &latencies_ns_; }
  // Of finite streams: bytes that were not those sent, streams cut short.
  uint64_t num_wrong() const { return num_wrong_; }

 private:
  struct Peer {
    int fd = -1;
    bool is_server = false;
    size_t sent = 0;
    size_t received = 0;
    int64_t asked_ns = 0;
    bool over = false;
  };

  void OnReady(Peer* peer, bool readable, bool writable);
  void SendBulk(Peer* peer);
  void Ask(Peer* peer);
  void Send(Peer* peer, size_t len);
  void Receive(Peer* peer);
  void OnBytes(Peer* peer, size_t len);
  void OnAnswered(Peer* peer);
  void EndStream(Peer* peer);
  void Watch(Peer* peer);

  const Workload workload_;
  int epoll_fd_;
  std::deque<Peer> peers_;
  std::vector<uint8_t> pattern_;
  std::vector<uint8_t> input_;
  std::vector<uint32_t> latencies_ns_;
  uint64_t num_bytes_ = 0;
  uint64_t num_wrong_ = 0;
  size_t num_open_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_LOAD_H_
