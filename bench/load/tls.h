// SPDX-License-Identifier: Apache-2.0
//
// TLS of the load generator, both sides, in user space.
#ifndef SPICEGATE_BENCH_LOAD_TLS_H_
#define SPICEGATE_BENCH_LOAD_TLS_H_

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "bench/load/tls_options.h"

namespace spicegate {

// Handshakes of one side that came to their end.
struct TlsCounts {
  uint64_t handshakes = 0;
  uint64_t resumed = 0;
  uint64_t unwanted = 0;  // With another suite than the one asked for.
  std::string last;       // "TLSv1.3 TLS_AES_128_GCM_SHA256"
  std::string last_unwanted;
};

// What all connections of one side share. One thread's, and it outlives them.
class TlsContext {
 public:
  // A server with an ECDSA P-256 key and a certificate made on the spot, which
  // gives out tickets; null when BoringSSL fails.
  static std::unique_ptr<TlsContext> Server();
  // A client that trusts whatever it meets.
  static std::unique_ptr<TlsContext> Client(const TlsOptions& options);

  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // One connection's state over `fd`; null when BoringSSL fails.
  bssl::UniquePtr<SSL> NewSession(int fd) const;

  const TlsCounts& counts() const { return counts_; }

 private:
  TlsContext(SSL_CTX* context, const TlsOptions& options, bool is_server);

  // BoringSSL's callbacks.
  static void OnInfo(const SSL* ssl, int what, int value);
  static int OnTicket(SSL* ssl, SSL_SESSION* session);

  bool ConfigureClient();
  void Count(const SSL* ssl);

  const bssl::UniquePtr<SSL_CTX> context_;
  const TlsOptions options_;
  const bool is_server_;
  TlsCounts counts_;
  bssl::UniquePtr<SSL_SESSION> newest_;  // Null until a ticket came.
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_TLS_H_
