// SPDX-License-Identifier: Apache-2.0
//
// Which certificate and which suite a client gets.
#include <string>
#include <utility>
#include <vector>

#include "gateway/tls/server_context_test_client.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

TEST(ServerTlsContextSelect, FollowsTheServerName) {
  const TestCertificate first = CertificateFor("DNS:gate.example");
  const TestCertificate exact =
      CertificateFor("DNS:a.lab.example,DNS:B.example");
  const TestCertificate wild = CertificateFor("DNS:*.lab.example");
  const auto context = ContextOf({&first, &exact, &wild});
  const std::pair<std::string, const TestCertificate*> cases[] = {
      {"", &first},
      {"gate.example", &first},
      {"a.lab.example", &exact},  // before the wildcard
      {"A.Lab.EXAMPLE", &exact},
      {"b.example", &exact},
      {"z.lab.example", &wild},
      {"Z.LAB.example", &wild},
      {"lab.example", &first},      // a wildcard stands for one label,
      {"y.z.lab.example", &first},  // and only for one
      {"unknown.example", &first},
      {"example", &first},
      {"*.lab.example", &wild},
  };
  for (const uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const auto& [name, wanted] : cases) {
      const HelloResult result =
          SayHello(*context, {.server_name = name, .version = version});
      EXPECT_TRUE(result.completed) << name;
      EXPECT_EQ(result.certificate, wanted->pem()) << name;
    }
  }
}

TEST(ServerTlsContextSelect, IgnoresATrailingDot) {
  const TestCertificate first = CertificateFor("DNS:gate.example");
  const TestCertificate other = CertificateFor("DNS:other.example");
  const auto context = ContextOf({&first, &other});
  EXPECT_EQ(SayHello(*context, {.server_name = "other.example."}).certificate,
            other.pem());
}

TEST(ServerTlsContextSelect, ACertificateWithoutNamesIsShownByDefaultOnly) {
  const TestCertificate first = CertificateFor("");
  const TestCertificate named = CertificateFor("DNS:gate.example,IP:10.0.0.1");
  const auto context = ContextOf({&first, &named});
  EXPECT_EQ(SayHello(*context, {.server_name = "test"}).certificate,
            first.pem());
  EXPECT_EQ(SayHello(*context, {.server_name = "gate.example"}).certificate,
            named.pem());
}

constexpr uint16_t kP256 = SSL_SIGN_ECDSA_SECP256R1_SHA256;
constexpr uint16_t kP384 = SSL_SIGN_ECDSA_SECP384R1_SHA384;
constexpr uint16_t kPss = SSL_SIGN_RSA_PSS_RSAE_SHA256;
constexpr uint16_t kPkcs1 = SSL_SIGN_RSA_PKCS1_SHA256;

class KeyKindTest : public testing::Test {
 protected:
  static constexpr char kName[] = "DNS:gate.example";

  std::string Shown(const std::vector<const TestCertificate*>& certificates,
                    const HelloSpec& spec) {
    const HelloResult result = SayHello(*ContextOf(certificates), spec);
    return !result.completed                   ? "none"
           : result.certificate == p256_.pem() ? "p256"
           : result.certificate == p384_.pem() ? "p384"
           : result.certificate == rsa_.pem()  ? "rsa"
                                               : "other";
  }

  const TestCertificate p256_ = CertificateFor(kName);
  const TestCertificate p384_ = CertificateFor(kName, {.ecdsa_bits = 384});
  const TestCertificate rsa_ = CertificateFor(kName, {.rsa_bits = 2048});
};

TEST_F(KeyKindTest, FollowsTheSignatureAlgorithms) {
  struct Case {
    std::vector<uint16_t> algorithms;
    uint16_t version;
    const char* wanted;
  };
  const Case cases[] = {
      {{kP256, kPss, kPkcs1}, TLS1_3_VERSION, "p256"},
      {{kPss, kPkcs1, kP256}, TLS1_3_VERSION, "p256"},
      {{kPss, kPkcs1}, TLS1_3_VERSION, "rsa"},
      {{kP384, kPss}, TLS1_3_VERSION, "p384"},
      {{kPkcs1, kP384}, TLS1_3_VERSION, "p384"},  // PKCS1 is of no use in 1.3
      {{kP256, kPkcs1}, TLS1_2_VERSION, "p256"},
      {{kPkcs1}, TLS1_2_VERSION, "rsa"},
      {{kPss}, TLS1_2_VERSION, "rsa"},
      {{SSL_SIGN_ED25519}, TLS1_3_VERSION, "none"},
  };
  for (const Case& c : cases) {
    for (const char* name : {"", "gate.example", "unknown.example"}) {
      const HelloSpec spec{.server_name = name,
                           .version = c.version,
                           .algorithms = c.algorithms};
      EXPECT_EQ(Shown({&rsa_, &p256_, &p384_}, spec), c.wanted)
          << name << " " << c.algorithms[0];
      EXPECT_EQ(Shown({&p256_, &p384_, &rsa_}, spec), c.wanted)
          << name << " " << c.algorithms[0];
    }
  }
}

TEST_F(KeyKindTest, FollowsTheSuitesOfTls12) {
  const HelloSpec rsa{.version = TLS1_2_VERSION,
                      .tls12_ciphers = "ECDHE-RSA-AES128-GCM-SHA256"};
  EXPECT_EQ(Shown({&p256_, &rsa_}, rsa), "rsa");
  const HelloSpec ecdsa{.version = TLS1_2_VERSION,
                        .tls12_ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"};
  EXPECT_EQ(Shown({&rsa_, &p256_}, ecdsa), "p256");
  EXPECT_EQ(Shown({&rsa_}, ecdsa), "none");
  // A suite that we do not take says nothing about the key.
  const HelloSpec cbc{.version = TLS1_2_VERSION,
                      .tls12_ciphers =
                          "ECDHE-ECDSA-AES128-SHA:"
                          "ECDHE-RSA-AES128-GCM-SHA256"};
  EXPECT_EQ(Shown({&p256_, &rsa_}, cbc), "rsa");
}

TEST_F(KeyKindTest, AnotherNamesKeyIsNotShown) {
  const TestCertificate other =
      CertificateFor("DNS:other.example", {.rsa_bits = 2048});
  const HelloSpec spec{.server_name = "gate.example",
                       .algorithms = {kPss, kPkcs1}};
  EXPECT_EQ(Shown({&p256_, &other}, spec), "none");
}

std::string CipherFor(const ServerTlsOptions& options,
                      const std::string& client_ciphers) {
  static const TestCertificate certificate = CertificateFor("DNS:gate.example");
  return SayHello(*ContextOf({&certificate}, options),
                  {.version = TLS1_2_VERSION, .tls12_ciphers = client_ciphers})
      .cipher;
}

TEST(ServerTlsContextSuites, OursInOurOrder) {
  constexpr char kAll[] =
      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:"
      "ECDHE-ECDSA-AES128-GCM-SHA256";
  EXPECT_EQ(CipherFor({}, kAll), "ECDHE-ECDSA-AES128-GCM-SHA256");
  EXPECT_EQ(CipherFor({}, "ECDHE-ECDSA-CHACHA20-POLY1305"),
            "ECDHE-ECDSA-CHACHA20-POLY1305");
  EXPECT_EQ(CipherFor({.tls12_suites = {TlsSuite::kChaCha20Poly1305,
                                        TlsSuite::kAes256Gcm}},
                      kAll),
            "ECDHE-ECDSA-CHACHA20-POLY1305");
  EXPECT_EQ(CipherFor({.tls12_suites = {TlsSuite::kAes256Gcm}}, kAll),
            "ECDHE-ECDSA-AES256-GCM-SHA384");
  EXPECT_EQ(CipherFor({.tls12_suites = {TlsSuite::kAes256Gcm}},
                      "ECDHE-ECDSA-AES128-GCM-SHA256"),
            "");
}

TEST(ServerTlsContextSuites, MinVersionHoldsForEveryCertificate) {
  const TestCertificate first = CertificateFor("DNS:gate.example");
  const TestCertificate other = CertificateFor("DNS:other.example");
  const auto context =
      ContextOf({&first, &other}, {.min_version = TlsVersion::kTls13});
  for (const char* name : {"gate.example", "other.example"}) {
    EXPECT_FALSE(
        SayHello(*context, {.server_name = name, .version = TLS1_2_VERSION})
            .completed);
    EXPECT_TRUE(SayHello(*context, {.server_name = name}).completed);
  }
}

TEST(ServerTlsContextSet, DescribesTheFirstAndTheSoonest) {
  const TestCertificate first =
      CertificateFor("DNS:gate.example", {.valid_for_s = 7200});
  const TestCertificate other =
      CertificateFor("DNS:other.example", {.valid_for_s = 3600});
  const auto context = ContextOf({&first, &other});
  EXPECT_EQ(context->certificate_pem(), first.pem());
  EXPECT_EQ(context->not_after_unix_s(),
            NotAfterUnixS(other.x509.get()).value_or(0));
  EXPECT_EQ(context->SelfSignedPemFor("other.example"), other.pem());
  EXPECT_EQ(context->SelfSignedPemFor("Other.EXAMPLE."), other.pem());
  EXPECT_EQ(context->SelfSignedPemFor(""), first.pem());
  ASSERT_EQ(context->ShownTo("other.example").size(), 1U);
  EXPECT_EQ(context->ShownTo("other.example")[0], context->certificates()[1]);
}

// The hello of a client that has all that we look at.
std::string RecordedHello() {
  const bssl::UniquePtr<SSL_CTX> ctx(SSL_CTX_new(TLS_method()));
  const bssl::UniquePtr<SSL> client(SSL_new(ctx.get()));
  BIO* const out = BIO_new(BIO_s_mem());
  SSL_set_bio(client.get(), BIO_new(BIO_s_mem()), out);
  SSL_set_tlsext_host_name(client.get(), "gate.example");
  SSL_set_connect_state(client.get());
  EXPECT_NE(SSL_do_handshake(client.get()), 1);
  const uint8_t* data = nullptr;
  size_t len = 0;
  EXPECT_TRUE(BIO_mem_contents(out, &data, &len));
  return std::string(reinterpret_cast<const char*>(data), len);
}

// What the server answers; nothing to a hello of which more must come.
size_t AnswerTo(const ServerTlsContext& context, const std::string& hello) {
  const bssl::UniquePtr<SSL> server(SSL_new(context.ssl_context()));
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  BIO_write(in, hello.data(), static_cast<int>(hello.size()));
  SSL_set_bio(server.get(), in, out);
  SSL_set_accept_state(server.get());
  EXPECT_NE(SSL_do_handshake(server.get()), 1);
  ERR_clear_error();
  const uint8_t* data = nullptr;
  size_t len = 0;
  EXPECT_TRUE(BIO_mem_contents(out, &data, &len));
  return len;
}

TEST(ServerTlsContextSelect, TakesAnyBytesForAHello) {
  const TestCertificate first = CertificateFor("DNS:gate.example");
  const TestCertificate other = CertificateFor("DNS:other.example");
  const auto context = ContextOf(
      {&first, &other}, {.ticket_keys = std::make_shared<TicketKeyring>(
                             TicketKeys::Rotate(nullptr))});
  const std::string hello = RecordedHello();
  const size_t whole = AnswerTo(*context, hello);
  EXPECT_GT(whole, 100U);
  size_t num_refused = 0;
  for (size_t i = 0; i < hello.size(); ++i) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string changed = hello;
      changed[i] = static_cast<char>(changed[i] ^ change);
      // An alert is 7 bytes.
      num_refused += AnswerTo(*context, changed) <= 7 ? 1 : 0;
    }
  }
  EXPECT_GT(num_refused, 20U);
  EXPECT_LT(num_refused, 3 * hello.size());
}

TEST(ServerCertificateTest, RefusesACurveThatViewersRefuse) {
  const TestCertificate p521 =
      CertificateFor("DNS:gate.example", {.ecdsa_bits = 521});
  const auto parsed =
      ServerCertificate::Parse(p521.pem(), p521.key_pem(), "a.pem, a.key");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().message(),
            "a.pem, a.key: the ECDSA key is neither on P-256 nor on P-384; "
            "viewers refuse it");
}

}  // namespace
}  // namespace spicegate
