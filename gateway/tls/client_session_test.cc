// SPDX-License-Identifier: Apache-2.0
//
// Resumption towards servers: what ClientTlsContext remembers and what not.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "gateway/tls/ticket_keys.h"
#include "gateway/tls/tls_stream_test_contexts.h"
#include "gateway/tls/tls_stream_test_peer.h"

namespace spicegate {
namespace {

std::shared_ptr<const ServerTlsContext> WithTickets(
    const std::shared_ptr<const ServerTlsContext>& context) {
  ServerTlsOptions options;
  options.ticket_keys =
      std::make_shared<TicketKeyring>(TicketKeys::Rotate(nullptr));
  auto with = ServerTlsContext::Create(context->certificates(), options);
  EXPECT_TRUE(with.ok()) << with.status();
  return *with;
}

class ClientSession : public ::testing::TestWithParam<uint16_t> {
 protected:
  // One connection up to its first data, which brings the tickets along.
  // Whether the server resumed; the client must agree.
  bool Resumes(const std::shared_ptr<const ServerTlsContext>& server) {
    TlsPair pair(client_, server);
    EXPECT_TRUE(pair.RunHandshakes());
    EXPECT_EQ(pair.client_result, 0) << pair.client->failure_detail();
    EXPECT_EQ(pair.server->Write(BytesOf("data")), 4);
    EXPECT_EQ(ReadAvailable(pair.client.get()), BytesOf("data"));
    EXPECT_EQ(pair.client->resumed(), pair.server->resumed());
    return pair.server->resumed();
  }

  // The session that a connection would offer now.
  const SSL_SESSION* Remembered() {
    const bssl::UniquePtr<SSL> ssl(SSL_new(client_->ssl_context()));
    client_->OfferSession(ssl.get());
    return SSL_get_session(ssl.get());
  }

  std::shared_ptr<const ClientTlsContext> client_ = ClientUpTo(GetParam());
};

TEST_P(ClientSession, OneFullHandshakeForAnyNumberOfConnections) {
  const auto server = WithTickets(ServerContext());
  EXPECT_FALSE(Resumes(server));
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(Resumes(server)) << i;
  }
}

TEST_P(ClientSession, ServersWithoutTicketsWork) {
  const auto server = ServerContext();
  EXPECT_FALSE(Resumes(server));
  EXPECT_FALSE(Resumes(server));
}

TEST_P(ClientSession, AServerWithOtherKeysGetsAFullHandshakeAndIsRemembered) {
  EXPECT_FALSE(Resumes(WithTickets(ServerContext())));
  const auto restarted = WithTickets(ServerContext());
  EXPECT_FALSE(Resumes(restarted));
  EXPECT_TRUE(Resumes(restarted));
}

TEST_P(ClientSession, AnotherContextKnowsNothing) {
  const auto server = WithTickets(ServerContext());
  EXPECT_FALSE(Resumes(server));
  client_ = ClientUpTo(GetParam());
  EXPECT_FALSE(Resumes(server));
}

TEST_P(ClientSession, AnImpostorIsStillRefused) {
  const auto server = WithTickets(ServerContext());
  EXPECT_FALSE(Resumes(server));
  // Another CA's certificate behind the same address; it has not the keys.
  const TestCertificate ca = MakeTestCertificate(
      {.subject = {{"CN", "another CA"}}, .is_ca = true}, nullptr);
  const TestCertificate fake = MakeTestCertificate(HypervisorSpec(), &ca);
  const auto impostor =
      ServerTlsContext::Create(fake.pem(), fake.key_pem(), TlsVersion::kTls12);
  ASSERT_TRUE(impostor.ok());
  TlsPair pair(client_, WithTickets(*impostor));
  ASSERT_TRUE(pair.RunHandshakes());
  EXPECT_EQ(pair.client_result, -EKEYREJECTED);
  EXPECT_EQ(pair.client->failure(), TlsFailure::kChain);
}

TEST_P(ClientSession, WhatAHandshakeFailedWithIsNotOfferedAgain) {
  const auto server = WithTickets(ServerContext());
  EXPECT_FALSE(Resumes(server));
  ASSERT_NE(Remembered(), nullptr);
  TlsPair pair(client_, server);
  EXPECT_EQ(pair.client->Handshake(), -EAGAIN);
  pair.to_client->bytes.assign({'n', 'o', ' ', 'T', 'L', 'S', '\n'});
  EXPECT_EQ(pair.client->Handshake(), -EPROTO);
  EXPECT_EQ(Remembered(), nullptr);
  EXPECT_FALSE(Resumes(server));
}

TEST_P(ClientSession, ASessionThatWasResumedIsNotPassedOn) {
  const auto server = WithTickets(ServerContext());
  EXPECT_FALSE(Resumes(server));
  const SSL_SESSION* const first = Remembered();
  EXPECT_TRUE(Resumes(server));
  EXPECT_EQ(Remembered(), first);
}

INSTANTIATE_TEST_SUITE_P(Versions, ClientSession,
                         ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

}  // namespace
}  // namespace spicegate
