// SPDX-License-Identifier: Apache-2.0
//
// Session tickets: who resumes what, and where.
#include <cstdint>
#include <memory>
#include <string>

#include "gateway/tls/server_context_test_client.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

// For both versions; the parameter is the client's.
class TicketsTest : public testing::TestWithParam<uint16_t> {
 protected:
  HelloResult Hello(const ServerTlsContext& context,
                    const std::string& server_name = "",
                    const HelloResult* resume = nullptr) const {
    return SayHello(
        context,
        {.server_name = server_name,
         .version = GetParam(),
         .session = resume != nullptr ? resume->session.get() : nullptr});
  }

  static ServerTlsOptions With(std::shared_ptr<const TicketKeys> keys) {
    ServerTlsOptions options;
    options.ticket_keys = std::make_shared<TicketKeyring>(std::move(keys));
    return options;
  }

  const std::shared_ptr<const TicketKeys> keys_ = TicketKeys::Rotate(nullptr);
  const TestCertificate certificate_ =
      CertificateFor("DNS:gate.example,DNS:also.example");
};

INSTANTIATE_TEST_SUITE_P(Versions, TicketsTest,
                         testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

TEST_P(TicketsTest, OneTicketAHandshakeAndItResumes) {
  const auto context = ContextOf({&certificate_}, With(keys_));
  const HelloResult first = Hello(*context);
  ASSERT_TRUE(first.completed);
  EXPECT_FALSE(first.resumed);
  ASSERT_EQ(first.num_tickets, 1);
  // Again and again: viewers open ten connections with it.
  for (int i = 0; i < 10; ++i) {
    const HelloResult again = Hello(*context, "", &first);
    EXPECT_TRUE(again.completed);
    EXPECT_TRUE(again.resumed);
  }
  EXPECT_LE(SSL_SESSION_get_timeout(first.session.get()), kTicketLifeS);
}

TEST_P(TicketsTest, NoKeysNoTickets) {
  const HelloResult first = Hello(*ContextOf({&certificate_}));
  ASSERT_TRUE(first.completed);
  EXPECT_TRUE(first.session == nullptr ||
              !SSL_SESSION_has_ticket(first.session.get()));
}

TEST_P(TicketsTest, ASessionOfViewersIsNoneOfHttp) {
  const auto viewers = ContextOf({&certificate_}, With(keys_));
  const auto http = viewers->ForHttp();
  ASSERT_TRUE(http.ok()) << http.status();
  const HelloResult viewer = Hello(*viewers);
  const HelloResult browser = Hello(**http);
  ASSERT_TRUE(browser.completed);
  EXPECT_TRUE(Hello(**http, "", &browser).resumed);
  EXPECT_FALSE(Hello(*viewers, "", &browser).resumed);
  EXPECT_FALSE(Hello(**http, "", &viewer).resumed);
}

TEST_P(TicketsTest, AnotherNodeWithTheKeysResumes) {
  const HelloResult first =
      Hello(*ContextOf({&certificate_}, With(keys_)), "gate.example");
  // Its certificate is another one for the same names.
  const TestCertificate renewed =
      CertificateFor("DNS:also.example,DNS:gate.example");
  const auto node = ContextOf({&renewed}, With(keys_));
  EXPECT_TRUE(Hello(*node, "gate.example", &first).resumed);
  const auto stranger =
      ContextOf({&certificate_}, With(TicketKeys::Rotate(nullptr)));
  const HelloResult refused = Hello(*stranger, "gate.example", &first);
  EXPECT_TRUE(refused.completed);
  EXPECT_FALSE(refused.resumed);
}

TEST_P(TicketsTest, RotationKeepsTheLastKeysTickets) {
  const auto keyring = std::make_shared<TicketKeyring>(keys_);
  ServerTlsOptions options;
  options.ticket_keys = keyring;
  const auto context = ContextOf({&certificate_}, options);
  const HelloResult first = Hello(*context);
  keyring->Replace(TicketKeys::Rotate(keyring->keys().get()));
  const HelloResult second = Hello(*context, "", &first);
  EXPECT_TRUE(second.resumed);
  keyring->Replace(TicketKeys::Rotate(keyring->keys().get()));
  const HelloResult third = Hello(*context, "", &first);
  EXPECT_TRUE(third.completed);
  EXPECT_FALSE(third.resumed);
}

TEST_P(TicketsTest, ASessionKeepsItsName) {
  const TestCertificate other =
      CertificateFor("DNS:other.example,DNS:*.lab.example");
  const auto context = ContextOf({&certificate_, &other}, With(keys_));
  for (const std::string name :
       {"", "gate.example", "other.example", "a.lab.example", "unknown"}) {
    const HelloResult first = Hello(*context, name);
    ASSERT_TRUE(first.completed) << name;
    for (const std::string next :
         {"", "gate.example", "also.example", "other.example", "a.lab.example",
          "b.lab.example", "unknown"}) {
      const HelloResult second = Hello(*context, next, &first);
      EXPECT_TRUE(second.completed) << name << " " << next;
      EXPECT_EQ(second.resumed, name == next) << name << " " << next;
    }
  }
}

TEST_P(TicketsTest, ASessionEndsWithItsCertificatesName) {
  const TestCertificate other = CertificateFor("DNS:other.example");
  const auto both = ContextOf({&certificate_, &other}, With(keys_));
  const HelloResult named = Hello(*both, "other.example");
  const HelloResult unnamed = Hello(*both, "");
  // Nobody speaks for other.example any more.
  const auto one = ContextOf({&certificate_}, With(keys_));
  EXPECT_FALSE(Hello(*one, "other.example", &named).resumed);
  EXPECT_TRUE(Hello(*one, "", &unnamed).resumed);
  // Another certificate stands for those who ask for nobody.
  const auto swapped = ContextOf({&other, &certificate_}, With(keys_));
  EXPECT_FALSE(Hello(*swapped, "", &unnamed).resumed);
  EXPECT_TRUE(Hello(*swapped, "other.example", &named).resumed);
}

TEST_P(TicketsTest, ResumesWhicheverKeyTheSessionBeganWith) {
  const TestCertificate rsa =
      CertificateFor("DNS:gate.example,DNS:also.example", {.rsa_bits = 2048});
  const auto context = ContextOf({&certificate_, &rsa}, With(keys_));
  HelloSpec spec{
      .version = GetParam(),
      .algorithms = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256}};
  const HelloResult first = SayHello(*context, spec);
  ASSERT_EQ(first.certificate, rsa.pem());
  // In TLS 1.2 the suite binds the session to the kind of key.
  EXPECT_EQ(Hello(*context, "", &first).resumed, GetParam() == TLS1_3_VERSION);
  spec.session = first.session.get();
  EXPECT_TRUE(SayHello(*context, spec).resumed);
}

TEST(TicketsEarlyData, IsNotOffered) {
  const TestCertificate certificate = CertificateFor("DNS:gate.example");
  ServerTlsOptions options;
  options.ticket_keys =
      std::make_shared<TicketKeyring>(TicketKeys::Rotate(nullptr));
  const HelloResult first = SayHello(*ContextOf({&certificate}, options));
  ASSERT_NE(first.session, nullptr);
  EXPECT_FALSE(SSL_SESSION_early_data_capable(first.session.get()));
}

}  // namespace
}  // namespace spicegate
