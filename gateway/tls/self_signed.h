// SPDX-License-Identifier: Apache-2.0
//
// A certificate for a gateway that was given none. Viewers trust it because
// the .vv file carries it as `ca`.
#ifndef SPICEGATE_GATEWAY_TLS_SELF_SIGNED_H_
#define SPICEGATE_GATEWAY_TLS_SELF_SIGNED_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace spicegate {

struct SelfSigned {
  std::string certificate_pem;
  std::string key_pem;  // a secret
};

// An ECDSA P-256 key and a certificate over it, valid from one day before
// `now_unix_s` for ten years, with every name of `names` as SAN: IP addresses
// as iPAddress, all others as dNSName. The first name is the subject's CN. It
// is no CA: whoever trusts it trusts nothing that its key might sign.
// InvalidArgument for no names or one that is neither.
absl::StatusOr<SelfSigned> MakeSelfSigned(const std::vector<std::string>& names,
                                          int64_t now_unix_s);

// Name of the file in the state directory: key and certificate in one, so that
// no crash can leave halves that do not match.
inline constexpr char kSelfSignedFile[] = "self-signed.pem";

// Made anew when it has less than this to live.
inline constexpr int64_t kSelfSignedRenewalS = 30 * 86'400;

// The pair kept in `state_dir` (which must exist), made at first use, mode
// 0600, written to a temporary file, synced and renamed. It is made anew,
// replacing the file, when it is about to expire or lacks one of `names`. A
// file that cannot be read or understood is an error (FailedPrecondition) and
// stays: a certificate that changes by itself looks like an attack, and the
// cause (a full disk, wrong rights) would only strike again. With an empty
// `state_dir` the pair lives in memory only.
//
// Blocks on files; never on a worker. One process per state directory.
absl::StatusOr<SelfSigned> LoadOrCreateSelfSigned(
    const std::string& state_dir, const std::vector<std::string>& names,
    int64_t now_unix_s);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_SELF_SIGNED_H_
