// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/kernel_tls_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/limits.h"
#include "gateway/io/tls_socket.h"

namespace spicegate {
namespace {

constexpr uint8_t kAlertWarning = 1;
constexpr uint8_t kAlertFatal = 2;
constexpr uint8_t kCloseNotify = 0;
constexpr uint8_t kUnexpectedMessage = 10;

// The kernel's answers to a record that is not what it should be: a bad tag,
// another version or no TLS at all, too long.
bool IsRecordError(ssize_t error) {
  return error == -EBADMSG || error == -EINVAL || error == -EMSGSIZE;
}

// What a record is longer than its plaintext: header and tag, and in TLS 1.3
// the type, in TLS 1.2 with AES-GCM the explicit nonce.
uint8_t OverheadOf(const KernelTlsStream::Options& options) {
  constexpr uint8_t kHeaderAndTag = 5 + 16;
  if (options.version == TlsVersion::kTls13) {
    return kHeaderAndTag + 1;
  }
  return options.suite == TlsSuite::kChaCha20Poly1305 ? kHeaderAndTag
                                                      : kHeaderAndTag + 8;
}

}  // namespace

KernelTlsStream::KernelTlsStream(Socket* socket, const Options& options,
                                 RelayedTls relayed, std::vector<uint8_t> early)
    : socket_(socket),
      relayed_(std::move(relayed)),
      post_handshake_(options.leg, options.version),
      record_overhead_(OverheadOf(options)),
      key_len_(options.suite == TlsSuite::kAes128Gcm ? 40 : 56),
      limited_key_(options.suite != TlsSuite::kChaCha20Poly1305),
      sends_(options.sends),
      last_byte_apart_(options.leg == TlsLeg::kClient) {
  tcp_base_ = options.tcp_bytes_taken -
              static_cast<int64_t>(options.sequence) * record_overhead_;
  if (!early.empty()) {
    early_ = std::make_unique<Early>(std::move(early), size_t{0});
  }
}

// ---- Receiving.

ssize_t KernelTlsStream::Read(std::span<uint8_t> out) {
  DCHECK(!out.empty());
  if (early_ != nullptr) {
    return static_cast<ssize_t>(TakeEarly(out));
  }
  bool asked = false;
  for (int i = 0; i < kMaxTlsControlRecords; ++i) {
    if (error_ != 0 || read_eof_) {
      return error_;
    }
    const ssize_t n = driver()->Recv(socket_->fd(), out);
    if (n > 0) {
      return n;
    }
    Outcome outcome;
    if (n == 0) {
      outcome = End(/*clean=*/false);
    } else if (n == -EAGAIN) {
      outcome = NothingYet(&asked);
    } else if (n == -EIO) {
      outcome = TakeControl();
    } else {
      outcome = Die(static_cast<int>(n));
    }
    if (outcome.over) {
      return outcome.result;
    }
    if (early_ != nullptr) {
      return static_cast<ssize_t>(TakeEarly(out));
    }
  }
  return -EAGAIN;  // and readable at once, when the others had their turn
}

ssize_t KernelTlsStream::SpliceIn(const Pipe& pipe, size_t max_bytes) {
  for (int i = 0; i < kMaxTlsControlRecords; ++i) {
    if (error_ != 0 || read_eof_ || early_ != nullptr) {
      return error_;
    }
    const ssize_t n = driver()->SpliceIn(socket_->fd(), pipe, max_bytes);
    if (n != -EINVAL) {
      return IsRecordError(n) ? Die(static_cast<int>(n)).result : n;
    }
    const Outcome outcome = TakeControl();
    if (outcome.over) {
      return outcome.result;
    }
  }
  return 0;  // let Read judge
}

size_t KernelTlsStream::TakeEarly(std::span<uint8_t> out) {
  const size_t n = std::min(out.size(), early_->bytes.size() - early_->begin);
  std::copy_n(early_->bytes.begin() + static_cast<ptrdiff_t>(early_->begin), n,
              out.begin());
  early_->begin += n;
  if (early_->begin == early_->bytes.size()) {
    early_.reset();
  }
  return n;
}

KernelTlsStream::Outcome KernelTlsStream::NothingYet(bool* asked) {
  // Linux 6.1 calls a socket readable that holds a part of a record, which
  // would make us turn in circles. What came in between shows in another look.
  if (*asked || driver()->ReadableWhenMore(socket_->fd()) != 0) {
    return {true, -EAGAIN};
  }
  *asked = true;
  return {};
}

KernelTlsStream::Outcome KernelTlsStream::TakeControl() {
  std::array<uint8_t, 512> piece;
  uint8_t type = 0;
  const ssize_t n = driver()->RecvTlsRecord(socket_->fd(), piece, &type);
  if (n == -EAGAIN) {
    return {true, -EAGAIN};
  }
  if (n < 0) {
    return Die(static_cast<int>(n));
  }
  const std::span<const uint8_t> bytes(piece.data(), static_cast<size_t>(n));
  if (type == 0) {
    return End(/*clean=*/false);
  }
  if (type == kTlsRecordData) {
    // It was not a control record that splice stopped at.
    if (!bytes.empty()) {
      early_ = std::make_unique<Early>(
          std::vector<uint8_t>(bytes.begin(), bytes.end()), size_t{0});
    }
    return {};
  }
  switch (post_handshake_.Feed(type, bytes)) {
    case PostHandshake::Verdict::kGoOn:
      return {};
    case PostHandshake::Verdict::kEnd:
      return End(/*clean=*/true);
    case PostHandshake::Verdict::kAlert:
      return Die(kTlsPeerAlert);
    case PostHandshake::Verdict::kRekey:
      SendAlert(kAlertWarning, kCloseNotify);
      return Die(kTlsRekeyed);
    case PostHandshake::Verdict::kUnexpected:
      break;
  }
  SendAlert(kAlertFatal, kUnexpectedMessage);
  return Die(kTlsBadRecord);
}

KernelTlsStream::Outcome KernelTlsStream::End(bool clean) {
  read_eof_ = true;
  if (!clean) {
    relayed_.CountTruncated();
  }
  return {true, 0};
}

KernelTlsStream::Outcome KernelTlsStream::Die(int error) {
  error_ = static_cast<int16_t>(IsRecordError(error) ? kTlsBadRecord : error);
  return {true, error_};
}

// ---- Sending.

ssize_t KernelTlsStream::Write(std::span<const uint8_t> in) {
  if (shutdown_started_) {
    return -EPIPE;
  }
  if (limited_key_ && key_use_.exhausted()) {
    return kTlsKeyUsedUp;
  }
  return in.empty()
             ? 0
             : Sent(driver()->Send(socket_->fd(), in.first(AtOnce(in.size()))));
}

ssize_t KernelTlsStream::SpliceOut(const Pipe& pipe, size_t max_bytes) {
  if (limited_key_ && key_use_.exhausted()) {
    return kTlsKeyUsedUp;
  }
  return Sent(driver()->SpliceOut(
      pipe, socket_->fd(), std::min(AtOnce(max_bytes), kTlsSpliceBytes)));
}

size_t KernelTlsStream::AtOnce(size_t num_bytes) const {
  return last_byte_apart_ && num_bytes > 1 ? num_bytes - 1 : num_bytes;
}

ssize_t KernelTlsStream::Sent(ssize_t n) {
  if (n > 0) {
    key_use_.Add(static_cast<size_t>(n));
    plaintext_sent_ += n;
  } else if (n == -ENOBUFS || n == -ENOMEM) {
    return -EAGAIN;
  }
  // After a bad record came in nothing can be sent either.
  return n == -EBADMSG ? kTlsBadRecord : n;
}

int KernelTlsStream::ShutdownWrite() {
  shutdown_started_ = true;
  if (!close_notify_sent_) {
    const std::array<uint8_t, 2> alert = {kAlertWarning, kCloseNotify};
    const ssize_t n =
        driver()->SendTlsRecord(socket_->fd(), kTlsRecordAlert, alert);
    if (n == -EAGAIN) {
      return -EAGAIN;
    }
    plaintext_sent_ += std::max<ssize_t>(n, 0);
    close_notify_sent_ = true;
  }
  return EverythingIsWithTcp() ? driver()->ShutdownWrite(socket_->fd())
                               : -EAGAIN;
}

bool KernelTlsStream::EverythingIsWithTcp() {
  // A record that waits for room is forgotten by shutdown(2), though its bytes
  // were taken (Linux 6.1 and 6.12).
  const int64_t next_record = driver()->NextTlsRecord(socket_->fd(), key_len_);
  const int64_t taken = driver()->TcpBytesTaken(socket_->fd());
  if (next_record < 0 || taken < 0 ||
      taken >= tcp_base_ + plaintext_sent_ + next_record * record_overhead_) {
    return true;
  }
  // We are only asked while the socket has room: time without counts anew, and
  // so does time in which something moved.
  const int64_t now_ms = driver()->NowMs();
  if (looking_since_ms_ == 0 || taken != taken_at_last_look_ ||
      now_ms - looked_ms_ >= kTlsEndMs) {
    looking_since_ms_ = now_ms;
  }
  taken_at_last_look_ = taken;
  looked_ms_ = now_ms;
  return now_ms - looking_since_ms_ >= kTlsEndMs;
}

void KernelTlsStream::SendFatalAlert(uint8_t description) {
  SendAlert(kAlertFatal, description);
}

void KernelTlsStream::SendAlert(uint8_t level, uint8_t description) {
  if (!sends_) {
    return;
  }
  // As far as the socket takes it.
  const std::array<uint8_t, 2> alert = {level, description};
  plaintext_sent_ += std::max<ssize_t>(
      driver()->SendTlsRecord(socket_->fd(), kTlsRecordAlert, alert), 0);
  close_notify_sent_ = true;
}

}  // namespace spicegate
