// SPDX-License-Identifier: Apache-2.0
//
// What an operator should know about certificates before viewers find it out.
#ifndef SPICEGATE_GATEWAY_TLS_CERTIFICATE_CHECK_H_
#define SPICEGATE_GATEWAY_TLS_CERTIFICATE_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/tls/server_certificate.h"
#include "gateway/tls/server_context.h"

namespace spicegate {

// What viewers that come with one of our .vv files do.
struct ViewerExpectations {
  std::string host;          // where they connect, a name or an address
  std::string host_subject;  // what they compare instead of names, if given
  std::string ca_pem;        // what they trust; empty: their own store
  // Where they find our https proxy (CONNECT over TLS); empty: there is none.
  std::string proxy_host = "";
};

struct CertificateFindings {
  // Viewers are refused now or soon, or some of them are.
  std::vector<std::string> warnings;
  // What only some ways of use need.
  std::vector<std::string> notes;
};

// Warns beyond that, so that a renewal that does not happen is seen in time.
inline constexpr int64_t kExpiryWarningS = 14 * 86'400;

// Looks at every certificate of `context`: dates, order and completeness of
// the chain, and that its use is not confined to others than servers. Then, as
// viewers do, at those that are shown for `viewers.host`: that they lead to
// the CA, that their subject is host_subject or else their names have the
// host; and at those that are shown to who asks for no name, that they have an
// address where an https proxy needs one. Each finding is one line that begins
// with the certificate's label; none of them makes a certificate unusable.
// Never on a worker.
CertificateFindings CheckCertificates(const ServerTlsContext& context,
                                      const ViewerExpectations& viewers,
                                      int64_t now_unix_s);

// The first half of that, for a certificate that viewers do not see: warnings
// about what it is by itself.
std::vector<std::string> CertificateWarnings(
    const ServerCertificate& certificate, int64_t now_unix_s);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_CERTIFICATE_CHECK_H_
