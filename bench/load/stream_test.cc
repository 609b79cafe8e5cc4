// SPDX-License-Identifier: Apache-2.0
#include "bench/load/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/tls.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

// Two streams with a handshake behind them and little room between.
class TlsPair : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> fds;
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()),
              0);
    client_ = std::make_unique<Stream>(fds[0]);
    server_ = std::make_unique<Stream>(fds[1]);
    ASSERT_TRUE(client_->StartTls(*client_context_));
    ASSERT_TRUE(server_->StartTls(*server_context_));
    ASSERT_EQ(client_->Queue(proto::AsBytes(std::string("x"))), 0);
    while (received_.empty()) {
      ASSERT_TRUE(ReceiveAll());
      ASSERT_EQ(client_->Recv(buffer_), -EAGAIN);
      ASSERT_EQ(client_->Flush(), 0);
    }
    received_.clear();
  }

  // All that has come; false when the stream failed.
  bool ReceiveAll() {
    ssize_t n = 0;
    while ((n = server_->Recv(buffer_)) > 0) {
      received_.append(reinterpret_cast<char*>(buffer_.data()),
                       static_cast<size_t>(n));
    }
    return n == -EAGAIN;
  }

  const std::unique_ptr<TlsContext> server_context_ = TlsContext::Server();
  const std::unique_ptr<TlsContext> client_context_ =
      TlsContext::Client({.version = 0x0304});
  std::unique_ptr<Stream> client_;
  std::unique_ptr<Stream> server_;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(64 * 1024);
  std::string received_;
};

TEST_F(TlsPair, WhatFollowsAFullSocketMayBeAnything) {
  const std::string flood(1024 * 1024, 'f');
  size_t taken = 0;
  ssize_t n = 0;
  while ((n = client_->Send(proto::AsBytes(flood).subspan(taken))) > 0) {
    taken += static_cast<size_t>(n);
  }
  ASSERT_EQ(n, -EAGAIN);
  ASSERT_LT(taken, flood.size());
  EXPECT_TRUE(client_->has_pending());
  // Shorter than the record that waits, and not what was offered before.
  EXPECT_EQ(client_->Queue(proto::AsBytes(std::string("the end"))), 0);
  const std::string sent = flood.substr(0, taken) + "the end";
  for (size_t i = 0; i < 1000 && received_.size() < sent.size(); ++i) {
    ASSERT_TRUE(ReceiveAll());
    ASSERT_EQ(client_->Flush(), 0);
  }
  EXPECT_FALSE(client_->has_pending());
  EXPECT_TRUE(received_ == sent) << received_.size() << " of " << sent.size();
  EXPECT_EQ(client_->num_sent(), sent.size() + 1);
}

TEST_F(TlsPair, CountsHandshakes) {
  EXPECT_EQ(client_context_->counts().handshakes, 1u);
  EXPECT_EQ(client_context_->counts().resumed, 0u);
  EXPECT_EQ(client_context_->counts().unwanted, 0u);
  EXPECT_EQ(client_context_->counts().last.substr(0, 12), "TLSv1.3 TLS_");
}

}  // namespace
}  // namespace spicegate
