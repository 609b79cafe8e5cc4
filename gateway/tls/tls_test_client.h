// SPDX-License-Identifier: Apache-2.0
//
// A TLS client over a socket of its own, for tests that turn the server's loop
// themselves: nothing here waits.
#ifndef SPICEGATE_GATEWAY_TLS_TLS_TEST_CLIENT_H_
#define SPICEGATE_GATEWAY_TLS_TLS_TEST_CLIENT_H_

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/unique_fd.h"
#include "gateway/tls/test_certificate.h"

namespace spicegate {

// Trusts every server. The process must ignore SIGPIPE.
class TlsTestClient {
 public:
  struct Options {
    const TestCertificate* certificate = nullptr;  // none: shows none
    const TestCertificate* issuer = nullptr;       // sent behind it
    uint16_t version = TLS1_3_VERSION;
    uint16_t sign_with = 0;    // 0: BoringSSL's choice
    uint16_t verify_with = 0;  // 0: all
  };

  // `fd` is connected.
  TlsTestClient(UniqueFd fd, const Options& options)
      : fd_(std::move(fd)), ctx_(SSL_CTX_new(TLS_method())) {
    CHECK(fcntl(fd_.get(), F_SETFL, O_NONBLOCK) == 0);
    const int on = 1;
    setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    CHECK(SSL_CTX_set_min_proto_version(ctx_.get(), options.version));
    CHECK(SSL_CTX_set_max_proto_version(ctx_.get(), options.version));
    SSL_CTX_set_mode(ctx_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (options.certificate != nullptr) {
      const TestCertificate& own = *options.certificate;
      CHECK(SSL_CTX_use_certificate(ctx_.get(), own.x509.get()));
      CHECK(SSL_CTX_use_PrivateKey(ctx_.get(), own.key.get()));
    }
    if (options.issuer != nullptr) {
      CHECK(SSL_CTX_add1_chain_cert(ctx_.get(), options.issuer->x509.get()));
    }
    if (options.sign_with != 0) {
      CHECK(SSL_CTX_set_signing_algorithm_prefs(ctx_.get(), &options.sign_with,
                                                1));
    }
    if (options.verify_with != 0) {
      CHECK(SSL_CTX_set_verify_algorithm_prefs(ctx_.get(), &options.verify_with,
                                               1));
    }
    ssl_.reset(SSL_new(ctx_.get()));
    CHECK(SSL_set_fd(ssl_.get(), fd_.get()));
    SSL_set_connect_state(ssl_.get());
  }

  // Sent once the handshake is over.
  void Send(const std::string& text) { unsent_ += text; }

  // Does what can be done now.
  void Step() {
    if (over() || !Did(SSL_do_handshake(ssl_.get()))) {
      return;
    }
    while (!unsent_.empty()) {
      const int n = SSL_write(ssl_.get(), unsent_.data(),
                              static_cast<int>(unsent_.size()));
      if (!Did(n)) {
        break;
      }
      unsent_.erase(0, static_cast<size_t>(n));
    }
    char buffer[16'384];
    for (int n = 0;
         !over() && Did(n = SSL_read(ssl_.get(), buffer, sizeof(buffer)));) {
      received_.append(buffer, static_cast<size_t>(n));
    }
  }

  const std::string& received() const { return received_; }
  void Forget() { received_.clear(); }

  // The server said close_notify.
  bool closed() const { return closed_; }

  // What ended it otherwise: BoringSSL's reason, "" while there is none.
  const std::string& error() const { return error_; }

  bool over() const { return closed_ || !error_.empty(); }

  bool handshake_done() const { return SSL_is_init_finished(ssl_.get()) != 0; }

  // The common name of the server's certificate; "" while there is none.
  std::string server_name() const {
    const bssl::UniquePtr<X509> x509(SSL_get_peer_certificate(ssl_.get()));
    char name[64] = "";
    if (x509 != nullptr) {
      X509_NAME_get_text_by_NID(X509_get_subject_name(x509.get()),
                                NID_commonName, name, sizeof(name));
    }
    return name;
  }

  SSL* ssl() const { return ssl_.get(); }

 private:
  // Whether `result` of a call is a success; takes note of a failure.
  bool Did(int result) {
    if (result > 0) {
      return true;
    }
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        break;
      case SSL_ERROR_ZERO_RETURN:
        closed_ = true;
        break;
      default: {
        const char* const reason = ERR_reason_error_string(ERR_peek_error());
        error_ = reason != nullptr ? reason : "connection lost";
      }
    }
    ERR_clear_error();
    return false;
  }

  const UniqueFd fd_;
  const bssl::UniquePtr<SSL_CTX> ctx_;
  bssl::UniquePtr<SSL> ssl_;
  std::string unsent_;
  std::string received_;
  std::string error_;
  bool closed_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TLS_TEST_CLIENT_H_
