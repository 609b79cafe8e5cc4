// SPDX-License-Identifier: Apache-2.0
//
// One cloud: who waits for which token, and what is asked for it.
//
// A lookup is one token that is being asked for, with everybody who waits for
// the answer:
//
//   queued --place--> needs the gateway's token --> asked --> answered
//                          ^                          |
//                          +------ 401, once ---------+
//
// It ends after kResolveMs at the latest, wherever it is then.
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/cloud/answer_cache.h"
#include "gateway/cloud/call_gate.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/cloud/cloud_console.h"
#include "gateway/cloud/cloud_context.h"
#include "gateway/cloud/cloud_journal.h"
#include "gateway/cloud/cloud_service.h"
#include "gateway/cloud/secret.h"
#include "gateway/cloud/service_token.h"
#include "gateway/cloud/token_key.h"

namespace spicegate {

// Control thread only. Whoever owns it closes the HttpCaller and throws the
// timers away first.
class Cloud {
 public:
  static constexpr int64_t kResolveMs = 9'000;
  // Lookups that have left the queue: as many as the client runs at once, so
  // that time spent in its queue is not taken for the cloud's.
  static constexpr size_t kMaxUnderWay = kMaxHttpCallsPerOrigin;
  // Lookups in the queue, and everybody else who waits for a lookup that
  // another one began.
  static constexpr size_t kMaxWaiting = 1024;

  // `context` outlives the cloud.
  Cloud(CloudConfig config, CloudContext* context);
  Cloud(const Cloud&) = delete;
  Cloud& operator=(const Cloud&) = delete;

  const std::string& name() const { return config_.name; }

  bool IsToken(const std::string& token) const;

  // As CloudService's.
  void Resolve(const std::string& token, CloudService::Done done);

  // Throws away answers whose time is over.
  void PurgeAnswers(int64_t now_ms) { answers_.Purge(now_ms); }
  // When to do so; INT64_MAX: never.
  int64_t NextPurgeMs() const { return answers_.NextMs(); }

  CloudStats stats() const;

 private:
  struct Lookup {
    uint64_t id = 0;
    TokenKey key;
    Secret token;
    std::vector<CloudService::Done> waiting;
    int64_t give_up_ms = 0;
    bool under_way = false;
    bool reauthenticated = false;
    uint64_t generation = 0;  // of the gateway's token it was asked with
  };
  using Answer = absl::StatusOr<CloudConsole>;

  // Null: it has ended.
  Lookup* Find(uint64_t id);
  void Begin(const TokenKey& key, const std::string& token,
             CloudService::Done done);
  void BeginQueued();
  void Proceed(Lookup* lookup);
  void Identified(uint64_t id, const absl::Status& status);
  void Ask(Lookup* lookup, HttpCall http, const std::string& ca_path);
  void AskNova(Lookup* lookup);
  void AskBroker(Lookup* lookup);
  void Answered(uint64_t id, const absl::Status& status, Answer answer);
  void TokenRejected(Lookup* lookup);
  void End(uint64_t id, Answer answer);

  CallVerdict JudgeNova(const HttpAnswer& answer, Answer* out) const;
  CallVerdict JudgeBroker(const HttpAnswer& answer, Answer* out) const;
  // What the configuration lets be dialled of `console`.
  Answer Dialable(CloudConsole console) const;

  const CloudConfig config_;
  CloudContext* const context_;
  CloudJournal journal_;
  const TokenKeys keys_;
  CallGate gate_;          // of Nova or the broker
  ServiceToken identity_;  // of kNova
  AnswerCache answers_;
  std::map<uint64_t, Lookup> lookups_;
  std::map<TokenKey, uint64_t> by_key_;
  std::deque<uint64_t> queue_;  // ids; some may have ended
  uint64_t next_id_ = 1;
  size_t num_under_way_ = 0;
  size_t num_sharing_ = 0;
  bool beginning_ = false;
  int64_t believe_nova_until_ms_ = 0;
  uint64_t num_shared_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_H_
