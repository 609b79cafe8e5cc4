// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_ANSWER_CACHE_H_
#define SPICEGATE_GATEWAY_CLOUD_ANSWER_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/status/statusor.h"
#include "gateway/cloud/cloud_console.h"
#include "gateway/cloud/token_key.h"

namespace spicegate {

// Overwrites what is secret of it.
void WipeConsole(absl::StatusOr<CloudConsole>* answer);

// What a cloud answered moments ago, so that a browser's second request and a
// person's second click are not another question. Passwords in it are
// overwritten when their time is over. Control thread only; times are
// milliseconds of the caller's clock.
class AnswerCache {
 public:
  static constexpr int64_t kFoundMs = 3'000;
  static constexpr int64_t kNotFoundMs = 2'000;
  // Each with a CA of at most kMaxBrokerCaBytes. Beyond that the one that ends
  // first makes room.
  static constexpr size_t kMaxAnswers = 1024;

  AnswerCache() = default;
  ~AnswerCache();
  AnswerCache(const AnswerCache&) = delete;
  AnswerCache& operator=(const AnswerCache&) = delete;

  // For `life_ms` from now on, in place of an answer of before.
  void Put(const TokenKey& key, const absl::StatusOr<CloudConsole>& answer,
           int64_t life_ms, int64_t now_ms);

  // Null: none, or its time is over. Good until the next call.
  const absl::StatusOr<CloudConsole>* Find(const TokenKey& key,
                                           int64_t now_ms) const;

  // Removes what is over.
  void Purge(int64_t now_ms);
  // When to call Purge; INT64_MAX: nothing is kept.
  int64_t NextMs() const;

  size_t size() const { return answers_.size(); }

 private:
  struct Entry {
    absl::StatusOr<CloudConsole> answer;
    int64_t end_ms = 0;
  };

  void Drop(std::map<TokenKey, Entry>::iterator entry);

  std::map<TokenKey, Entry> answers_;
  std::set<std::pair<int64_t, TokenKey>> ends_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_ANSWER_CACHE_H_
