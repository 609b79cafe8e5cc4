// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/polled_tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

int ClampLen(size_t len) {
  return static_cast<int>(std::min<size_t>(len, SSL3_RT_MAX_PLAIN_LENGTH));
}

bool IsLater(int error) { return error == EAGAIN || error == EINTR; }

// BoringSSL flushes after each flight; a socket holds nothing back.
long BioCtrl(BIO*, int command, long, void*) {  // NOLINT: their type
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace

std::unique_ptr<PolledTls> PolledTls::Accept(std::shared_ptr<const void> owner,
                                             ssl_ctx_st* ssl_context, int fd) {
  std::unique_ptr<PolledTls> connection(
      new PolledTls(std::move(owner), ssl_context, fd));
  if (connection->ssl_ == nullptr || !connection->AttachBio()) {
    ERR_clear_error();
    return nullptr;
  }
  SSL* const ssl = connection->ssl_.get();
  SSL_set_app_data(ssl, &connection->verdict_);
  SSL_set_accept_state(ssl);
  return connection;
}

PolledTls::PolledTls(std::shared_ptr<const void> owner, ssl_ctx_st* ssl_context,
                     int fd)
    : owner_(std::move(owner)), fd_(fd), ssl_(SSL_new(ssl_context)) {}

// ---- Below.

const bio_method_st* PolledTls::BioMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index(), "polled socket");
    CHECK(made != nullptr);
    CHECK(BIO_meth_set_read(made, BioRead));
    CHECK(BIO_meth_set_write(made, BioWrite));
    CHECK(BIO_meth_set_ctrl(made, BioCtrl));
    return made;
  }();
  return method;
}

bool PolledTls::AttachBio() {
  BIO* const bio = BIO_new(BioMethod());
  if (bio == nullptr) {
    return false;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  return true;
}

int PolledTls::BioRead(bio_st* bio, char* out, int len) {
  auto* const self = static_cast<PolledTls*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const ssize_t n = recv(self->fd_, out, static_cast<size_t>(len), 0);
  if (n < 0 && IsLater(errno)) {
    BIO_set_retry_read(bio);
  } else if (n < 0) {
    self->socket_error_ = errno;
  } else if (n == 0) {
    self->ended_ = true;
  }
  return static_cast<int>(n);
}

int PolledTls::BioWrite(bio_st* bio, const char* in, int len) {
  auto* const self = static_cast<PolledTls*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const ssize_t n = send(self->fd_, in, static_cast<size_t>(len), MSG_NOSIGNAL);
  if (n < 0 && IsLater(errno)) {
    BIO_set_retry_write(bio);
  } else if (n < 0) {
    self->socket_error_ = errno;
  }
  return static_cast<int>(n);
}

// ---- TLS.

int PolledTls::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    return 0;
  }
  return Fail(result);
}

ssize_t PolledTls::Read(std::span<char> out) {
  ERR_clear_error();
  const int n = SSL_read(ssl_.get(), out.data(), ClampLen(out.size()));
  if (n > 0) {
    return n;
  }
  const bool closed = SSL_get_error(ssl_.get(), n) == SSL_ERROR_ZERO_RETURN;
  return closed ? 0 : Fail(n);
}

ssize_t PolledTls::Write(std::string_view in) {
  ERR_clear_error();
  const int n = SSL_write(ssl_.get(), in.data(), ClampLen(in.size()));
  return n > 0 ? n : Fail(n);
}

int PolledTls::EndWrite() {
  ERR_clear_error();
  const int result = SSL_shutdown(ssl_.get());
  return result < 0 ? Fail(result) : 0;
}

int PolledTls::Fail(int result) {
  const int error = SSL_get_error(ssl_.get(), result);
  wants_write_ = error == SSL_ERROR_WANT_WRITE;
  if (wants_write_ || error == SSL_ERROR_WANT_READ) {
    return -EAGAIN;
  }
  if (verdict_.failure != TlsFailure::kNone) {
    ERR_clear_error();
    return -EKEYREJECTED;
  }
  // An error of TLS comes first: the socket's may be that of sending the
  // alert about it.
  if (error == SSL_ERROR_SSL && !ended_ &&
      (ERR_peek_error() != 0 || socket_error_ == 0)) {
    verdict_ = {TlsFailure::kProtocol, TakeSslError()};
    return -EPROTO;
  }
  ERR_clear_error();
  verdict_ = {TlsFailure::kPeerGone,
              ended_ ? "connection ended" : "connection failed"};
  return socket_error_ != 0 ? -socket_error_ : -ENODATA;
}

}  // namespace spicegate
