// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/cloud.h"

#include <utility>

#include "gateway/cloud/broker_protocol.h"
#include "gateway/cloud/cloud_errors.h"
#include "gateway/cloud/nova_protocol.h"

namespace spicegate {
namespace {

// After Nova took neither a token nor the one that was fetched for it: for so
// long its 401 does not lead to Keystone again.
constexpr int64_t kBelieveNovaMs = 5'000;

bool IsNova(const CloudConfig& config) {
  return config.kind == CloudKind::kNova;
}

std::string AnsweredText(const HttpAnswer& answer, const char* why) {
  return "answered " + std::to_string(answer.status) + why;
}

// A description of no use is this desktop's trouble, and must not close the
// cloud for others; an answer that is no description is the cloud's.
CallVerdict UselessConsole(const absl::Status& why) {
  return {CallResult::kError, CloudBrokenError(), std::string(why.message()),
          /*alive=*/!absl::IsDataLoss(why)};
}

}  // namespace

Cloud::Cloud(CloudConfig config, CloudContext* context)
    : config_(std::move(config)),
      context_(context),
      journal_(config_.name),
      gate_(IsNova(config_) ? "nova" : "broker", context, &journal_),
      identity_(config_.keystone, config_.compute, context, &journal_) {}

bool Cloud::IsToken(const std::string& token) const {
  return IsNova(config_) ? IsNovaToken(token) : IsBrokerToken(token);
}

void Cloud::Resolve(const std::string& token, CloudService::Done done) {
  const TokenKey key = keys_.Of(token);
  if (const Answer* known = answers_.Find(key, context_->now_ms())) {
    ++num_shared_;
    // A copy: what `done` does may change the cache.
    Answer answer = *known;
    done(answer);
    WipeConsole(&answer);
    return;
  }
  const auto same = by_key_.find(key);
  const bool must_wait =
      same != by_key_.end() || num_under_way_ >= kMaxUnderWay;
  if (must_wait && queue_.size() + num_sharing_ >= kMaxWaiting) {
    gate_.CountRejected();
    done(TooManyError());
  } else if (same != by_key_.end()) {
    ++num_shared_;
    ++num_sharing_;
    lookups_[same->second].waiting.push_back(std::move(done));
  } else {
    Begin(key, token, std::move(done));
  }
}

void Cloud::Begin(const TokenKey& key, const std::string& token,
                  CloudService::Done done) {
  const uint64_t id = next_id_++;
  Lookup& lookup = lookups_[id];
  lookup.id = id;
  lookup.key = key;
  lookup.token = Secret(token);
  lookup.waiting.push_back(std::move(done));
  lookup.give_up_ms = context_->now_ms() + kResolveMs;
  by_key_[key] = id;
  queue_.push_back(id);
  context_->timers.Add(lookup.give_up_ms, [this, id] {
    if (Find(id) != nullptr) {
      gate_.LogFailure("no answer within the time of a whole question");
      End(id, CloudSlowError());
    }
  });
  BeginQueued();
}

void Cloud::BeginQueued() {
  // Lookups that end at once come here again; the loop below goes on with them.
  if (beginning_) {
    return;
  }
  beginning_ = true;
  while (!queue_.empty() && num_under_way_ < kMaxUnderWay) {
    const uint64_t id = queue_.front();
    queue_.pop_front();
    if (Lookup* lookup = Find(id)) {
      ++num_under_way_;
      lookup->under_way = true;
      Proceed(lookup);
    }
  }
  beginning_ = false;
}

Cloud::Lookup* Cloud::Find(uint64_t id) {
  const auto found = lookups_.find(id);
  return found == lookups_.end() ? nullptr : &found->second;
}

void Cloud::Proceed(Lookup* lookup) {
  if (IsNova(config_)) {
    identity_.Get([this, id = lookup->id](const absl::Status& status) {
      Identified(id, status);
    });
  } else {
    AskBroker(lookup);
  }
}

void Cloud::Identified(uint64_t id, const absl::Status& status) {
  Lookup* lookup = Find(id);
  if (lookup == nullptr) {
    return;
  }
  if (status.ok()) {
    AskNova(lookup);
  } else {
    End(id, status);
  }
}

void Cloud::AskNova(Lookup* lookup) {
  lookup->generation = identity_.generation();
  Ask(lookup,
      NovaCall(identity_.compute_url(), lookup->token.text(),
               identity_.token()),
      config_.compute.ca_path.empty() ? config_.keystone.ca_path
                                      : config_.compute.ca_path);
}

void Cloud::AskBroker(Lookup* lookup) {
  Secret bearer;
  if (!config_.broker.secret_path.empty()) {
    absl::StatusOr<Secret> secret = ReadSecretFile(config_.broker.secret_path);
    if (!secret.ok()) {
      gate_.CountRejected();
      gate_.LogFailure(std::string(secret.status().message()));
      End(lookup->id, GatewayRefusedError());
      return;
    }
    bearer = *std::move(secret);
  }
  Ask(lookup, BrokerCall(config_.broker.url, lookup->token.text(), bearer),
      config_.broker.ca_path);
}

void Cloud::Ask(Lookup* lookup, HttpCall http, const std::string& ca_path) {
  const auto answer = std::make_shared<Answer>(CloudBrokenError());
  GatedCall call;
  call.http = std::move(http);
  call.http.ca_path = ca_path;
  call.repeatable = IsNova(config_);
  call.give_up_ms = lookup->give_up_ms;
  call.judge = [this, answer](const HttpAnswer& http_answer) {
    return IsNova(config_) ? JudgeNova(http_answer, answer.get())
                           : JudgeBroker(http_answer, answer.get());
  };
  call.done = [this, id = lookup->id, answer](const absl::Status& status) {
    Answered(id, status, std::move(*answer));
  };
  gate_.Call(std::move(call));
}

void Cloud::Answered(uint64_t id, const absl::Status& status, Answer answer) {
  Lookup* lookup = Find(id);
  if (lookup == nullptr) {
    WipeConsole(&answer);
  } else if (absl::IsUnauthenticated(status)) {
    TokenRejected(lookup);
  } else {
    if (status.ok() || absl::IsNotFound(status)) {
      believe_nova_until_ms_ = 0;
    }
    End(id, status.ok() ? std::move(answer) : Answer(status));
  }
}

void Cloud::TokenRejected(Lookup* lookup) {
  const int64_t now_ms = context_->now_ms();
  if (lookup->reauthenticated) {
    believe_nova_until_ms_ = now_ms + kBelieveNovaMs;
  }
  if (now_ms < believe_nova_until_ms_) {
    gate_.LogFailure(
        "answered 401 to a token that Keystone has just given: do both belong "
        "together?");
    End(lookup->id, GatewayRefusedError());
    return;
  }
  lookup->reauthenticated = true;
  identity_.Reject(lookup->generation);
  Proceed(lookup);
}

void Cloud::End(uint64_t id, Answer answer) {
  const auto found = lookups_.find(id);
  const Lookup lookup = std::move(found->second);
  lookups_.erase(found);
  by_key_.erase(lookup.key);
  num_sharing_ -= lookup.waiting.size() - 1;
  if (lookup.under_way) {
    --num_under_way_;
  }
  if (answer.ok() || absl::IsFailedPrecondition(answer.status())) {
    answers_.Put(lookup.key, answer, AnswerCache::kFoundMs, context_->now_ms());
  } else if (absl::IsNotFound(answer.status())) {
    answers_.Put(lookup.key, answer, AnswerCache::kNotFoundMs,
                 context_->now_ms());
  }
  for (const CloudService::Done& done : lookup.waiting) {
    done(answer);
  }
  WipeConsole(&answer);
  BeginQueued();
}

Cloud::Answer Cloud::Dialable(CloudConsole console) const {
  if (config_.servers.require_secure) {
    console.port = 0;
  }
  if (config_.servers.ca_path.empty() && console.ca_pem.empty()) {
    console.tls_port = 0;
  }
  if (console.port == 0 && console.tls_port == 0) {
    return NoWayInError();
  }
  return console;
}

CallVerdict Cloud::JudgeNova(const HttpAnswer& answer, Answer* out) const {
  switch (answer.status) {
    case 200:
      break;
    case 401:
      return {CallResult::kRefused, absl::UnauthenticatedError("")};
    case 403:
      return {CallResult::kRefused, GatewayRefusedError(),
              AnsweredText(answer,
                           ": os-console-auth-tokens needs the role "
                           "admin, or a policy that lets this user")};
    case 400:
    case 406:
      return {answer.status == 406 ? CallResult::kRefused : CallResult::kError,
              GatewayRefusedError(),
              AnsweredText(answer,
                           ": microversion 2.99 is needed, of "
                           "OpenStack 2025.1 or later")};
    case 404:
      if (IsNovaNotFound(answer.body)) {
        return {CallResult::kNotFound, UnknownLinkError()};
      }
      return {CallResult::kError, CloudBrokenError(),
              AnsweredText(answer,
                           " without Nova's words: is that Nova's "
                           "endpoint?")};
    default:
      return {CallResult::kError, CloudBrokenError(), AnsweredText(answer, "")};
  }
  Answer console = ParseNovaReply(answer.body);
  if (console.ok()) {
    *out = Dialable(*std::move(console));
    return {};
  }
  if (absl::IsNotFound(console.status())) {
    return {CallResult::kNotFound, OtherConsoleError()};
  }
  return UselessConsole(console.status());
}

CallVerdict Cloud::JudgeBroker(const HttpAnswer& answer, Answer* out) const {
  switch (answer.status) {
    case 200:
      break;
    case 401:
    case 403:
      return {CallResult::kRefused, GatewayRefusedError(),
              AnsweredText(answer, ": is the bearer token right?")};
    case 404:
      return {CallResult::kNotFound, UnknownLinkError()};
    default:
      return {CallResult::kError, CloudBrokenError(), AnsweredText(answer, "")};
  }
  Answer console = ParseBrokerReply(answer.body);
  if (console.ok()) {
    *out = Dialable(*std::move(console));
    return {};
  }
  return UselessConsole(console.status());
}

CloudStats Cloud::stats() const {
  CloudStats stats;
  stats.cloud = config_.name;
  stats.kind = config_.kind;
  stats.identity = identity_.requests();
  stats.console = gate_.requests();
  stats.shared = num_shared_;
  stats.breaker_open = gate_.breaker_open() || identity_.breaker_open();
  stats.token_expires_unix_s = identity_.expires_unix_s();
  return stats;
}

}  // namespace spicegate
