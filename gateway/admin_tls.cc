// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin_tls.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/control/address.h"
#include "gateway/tls/admin_tls_connection.h"
#include "gateway/tls/certificate_check.h"

namespace spicegate {
namespace {

constexpr size_t kMaxPemBytes = 1024 * 1024;
constexpr int64_t kDayS = 86'400;

// Anybody who reaches the address can cause one.
constexpr int64_t kRefusalLinesPerSecond = 10;

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
  return FormatBindAddress(FromSockaddr(address));
}

// The same error as one about the configuration.
absl::Status Mistake(const std::string& where, const absl::Status& status) {
  return absl::InvalidArgumentError((where.empty() ? "" : where + ": ") +
                                    std::string(status.message()));
}

}  // namespace

// TLS as the admin server wants it.
class AdminTls::Stream final : public AdminStream {
 public:
  Stream(AdminTls* owner, std::unique_ptr<AdminTlsConnection> tls, int fd)
      : owner_(owner), tls_(std::move(tls)), fd_(fd) {}

  int Handshake() override {
    const int result = tls_->Handshake();
    if (result != 0 && result != -EAGAIN) {
      owner_->LogRefused(fd_, tls_->verdict());
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
  AdminTls* const owner_;
  const std::unique_ptr<AdminTlsConnection> tls_;
  const int fd_;
};

AdminTls::AdminTls(AdminTlsConfig config) : config_(std::move(config)) {}

absl::Status AdminTls::Load(int64_t now_unix_s) {
  absl::StatusOr<Loaded> loaded = Read();
  if (loaded.ok()) {
    Use(*std::move(loaded), now_unix_s);
  }
  return loaded.status();
}

bool AdminTls::Refresh(int64_t now_unix_s) {
  if (now_unix_s >= next_warnings_unix_s_) {
    LogWarnings(now_unix_s);
  }
  if (!files_.MayHaveChanged()) {
    return false;
  }
  const size_t before = files_.content_hash();
  absl::StatusOr<Loaded> loaded = Read();
  if (files_.content_hash() == before) {
    return false;
  }
  if (!loaded.ok()) {
    LogLine(LogLevel::kError, "admin_certificates_refused")
        .Str("error", std::string(loaded.status().message()));
    return false;
  }
  Use(*std::move(loaded), now_unix_s);
  return true;
}

absl::StatusOr<AdminTls::Loaded> AdminTls::Read() {
  files_.Clear();
  // All of them, whatever is wrong with the first: each is watched.
  const auto chain = files_.Read(config_.certificate_path, kMaxPemBytes);
  auto key = files_.Read(config_.key_path, kMaxPemBytes);
  const Wipe wipe(&key);
  const bool asks = !config_.client_ca_path.empty();
  const auto ca = asks ? files_.Read(config_.client_ca_path, kMaxPemBytes)
                       : absl::StatusOr<std::string>("");
  for (const absl::Status& read : {chain.status(), key.status(), ca.status()}) {
    if (!read.ok()) {
      return Mistake("", read);
    }
  }
  const auto certificate = ServerCertificate::Parse(
      *chain, *key, config_.certificate_path + ", " + config_.key_path);
  if (!certificate.ok()) {
    return certificate.status();
  }
  auto context = AdminTlsContext::Create(**certificate);
  if (!context.ok()) {
    return context.status();
  }
  if (asks) {
    const absl::Status required =
        (*context)->RequireClients(*ca, config_.client_names);
    if (!required.ok()) {
      return Mistake(config_.client_ca_path, required);
    }
  }
  return Loaded{*std::move(context), *certificate};
}

std::vector<std::string> AdminTls::Warnings(const Loaded& loaded,
                                            int64_t now_unix_s) const {
  std::vector<std::string> warnings =
      CertificateWarnings(*loaded.certificate, now_unix_s);
  const int64_t until_unix_s = loaded.context->clients_until_unix_s();
  if (until_unix_s != 0 && until_unix_s <= now_unix_s) {
    warnings.push_back(config_.client_ca_path +
                       ": every CA has expired, no client is let in");
  }
  return warnings;
}

void AdminTls::Use(Loaded loaded, int64_t now_unix_s) {
  loaded_ = std::move(loaded);
  LogLine(LogLevel::kInfo, "admin_certificates_loaded")
      .Bool("client_certificates", !config_.client_ca_path.empty())
      .Int("expires_in_s", loaded_.certificate->not_after_unix_s - now_unix_s);
  LogWarnings(now_unix_s);
}

void AdminTls::LogWarnings(int64_t now_unix_s) {
  next_warnings_unix_s_ = now_unix_s + kDayS;
  for (const std::string& warning : Warnings(loaded_, now_unix_s)) {
    LogLine(LogLevel::kWarning, "certificate_warning").Str("warning", warning);
  }
}

std::unique_ptr<AdminStream> AdminTls::Open(int fd) {
  std::unique_ptr<AdminTlsConnection> tls =
      AdminTlsConnection::Accept(loaded_.context, fd);
  return tls != nullptr ? std::make_unique<Stream>(this, std::move(tls), fd)
                        : nullptr;
}

void AdminTls::LogRefused(int fd, const TlsVerdict& verdict) {
  // Who connects and leaves asks nothing of us, as balancers and scanners do.
  if (verdict.failure == TlsFailure::kPeerGone) {
    return;
  }
  const int64_t second = MonotonicMs() / 1000;
  if (log_second_ != second) {
    log_second_ = second;
    log_lines_ = 0;
  }
  if (++log_lines_ > kRefusalLinesPerSecond) {
    ++log_left_out_;
    return;
  }
  LogLine line(LogLevel::kWarning, "admin_client_refused");
  line.Str("client", PeerOf(fd)).Str("error", verdict.detail);
  if (log_left_out_ > 0) {
    line.Int("left_out", std::exchange(log_left_out_, 0));
  }
}

absl::Status CheckAdminTls(const AdminTlsConfig& config, int64_t now_unix_s,
                           std::vector<std::string>* warnings) {
  if (!config.enabled()) {
    return absl::OkStatus();
  }
  AdminTls admin(config);
  const auto loaded = admin.Read();
  if (!loaded.ok()) {
    return loaded.status();
  }
  for (std::string& warning : admin.Warnings(*loaded, now_unix_s)) {
    warnings->push_back(std::move(warning));
  }
  return absl::OkStatus();
}

}  // namespace spicegate
