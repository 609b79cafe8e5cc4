// SPDX-License-Identifier: Apache-2.0
//
// A host-subject as anybody may have typed it, and the bytes as two names: the
// pattern up to the first newline, the host behind it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gateway/base/check.h"
#include "gateway/tls/peer_identity.h"
#include "gateway/tls/test_certificate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  static const spicegate::TestCertificate certificate =
      spicegate::MakeTestCertificate(
          {.subject = {{"C", "AU"}, {"O", "Lab"}, {"CN", "hv1"}}}, nullptr);
  const std::string_view text(reinterpret_cast<const char*>(data), len);

  const auto subject = spicegate::PeerSubject::Parse(text);
  if (subject.ok() && subject->Matches(certificate.x509.get())) {
    // Three values of at least two, one and three bytes, with their keys.
    CHECK(len >= sizeof("C=AU,O=Lab,CN=hv1") - 1);
  }

  const size_t split = text.find('\n');
  if (split != std::string_view::npos) {
    const std::string_view pattern = text.substr(0, split);
    const std::string_view host = text.substr(split + 1);
    const bool matches = spicegate::HostNameMatches(pattern, host);
    CHECK(!matches || pattern.size() <= host.size() ||
          pattern.find('*') != std::string_view::npos);
    static_cast<void>(
        spicegate::PeerHost(host).Matches(certificate.x509.get()));
  }
  return 0;
}
