// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/kernel_tls.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <string_view>

#include "gateway/base/unique_fd.h"
#include "gateway/io/tls_socket.h"
#include "gateway/tls/record_keys.h"

namespace spicegate {
namespace {

constexpr std::array<TlsVersion, kNumTlsVersions> kVersions = {
    TlsVersion::kTls12, TlsVersion::kTls13};
constexpr std::array<std::string_view, kNumTlsVersions> kVersionNames = {
    "TLS 1.2", "TLS 1.3"};

// The suites that the kernel may know.
constexpr std::array<TlsSuite, 3> kSuites = {
    TlsSuite::kAes128Gcm, TlsSuite::kAes256Gcm, TlsSuite::kChaCha20Poly1305};
constexpr std::array<std::string_view, 3> kSuiteNames = {
    "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};

bool Has(OffloadDirections set, OffloadDirections wanted) {
  return (set & wanted) == wanted;
}

// Two ends of a connection over loopback; keys can be set on nothing else.
struct LoopbackPair {
  UniqueFd client;
  UniqueFd server;
};

bool Connect(LoopbackPair* pair) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  pair->client = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t len = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener.get(), any, len) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), any, &len) != 0 ||
      connect(pair->client.get(), any, len) != 0) {
    return false;
  }
  pair->server =
      UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return pair->server.get() >= 0;
}

OffloadDirections Probe(TlsVersion version, TlsSuite suite) {
  OffloadDirections able = OffloadDirections::kNone;
  LoopbackPair pair;
  KernelTlsKey key;
  const std::array<uint8_t, 32> zeros{};
  const size_t key_len = suite == TlsSuite::kAes128Gcm ? 16 : 32;
  if (!Connect(&pair) || StartTlsOn(pair.client.get()) != 0 ||
      !key.Set(version, suite, std::span(zeros).first(key_len),
               std::span(zeros).first(12), 0)) {
    return able;
  }
  const int fd = pair.client.get();
  if (SetTlsKeyOn(fd, TlsDirection::kSend, key.view()) == 0) {
    able = able | OffloadDirections::kSend;
  }
  if (SetTlsKeyOn(fd, TlsDirection::kReceive, key.view()) == 0) {
    able = able | OffloadDirections::kReceive;
  }
  return able;
}

}  // namespace

bool KernelTlsSupport::None() const {
  return std::all_of(directions.begin(), directions.end(), [](const auto& row) {
    return std::all_of(row.begin(), row.end(), [](OffloadDirections d) {
      return d == OffloadDirections::kNone;
    });
  });
}

std::string KernelTlsSupport::Missing() const {
  std::string missing;
  for (size_t v = 0; v < kVersions.size(); ++v) {
    for (size_t s = 0; s < kSuites.size(); ++s) {
      const size_t suite = static_cast<size_t>(kSuites[s]);
      if (!Has(directions[v][suite], OffloadDirections::kBoth)) {
        missing += missing.empty() ? "" : ", ";
        missing += kVersionNames[v];
        missing += " ";
        missing += kSuiteNames[s];
      }
    }
  }
  return missing;
}

KernelTlsSupport ProbeKernelTls() {
  KernelTlsSupport support;
  for (const TlsVersion version : kVersions) {
    for (const TlsSuite suite : kSuites) {
      support.directions[static_cast<size_t>(version)]
                        [static_cast<size_t>(suite)] = Probe(version, suite);
    }
  }
  return support;
}

OffloadDirections OffloadPolicy::For(TlsLeg leg, TlsVersion version,
                                     TlsSuite suite) const {
  const OffloadDirections able =
      support
          .directions[static_cast<size_t>(version)][static_cast<size_t>(suite)];
  return able & (leg == TlsLeg::kClient ? client : server);
}

bool OffloadPolicy::MayReceive(TlsLeg leg) const {
  const OffloadDirections allowed = leg == TlsLeg::kClient ? client : server;
  return Has(allowed, OffloadDirections::kReceive) && !support.None();
}

}  // namespace spicegate
