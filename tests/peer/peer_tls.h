// SPDX-License-Identifier: Apache-2.0
//
// TLS of the test peers, and certificates made on the spot.
#ifndef SPICEGATE_TESTS_PEER_PEER_TLS_H_
#define SPICEGATE_TESTS_PEER_PEER_TLS_H_

#include <openssl/ssl.h>

#include <memory>
#include <string>

namespace spicegate {

// A CA and a server certificate under it, all PEM.
struct PeerPki {
  std::string ca_certificate;
  std::string certificate;
  std::string key;
};

// The server certificate names localhost and 127.0.0.1; its subject is
// O=Test,CN=vm.example.test. Every call makes new keys.
PeerPki MakePeerPki();

// An SSL_CTX. Any thread once it is made.
class PeerTlsContext {
 public:
  // A server showing the certificate of `pki`.
  static PeerTlsContext Server(const PeerPki& pki);
  // A client that trusts whatever it meets: what certificates are worth is
  // tested elsewhere. Versions as TLS1_2_VERSION; 0 leaves a bound open.
  static PeerTlsContext Client(uint16_t min_version = 0,
                               uint16_t max_version = 0);

  SSL_CTX* get() const { return context_.get(); }

 private:
  explicit PeerTlsContext(const SSL_METHOD* method);

  bssl::UniquePtr<SSL_CTX> context_;
};

// The TLS state of one connection; empty for a plain one.
using PeerTlsSession = bssl::UniquePtr<SSL>;

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_PEER_TLS_H_
