// SPDX-License-Identifier: Apache-2.0
//
// What the gateway relies on when the kernel makes records. Needs a kernel with
// TLS and all its ciphers: runs in the guests of tests/tls only.
#include "gateway/tls/kernel_tls.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "gateway/base/unique_fd.h"
#include "gateway/io/tls_socket.h"
#include "gateway/tls/record_keys.h"

namespace spicegate {
namespace {

// Two ends of a connection over loopback.
struct Pair {
  UniqueFd client{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  UniqueFd server;

  Pair() {
    const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener.get(), any, len), 0);
    EXPECT_EQ(listen(listener.get(), 1), 0);
    EXPECT_EQ(getsockname(listener.get(), any, &len), 0);
    EXPECT_EQ(connect(client.get(), any, len), 0);
    server = UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(server.valid());
  }
};

TEST(KernelTls, HasEverything) {
  const KernelTlsSupport support = ProbeKernelTls();
  EXPECT_EQ(support.Missing(), "");
  EXPECT_FALSE(support.None());
}

TEST(KernelTls, NeedsAConnectionAndAProtocol) {
  const UniqueFd unconnected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(StartTlsOn(unconnected.get()), -ENOTCONN);
  const Pair pair;
  KernelTlsKey key;
  const std::array<uint8_t, 28> zeros{};
  ASSERT_TRUE(key.Set(TlsVersion::kTls13, TlsSuite::kAes128Gcm,
                      std::span(zeros).first(16), std::span(zeros).first(12),
                      0));
  EXPECT_NE(SetTlsKeyOn(pair.client.get(), TlsDirection::kSend, key.view()), 0);
}

class KernelTlsAccount
    : public ::testing::TestWithParam<std::tuple<
          TlsVersion, TlsSuite, size_t /*key_len*/, int64_t /*overhead*/>> {};

// KernelTlsStream ends a connection only when these sums agree: were they ever
// unequal it would wait in vain, were they equal too early it would lose bytes.
TEST_P(KernelTlsAccount, OfRecordsAndBytesIsExact) {
  const auto [version, suite, key_len, overhead] = GetParam();
  const Pair pair;
  const int fd = pair.client.get();
  // Bytes of a link before.
  std::vector<uint8_t> out(40'000);
  ASSERT_EQ(send(fd, "link", 4, 0), 4);
  ASSERT_EQ(recv(pair.server.get(), out.data(), out.size(), 0), 4);
  ASSERT_EQ(StartTlsOn(fd), 0);
  ASSERT_EQ(StartTlsOn(pair.server.get()), 0);
  const int64_t before = TcpBytesTakenBy(fd);
  const std::array<uint8_t, 44> bytes{};
  constexpr uint64_t kFirst = 7;
  KernelTlsKey key;
  ASSERT_TRUE(key.Set(version, suite, std::span(bytes).first(key_len),
                      std::span(bytes).first(12), kFirst));
  ASSERT_EQ(SetTlsKeyOn(fd, TlsDirection::kSend, key.view()), 0);
  ASSERT_EQ(SetTlsKeyOn(pair.server.get(), TlsDirection::kReceive, key.view()),
            0);
  EXPECT_EQ(TcpBytesTakenBy(fd), before);
  int64_t plaintext = 0;
  for (const size_t len : {1, 100, 16'384, 16'385, 40'000}) {
    ASSERT_EQ(send(fd, out.data(), len, 0), static_cast<ssize_t>(len));
    plaintext += static_cast<int64_t>(len);
    for (size_t got = 0; got < len;) {
      const ssize_t n = recv(pair.server.get(), out.data(), out.size(), 0);
      ASSERT_GT(n, 0);
      got += static_cast<size_t>(n);
    }
  }
  const std::array<uint8_t, 2> alert = {1, 0};
  ASSERT_EQ(SendTlsRecordTo(fd, kTlsRecordAlert, alert), 2);
  plaintext += 2;
  const int64_t next = NextTlsRecordOf(fd, key.view().size());
  EXPECT_EQ(next, static_cast<int64_t>(kFirst) + 1 + 1 + 1 + 2 + 3 + 1);
  EXPECT_EQ(TcpBytesTakenBy(fd) - before,
            plaintext + overhead * (next - static_cast<int64_t>(kFirst)));
  uint8_t type = 0;
  EXPECT_EQ(RecvTlsRecordFrom(pair.server.get(), out, &type), 2);
  EXPECT_EQ(type, kTlsRecordAlert);
}

INSTANTIATE_TEST_SUITE_P(
    Suites, KernelTlsAccount,
    ::testing::Values(
        std::tuple{TlsVersion::kTls13, TlsSuite::kAes128Gcm, 16, 22},
        std::tuple{TlsVersion::kTls13, TlsSuite::kAes256Gcm, 32, 22},
        std::tuple{TlsVersion::kTls13, TlsSuite::kChaCha20Poly1305, 32, 22},
        std::tuple{TlsVersion::kTls12, TlsSuite::kAes128Gcm, 16, 29},
        std::tuple{TlsVersion::kTls12, TlsSuite::kAes256Gcm, 32, 29},
        std::tuple{TlsVersion::kTls12, TlsSuite::kChaCha20Poly1305, 32, 21}));

}  // namespace
}  // namespace spicegate
