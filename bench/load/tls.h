// SPDX-License-Identifier: Apache-2.0
//
// TLS of the load generator, both sides, in user space.
#ifndef SPICEGATE_BENCH_LOAD_TLS_H_
#define SPICEGATE_BENCH_LOAD_TLS_H_

#include <openssl/ssl.h>

#include <memory>

namespace spicegate {

// What all connections of one side share. Every handshake is a full one: there
// is no resumption.
class TlsContext {
 public:
  // A server with an ECDSA P-256 key and a certificate made on the spot; null
  // when BoringSSL fails.
  static std::unique_ptr<TlsContext> Server();
  // A client that trusts whatever it meets.
  static std::unique_ptr<TlsContext> Client();

  // One connection's state over `fd`; null when BoringSSL fails.
  bssl::UniquePtr<SSL> NewSession(int fd) const;

 private:
  TlsContext(SSL_CTX* context, bool is_server)
      : context_(context), is_server_(is_server) {}

  bssl::UniquePtr<SSL_CTX> context_;
  bool is_server_;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_TLS_H_
