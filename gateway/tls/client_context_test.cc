// SPDX-License-Identifier: Apache-2.0
//
// The context for where a desktop has migrated: the same trust, another name.
#include "gateway/tls/client_context.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "gateway/tls/ticket_keys.h"
#include "gateway/tls/tls_stream_test_contexts.h"
#include "gateway/tls/tls_stream_test_peer.h"

namespace spicegate {
namespace {

using Client = std::shared_ptr<const ClientTlsContext>;
using Server = std::shared_ptr<const ServerTlsContext>;

// A server whose certificate says that it is hv2.
Server Destination(const TestCertificate& ca, bool with_tickets = false) {
  const TestCertificate certificate = MakeTestCertificate(
      {.subject = {{"O", "Lab"}, {"CN", "hv2"}}, .sans = "DNS:hv2.example"},
      &ca);
  auto server = ServerTlsContext::Create(
      certificate.pem(), certificate.key_pem(), TlsVersion::kTls12);
  EXPECT_TRUE(server.ok()) << server.status();
  if (with_tickets) {
    ServerTlsOptions options;
    options.ticket_keys =
        std::make_shared<TicketKeyring>(TicketKeys::Rotate(nullptr));
    server = ServerTlsContext::Create((*server)->certificates(), options);
    EXPECT_TRUE(server.ok()) << server.status();
  }
  return *server;
}

// The console's context, which checks the subject of hv1, and what it makes.
Client ForServer(const std::string& subject, const std::string& host) {
  auto made = ClientContext()->ForServer(subject, host);
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

TlsFailure FailureWith(const Client& client, const Server& server) {
  TlsPair pair(client, server);
  EXPECT_TRUE(pair.RunHandshakes());
  EXPECT_EQ(pair.client_result == 0,
            pair.client->failure() == TlsFailure::kNone);
  return pair.client->failure();
}

TEST(ClientContextForServer, IsVerifiedByItsNameAlone) {
  const Client client = ForServer("", "hv2.example");
  EXPECT_EQ(client->server_name(), "hv2.example");
  EXPECT_EQ(FailureWith(client, Destination(Ca())), TlsFailure::kNone);
  EXPECT_EQ(FailureWith(client, ServerContext()), TlsFailure::kName);
}

TEST(ClientContextForServer, OrByItsSubjectAlone) {
  const Client client = ForServer("O=Lab,CN=hv2", "elsewhere.example");
  EXPECT_EQ(FailureWith(client, Destination(Ca())), TlsFailure::kNone);
  EXPECT_EQ(FailureWith(client, ServerContext()), TlsFailure::kSubject);
}

TEST(ClientContextForServer, TrustsTheSameAnchorsAndNoOthers) {
  const TestCertificate other_ca = MakeTestCertificate(
      {.subject = {{"CN", "another CA"}}, .is_ca = true}, nullptr);
  EXPECT_EQ(FailureWith(ForServer("", "hv2.example"), Destination(other_ca)),
            TlsFailure::kChain);
}

TEST(ClientContextForServer, OutlivesTheOneItCameFrom) {
  Client made;
  {
    const Client source = ClientContext();
    auto there = source->ForServer("", "hv2.example");
    ASSERT_TRUE(there.ok()) << there.status();
    made = *std::move(there);
  }
  EXPECT_EQ(FailureWith(made, Destination(Ca())), TlsFailure::kNone);
  // And leaves it as it was.
  const Client source = ClientContext();
  ASSERT_TRUE(source->ForServer("", "hv2.example").ok());
  EXPECT_EQ(FailureWith(source, ServerContext()), TlsFailure::kNone);
  EXPECT_EQ(FailureWith(source, Destination(Ca())), TlsFailure::kSubject);
}

TEST(ClientContextForServer, HasItsOwnTlsSessions) {
  const Client source = ClientContext();
  const Server server = Destination(Ca(), /*with_tickets=*/true);
  auto there = source->ForServer("", "hv2.example");
  ASSERT_TRUE(there.ok()) << there.status();
  const auto resumes = [&server](const Client& client) {
    TlsPair pair(client, server);
    EXPECT_TRUE(pair.RunHandshakes());
    EXPECT_EQ(pair.client_result, 0) << pair.client->failure_detail();
    pair.server->Write(BytesOf("data"));
    ReadAvailable(pair.client.get());
    return pair.client->resumed();
  };
  EXPECT_FALSE(resumes(*there));
  EXPECT_TRUE(resumes(*there));
  const auto again = source->ForServer("", "hv2.example");
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(resumes(*again)) << "a session that it did not verify itself";
  // Nor does a session of its own reach the source's context.
  const bssl::UniquePtr<SSL> ssl(SSL_new(source->ssl_context()));
  source->OfferSession(ssl.get());
  EXPECT_EQ(SSL_get_session(ssl.get()), nullptr);
}

TEST(ClientContextForServer, NeedsSomethingToVerifyBy) {
  const Client source = ClientContext();
  EXPECT_FALSE(source->ForServer("", "").ok());
  EXPECT_FALSE(source->ForServer("no subject", "hv2.example").ok());
  EXPECT_TRUE(source->ForServer("CN=hv2", "").ok());
}

}  // namespace
}  // namespace spicegate
