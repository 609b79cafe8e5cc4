// SPDX-License-Identifier: Apache-2.0
//
// The tickets that a Proxmox cluster signs for its SPICE proxy. A viewer sends
// one as the host name of CONNECT:
//
//   pvespiceproxy:<time>:<vmid>:<node>[:<port>]::<signature>
//
//   time       seconds since 1970, 8 hex digits
//   node       where the machine runs, in lower case
//   port       of its SPICE server; since pve-common 9.1.11, absent before
//   signature  40 hex digits: SHA-1 of all before "::" and the secret behind it
//
// The secret is the same on every node: base64 without padding of HMAC-SHA256,
// keyed with the bytes of /etc/pve/pve-www.key, of nothing. A ticket says where
// somebody may go, not who: no user is in it, no client address, and it is good
// for any number of connections in its time.
//
// Source: PVE::Ticket of pve-access-control and pve-common, as it behaves.
#ifndef SPICEGATE_GATEWAY_AUTH_PROXMOX_TICKET_H_
#define SPICEGATE_GATEWAY_AUTH_PROXMOX_TICKET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace spicegate {

// A ticket is good while kProxmoxMinAgeS < age < kProxmoxMaxAgeS, in seconds of
// the wall clock. Below zero: the clocks of a cluster's nodes differ.
inline constexpr int64_t kProxmoxMinAgeS = -20;
inline constexpr int64_t kProxmoxMaxAgeS = 40;

// What a ticket says. Believed only when Verify returned kOk.
struct ProxmoxTicket {
  int64_t issued_s = 0;
  std::string vmid;  // 1 to 9 digits
  std::string node;  // 1 to 63 of [a-z0-9-], no '-' at an end
  std::optional<uint16_t> port;
};

// For logs and counters: a client gets one answer for all but kOk.
enum class ProxmoxVerdict {
  kOk,
  kMalformed,  // not of the form above
  kForged,     // signed with another secret, or changed
  kTooOld,     // signed well, but too long ago
  kTooEarly,   // signed well, by a clock too far ahead of ours
};

// True for whatever begins as these tickets do, good or bad. Nothing else that
// can be dialled does: a host name has no colon.
bool LooksLikeProxmoxTicket(std::string_view host);

// The secret that a cluster signs with, from the content of its key file: all
// of it, with the newline at the end.
std::string ProxmoxSecret(std::string_view key_file_content);

// Immutable and shared; any number of threads may verify with one at once. The
// secret is wiped when the last one goes.
class ProxmoxKey {
 public:
  // Of any bytes, as Proxmox takes them. InvalidArgument when there are none,
  // or zeros only: everybody could sign with that.
  static absl::StatusOr<std::shared_ptr<const ProxmoxKey>> FromFileContent(
      const std::string& content);

  // What ProxmoxSecret gives; not empty.
  static std::shared_ptr<const ProxmoxKey> FromSecret(std::string secret);

  ~ProxmoxKey();
  ProxmoxKey(const ProxmoxKey&) = delete;
  ProxmoxKey& operator=(const ProxmoxKey&) = delete;

  // `host` is any bytes, without the port that CONNECT names. Letters in upper
  // case are malformed, as they are for Proxmox: viewers send none, and what
  // was signed has none. The signature is looked at before the age, in a time
  // that does not depend on where it differs. `out` means nothing when the
  // verdict is kMalformed.
  ProxmoxVerdict Verify(std::string_view host, int64_t wall_s,
                        ProxmoxTicket* out) const;

 private:
  explicit ProxmoxKey(std::string secret) : secret_(std::move(secret)) {}

  std::string secret_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_AUTH_PROXMOX_TICKET_H_
