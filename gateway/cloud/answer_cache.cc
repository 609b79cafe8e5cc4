// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/answer_cache.h"

#include "gateway/cloud/secret.h"

namespace spicegate {

void WipeConsole(absl::StatusOr<CloudConsole>* answer) {
  if (answer->ok()) {
    WipeText(&(*answer)->ticket);
  }
}

AnswerCache::~AnswerCache() { Purge(INT64_MAX); }

void AnswerCache::Put(const TokenKey& key,
                      const absl::StatusOr<CloudConsole>& answer,
                      int64_t life_ms, int64_t now_ms) {
  Purge(now_ms);
  if (const auto before = answers_.find(key); before != answers_.end()) {
    Drop(before);
  }
  if (answers_.size() == kMaxAnswers) {
    Drop(answers_.find(ends_.begin()->second));
  }
  answers_.emplace(key, Entry{answer, now_ms + life_ms});
  ends_.emplace(now_ms + life_ms, key);
}

const absl::StatusOr<CloudConsole>* AnswerCache::Find(const TokenKey& key,
                                                      int64_t now_ms) const {
  const auto found = answers_.find(key);
  return found == answers_.end() || found->second.end_ms <= now_ms
             ? nullptr
             : &found->second.answer;
}

void AnswerCache::Purge(int64_t now_ms) {
  while (!ends_.empty() && ends_.begin()->first <= now_ms) {
    Drop(answers_.find(ends_.begin()->second));
  }
}

int64_t AnswerCache::NextMs() const {
  return ends_.empty() ? INT64_MAX : ends_.begin()->first;
}

void AnswerCache::Drop(std::map<TokenKey, Entry>::iterator entry) {
  WipeConsole(&entry->second.answer);
  ends_.erase({entry->second.end_ms, entry->first});
  answers_.erase(entry);
}

}  // namespace spicegate
