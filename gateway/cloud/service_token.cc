// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/service_token.h"

#include <algorithm>
#include <utility>

#include "gateway/cloud/cloud_errors.h"

namespace spicegate {
namespace {

// A token that is nearer to its end than that is not used for another call.
constexpr int64_t kLastUseMs = 1'000;

// Before the end of a token's life it is renewed: a tenth of it, a minute at
// least, half of a short life, and up to a quarter more at random, so that
// many gateways that started together do not come together.
constexpr int64_t kShortestAheadMs = 60'000;
constexpr double kAheadJitter = 0.25;

// A token that is refused when it is younger than this may have been issued in
// the very second in which a password was changed or a role was taken away:
// Keystone keeps whole seconds and revokes what is of that one too. One of a
// later second is wanted then.
constexpr int64_t kYoungMs = 2'000;
constexpr int64_t kLaterSecondMs = 1'100;

// Between attempts to renew a token that is still good.
constexpr int64_t kRenewPauseMs = 10'000;

int64_t AheadMs(int64_t life_ms, double random) {
  const int64_t ahead_ms = std::max(life_ms / 10, kShortestAheadMs);
  const auto jittered_ms = static_cast<int64_t>(static_cast<double>(ahead_ms) *
                                                (1 + kAheadJitter * random));
  return std::min(jittered_ms, life_ms / 2);
}

}  // namespace

ServiceToken::ServiceToken(const KeystoneConfig& config,
                           const ComputeConfig& compute, CloudContext* context,
                           CloudJournal* journal)
    : config_(config),
      compute_(compute),
      context_(context),
      journal_(journal),
      gate_("keystone", context, journal) {}

bool ServiceToken::live() const {
  return !token_.token.empty() && context_->now_ms() < expires_ms_;
}

int64_t ServiceToken::expires_unix_s() const {
  return live() ? token_.expires_unix_s : 0;
}

void ServiceToken::Get(Ready ready) {
  const int64_t now_ms = context_->now_ms();
  used_ = true;
  if (!token_.token.empty() && now_ms + kLastUseMs < expires_ms_) {
    if (now_ms >= renew_ms_ && !fetching_) {
      Authenticate();
    }
    // Not before: what `ready` does may end the token.
    ready(absl::OkStatus());
    return;
  }
  waiting_.push_back(std::move(ready));
  if (!fetching_) {
    Authenticate();
  }
}

void ServiceToken::Reject(uint64_t generation) {
  if (generation != generation_ || token_.token.empty()) {
    return;
  }
  token_ = KeystoneToken();
  const int64_t now_ms = context_->now_ms();
  if (now_ms - asked_ms_ < kYoungMs) {
    not_before_ms_ = now_ms + kLaterSecondMs;
  }
}

void ServiceToken::Authenticate() {
  fetching_ = true;
  if (context_->now_ms() < not_before_ms_) {
    context_->timers.Add(not_before_ms_, [this] { ShowSecret(); });
  } else {
    ShowSecret();
  }
}

void ServiceToken::ShowSecret() {
  const absl::StatusOr<Secret> secret = ReadSecretFile(config_.secret_path);
  if (!secret.ok()) {
    gate_.CountRejected();
    gate_.LogFailure(std::string(secret.status().message()));
    Done(GatewayRefusedError());
    return;
  }
  const int64_t now_ms = context_->now_ms();
  const TokenKey key = keys_.Of(secret->text());
  if (now_ms < refusal_.until_ms && key == refusal_.secret) {
    gate_.CountRejected();
    Done(GatewayRefusedError());
    return;
  }
  if (key != refusal_.secret) {
    refusal_ = Refusal{.secret = key};
  }
  const auto token = std::make_shared<KeystoneToken>();
  GatedCall call;
  call.http.method = "POST";
  call.http.url = KeystoneAuthUrl(config_, compute_.endpoint.empty());
  call.http.headers = {{"Accept", "application/json"},
                       {"Content-Type", "application/json"}};
  call.http.body = KeystoneAuthBody(config_, *secret);
  call.http.ca_path = config_.ca_path;
  call.http.max_body_bytes = kMaxKeystoneReplyBytes;
  // A second token is no harm; a wrong password is answered, and an answer of
  // that kind is not asked for again.
  call.repeatable = true;
  call.give_up_ms = now_ms + CallGate::kCallMs;
  call.judge = [this, token](const HttpAnswer& answer) {
    return Judge(answer, token.get());
  };
  call.done = [this, token, now_ms](const absl::Status& status) {
    if (status.ok()) {
      Take(std::move(*token), now_ms);
    }
    Done(status);
  };
  gate_.Call(std::move(call));
}

CallVerdict ServiceToken::Judge(const HttpAnswer& answer,
                                KeystoneToken* token) {
  const std::string answered = "answered " + std::to_string(answer.status);
  switch (answer.status) {
    case 201:
      return JudgeToken(answer, token);
    case 400:
      Refuse(/*account_at_risk=*/false);
      return {CallResult::kError, GatewayRefusedError(),
              answered +
                  ": it does not understand the configured user, "
                  "project or credential"};
    case 404:
      if (IsKeystoneError(answer.body)) {
        // A credential that is gone, or never was.
        Refuse(/*account_at_risk=*/false);
        return {CallResult::kRefused, GatewayRefusedError(),
                answered + ": it knows no such credential"};
      }
      return {CallResult::kError, CloudBrokenError(),
              answered + ": is that Keystone's URL?", false};
    case 401:
    case 403:
      Refuse(/*account_at_risk=*/true);
      return {CallResult::kRefused, GatewayRefusedError(),
              answer.Header("openstack-auth-receipt") == nullptr
                  ? answered + ": wrong user, project or secret"
                  : answered +
                        ": it wants a second factor, which a service "
                        "does not have"};
    default:
      return {CallResult::kError, CloudBrokenError(),
              answered + ": is that Keystone's URL?", false};
  }
}

CallVerdict ServiceToken::JudgeToken(const HttpAnswer& answer,
                                     KeystoneToken* token) {
  absl::StatusOr<KeystoneToken> parsed =
      ParseKeystoneReply(answer.Header("x-subject-token"), answer.body,
                         compute_, context_->wall_s());
  if (parsed.ok()) {
    *token = *std::move(parsed);
    return {};
  }
  const std::string error(parsed.status().message());
  if (absl::IsNotFound(parsed.status())) {
    Refuse(/*account_at_risk=*/false);
    return {CallResult::kError, GatewayRefusedError(), error};
  }
  return {CallResult::kError, CloudBrokenError(), error, false};
}

void ServiceToken::Refuse(bool account_at_risk) {
  constexpr int kMostDoublings = 10;
  const int doublings =
      account_at_risk ? std::min(refusal_.count++, kMostDoublings) : 0;
  refusal_.until_ms = context_->now_ms() +
                      std::min(kFirstRefusalMs << doublings, kLongestRefusalMs);
}

void ServiceToken::Take(KeystoneToken token, int64_t asked_ms) {
  const int64_t life_ms = token.life_s * 1000;
  token_ = std::move(token);
  ++generation_;
  used_ = false;
  // From the moment of asking, which is before that of issue.
  asked_ms_ = asked_ms;
  expires_ms_ = asked_ms + life_ms;
  renew_ms_ = expires_ms_ - AheadMs(life_ms, context_->random());
  refusal_ = Refusal();
  journal_->Token(token_.life_s);
  RenewAt(renew_ms_);
}

void ServiceToken::Done(const absl::Status& status) {
  fetching_ = false;
  if (!status.ok() && live()) {
    // The one that there is does for a while.
    renew_ms_ = context_->now_ms() + kRenewPauseMs;
    RenewAt(renew_ms_);
  }
  const std::vector<Ready> ready = std::exchange(waiting_, {});
  for (const Ready& call : ready) {
    call(status);
  }
}

void ServiceToken::RenewAt(int64_t at_ms) {
  context_->timers.Add(at_ms, [this, generation = generation_] {
    // A token that nobody used since it came is left to expire.
    if (generation == generation_ && used_ && live() && !fetching_ &&
        context_->now_ms() >= renew_ms_) {
      Authenticate();
    }
  });
}

}  // namespace spicegate
