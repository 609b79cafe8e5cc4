// SPDX-License-Identifier: Apache-2.0
//
// Keystone's identity API v3 (docs.openstack.org/api-ref/identity/v3), as much
// of it as a service needs that wants a token: POST /v3/auth/tokens. Pure: text
// in and text out, no I/O, no clock.
#ifndef SPICEGATE_GATEWAY_CLOUD_KEYSTONE_PROTOCOL_H_
#define SPICEGATE_GATEWAY_CLOUD_KEYSTONE_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/cloud/secret.h"

namespace spicegate {

// A catalog of a cloud with some dozens of regions has 300 KiB.
inline constexpr size_t kMaxKeystoneReplyBytes = 512 * 1024;

// Fernet tokens have about 250 characters, signed ones of old some thousands.
inline constexpr size_t kMaxKeystoneTokenLen = 8 * 1024;

inline constexpr size_t kMaxEndpointLen = 1024;

// Where to authenticate. Without `catalog` Keystone is asked to leave it out.
std::string KeystoneAuthUrl(const KeystoneConfig& config, bool catalog);

// What to post there. The whole text is secret.
std::string KeystoneAuthBody(const KeystoneConfig& config,
                             const Secret& secret);

struct KeystoneToken {
  Secret token;
  // From issue to expiry, both by Keystone's clock: ours may differ.
  int64_t life_s = 0;
  int64_t expires_unix_s = 0;  // by Keystone's clock
  std::string compute_url;     // without '/' at the end
};

// Takes a reply of status 201 apart. `subject_token` is the value of its header
// X-Subject-Token, null where there is none. Where the reply does not say when
// the token was issued that is `wall_s`. The endpoint of `compute` that is
// configured wins; else the catalog's is chosen by interface and region.
// InvalidArgument: not what Keystone sends. NotFound: no such endpoint in the
// catalog. No message holds anything of the reply.
absl::StatusOr<KeystoneToken> ParseKeystoneReply(
    const std::string* subject_token, const std::string& body,
    const ComputeConfig& compute, int64_t wall_s);

// Whether `body`, of an error, is Keystone's word, not that of a server where
// Keystone is not.
bool IsKeystoneError(const std::string& body);

// "2026-08-21T12:00:00.000000Z", with or without the fraction, to seconds since
// 1970. False for all else, with `*unix_s` untouched.
bool ParseKeystoneTime(std::string_view text, int64_t* unix_s);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_KEYSTONE_PROTOCOL_H_
