// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr size_t kMaxPlaintextBytes = SSL3_RT_MAX_PLAIN_LENGTH;

int ClampLen(size_t len) {
  return static_cast<int>(std::min(len, kMaxPlaintextBytes));
}

// BoringSSL flushes after each flight; the lower stream holds nothing back.
long BioCtrl(BIO*, int command, long, void*) {  // NOLINT: their type
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace

std::unique_ptr<TlsStream> TlsStream::Server(
    std::shared_ptr<const ServerTlsContext> context, StreamPtr lower) {
  std::unique_ptr<TlsStream> stream(
      new TlsStream(context->ssl_context(), std::move(lower)));
  stream->server_context_ = std::move(context);
  if (!stream->AttachBio()) {
    return nullptr;
  }
  SSL_set_accept_state(stream->ssl_.get());
  return stream;
}

std::unique_ptr<TlsStream> TlsStream::Client(
    std::shared_ptr<const ClientTlsContext> context, StreamPtr lower) {
  std::unique_ptr<TlsStream> stream(
      new TlsStream(context->ssl_context(), std::move(lower)));
  stream->client_context_ = std::move(context);
  if (!stream->AttachBio()) {
    return nullptr;
  }
  SSL* const ssl = stream->ssl_.get();
  SSL_set_connect_state(ssl);
  SSL_set_app_data(ssl, &stream->verdict_);
  const std::string& name = stream->client_context_->server_name();
  if (!name.empty() && SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) {
    return nullptr;
  }
  return stream;
}

TlsStream::TlsStream(ssl_ctx_st* context, StreamPtr lower)
    : lower_(std::move(lower)), ssl_(SSL_new(context)) {}

TlsStream::~TlsStream() = default;

// ---- Below.

const bio_method_st* TlsStream::BioMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index(), "stream");
    CHECK(made != nullptr);
    CHECK(BIO_meth_set_read(made, BioRead));
    CHECK(BIO_meth_set_write(made, BioWrite));
    CHECK(BIO_meth_set_ctrl(made, BioCtrl));
    return made;
  }();
  return method;
}

bool TlsStream::AttachBio() {
  BIO* const bio = ssl_ != nullptr ? BIO_new(BioMethod()) : nullptr;
  if (bio == nullptr) {
    return false;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  return true;
}

int TlsStream::BioRead(bio_st* bio, char* out, int len) {
  auto* const self = static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const ssize_t n = self->ReadLower(
      {reinterpret_cast<uint8_t*>(out), static_cast<size_t>(len)});
  if (n == -EAGAIN) {
    BIO_set_retry_read(bio);
  }
  return n >= 0 ? static_cast<int>(n) : -1;
}

int TlsStream::BioWrite(bio_st* bio, const char* in, int len) {
  auto* const self = static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const ssize_t n = self->lower_->Write(
      {reinterpret_cast<const uint8_t*>(in), static_cast<size_t>(len)});
  if (n > 0) {
    return static_cast<int>(n);
  }
  if (n == -EAGAIN) {
    BIO_set_retry_write(bio);
  } else {
    self->lower_error_ = static_cast<int>(n);
  }
  return -1;
}

ssize_t TlsStream::ReadLower(std::span<uint8_t> out) {
  if (read_ahead_end_ != read_ahead_begin_) {
    return TakeReadAhead(out);
  }
  if (lower_error_ != 0 || lower_eof_) {
    return lower_error_;
  }
  const ssize_t n = handshake_done_ ? FillReadAhead() : lower_->Read(out);
  if (n > 0) {
    return handshake_done_ ? TakeReadAhead(out) : n;
  }
  if (n == 0) {
    lower_eof_ = true;
  } else if (n != -EAGAIN) {
    lower_error_ = static_cast<int>(n);
  }
  return n;
}

ssize_t TlsStream::FillReadAhead() {
  if (read_ahead_ == nullptr) {
    read_ahead_ = std::make_unique_for_overwrite<uint8_t[]>(kReadAheadBytes);
  }
  const ssize_t n = lower_->Read({read_ahead_.get(), kReadAheadBytes});
  read_ahead_begin_ = 0;
  read_ahead_end_ = n > 0 ? static_cast<size_t>(n) : 0;
  return n;
}

ssize_t TlsStream::TakeReadAhead(std::span<uint8_t> out) {
  const size_t n = std::min(out.size(), read_ahead_end_ - read_ahead_begin_);
  std::memcpy(out.data(), read_ahead_.get() + read_ahead_begin_, n);
  read_ahead_begin_ += n;
  return static_cast<ssize_t>(n);
}

// ---- Handshake.

int TlsStream::Handshake() {
  if (handshake_done_ || error_ != 0) {
    return error_;
  }
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    handshake_done_ = true;
    return 0;
  }
  const int ssl_error = SSL_get_error(ssl_.get(), result);
  if (ssl_error == SSL_ERROR_WANT_READ) {
    handshake_wait_ = Ready::kReadable;
    return -EAGAIN;
  }
  if (ssl_error == SSL_ERROR_WANT_WRITE) {
    handshake_wait_ = Ready::kWritable;
    return -EAGAIN;
  }
  return FailHandshake(ssl_error);
}

int TlsStream::FailHandshake(int ssl_error) {
  if (verdict_.failure != TlsFailure::kNone) {
    return Die(-EKEYREJECTED);
  }
  // An error of TLS comes first: a lower error may be that of sending the
  // alert about it. After the end nothing but the end can be wrong.
  if (ssl_error == SSL_ERROR_SSL && !lower_eof_ && ERR_peek_error() != 0) {
    verdict_ = {TlsFailure::kProtocol, TakeSslError()};
    return Die(-EPROTO);
  }
  if (lower_error_ == 0) {
    verdict_ = {TlsFailure::kPeerGone, "connection ended"};
    return Die(-ENODATA);
  }
  verdict_ = {TlsFailure::kPeerGone, "connection failed"};
  return Die(lower_error_);
}

int TlsStream::Die(int error) {
  ERR_clear_error();
  read_ahead_.reset();
  read_ahead_begin_ = 0;
  read_ahead_end_ = 0;
  error_ = error;
  return error;
}

TlsVersion TlsStream::version() const {
  return SSL_version(ssl_.get()) == TLS1_3_VERSION ? TlsVersion::kTls13
                                                   : TlsVersion::kTls12;
}

TlsSuite TlsStream::suite() const {
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(ssl_.get());
  switch (cipher != nullptr ? SSL_CIPHER_get_cipher_nid(cipher) : NID_undef) {
    case NID_aes_128_gcm:
      return TlsSuite::kAes128Gcm;
    case NID_aes_256_gcm:
      return TlsSuite::kAes256Gcm;
    case NID_chacha20_poly1305:
      return TlsSuite::kChaCha20Poly1305;
    default:
      return TlsSuite::kOther;
  }
}

// ---- Records.

ssize_t TlsStream::Read(std::span<uint8_t> out) {
  DCHECK(!out.empty());
  if (error_ != 0 || !handshake_done_) {
    return error_ != 0 ? error_ : -ENOTCONN;
  }
  if (read_eof_) {
    return 0;
  }
  ERR_clear_error();
  const int n = SSL_read(ssl_.get(), out.data(), ClampLen(out.size()));
  if (read_ahead_begin_ == read_ahead_end_) {
    read_ahead_.reset();
  }
  if (n > 0) {
    return n;
  }
  const int ssl_error = SSL_get_error(ssl_.get(), n);
  if (ssl_error == SSL_ERROR_ZERO_RETURN || (lower_eof_ && !lower_error_)) {
    truncated_ = ssl_error != SSL_ERROR_ZERO_RETURN;
    read_eof_ = true;
    ERR_clear_error();
    return 0;
  }
  return FailedWith(ssl_error, &read_wait_);
}

ssize_t TlsStream::Write(std::span<const uint8_t> in) {
  if (error_ != 0 || !handshake_done_) {
    return error_ != 0 ? error_ : -ENOTCONN;
  }
  if (shutdown_started_) {
    return -EPIPE;
  }
  if (in.empty()) {
    return 0;
  }
  ERR_clear_error();
  const int n = SSL_write(ssl_.get(), in.data(), ClampLen(in.size()));
  write_unfinished_ = n <= 0;
  return n > 0 ? n : FailedWith(SSL_get_error(ssl_.get(), n), &write_wait_);
}

int TlsStream::FailedWith(int ssl_error, Ready* wait) {
  if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE) {
    *wait =
        ssl_error == SSL_ERROR_WANT_READ ? Ready::kReadable : Ready::kWritable;
    return -EAGAIN;
  }
  if (ssl_error == SSL_ERROR_SSL && ERR_peek_error() != 0) {
    verdict_ = {TlsFailure::kProtocol, TakeSslError()};
    return Die(-EPROTO);
  }
  return Die(lower_error_ != 0 ? lower_error_ : -EPROTO);
}

int TlsStream::ShutdownWrite() {
  if (handshake_done_ && error_ == 0 && !write_unfinished_) {
    const int sent = SendCloseNotify();
    if (sent != 0) {
      return sent;
    }
  }
  shutdown_started_ = true;
  return lower_->ShutdownWrite();
}

int TlsStream::SendCloseNotify() {
  if (close_notify_sent_) {
    return 0;
  }
  shutdown_started_ = true;
  ERR_clear_error();
  // Once more after -EAGAIN goes on with the alert; once more after that
  // would wait for the peer's, which reading sees anyway.
  const int result = SSL_shutdown(ssl_.get());
  if (result < 0) {
    return FailedWith(SSL_get_error(ssl_.get(), result), &write_wait_);
  }
  close_notify_sent_ = true;
  return 0;
}

}  // namespace spicegate
