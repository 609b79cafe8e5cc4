// SPDX-License-Identifier: Apache-2.0
#include "gateway/http_tls.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "gateway/base/address.h"
#include "gateway/base/clock.h"

namespace spicegate {
namespace {

// Wipes a text with a key in it at the end.
class Wipe {
 public:
  explicit Wipe(absl::StatusOr<std::string>* text) : text_(text) {}
  ~Wipe() {
    if (text_->ok()) {
      explicit_bzero((*text_)->data(), (*text_)->size());
    }
  }
  Wipe(const Wipe&) = delete;
  Wipe& operator=(const Wipe&) = delete;

 private:
  absl::StatusOr<std::string>* const text_;
};

std::string PeerOf(int fd) {
  sockaddr_storage address{};
  socklen_t len = sizeof(address);
  getpeername(fd, reinterpret_cast<sockaddr*>(&address), &len);
  return PeerAddressText(address);
}

class TlsHttpStream final : public HttpStream {
 public:
  TlsHttpStream(std::unique_ptr<PolledTls> tls, int fd, TlsRefusals* refusals)
      : tls_(std::move(tls)), fd_(fd), refusals_(refusals) {}

  int Handshake() override {
    const int result = tls_->Handshake();
    if (result != 0 && result != -EAGAIN) {
      refusals_->Note(fd_, tls_->verdict());
    }
    return result;
  }

  short HandshakeEvents() const override {
    return tls_->wants_write() ? POLLOUT : POLLIN;
  }

  ssize_t Read(std::span<char> out) override { return tls_->Read(out); }
  ssize_t Write(std::string_view in) override { return tls_->Write(in); }
  int EndWrite() override { return tls_->EndWrite(); }

 private:
  const std::unique_ptr<PolledTls> tls_;
  const int fd_;
  TlsRefusals* const refusals_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const ServerCertificate>> ReadHttpCertificate(
    const std::string& certificate_path, const std::string& key_path,
    WatchedFiles* files) {
  const auto chain = files->Read(certificate_path, kMaxHttpPemBytes);
  auto key = files->Read(key_path, kMaxHttpPemBytes);
  const Wipe wipe(&key);
  for (const absl::Status& read : {chain.status(), key.status()}) {
    if (!read.ok()) {
      return absl::InvalidArgumentError(read.message());
    }
  }
  return ServerCertificate::Parse(*chain, *key,
                                  certificate_path + ", " + key_path);
}

TlsRefusals::TlsRefusals(LogLevel level, const char* event,
                         int64_t lines_per_second)
    : level_(level), event_(event), lines_per_second_(lines_per_second) {}

void TlsRefusals::Note(int fd, const TlsVerdict& verdict) {
  if (verdict.failure == TlsFailure::kPeerGone) {
    return;
  }
  const int64_t second = MonotonicMs() / 1000;
  if (second_ != second) {
    second_ = second;
    lines_ = 0;
  }
  if (++lines_ > lines_per_second_) {
    ++left_out_;
    return;
  }
  LogLine line(level_, event_);
  line.Str("client", PeerOf(fd)).Str("error", verdict.detail);
  if (left_out_ > 0) {
    line.Int("left_out", std::exchange(left_out_, 0));
  }
}

std::unique_ptr<HttpStream> MakeTlsHttpStream(std::unique_ptr<PolledTls> tls,
                                              int fd, TlsRefusals* refusals) {
  return tls != nullptr
             ? std::make_unique<TlsHttpStream>(std::move(tls), fd, refusals)
             : nullptr;
}

}  // namespace spicegate
