// SPDX-License-Identifier: Apache-2.0
//
// Two TlsStreams over memory, and what tests may see of their inside.
#ifndef SPICEGATE_GATEWAY_TLS_TLS_STREAM_TEST_PEER_H_
#define SPICEGATE_GATEWAY_TLS_TLS_STREAM_TEST_PEER_H_

#include <cerrno>
#include <memory>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/tls/memory_stream.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {

class TlsStreamTestPeer {
 public:
  static ssl_st* Ssl(TlsStream* stream) { return stream->ssl_.get(); }
  static Stream* Lower(TlsStream* stream) { return stream->lower_.get(); }
  static bool HoldsCiphertext(TlsStream* stream) {
    return !stream->unread_.empty() || !stream->unsent_.empty();
  }
};

// Everything that a kernel could do.
inline const OffloadPolicy kWholeOffload = [] {
  OffloadPolicy policy;
  for (auto& suites : policy.support.directions) {
    suites.fill(OffloadDirections::kBoth);
  }
  return policy;
}();

struct TlsPair {
  std::shared_ptr<MemoryPipe> to_server = std::make_shared<MemoryPipe>();
  std::shared_ptr<MemoryPipe> to_client = std::make_shared<MemoryPipe>();
  std::unique_ptr<TlsStream> client;
  std::unique_ptr<TlsStream> server;
  int client_result = -EAGAIN;
  int server_result = -EAGAIN;

  TlsPair(std::shared_ptr<const ClientTlsContext> client_context,
          std::shared_ptr<const ServerTlsContext> server_context,
          uint32_t seed = 0, const OffloadPolicy* server_policy = nullptr)
      : client(TlsStream::Client(
            std::move(client_context),
            std::make_unique<MemoryStream>(to_client, to_server, seed))),
        server(TlsStream::Server(
            std::move(server_context),
            std::make_unique<MemoryStream>(to_server, to_client,
                                           seed == 0 ? 0 : seed + 1'000'000),
            server_policy)) {}

  // Runs both handshakes to their ends; one that fails closes, as its owner
  // would. Bounded: true when both ended.
  bool RunHandshakes() {
    for (int turn = 0; turn < 100'000; ++turn) {
      Step(client.get(), &client_result);
      Step(server.get(), &server_result);
      if (client_result != -EAGAIN && server_result != -EAGAIN) {
        return true;
      }
    }
    return false;
  }

 private:
  static void Step(TlsStream* stream, int* result) {
    if (*result != -EAGAIN) {
      return;
    }
    *result = stream->Handshake();
    if (*result != 0 && *result != -EAGAIN) {
      stream->ShutdownWrite();
    }
  }
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TLS_STREAM_TEST_PEER_H_
