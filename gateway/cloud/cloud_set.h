// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_SET_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_SET_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/cloud/cloud.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/cloud/cloud_context.h"
#include "gateway/cloud/cloud_service.h"

namespace spicegate {

// All clouds, without the sockets: what CloudService is but for its HttpClient.
// Control thread only. The HttpCaller is closed before it goes.
class CloudSet {
 public:
  // `context.timers` is empty yet.
  CloudSet(std::vector<CloudConfig> clouds, CloudContext context);
  CloudSet(const CloudSet&) = delete;
  CloudSet& operator=(const CloudSet&) = delete;

  // As CloudService's.
  bool IsToken(const std::string& cloud, const std::string& token) const;
  void Resolve(const std::string& cloud, const std::string& token,
               CloudService::Done done);
  std::vector<CloudStats> stats() const;

  // What is due.
  void HandleTime(int64_t now_ms);
  // When to call that; INT64_MAX: nothing waits.
  int64_t NextDeadlineMs() const;

 private:
  const Cloud& Of(const std::string& cloud) const;

  CloudContext context_;
  std::map<std::string, Cloud> clouds_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_SET_H_
