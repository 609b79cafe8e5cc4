// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/server_context.h"

#include <openssl/bio.h>
#include <openssl/cipher.h>
#include <openssl/pem.h>

#include <ctime>
#include <string>

#include "gateway/tls/client_context.h"
#include "gateway/tls/test_certificate.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

TestCertificate Make(const std::string& common_name, int rsa_bits = 0,
                     const TestCertificate* issuer = nullptr) {
  return MakeTestCertificate({.subject = {{"O", "Lab"}, {"CN", common_name}},
                              .is_ca = issuer == nullptr,
                              .rsa_bits = rsa_bits},
                             issuer);
}

absl::StatusOr<std::shared_ptr<const ServerTlsContext>> Create(
    const std::string& chain, const std::string& key) {
  return ServerTlsContext::Create(chain, key, TlsVersion::kTls12);
}

std::string ErrorOf(const std::string& chain, const std::string& key) {
  const auto context = Create(chain, key);
  if (context.ok()) {
    return "";
  }
  EXPECT_EQ(context.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(context.status().message());
}

TEST(ServerTlsContext, DescribesASelfSignedCertificate) {
  for (const int rsa_bits : {0, 2048}) {
    const TestCertificate cert = Make("gate", rsa_bits);
    const auto context = Create(cert.pem(), cert.key_pem());
    ASSERT_TRUE(context.ok()) << context.status();
    EXPECT_EQ((*context)->certificate_pem(), cert.pem());
    EXPECT_EQ((*context)->trust_anchor_pem(), cert.pem());
    EXPECT_TRUE((*context)->is_self_signed());
    EXPECT_EQ((*context)->subject(), "O=Lab,CN=gate");
    const int64_t left = (*context)->not_after_unix_s() - std::time(nullptr);
    EXPECT_GT(left, 80'000);
    EXPECT_LE(left, 86'400);
  }
}

TEST(ServerTlsContext, FindsTheAnchorOfAChain) {
  const TestCertificate ca = Make("CA");
  const TestCertificate leaf = Make("gate", 0, &ca);
  const auto whole = Create(leaf.pem() + ca.pem(), leaf.key_pem());
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_FALSE((*whole)->is_self_signed());
  EXPECT_EQ((*whole)->certificate_pem(), leaf.pem());
  EXPECT_EQ((*whole)->trust_anchor_pem(), ca.pem());
  const auto alone = Create(leaf.pem(), leaf.key_pem());
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ((*alone)->trust_anchor_pem(), "");
}

TEST(ServerTlsContext, TakesKeyAndChainFromOneFile) {
  const TestCertificate cert = Make("gate");
  const std::string both = cert.key_pem() + cert.pem();
  EXPECT_TRUE(Create(both, both).ok());
}

TEST(ServerTlsContext, AcceptsAnExpiredCertificate) {
  const TestCertificate cert = MakeTestCertificate(
      {.subject = {{"CN", "old"}}, .valid_for_s = -60}, nullptr);
  const auto context = Create(cert.pem(), cert.key_pem());
  ASSERT_TRUE(context.ok());
  EXPECT_LT((*context)->not_after_unix_s(), std::time(nullptr));
}

TEST(ServerTlsContext, SaysWhatIsWrong) {
  const TestCertificate cert = Make("gate");
  const TestCertificate other = Make("other");
  const TestCertificate weak = Make("weak", 1024);
  EXPECT_EQ(ErrorOf(cert.pem(), other.key_pem()),
            "the key does not belong to the first certificate");
  EXPECT_EQ(ErrorOf("", cert.key_pem()), "no PEM certificate");
  EXPECT_EQ(ErrorOf(cert.key_pem(), cert.key_pem()), "no PEM certificate");
  EXPECT_EQ(ErrorOf(cert.pem(), cert.pem()), "no PEM private key");
  EXPECT_EQ(ErrorOf(weak.pem(), weak.key_pem()),
            "the RSA key has fewer than 2048 bits; viewers refuse it");

  std::string broken = cert.pem();
  broken[broken.size() / 2] = '!';
  EXPECT_NE(ErrorOf(broken, cert.key_pem()).find("does not parse"),
            std::string::npos);
  EXPECT_NE(ErrorOf(cert.pem() + broken, cert.key_pem()), "");
  std::string broken_key = cert.key_pem();
  broken_key[broken_key.size() / 2] = '!';
  EXPECT_NE(ErrorOf(cert.pem(), broken_key).find("does not parse"),
            std::string::npos);
}

TEST(ServerTlsContext, RefusesAnEncryptedKeyWithoutAsking) {
  const TestCertificate cert = Make("gate");
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  char passphrase[] = "secret";
  ASSERT_TRUE(PEM_write_bio_PKCS8PrivateKey(bio.get(), cert.key.get(),
                                            EVP_aes_128_cbc(), passphrase, 6,
                                            nullptr, nullptr));
  const uint8_t* data = nullptr;
  size_t len = 0;
  ASSERT_TRUE(BIO_mem_contents(bio.get(), &data, &len));
  const std::string pem(reinterpret_cast<const char*>(data), len);
  EXPECT_NE(ErrorOf(cert.pem(), pem).find("encrypted"), std::string::npos);
}

TEST(ClientTlsContext, SaysWhatIsWrong) {
  const TestCertificate ca = Make("CA");
  const auto error = [](const std::string& pem, const std::string& subject,
                        const std::string& host) {
    const auto context = ClientTlsContext::Create(pem, subject, host);
    return context.ok() ? "" : std::string(context.status().message());
  };
  EXPECT_EQ(error(ca.pem(), "", "hv1"), "");
  EXPECT_EQ(error(ca.pem() + ca.pem(), "CN=x", ""), "");
  EXPECT_EQ(error("", "CN=x", ""), "CA: no PEM certificate");
  EXPECT_EQ(error(ca.pem(), "", ""),
            "neither host-subject nor host to verify the server by");
  EXPECT_EQ(error(ca.pem(), "CN", "hv1"), "host-subject: a key without =value");
}

}  // namespace
}  // namespace spicegate
