// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/client_names.h"

#include <gtest/gtest.h>

#include "gateway/tls/test_certificate.h"

namespace spicegate {
namespace {

bool Has(const TestCertificateSpec& spec, const std::string& name) {
  const TestCertificate certificate = MakeTestCertificate(spec, nullptr);
  return HasClientName(certificate.x509.get(), {"other", name});
}

TEST(ClientNames, ACommonNameIsComparedExactly) {
  const TestCertificateSpec spec = {
      .subject = {{"CN", "first"}, {"O", "Lab"}, {"CN", "Zähler 1"}}};
  EXPECT_TRUE(Has(spec, "first"));
  EXPECT_TRUE(Has(spec, "Zähler 1"));
  EXPECT_FALSE(Has(spec, "First"));
  EXPECT_FALSE(Has(spec, "firs"));
  EXPECT_FALSE(Has(spec, "first "));
  EXPECT_FALSE(Has(spec, ""));
  EXPECT_FALSE(Has(spec, "Lab"));
}

TEST(ClientNames, ADnsNameIsComparedInAnyCase) {
  const TestCertificateSpec spec = {
      .sans = "DNS:Prom.example.test,DNS:second.example.test"};
  EXPECT_TRUE(Has(spec, "prom.EXAMPLE.test"));
  EXPECT_TRUE(Has(spec, "second.example.test"));
  EXPECT_FALSE(Has(spec, "example.test"));
  EXPECT_FALSE(Has(spec, "prom.example.test."));
}

TEST(ClientNames, AUriIsComparedExactly) {
  const TestCertificateSpec spec = {.sans = "URI:spiffe://lab/ns/portal"};
  EXPECT_TRUE(Has(spec, "spiffe://lab/ns/portal"));
  EXPECT_FALSE(Has(spec, "spiffe://lab/ns/Portal"));
  EXPECT_FALSE(Has(spec, "spiffe://lab/ns"));
}

TEST(ClientNames, AStarStandsForItself) {
  const TestCertificateSpec spec = {.subject = {{"CN", "*"}},
                                    .sans = "DNS:*,DNS:*.example.test"};
  EXPECT_FALSE(Has(spec, "prometheus"));
  EXPECT_FALSE(Has(spec, "prom.example.test"));
  EXPECT_TRUE(Has(spec, "*.example.test"));
}

TEST(ClientNames, OtherKindsOfNamesDoNotCount) {
  const TestCertificateSpec spec = {
      .sans = "IP:10.0.0.1,email:ops@example.test,DNS:prom.example.test"};
  EXPECT_FALSE(Has(spec, "10.0.0.1"));
  EXPECT_FALSE(Has(spec, "ops@example.test"));
}

TEST(ClientNames, ANulCutsNothingOff) {
  TestCertificateSpec spec;
  spec.subject = {{"CN", std::string("prometheus\0.evil.example", 24)}};
  EXPECT_FALSE(Has(spec, "prometheus"));
}

}  // namespace
}  // namespace spicegate
