// SPDX-License-Identifier: Apache-2.0
//
// Who is let in over TLS, and how the others are kept from being in the way.
#include "gateway/admin_tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gateway/admin_tls_fixture.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;

constexpr uint16_t kVersions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

using AdminTlsTest = AdminTlsFixture;

TEST_F(AdminTlsTest, AnswersOverTlsWithoutAskingForACertificate) {
  config_.client_ca_path.clear();
  Listen();
  for (const uint16_t version : kVersions) {
    EXPECT_THAT(GetOnce({.version = version}), HasSubstr("{\"live\":true}"));
  }
  EXPECT_EQ(ShownName({}), "gate");
}

TEST_F(AdminTlsTest, LetsAClientWithACertificateIn) {
  Listen();
  for (const uint16_t version : kVersions) {
    const ClientPtr client =
        MakeTls({.certificate = &client_, .version = version});
    EXPECT_THAT(Get(client.get()), HasSubstr("{\"live\":true}"));
    EXPECT_THAT(Get(client.get(),
                    "POST /v1/consoles/vm1/ticket HTTP/1.1\r\nHost: "
                    "localhost\r\n\r\n"),
                HasSubstr("\"ticket\":\"TICKET"));
  }
  EXPECT_EQ(services_.issued.size(), 2U);
}

TEST_F(AdminTlsTest, RefusesAClientWithoutACertificate) {
  Listen();
  EXPECT_EQ(GetOnce({}), "TLSV1_ALERT_CERTIFICATE_REQUIRED");
  EXPECT_EQ(GetOnce({.version = TLS1_2_VERSION}),
            "SSLV3_ALERT_HANDSHAKE_FAILURE");
  TurnUntil(0);
}

TEST_F(AdminTlsTest, ARefusalReachesAClientThatKeepsTalking) {
  Listen();
  const ClientPtr client = MakeTls();
  Run(client.get(), [&] {
    client->Send("POST /v1/consoles/vm1/ticket HTTP/1.1\r\n");
    return false;
  });
  EXPECT_EQ(client->error(), "TLSV1_ALERT_CERTIFICATE_REQUIRED");
}

TEST_F(AdminTlsTest, RefusesCertificatesThatDoNotHold) {
  const TestCertificate other_ca = MakeCa("other CA");
  const TestCertificate stranger =
      MakeTestCertificate({.subject = {{"CN", "prometheus"}}}, &other_ca);
  const TestCertificate namesake_ca = MakeCa("CA");
  const TestCertificate forged =
      MakeTestCertificate({.subject = {{"CN", "prometheus"}}}, &namesake_ca);
  const TestCertificate itself =
      MakeTestCertificate({.subject = {{"CN", "prometheus"}}}, nullptr);
  const TestCertificate expired = MakeTestCertificate(
      {.subject = {{"CN", "prometheus"}}, .valid_for_s = -60}, &ca_);
  const TestCertificate server_only = MakeTestCertificate(
      {.subject = {{"CN", "prometheus"}}, .extended_usage = "serverAuth"},
      &ca_);
  // Signed by one who may not sign.
  const TestCertificate child =
      MakeTestCertificate({.subject = {{"CN", "prometheus"}}}, &client_);
  Listen();
  for (const uint16_t version : kVersions) {
    const auto refusal = [&](const TestCertificate& certificate,
                             const TestCertificate* issuer = nullptr) {
      return GetOnce({&certificate, issuer, version});
    };
    EXPECT_EQ(refusal(stranger), "TLSV1_ALERT_UNKNOWN_CA");
    EXPECT_EQ(refusal(stranger, &other_ca), "TLSV1_ALERT_UNKNOWN_CA");
    EXPECT_EQ(refusal(forged, &namesake_ca), "TLSV1_ALERT_DECRYPT_ERROR");
    EXPECT_EQ(refusal(itself), "TLSV1_ALERT_UNKNOWN_CA");
    EXPECT_EQ(refusal(expired), "SSLV3_ALERT_CERTIFICATE_EXPIRED");
    EXPECT_EQ(refusal(server_only), "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE");
    EXPECT_EQ(refusal(child, &client_), "TLSV1_ALERT_UNKNOWN_CA");
  }
  TurnUntil(0);
  EXPECT_TRUE(services_.issued.empty());
}

TEST_F(AdminTlsTest, TakesKeyUsageForClientsAndIntermediates) {
  const TestCertificate inner =
      MakeTestCertificate({.subject = {{"CN", "inner"}}, .is_ca = true}, &ca_);
  const TestCertificate leaf =
      MakeTestCertificate({.subject = {{"CN", "portal"}},
                           .extended_usage = "serverAuth,clientAuth"},
                          &inner);
  Listen();
  EXPECT_THAT(GetOnce({.certificate = &leaf, .issuer = &inner}),
              HasSubstr("live"));
  EXPECT_EQ(GetOnce({.certificate = &leaf}), "TLSV1_ALERT_UNKNOWN_CA");
}

TEST_F(AdminTlsTest, LetsOnlyTheNamedClientsIn) {
  config_.client_names = {"portal", "spiffe://lab/scraper"};
  const TestCertificate portal = MakeClient("portal");
  const TestCertificate scraper =
      MakeTestCertificate({.sans = "URI:spiffe://lab/scraper"}, &ca_);
  Listen();
  for (const uint16_t version : kVersions) {
    EXPECT_THAT(GetOnce({.certificate = &portal, .version = version}),
                HasSubstr("live"));
    EXPECT_THAT(GetOnce({.certificate = &scraper, .version = version}),
                HasSubstr("live"));
    EXPECT_EQ(GetOnce({.certificate = &client_, .version = version}),
              "SSLV3_ALERT_BAD_CERTIFICATE");
  }
}

TEST_F(AdminTlsTest, RefusesWhatIsNotTodaysTls) {
  Listen();
  EXPECT_EQ(GetOnce({.certificate = &client_, .version = TLS1_1_VERSION}),
            "TLSV1_ALERT_PROTOCOL_VERSION");
  for (const std::string& noise :
       {std::string(kGetLive), std::string(5'000, '\0'),
        std::string("\x16\x03\x01\xff\xff", 5) + std::string(70'000, 'x')}) {
    const UniqueFd fd = Connect();
    EXPECT_GT(send(fd.get(), noise.data(), noise.size(), MSG_NOSIGNAL), 0);
    EXPECT_EQ(shutdown(fd.get(), SHUT_WR), 0);
    TurnUntil(1);
    TurnUntil(0);
  }
  EXPECT_THAT(GetOnce({.certificate = &client_}), HasSubstr("live"));
}

TEST_F(AdminTlsTest, NothingIsSignedWithSha1) {
  const TestCertificate rsa = MakeTestCertificate({.rsa_bits = 2048}, &ca_);
  Listen();
  EXPECT_EQ(GetOnce({.certificate = &rsa,
                     .version = TLS1_2_VERSION,
                     .sign_with = SSL_SIGN_RSA_PKCS1_SHA1}),
            "NO_COMMON_SIGNATURE_ALGORITHMS");
  EXPECT_EQ(GetOnce({.certificate = &client_,
                     .version = TLS1_2_VERSION,
                     .verify_with = SSL_SIGN_ECDSA_SHA1}),
            "SSLV3_ALERT_HANDSHAKE_FAILURE");
  EXPECT_THAT(GetOnce({.certificate = &rsa,
                       .version = TLS1_2_VERSION,
                       .sign_with = SSL_SIGN_RSA_PKCS1_SHA256}),
              HasSubstr("live"));
}

TEST_F(AdminTlsTest, AStalledHandshakeEndsAtItsDeadline) {
  Listen();
  const UniqueFd silent = Connect();
  const UniqueFd slow = Connect();
  TurnUntil(2);
  for (const char byte : {'\x16', '\x03', '\x01'}) {
    EXPECT_EQ(send(slow.get(), &byte, 1, MSG_NOSIGNAL), 1);
    now_ms_ += 1'000;  // a byte now and then gains no time
    Turn();
  }
  EXPECT_EQ(admin_.NextDeadlineMs(), 1'000 + kAdminHandshakeMs);
  now_ms_ = admin_.NextDeadlineMs() - 1;
  Turn();
  EXPECT_EQ(admin_.num_connections(), 2U);
  ++now_ms_;
  TurnUntil(0);
}

TEST_F(AdminTlsTest, StalledHandshakesDelayNobody) {
  Listen();
  const ClientPtr early = MakeTls({.certificate = &client_});
  EXPECT_THAT(Get(early.get()), HasSubstr("live"));
  std::vector<UniqueFd> stalled;
  for (size_t i = 0; i < 3 * kMaxAdminConnections; ++i) {
    stalled.push_back(Connect());
    EXPECT_EQ(send(stalled.back().get(), "\x16\x03", 2, MSG_NOSIGNAL), 2);
    Turn();
  }
  TurnUntil(kMaxAdminConnections);
  EXPECT_THAT(GetOnce({.certificate = &client_}), HasSubstr("live"));
  // Those who hang do not push out who is known.
  EXPECT_THAT(Get(early.get()), HasSubstr("live"));
  EXPECT_EQ(early->error(), "");
}

TEST_F(AdminTlsTest, ServesAsManyClientsAsThereArePlaces) {
  Listen();
  std::vector<ClientPtr> clients;
  for (size_t i = 0; i < kMaxAdminConnections; ++i) {
    clients.push_back(MakeTls({.certificate = &client_}));
    EXPECT_THAT(Get(clients.back().get()), HasSubstr("live"));
  }
  EXPECT_EQ(admin_.num_connections(), kMaxAdminConnections);
  for (const ClientPtr& client : clients) {
    EXPECT_THAT(Get(client.get()), HasSubstr("live"));
  }
  // One more comes in place of the one that asked least lately.
  now_ms_ += 1;
  for (size_t i = 1; i < clients.size(); ++i) {
    Get(clients[i].get());
  }
  EXPECT_THAT(GetOnce({.certificate = &client_}), HasSubstr("live"));
  Run(clients[0].get(), [] { return false; });
  EXPECT_TRUE(clients[0]->over());
  EXPECT_THAT(Get(clients[1].get()), HasSubstr("live"));
}

TEST_F(AdminTlsTest, ClientsThatLeaveAreForgotten) {
  Listen();
  Connect();
  for (int steps = 0; steps < 4; ++steps) {
    const ClientPtr client = MakeTls({.certificate = &client_});
    for (int i = 0; i < steps; ++i) {
      client->Step();
      Turn();
    }
  }
  Turn();
  TurnUntil(0);
}

TEST_F(AdminTlsTest, AnswersRequestsThatComeTogether) {
  Listen();
  const ClientPtr client = MakeTls({.certificate = &client_});
  std::string requests;
  for (int i = 0; i < 500; ++i) {  // two records
    requests += kGetLive;
  }
  client->Send(requests + "GET /livez HTTP/1.0\r\n\r\n");
  Run(client.get(), [] { return false; });
  EXPECT_TRUE(client->closed()) << client->error();
  size_t answers = 0;
  for (size_t at = 0;
       (at = client->received().find("{\"live\"", at)) != std::string::npos;
       ++at) {
    ++answers;
  }
  EXPECT_EQ(answers, 501U);
}

TEST_F(AdminTlsTest, SendsLongAnswersAtTheClientsPace) {
  services_.metrics = std::string(8'000'000, 'm') + "}\n";
  Listen();
  const ClientPtr slow = MakeTls({.certificate = &client_});
  Get(slow.get());
  slow->Forget();
  slow->Send(
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  slow->Step();
  for (int i = 0; i < 20; ++i) {
    Turn();
  }
  EXPECT_THAT(GetOnce({.certificate = &client_}), HasSubstr("live"));
  Run(slow.get(), [] { return false; });
  EXPECT_TRUE(slow->closed()) << slow->error();
  EXPECT_GT(slow->received().size(), services_.metrics.size());
  EXPECT_TRUE(slow->received().ends_with("mm}\n"));
}

TEST_F(AdminTlsTest, FollowsNewKeysOfTheClient) {
  Listen();
  const ClientPtr client = MakeTls({.certificate = &client_});
  EXPECT_THAT(Get(client.get()), HasSubstr("live"));
  EXPECT_EQ(SSL_key_update(client->ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
  EXPECT_THAT(Get(client.get()), HasSubstr("live"));
  EXPECT_THAT(Get(client.get()), HasSubstr("live"));
}

}  // namespace
}  // namespace spicegate
