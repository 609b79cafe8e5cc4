// SPDX-License-Identifier: Apache-2.0
//
// TlsStream::BeginRelaying: what goes to the kernel, what stays, and that
// nothing is lost on the way. The kernel is a fake; tests/tls has the real one.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "gateway/tls/fake_kernel_tls.h"
#include "gateway/tls/record_keys.h"
#include "gateway/tls/tls_stream_test_contexts.h"
#include "gateway/tls/tls_stream_test_peer.h"

namespace spicegate {
namespace {

using enum OffloadDirections;

class TlsStreamOffloadTest : public ::testing::Test {
 protected:
  explicit TlsStreamOffloadTest(OffloadDirections allowed = kBoth) {
    policy_.client = allowed;
    pair_ = std::make_unique<TlsPair>(ClientContext(), ServerContext(), 0,
                                      &policy_);
    EXPECT_TRUE(pair_->RunHandshakes());
    EXPECT_EQ(pair_->server_result, 0);
    // As a link is written by both sides before.
    EXPECT_EQ(server()->Write(BytesOf("link")), 4);
    EXPECT_EQ(ReadAvailable(client()), BytesOf("link"));
  }
  ~TlsStreamOffloadTest() override {
    stream_.reset();
    pair_.reset();
    Socket::Release(std::move(socket_), Socket::End::kFin);
  }

  TlsStream* client() { return pair_->client.get(); }
  TlsStream* server() { return pair_->server.get(); }

  // Of the server's stream; the one to go on with.
  Stream* Begin() {
    stream_ = server()->BeginRelaying(socket_.get(), &counters_);
    return stream_ != nullptr ? stream_.get() : server();
  }

  int64_t Open(OffloadDirections offload) const {
    return counters_
        .tls_connections_open[0][1][static_cast<size_t>(TlsSuite::kAes128Gcm)]
                             [static_cast<size_t>(offload)]
        .value();
  }

  std::string ReadFrom(Stream* stream, size_t max_bytes = 100) {
    std::vector<uint8_t> out(max_bytes);
    const ssize_t n = stream->Read(out);
    return n > 0 ? std::string(out.begin(), out.begin() + n)
                 : std::to_string(n);
  }

  FakeKernelTls kernel_;
  WorkerCounters counters_;
  OffloadPolicy policy_ = kWholeOffload;
  std::unique_ptr<Socket> socket_{new Socket(&kernel_, 5)};
  std::unique_ptr<TlsPair> pair_;
  std::unique_ptr<Stream> stream_;
};

class OffloadSendOnly : public TlsStreamOffloadTest {
 protected:
  OffloadSendOnly() : TlsStreamOffloadTest(kSend) {}
};

class OffloadReceiveOnly : public TlsStreamOffloadTest {
 protected:
  OffloadReceiveOnly() : TlsStreamOffloadTest(kReceive) {}
};

TEST_F(TlsStreamOffloadTest, BothDirectionsMakeItAKernelStream) {
  Stream* const stream = Begin();
  EXPECT_NE(stream, server());
  EXPECT_FALSE(kernel_.send_key.empty());
  EXPECT_FALSE(kernel_.receive_key.empty());
  EXPECT_NE(kernel_.send_key, kernel_.receive_key);
  EXPECT_EQ(Open(kBoth), 1);
  pair_->server.reset();  // BoringSSL's state goes, and sends nothing
  EXPECT_TRUE(kernel_.sent.empty());
  EXPECT_TRUE(pair_->to_client->bytes.empty());
  kernel_.Incoming("data");
  EXPECT_EQ(ReadFrom(stream), "data");
  EXPECT_TRUE(stream->CanSpliceIn());
  EXPECT_TRUE(stream->CanSpliceOut());
}

TEST_F(TlsStreamOffloadTest, TheKernelsKeysAreThePeers) {
  KernelTlsKey sends;
  KernelTlsKey receives;
  ssl_st* const ssl = TlsStreamTestPeer::Ssl(client());
  ASSERT_TRUE(ExportKernelTlsKey(ssl, TlsDirection::kSend, &sends));
  ASSERT_TRUE(ExportKernelTlsKey(ssl, TlsDirection::kReceive, &receives));
  Begin();
  const auto text = [](const KernelTlsKey& key) {
    return std::string(key.view().begin(), key.view().end());
  };
  EXPECT_EQ(kernel_.receive_key, text(sends));
  EXPECT_EQ(kernel_.send_key, text(receives));
}

TEST_F(TlsStreamOffloadTest, WhatWasDecryptedAlreadyIsReadFirst) {
  ASSERT_EQ(client()->Write(BytesOf("link and more")), 13);
  EXPECT_EQ(ReadFrom(server(), 4), "link");
  Stream* const stream = Begin();
  EXPECT_EQ(Open(kBoth), 1);
  kernel_.Incoming("data");
  EXPECT_EQ(ReadFrom(stream), " and more");
  EXPECT_EQ(ReadFrom(stream), "data");
}

TEST_F(TlsStreamOffloadTest, ARecordBehindStaysInTheSocket) {
  ASSERT_EQ(client()->Write(BytesOf("link")), 4);
  ASSERT_EQ(client()->Write(BytesOf("next")), 4);
  EXPECT_EQ(ReadFrom(server()), "link");
  EXPECT_FALSE(pair_->to_server->bytes.empty());
  Begin();
  EXPECT_EQ(Open(kBoth), 1);
}

TEST_F(TlsStreamOffloadTest, APartOfARecordInHandKeepsReceivingInUserSpace) {
  ASSERT_EQ(client()->Write(BytesOf("in two parts")), 12);
  auto& bytes = pair_->to_server->bytes;
  const std::vector<uint8_t> rest(bytes.begin() + 9, bytes.end());
  bytes.resize(9);
  EXPECT_EQ(ReadFrom(server()), std::to_string(-EAGAIN));
  Stream* const stream = Begin();
  EXPECT_EQ(stream, server());
  EXPECT_EQ(Open(kSend), 1);
  EXPECT_TRUE(stream->CanSpliceOut());
  EXPECT_FALSE(stream->CanSpliceIn());
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  EXPECT_EQ(ReadFrom(stream), "in two parts");
}

TEST_F(TlsStreamOffloadTest, AKeyThatThePeerDoesNotKnowYetStaysHere) {
  // BoringSSL changes its key at once, and says so with its next record.
  ASSERT_TRUE(SSL_key_update(TlsStreamTestPeer::Ssl(client()),
                             SSL_KEY_UPDATE_REQUESTED));
  ASSERT_EQ(client()->Write(BytesOf("rekeyed")), 7);
  EXPECT_EQ(ReadFrom(server(), 7), "rekeyed");
  Stream* const stream = Begin();
  EXPECT_EQ(Open(kReceive), 1);
  EXPECT_TRUE(kernel_.send_key.empty());
  ASSERT_EQ(stream->Write(BytesOf("mine too")), 8);
  EXPECT_EQ(ReadAvailable(client()), BytesOf("mine too"));
}

TEST_F(TlsStreamOffloadTest, APeerThatIsGoneAlreadyStaysInUserSpace) {
  kernel_.start_result = -ENOTCONN;
  Stream* const stream = Begin();
  EXPECT_EQ(stream, server());
  EXPECT_EQ(Open(kNone), 1);
  EXPECT_TRUE(kernel_.send_key.empty());
  EXPECT_TRUE(kernel_.receive_key.empty());
  ASSERT_EQ(client()->Write(BytesOf("still here")), 10);
  EXPECT_EQ(ReadFrom(stream), "still here");
  ASSERT_EQ(stream->Write(BytesOf("so am I")), 7);
  EXPECT_EQ(ReadAvailable(client()), BytesOf("so am I"));
}

TEST_F(TlsStreamOffloadTest, EachDirectionFallsBackAlone) {
  kernel_.send_key_result = -ENOENT;
  Stream* const stream = Begin();
  EXPECT_EQ(stream, server());
  EXPECT_EQ(Open(kReceive), 1);
  kernel_.Incoming("from the kernel");
  EXPECT_EQ(ReadFrom(stream), "from the kernel");
  ASSERT_EQ(stream->Write(BytesOf("from us")), 7);
  EXPECT_EQ(ReadAvailable(client()), BytesOf("from us"));
}

TEST_F(TlsStreamOffloadTest, ASuiteThatTheKernelLacksStaysInUserSpace) {
  for (auto& suites : policy_.support.directions) {
    suites[static_cast<size_t>(TlsSuite::kAes128Gcm)] = kNone;
  }
  EXPECT_EQ(Begin(), server());
  EXPECT_EQ(Open(kNone), 1);
}

TEST_F(OffloadSendOnly, SendsByTheKernelAndReceivesHere) {
  Stream* const stream = Begin();
  EXPECT_EQ(stream, server());
  EXPECT_EQ(Open(kSend), 1);
  ASSERT_EQ(client()->Write(BytesOf("hello")), 5);
  EXPECT_EQ(ReadFrom(stream), "hello");
  ASSERT_EQ(stream->Write(BytesOf("data")), 3);
  ASSERT_EQ(stream->Write(BytesOf("a")), 1);
  ASSERT_EQ(kernel_.sent.size(), 2U);
  EXPECT_EQ(kernel_.sent[0].bytes, "dat");
  EXPECT_EQ(stream->ShutdownWrite(), 0);
  ASSERT_EQ(kernel_.sent.size(), 3U);
  EXPECT_EQ(kernel_.sent[2].type, kTlsRecordAlert);
  EXPECT_TRUE(pair_->to_client->bytes.empty());
}

TEST_F(OffloadSendOnly, BoringSslCannotSendUnderTheKernelsKey) {
  Stream* const stream = Begin();
  ASSERT_EQ(client()->Write(BytesOf("text")), 4);
  pair_->to_server->bytes.back() ^= 1;
  EXPECT_EQ(ReadFrom(stream), std::to_string(kTlsBadRecord));
  EXPECT_TRUE(pair_->to_client->bytes.empty()) << "an alert under an old key";
  ASSERT_EQ(kernel_.sent.size(), 1U);
  EXPECT_EQ(kernel_.sent[0].type, kTlsRecordAlert);
  EXPECT_EQ(kernel_.sent[0].bytes, "\x02\x14") << "bad_record_mac";
}

TEST_F(OffloadReceiveOnly, TheLastByteTowardsAClientGoesApart) {
  const auto record_lens = [this] {
    std::vector<size_t> lens;
    const auto& bytes = pair_->to_client->bytes;
    for (size_t at = 0; at + 5 <= bytes.size();) {
      lens.push_back(size_t{bytes[at + 3]} << 8 | bytes[at + 4]);
      at += 5 + lens.back();
    }
    return lens;
  };
  ASSERT_EQ(server()->Write(BytesOf("link")), 4);
  const size_t overhead = record_lens().back() - 4;
  EXPECT_EQ(ReadAvailable(client()), BytesOf("link"));
  Stream* const stream = Begin();
  ASSERT_EQ(stream->Write(BytesOf("message")), 7);
  EXPECT_EQ(record_lens(), (std::vector<size_t>{6 + overhead, 1 + overhead}));
  EXPECT_EQ(ReadAvailable(client()), BytesOf("message"));
  ASSERT_EQ(stream->Write(BytesOf("!")), 1);
  EXPECT_EQ(record_lens(), (std::vector<size_t>{1 + overhead}));
  EXPECT_EQ(ReadAvailable(client()), BytesOf("!"));
  // A lot that fills its records, and one that leaves a byte.
  for (const size_t len : {size_t{2 * 16'384}, size_t{16'385}}) {
    const std::vector<uint8_t> lot(len, 'x');
    ASSERT_EQ(stream->Write(lot), static_cast<ssize_t>(len));
    EXPECT_EQ(record_lens().back(), 1 + overhead);
    EXPECT_EQ(ReadAvailable(client()), lot);
  }
}

TEST_F(OffloadReceiveOnly, ReceivesByTheKernelAndSendsHere) {
  Stream* const stream = Begin();
  EXPECT_EQ(stream, server());
  EXPECT_EQ(Open(kReceive), 1);
  kernel_.Incoming("hello");
  EXPECT_EQ(ReadFrom(stream), "hello");
  EXPECT_TRUE(stream->CanSpliceIn());
  EXPECT_FALSE(stream->CanSpliceOut());
  ASSERT_EQ(stream->Write(BytesOf("data")), 4);
  EXPECT_EQ(ReadAvailable(client()), BytesOf("data"));
  EXPECT_TRUE(kernel_.sent.empty());
}

TEST_F(OffloadReceiveOnly, AKeyUpdateIsAnsweredWithCloseNotifyFromHere) {
  Stream* const stream = Begin();
  kernel_.Incoming({"\x18\0\0\x01\0", 5}, kTlsRecordHandshake);
  EXPECT_EQ(ReadFrom(stream), std::to_string(kTlsRekeyed));
  EXPECT_TRUE(kernel_.sent.empty());
  bool ended = false;
  ReadAvailable(client(), &ended);
  EXPECT_TRUE(ended);
  EXPECT_FALSE(client()->truncated());
}

}  // namespace
}  // namespace spicegate
