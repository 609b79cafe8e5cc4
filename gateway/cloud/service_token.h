// SPDX-License-Identifier: Apache-2.0
//
// The gateway's own token in one OpenStack cloud: fetched when somebody needs
// it, kept, and renewed before it expires while the cloud is in use.
//
//   none ---Get---> fetching ----> live ----renewal----> live (the next one)
//    ^                 |             |
//    +----- failed ----+             +--expired, rejected--> none
//
// One authentication is under way at a time; who needs a token meanwhile waits
// for it. Where Keystone says no, it is not asked again for a while: accounts
// are locked after some wrong passwords. A change of the file with the secret
// ends that while.
#ifndef SPICEGATE_GATEWAY_CLOUD_SERVICE_TOKEN_H_
#define SPICEGATE_GATEWAY_CLOUD_SERVICE_TOKEN_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/cloud/call_gate.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/cloud/cloud_context.h"
#include "gateway/cloud/cloud_journal.h"
#include "gateway/cloud/keystone_protocol.h"
#include "gateway/cloud/secret.h"
#include "gateway/cloud/token_key.h"

namespace spicegate {

// Control thread only.
class ServiceToken {
 public:
  // After the first refusal; doubled with each up to the longest.
  static constexpr int64_t kFirstRefusalMs = 30'000;
  static constexpr int64_t kLongestRefusalMs = 600'000;

  // All outlive the service token. `config` has been checked.
  ServiceToken(const KeystoneConfig& config, const ComputeConfig& compute,
               CloudContext* context, CloudJournal* journal);
  ServiceToken(const ServiceToken&) = delete;
  ServiceToken& operator=(const ServiceToken&) = delete;

  // OK: live() is true, and stays so for as long as `ready` runs.
  // PermissionDenied, Unavailable, DeadlineExceeded: there is none. `ready` is
  // called exactly once, inside the call or later.
  using Ready = std::function<void(const absl::Status&)>;
  void Get(Ready ready);

  // Nova does not take the token of that generation: it is used no more.
  void Reject(uint64_t generation);

  bool live() const;
  // The following while live().
  const Secret& token() const { return token_.token; }
  const std::string& compute_url() const { return token_.compute_url; }
  // Another one with each token.
  uint64_t generation() const { return generation_; }

  // By Keystone's clock; 0: there is no token.
  int64_t expires_unix_s() const;
  bool breaker_open() const { return gate_.breaker_open(); }
  const CloudStats::Requests& requests() const { return gate_.requests(); }

 private:
  // Why Keystone is not asked now.
  struct Refusal {
    TokenKey secret{};  // of the last attempt
    int64_t until_ms = 0;
    int count = 0;  // in a row
  };

  void Authenticate();
  void ShowSecret();
  CallVerdict Judge(const HttpAnswer& answer, KeystoneToken* token);
  CallVerdict JudgeToken(const HttpAnswer& answer, KeystoneToken* token);
  void Refuse(bool account_at_risk);
  void Take(KeystoneToken token, int64_t asked_ms);
  void Done(const absl::Status& status);
  void RenewAt(int64_t at_ms);

  const KeystoneConfig& config_;
  const ComputeConfig& compute_;
  CloudContext* const context_;
  CloudJournal* const journal_;
  CallGate gate_;
  const TokenKeys keys_;
  KeystoneToken token_;   // empty: none
  int64_t asked_ms_ = 0;  // for the token
  int64_t expires_ms_ = 0;
  int64_t renew_ms_ = 0;  // from then on
  uint64_t generation_ = 0;
  bool used_ = false;  // since it came
  bool fetching_ = false;
  int64_t not_before_ms_ = 0;  // the next authentication
  std::vector<Ready> waiting_;
  Refusal refusal_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_SERVICE_TOKEN_H_
