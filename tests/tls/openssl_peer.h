// SPDX-License-Identifier: Apache-2.0
//
// TLS peers that are not BoringSSL: the openssl program, which can be told its
// suite in TLS 1.3 too. Each is a tunnel with plain SPICE on its inner side, so
// that the test peers sit on top of it unchanged. In a process of its own:
// OpenSSL and BoringSSL never share one.
#ifndef SPICEGATE_TESTS_TLS_OPENSSL_PEER_H_
#define SPICEGATE_TESTS_TLS_OPENSSL_PEER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/peer/child_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/peer_tls.h"
#include "tests/peer/spice_client.h"

namespace spicegate {

// Arguments that make openssl speak one suite only: version and ciphers.
using OpensslSuite = std::vector<std::string>;

// Whether `openssl` is in PATH.
bool HaveOpenssl();

// Viewers: whoever connects to endpoint() talks through an `openssl s_client`
// of its own to a TLS port on 127.0.0.1. The inner FIN becomes close_notify.
class OpensslViewer {
 public:
  OpensslViewer(PeerLoop* loop, const std::string& directory,
                uint16_t tls_port);
  OpensslViewer(const OpensslViewer&) = delete;
  OpensslViewer& operator=(const OpensslViewer&) = delete;

  void set_suite(OpensslSuite suite) { suite_ = std::move(suite); }
  PeerEndpoint endpoint() const { return {.address = listener_.address()}; }
  // Ends the programs. Their peers see FIN.
  void EndAll() { clients_.clear(); }
  // What they said.
  std::string Complaints();

 private:
  PeerTask<void> AcceptAll();

  PeerLoop* loop_;
  const uint16_t tls_port_;
  OpensslSuite suite_;
  PeerListener listener_;
  std::vector<std::unique_ptr<ChildProcess>> clients_;
};

// Servers: whoever connects to the TLS port() talks through an `openssl
// s_server` of its own to the plain server at a unix path. Ciphertext passes
// through the test's process on the way, unread.
class OpensslServer {
 public:
  OpensslServer(PeerLoop* loop, const std::string& directory,
                const PeerPki& pki, const std::string& plain_unix_path);
  OpensslServer(const OpensslServer&) = delete;
  OpensslServer& operator=(const OpensslServer&) = delete;

  void set_suite(OpensslSuite suite) { suite_ = std::move(suite); }
  uint16_t port() const { return listener_.address().port; }
  void EndAll() { servers_.clear(); }
  std::string Complaints();

 private:
  PeerTask<void> AcceptAll();
  PeerTask<void> Serve(std::unique_ptr<PeerStream> outer);
  PeerTask<void> Carry(PeerStream* from, PeerStream* to, PeerJoin* join);
  // Starts a program that listens at `path`.
  PeerTask<bool> Start(const std::string& path);

  PeerLoop* loop_;
  const std::string directory_;
  const std::string plain_unix_path_;
  OpensslSuite suite_;
  PeerListener listener_;
  std::vector<std::unique_ptr<ChildProcess>> servers_;
  int num_started_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_TLS_OPENSSL_PEER_H_
