// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/tls/tls_scratch.h"

namespace spicegate {
namespace {

constexpr size_t kMaxPlaintextBytes = SSL3_RT_MAX_PLAIN_LENGTH;

// So much is read for a batch of plaintext: what it has grown by in records.
constexpr size_t kRecordsOverheadBytes = 512;

int ClampLen(size_t len) {
  return static_cast<int>(std::min(len, kMaxPlaintextBytes));
}

// BoringSSL flushes after each flight; we do when it returns.
long BioCtrl(BIO*, int command, long, void*) {  // NOLINT: their type
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

// Whether BoringSSL's last error is an alert of the peer's.
bool IsPeersAlert() {
  return ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET;
}

}  // namespace

// ---- One call.

class TlsStream::Call {
 public:
  // `out_bytes`: as much as can be made of what is read.
  Call(TlsStream* stream, size_t out_bytes) : stream_(stream) {
    TlsScratch& scratch = TlsScratch::OfThread();
    const std::vector<uint8_t>& unread = stream->unread_;
    std::copy(unread.begin(), unread.end(), scratch.input.begin());
    scratch.input_begin = 0;
    scratch.input_end = unread.size();
    scratch.output_len = 0;
    scratch.read_limit =
        std::min(out_bytes + kRecordsOverheadBytes, scratch.input.size());
    ERR_clear_error();
  }
  ~Call() {
    const std::span<const uint8_t> rest = TlsScratch::OfThread().unread();
    if (!rest.empty() || !stream_->unread_.empty()) {
      stream_->unread_ = std::vector<uint8_t>(rest.begin(), rest.end());
    }
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  TlsStream* const stream_;
};

// ---- Making one.

std::unique_ptr<TlsStream> TlsStream::Server(
    std::shared_ptr<const ServerTlsContext> context, StreamPtr lower,
    const OffloadPolicy* policy) {
  std::unique_ptr<TlsStream> stream(new TlsStream(
      context->ssl_context(), std::move(lower), TlsLeg::kClient, policy));
  stream->server_context_ = std::move(context);
  if (!stream->AttachBio()) {
    return nullptr;
  }
  SSL_set_accept_state(stream->ssl_.get());
  return stream;
}

std::unique_ptr<TlsStream> TlsStream::Client(
    std::shared_ptr<const ClientTlsContext> context, StreamPtr lower,
    const OffloadPolicy* policy) {
  std::unique_ptr<TlsStream> stream(new TlsStream(
      context->ssl_context(), std::move(lower), TlsLeg::kServer, policy));
  stream->client_context_ = std::move(context);
  if (!stream->AttachBio()) {
    return nullptr;
  }
  SSL* const ssl = stream->ssl_.get();
  SSL_set_connect_state(ssl);
  SSL_set_app_data(ssl, &stream->verdict_);
  stream->client_context_->OfferSession(ssl);
  const std::string& name = stream->client_context_->server_name();
  if (!name.empty() && SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) {
    return nullptr;
  }
  return stream;
}

TlsStream::TlsStream(ssl_ctx_st* context, StreamPtr lower, TlsLeg leg,
                     const OffloadPolicy* policy)
    : lower_(std::move(lower)),
      ssl_(SSL_new(context)),
      policy_(policy),
      leg_(leg),
      exact_(policy != nullptr && policy->MayReceive(leg)) {}

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
  // An idle stream has no use for what only handshakes need.
  SSL_set_shed_handshake_config(ssl_.get(), 1);
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

// Takes everything: how much a caller may have under way is Write's business.
int TlsStream::BioWrite(bio_st* bio, const char* in, int len) {
  auto* const self = static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self->Offloaded(OffloadDirections::kSend)) {
    return len;  // the kernel has the key: a record of BoringSSL's is void
  }
  TlsScratch& scratch = TlsScratch::OfThread();
  const size_t n = static_cast<size_t>(len);
  std::vector<uint8_t>& unsent = self->unsent_;
  if (unsent.empty() && n <= scratch.output.size() - scratch.output_len) {
    std::memcpy(scratch.output.data() + scratch.output_len, in, n);
    scratch.output_len += n;
    return len;
  }
  const uint8_t* const output = scratch.output.data();
  unsent.insert(unsent.end(), output, output + scratch.output_len);
  scratch.output_len = 0;
  unsent.insert(unsent.end(), in, in + n);
  return len;
}

ssize_t TlsStream::ReadLower(std::span<uint8_t> out) {
  TlsScratch& scratch = TlsScratch::OfThread();
  if (scratch.unread().empty()) {
    if (lower_error_ != 0 || lower_eof_) {
      return lower_error_;
    }
    const ssize_t n = exact_ ? lower_->Read(out) : FillInput();
    if (n <= 0) {
      lower_eof_ = n == 0;
      lower_error_ = n == 0 || n == -EAGAIN ? 0 : static_cast<int>(n);
      return n;
    }
    if (exact_) {
      return n;
    }
  }
  const std::span<const uint8_t> unread = scratch.unread();
  const size_t n = std::min(out.size(), unread.size());
  std::memcpy(out.data(), unread.data(), n);
  scratch.input_begin += n;
  return static_cast<ssize_t>(n);
}

ssize_t TlsStream::FillInput() {
  TlsScratch& scratch = TlsScratch::OfThread();
  const size_t limit = scratch.read_limit;
  if (limit == 0) {
    return -EAGAIN;
  }
  const ssize_t n = lower_->Read({scratch.input.data(), limit});
  scratch.input_begin = 0;
  scratch.input_end = n > 0 ? static_cast<size_t>(n) : 0;
  lower_drained_ = n == -EAGAIN || (n > 0 && static_cast<size_t>(n) < limit &&
                                    lower_->ShortReadDrains());
  return n;
}

int TlsStream::Flush() {
  TlsScratch& scratch = TlsScratch::OfThread();
  std::span<const uint8_t> rest(scratch.output.data(),
                                std::exchange(scratch.output_len, 0));
  const bool held = !unsent_.empty();
  if (held) {
    rest = unsent_;
  }
  int error = lower_error_;
  while (!rest.empty() && error == 0) {
    const ssize_t n = lower_->Write(rest);
    if (n >= 0) {
      rest = rest.subspan(static_cast<size_t>(n));
    } else {
      error = static_cast<int>(n);
    }
  }
  if (error != 0 && error != -EAGAIN) {
    lower_error_ = error;
    rest = {};
  }
  if (held || !rest.empty()) {
    unsent_ = std::vector<uint8_t>(rest.begin(), rest.end());
  }
  return rest.empty() && error == -EAGAIN ? 0 : error;
}

// ---- Handshake.

int TlsStream::Handshake() {
  if (handshake_done_ || error_ != 0) {
    return error_;
  }
  const Call call(this, kBatchBytes);
  const int result = SSL_do_handshake(ssl_.get());
  const int ssl_error = SSL_get_error(ssl_.get(), result);
  if (result != 1 && ssl_error != SSL_ERROR_WANT_READ) {
    return FailHandshake(ssl_error);
  }
  const int flushed = Flush();
  if (flushed == -EAGAIN) {
    handshake_wait_ = Ready::kWritable;
    return -EAGAIN;
  }
  if (flushed != 0) {
    return FailHandshake(SSL_ERROR_SYSCALL);
  }
  handshake_wait_ = Ready::kReadable;
  handshake_done_ = result == 1;
  return handshake_done_ ? 0 : -EAGAIN;
}

int TlsStream::FailHandshake(int ssl_error) {
  if (client_context_ != nullptr) {
    client_context_->ForgetSession();
  }
  if (verdict_.failure != TlsFailure::kNone) {
    Flush();  // the alert about it
    return Die(-EKEYREJECTED);
  }
  // An error of TLS comes first: a lower error may be that of sending the
  // alert about it. After the end nothing but the end can be wrong. BoringSSL
  // has no words for some errors, and calls them errors of the socket then.
  const bool of_tls = ssl_error == SSL_ERROR_SSL && ERR_peek_error() != 0;
  if (!lower_eof_ && (of_tls || lower_error_ == 0)) {
    verdict_ = {TlsFailure::kProtocol, TakeSslError()};
    Flush();
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
  TlsScratch& scratch = TlsScratch::OfThread();
  scratch.input_begin = scratch.input_end;
  error_ = error;
  return error;
}

bool TlsStream::resumed() const { return SSL_session_reused(ssl_.get()) != 0; }

// ---- Records.

ssize_t TlsStream::Read(std::span<uint8_t> out) {
  DCHECK(!out.empty());
  if (!early_.empty()) {
    return TakeEarly(out);
  }
  if (error_ != 0 || !handshake_done_) {
    return error_ != 0 ? error_ : -ENOTCONN;
  }
  if (read_eof_) {
    return 0;
  }
  if (!Offloaded(OffloadDirections::kReceive)) {
    const Call call(this, out.size());
    return ReadRecords(out);
  }
  const ssize_t n = kernel_->Read(out);
  if (n == kTlsRekeyed) {
    const Call call(this, 0);
    SendCloseNotify();
  }
  return n;
}

ssize_t TlsStream::ReadRecords(std::span<uint8_t> out) {
  size_t len = 0;
  while (len < out.size()) {
    const int n =
        SSL_read(ssl_.get(), out.data() + len, ClampLen(out.size() - len));
    if (n <= 0) {
      const int ssl_error = SSL_get_error(ssl_.get(), n);
      if (len == 0) {
        return FailedWith(ssl_error);
      }
      if (ssl_error != SSL_ERROR_WANT_READ) {
        // An end or a failure behind bytes: the next call finds it again, and
        // is to come without waiting for the socket.
        lower_drained_ = false;
        Flush();
      }
      break;
    }
    len += static_cast<size_t>(n);
    if (exact_) {
      break;
    }
    // What is there is opened, and no more asked for: each call is bounded,
    // however small the records are.
    TlsScratch::OfThread().read_limit = 0;
  }
  return static_cast<ssize_t>(len);
}

ssize_t TlsStream::TakeEarly(std::span<uint8_t> out) {
  const size_t n = std::min(out.size(), early_.size());
  const auto end = early_.begin() + static_cast<ptrdiff_t>(n);
  std::copy(early_.begin(), end, out.begin());
  early_ = std::vector<uint8_t>(end, early_.end());
  return static_cast<ssize_t>(n);
}

bool TlsStream::ShortReadDrains() const {
  if (Offloaded(OffloadDirections::kReceive)) {
    return early_.empty() && kernel_->ShortReadDrains();
  }
  return lower_drained_;
}

ssize_t TlsStream::Write(std::span<const uint8_t> in) {
  if (error_ != 0 || !handshake_done_) {
    return error_ != 0 ? error_ : -ENOTCONN;
  }
  if (shutdown_started_) {
    return -EPIPE;
  }
  if (Offloaded(OffloadDirections::kSend)) {
    return kernel_->Write(in);
  }
  const Call call(this, 0);
  if (unreported_ == 0 && unsent_.empty() && !in.empty()) {
    if (!RenewKey()) {
      return kTlsKeyUsedUp;
    }
    unreported_ = SealRecords(in);
    if (unreported_ == 0) {
      return Die(kTlsBadRecord);  // memory is out
    }
  }
  const int flushed = Flush();
  if (flushed != 0 && flushed != -EAGAIN) {
    return Die(flushed);
  }
  const size_t left = UnsentPlaintext();
  const size_t taken = unreported_ - left;
  unreported_ = left;
  return taken > 0 || in.empty() ? static_cast<ssize_t>(taken) : -EAGAIN;
}

size_t TlsStream::UnsentPlaintext() const {
  size_t unsent = unsent_.size();
  if (unsent == 0 || unreported_ == 0) {
    return 0;
  }
  size_t left = 0;
  if (byte_apart_) {
    const size_t byte_len = 1 + size_t{record_overhead_};
    left = 1;
    if (unsent <= byte_len) {
      return left;
    }
    unsent -= byte_len;
  }
  const size_t last_len = last_record_len_ + size_t{record_overhead_};
  left += last_record_len_;
  if (unsent <= last_len) {
    return left;
  }
  // All before the last one are full.
  unsent -= last_len;
  const size_t full_len = kMaxPlaintextBytes + record_overhead_;
  const size_t num_full = (unsent + full_len - 1) / full_len;
  return std::min(unreported_, left + num_full * kMaxPlaintextBytes);
}

size_t TlsStream::SealRecords(std::span<const uint8_t> in) {
  const std::span<const uint8_t> wanted =
      in.first(std::min(in.size(), kBatchBytes));
  const bool byte_apart = last_byte_apart_ && wanted.size() > 1;
  size_t sealed = Seal(wanted.first(wanted.size() - (byte_apart ? 1 : 0)));
  byte_apart_ = false;
  if (byte_apart && sealed + 1 == wanted.size()) {
    const uint16_t last_len = last_record_len_;
    byte_apart_ = Seal(wanted.last(1)) == 1;
    last_record_len_ = last_len;
    sealed += byte_apart_ ? 1 : 0;
  }
  key_use_.Add(sealed);
  return sealed;
}

size_t TlsStream::Seal(std::span<const uint8_t> in) {
  size_t sealed = 0;
  while (sealed < in.size()) {
    const size_t before = unsent_.size() + TlsScratch::OfThread().output_len;
    const int n =
        SSL_write(ssl_.get(), in.data() + sealed, ClampLen(in.size() - sealed));
    if (n <= 0) {
      break;
    }
    const size_t after = unsent_.size() + TlsScratch::OfThread().output_len;
    sealed += static_cast<size_t>(n);
    last_record_len_ = static_cast<uint16_t>(n);
    record_overhead_ =
        static_cast<uint16_t>(after - before - static_cast<size_t>(n));
  }
  return sealed;
}

bool TlsStream::RenewKey() {
  if (!key_use_.exhausted() || suite() == TlsSuite::kChaCha20Poly1305) {
    return true;
  }
  if (version() != TlsVersion::kTls13 ||
      SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) != 1) {
    return false;
  }
  key_use_.Reset();
  return true;
}

ssize_t TlsStream::FailedWith(int ssl_error) {
  if (ssl_error == SSL_ERROR_WANT_READ) {
    return -EAGAIN;
  }
  if (ssl_error == SSL_ERROR_ZERO_RETURN || (lower_eof_ && !lower_error_)) {
    truncated_ = ssl_error != SSL_ERROR_ZERO_RETURN;
    if (truncated_) {
      (kernel_ != nullptr ? kernel_->relayed() : &relayed_)->CountTruncated();
    }
    read_eof_ = true;
    ERR_clear_error();
    return 0;
  }
  if (ssl_error == SSL_ERROR_SSL && ERR_peek_error() != 0) {
    const int error = IsPeersAlert() ? kTlsPeerAlert : kTlsBadRecord;
    verdict_ = {TlsFailure::kProtocol, TakeSslError()};
    Flush();  // the alert about it
    if (Offloaded(OffloadDirections::kSend) && error == kTlsBadRecord) {
      kernel_->SendFatalAlert(SSL_AD_BAD_RECORD_MAC);
    }
    return Die(error);
  }
  return Die(lower_error_ != 0 ? lower_error_ : kTlsBadRecord);
}

int TlsStream::ShutdownWrite() {
  if (Offloaded(OffloadDirections::kSend)) {
    return kernel_->ShutdownWrite();
  }
  if (handshake_done_ && error_ == 0 && unreported_ == 0) {
    const Call call(this, 0);
    const int sent = SendCloseNotify();
    if (sent != 0) {
      return sent;
    }
  }
  shutdown_started_ = true;
  return lower_->ShutdownWrite();
}

int TlsStream::SendCloseNotify() {
  shutdown_started_ = true;
  if (!close_notify_sent_) {
    close_notify_sent_ = true;
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  const int flushed = Flush();
  return flushed == 0 || flushed == -EAGAIN ? flushed : Die(flushed);
}

}  // namespace spicegate
