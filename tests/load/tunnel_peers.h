// SPDX-License-Identifier: Apache-2.0
//
// Both ends of a tunnel through HTTP CONNECT. What they say to each other
// begins like TLS, or the gateway would not let it through, and is otherwise
// theirs: the client sends an order (TunnelOrder), then patterns flow as it
// says, and at their end the server tells how much of the client's was right.
// Every byte either way is compared.
#ifndef SPICEGATE_TESTS_LOAD_TUNNEL_PEERS_H_
#define SPICEGATE_TESTS_LOAD_TUNNEL_PEERS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/peer_task.h"

namespace spicegate {

// What happens next in a tunnel.
struct TunnelOrder {
  enum class Kind : uint8_t {
    kExchange,  // Both directions at once, the report, then the next order.
    // The server sends nothing before it has read all, FIN included.
    kClientEndsFirst,
    // The server sends all of it and FIN before it reads anything. No report.
    kServerEndsFirst,
    kServerResets,  // At once.
  };
  Kind kind = Kind::kExchange;
  uint64_t seed = 0;  // Of the patterns; names the order in the books.
  uint64_t to_client_bytes = 0;
  uint64_t to_server_bytes = 0;
};

// What the server knows of one order.
struct TunnelBooks {
  uint64_t written = 0;        // Of the pattern to the client.
  uint64_t matched = 0;        // Of the pattern from the client.
  std::optional<PeerEnd> end;  // How the client ended behind it, if it did.
};

// Serves any number of tunnels. Loop's thread, where nothing else is said.
class TunnelServer {
 public:
  explicit TunnelServer(PeerLoop* loop);

  uint16_t port() const { return listener_.address().port; }
  // Any thread.
  TunnelBooks BooksOf(uint64_t seed);

 private:
  PeerTask<void> AcceptAll();
  PeerTask<void> Serve(std::unique_ptr<PeerStream> stream);
  // Whether another order may follow.
  PeerTask<bool> Obey(PeerStream* stream, const TunnelOrder* order);
  PeerTask<bool> Exchange(PeerStream* stream, const TunnelOrder* order);
  PeerTask<int> Write(PeerStream* stream, const TunnelOrder* order);
  PeerTask<void> WriteBeside(PeerStream* stream, const TunnelOrder* order,
                             int* error, PeerJoin* join);
  PeerTask<int> Report(PeerStream* stream, uint64_t seed);
  PeerTask<uint64_t> Read(PeerStream* stream, const TunnelOrder* order);
  void NoteEnd(uint64_t seed, PeerEnd end);

  PeerLoop* const loop_;
  PeerListener listener_;
  std::mutex mutex_;
  std::map<uint64_t, TunnelBooks> books_;  // Guarded by mutex_.
};

// One tunnel. Whatever yields a text yields "" when all is well.
class TunnelClient {
 public:
  explicit TunnelClient(PeerLoop* loop) : loop_(loop) {}

  // The status that CONNECT `target` is answered with. 0: none, or not in the
  // form that it has to have.
  PeerTask<int> Connect(PeerAddress door, std::string target);

  // What an order of kind kExchange is about, from its sending to the report.
  PeerTask<std::string> Exchange(const TunnelOrder* order);

  // The parts of it.
  PeerTask<std::string> Ask(const TunnelOrder* order);
  PeerTask<std::string> Send(const TunnelOrder* order);
  PeerTask<std::string> Receive(const TunnelOrder* order);
  PeerTask<std::string> ReceiveReport(const TunnelOrder* order);
  // The end of the server's direction, which must be the next thing to come.
  PeerTask<PeerEnd> ReceiveEnd();

  PeerStream* stream() { return stream_.get(); }
  // Bytes behind CONNECT and its answer.
  uint64_t sent() const { return stream_->bytes_written() - request_len_; }
  uint64_t received() const { return stream_->bytes_read() - answer_len_; }

 private:
  PeerTask<void> SendBeside(const TunnelOrder* order, std::string* error,
                            PeerJoin* join);

  PeerLoop* const loop_;
  std::unique_ptr<PeerStream> stream_;
  uint64_t request_len_ = 0;
  uint64_t answer_len_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_LOAD_TUNNEL_PEERS_H_
