// SPDX-License-Identifier: Apache-2.0
#include "bench/plain_relay/plain_relay.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gateway/base/unique_fd.h"
#include "gateway/io/listen.h"
#include "gateway/io/uring_driver.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/test_certificate.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {
namespace {

constexpr int kPatienceMs = 20'000;

// A relay on a thread of its own, from construction to Stop.
class RelayThread {
 public:
  explicit RelayThread(const SocketAddress& server,
                       std::shared_ptr<const ServerTlsContext> tls = nullptr)
      : stop_(eventfd(0, EFD_CLOEXEC)) {
    UniqueFd listener = *ListenTcp("127.0.0.1", 0);
    address_ = LocalAddress(listener.get());
    thread_ = std::thread([this, server, tls = std::move(tls),
                           listener = std::move(listener)]() mutable {
      auto driver = *UringDriver::Create();
      PlainRelay relay(driver.get(), std::move(listener), server, tls);
      relay.Run(stop_.get());
      summary_ = relay.Summary();
    });
  }
  ~RelayThread() { Stop(); }

  std::string Stop() {
    if (thread_.joinable()) {
      eventfd_write(stop_.get(), 1);
      thread_.join();
    }
    return summary_;
  }

  const SocketAddress& address() const { return address_; }

 private:
  const UniqueFd stop_;
  SocketAddress address_;
  std::string summary_;
  std::thread thread_;
};

UniqueFd ConnectTo(const SocketAddress& address) {
  UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(fd.get(), address.get(), address.len), 0);
  return fd;
}

UniqueFd AcceptFrom(const UniqueFd& listener) {
  pollfd waited = {listener.get(), POLLIN, 0};
  EXPECT_EQ(poll(&waited, 1, kPatienceMs), 1);
  return UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

// Up to `len` bytes; fewer only when the stream ended.
std::string ReadUpTo(const UniqueFd& fd, size_t len) {
  std::string text(len, '\0');
  size_t have = 0;
  while (have < len) {
    pollfd waited = {fd.get(), POLLIN, 0};
    EXPECT_EQ(poll(&waited, 1, kPatienceMs), 1);
    const ssize_t n = recv(fd.get(), &text[have], len - have, MSG_DONTWAIT);
    if (n <= 0) {
      break;
    }
    have += static_cast<size_t>(n);
  }
  text.resize(have);
  return text;
}

TEST(PlainRelay, CarriesBytesBothWaysAndCountsThem) {
  const UniqueFd listener = *ListenTcp("127.0.0.1", 0);
  RelayThread relay(LocalAddress(listener.get()));
  for (int i = 0; i < 10; ++i) {
    const UniqueFd client = ConnectTo(relay.address());
    ASSERT_EQ(send(client.get(), "ask", 3, MSG_NOSIGNAL), 3);
    const UniqueFd server = AcceptFrom(listener);
    EXPECT_EQ(ReadUpTo(server, 3), "ask");
    ASSERT_EQ(send(server.get(), "answer", 6, MSG_NOSIGNAL), 6);
    EXPECT_EQ(ReadUpTo(client, 6), "answer");
    shutdown(client.get(), SHUT_WR);
    EXPECT_EQ(ReadUpTo(server, 1), "");
    shutdown(server.get(), SHUT_WR);
    EXPECT_EQ(ReadUpTo(client, 1), "");
  }
  EXPECT_EQ(relay.Stop(),
            "{\"event\":\"stopped\",\"accepted\":10,\"relayed\":10,"
            "\"bytes_client_to_server\":30,\"bytes_server_to_client\":60,"
            "\"refused\":{},\"ends\":{\"client_closed\":10}}");
}

TEST(PlainRelay, ResetsTheClientWhenNobodyListens) {
  SocketAddress nobody;
  {
    const UniqueFd gone = *ListenTcp("127.0.0.1", 0);
    nobody = LocalAddress(gone.get());
  }
  RelayThread relay(nobody);
  const UniqueFd client = ConnectTo(relay.address());
  pollfd waited = {client.get(), POLLIN, 0};
  ASSERT_EQ(poll(&waited, 1, kPatienceMs), 1);
  char byte = 0;
  EXPECT_EQ(recv(client.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

std::shared_ptr<const ServerTlsContext> MakeTls() {
  const TestCertificate certificate = MakeTestCertificate({}, nullptr);
  return *ServerTlsContext::Create(certificate.pem(), certificate.key_pem(),
                                   TlsVersion::kTls13);
}

TEST(PlainRelay, EndsTlsOfTheClient) {
  const UniqueFd listener = *ListenTcp("127.0.0.1", 0);
  RelayThread relay(LocalAddress(listener.get()), MakeTls());
  const UniqueFd client = ConnectTo(relay.address());
  const bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
  const bssl::UniquePtr<SSL> ssl(SSL_new(context.get()));
  ASSERT_EQ(SSL_set_fd(ssl.get(), client.get()), 1);
  ASSERT_EQ(SSL_connect(ssl.get()), 1);
  ASSERT_EQ(SSL_write(ssl.get(), "ask", 3), 3);
  const UniqueFd server = AcceptFrom(listener);
  EXPECT_EQ(ReadUpTo(server, 3), "ask");
  ASSERT_EQ(send(server.get(), "answer", 6, MSG_NOSIGNAL), 6);
  std::string answer(6, '\0');
  EXPECT_EQ(SSL_read(ssl.get(), answer.data(), 6), 6);
  EXPECT_EQ(answer, "answer");
  SSL_shutdown(ssl.get());
  EXPECT_EQ(ReadUpTo(server, 1), "");
  shutdown(server.get(), SHUT_WR);
  EXPECT_EQ(SSL_read(ssl.get(), answer.data(), 6), 0);
  EXPECT_EQ(SSL_get_error(ssl.get(), 0), SSL_ERROR_ZERO_RETURN);
  EXPECT_EQ(relay.Stop(),
            "{\"event\":\"stopped\",\"accepted\":1,\"relayed\":1,"
            "\"bytes_client_to_server\":3,\"bytes_server_to_client\":6,"
            "\"refused\":{},\"ends\":{\"client_closed\":1}}");
}

TEST(PlainRelay, RefusesAClientThatSpeaksNoTls) {
  const UniqueFd listener = *ListenTcp("127.0.0.1", 0);
  RelayThread relay(LocalAddress(listener.get()), MakeTls());
  const UniqueFd client = ConnectTo(relay.address());
  ASSERT_EQ(send(client.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
  ReadUpTo(client, 1000);  // to the end
  const std::string summary = relay.Stop();
  EXPECT_NE(summary.find("\"refused\":{\"client_tls\":1}"), std::string::npos)
      << summary;
  EXPECT_NE(summary.find("\"relayed\":0,"), std::string::npos) << summary;
}

TEST(PlainRelay, StopsWithChannelsOpen) {
  const UniqueFd listener = *ListenTcp("127.0.0.1", 0);
  RelayThread relay(LocalAddress(listener.get()));
  const UniqueFd client = ConnectTo(relay.address());
  const UniqueFd server = AcceptFrom(listener);
  ASSERT_EQ(send(server.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_EQ(ReadUpTo(client, 1), "x");
  EXPECT_NE(relay.Stop().find("\"shutdown\":1"), std::string::npos);
  EXPECT_EQ(ReadUpTo(client, 1), "");
  EXPECT_EQ(ReadUpTo(server, 1), "");
}

}  // namespace
}  // namespace spicegate
