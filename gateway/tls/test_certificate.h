// SPDX-License-Identifier: Apache-2.0
//
// Certificates of any shape, for tests.
#ifndef SPICEGATE_GATEWAY_TLS_TEST_CERTIFICATE_H_
#define SPICEGATE_GATEWAY_TLS_TEST_CERTIFICATE_H_

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace spicegate {

struct TestCertificateSpec {
  // Key and value, in order. A key with '+' in front joins the RDN before.
  std::vector<std::pair<std::string, std::string>> subject = {{"CN", "test"}};
  std::string sans = {};  // as in "DNS:a.example,IP:127.0.0.1"; empty for none
  bool is_ca = false;
  int rsa_bits = 0;      // 0: ECDSA
  int ecdsa_bits = 256;  // of the curve: 256, 384 or 521
  int64_t valid_for_s = 86'400;
  int64_t valid_in_s = -86'400;     // begins so long from now
  std::string extended_usage = {};  // as in "clientAuth"; empty for none
};

struct TestCertificate {
  bssl::UniquePtr<X509> x509;
  bssl::UniquePtr<EVP_PKEY> key;

  std::string pem() const;
  std::string key_pem() const;
};

// Signed by `issuer`, or with its own key when that is null. Aborts when it
// cannot be made.
TestCertificate MakeTestCertificate(const TestCertificateSpec& spec,
                                    const TestCertificate* issuer);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TEST_CERTIFICATE_H_
