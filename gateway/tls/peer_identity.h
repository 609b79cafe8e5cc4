// SPDX-License-Identifier: Apache-2.0
//
// Whether a certificate belongs to the server we meant: spice-common's rules,
// so that what a viewer accepts directly is accepted here and the other way
// round. A host-subject must have the certificate's parts in number and order,
// values compared without case; a host name is compared with the SANs, or with
// the CN where there are none. The chain is not looked at here.
#ifndef SPICEGATE_GATEWAY_TLS_PEER_IDENTITY_H_
#define SPICEGATE_GATEWAY_TLS_PEER_IDENTITY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/tls/boring.h"

namespace spicegate {

// A parsed host-subject. Immutable; Matches may be called by several threads.
class PeerSubject {
 public:
  // `KEY=value,KEY=value`: `\,` and `\\` are escapes and no others exist,
  // spaces before a key are ignored, a trailing comma is fine. Keys are
  // OpenSSL's short or long names, case-sensitive, or dotted OIDs.
  // InvalidArgument for anything else, for an empty value, and for no pair at
  // all.
  static absl::StatusOr<PeerSubject> Parse(std::string_view text);

  // Number and order of the RDNs must be the certificate's; values are
  // compared without regard to case and to repeated or outer spaces.
  bool Matches(const x509_st* certificate) const;

 private:
  explicit PeerSubject(X509NamePtr name) : name_(std::move(name)) {}

  X509NamePtr name_;
};

// The subject of `certificate` in the syntax above, such that it matches the
// certificate; empty when the syntax cannot express it.
std::string SubjectOf(const x509_st* certificate);

// A host as the console names it: a DNS name or an IP address.
class PeerHost {
 public:
  // Any text; one trailing dot of a DNS name is dropped.
  explicit PeerHost(std::string_view host);

  // If the certificate has any dNSName or iPAddress SAN, one of them must
  // match; else one of its common names must. An address matches an iPAddress
  // only. Names compare without regard to case; `*` stands for any characters
  // within one label.
  bool Matches(const x509_st* certificate) const;

  bool is_address() const { return address_len_ != 0; }
  const std::string& text() const { return text_; }

 private:
  // `bytes` as an iPAddress has them.
  bool IsAddress(std::string_view bytes) const;

  std::string text_;
  std::array<uint8_t, 16> address_{};  // network order
  size_t address_len_ = 0;             // 0: a name, 4: IPv4, 16: IPv6
};

// Every dNSName of the certificate's SAN, in lower case, in order. Empty when
// it has none or the extension does not parse.
std::vector<std::string> DnsNamesOf(const x509_st* certificate);

// Whether its SAN has an iPAddress.
bool HasAddressName(const x509_st* certificate);

// Whether the certificate's name `pattern` stands for `host`. Linear in the
// product of the lengths, whatever the number of stars.
bool HostNameMatches(std::string_view pattern, std::string_view host);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_PEER_IDENTITY_H_
