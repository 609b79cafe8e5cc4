// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/cloud_set.h"

#include <algorithm>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {

CloudSet::CloudSet(std::vector<CloudConfig> clouds, CloudContext context)
    : context_(std::move(context)) {
  for (CloudConfig& cloud : clouds) {
    std::string name = cloud.name;
    const bool is_new =
        clouds_.try_emplace(std::move(name), std::move(cloud), &context_)
            .second;
    CHECK(is_new);
  }
}

const Cloud& CloudSet::Of(const std::string& cloud) const {
  const auto found = clouds_.find(cloud);
  CHECK(found != clouds_.end());
  return found->second;
}

bool CloudSet::IsToken(const std::string& cloud,
                       const std::string& token) const {
  return Of(cloud).IsToken(token);
}

void CloudSet::Resolve(const std::string& cloud, const std::string& token,
                       CloudService::Done done) {
  const auto found = clouds_.find(cloud);
  CHECK(found != clouds_.end());
  CHECK(found->second.IsToken(token));
  found->second.Resolve(token, std::move(done));
}

std::vector<CloudStats> CloudSet::stats() const {
  std::vector<CloudStats> all;
  all.reserve(clouds_.size());
  for (const auto& [name, cloud] : clouds_) {
    all.push_back(cloud.stats());
  }
  return all;
}

void CloudSet::HandleTime(int64_t now_ms) {
  context_.timers.Run(now_ms);
  for (auto& [name, cloud] : clouds_) {
    cloud.PurgeAnswers(now_ms);
  }
}

int64_t CloudSet::NextDeadlineMs() const {
  int64_t deadline_ms = context_.timers.NextMs();
  for (const auto& [name, cloud] : clouds_) {
    deadline_ms = std::min(deadline_ms, cloud.NextPurgeMs());
  }
  return deadline_ms;
}

}  // namespace spicegate
