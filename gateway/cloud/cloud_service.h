// SPDX-License-Identifier: Apache-2.0
//
// Clouds, asked for the desktops that console tokens stand for.
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_SERVICE_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_SERVICE_H_

#include <poll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/cloud/cloud_console.h"
#include "gateway/cloud/cloud_stats.h"

namespace spicegate {

// Control thread only.
class CloudService {
 public:
  // NotFound: no such token (any more), or one of another console type.
  // FailedPrecondition: the desktop cannot be had as the configuration wants it
  //   (no TLS port where that is required).
  // PermissionDenied: the cloud does not let the gateway ask, or is too old.
  // ResourceExhausted: too many requests under way.
  // Unavailable, DeadlineExceeded: the cloud is broken, busy or silent; worth
  //   another try in a few seconds.
  // Messages are for people at the portal: no address, name or secret in them.
  using Done = std::function<void(const absl::StatusOr<CloudConsole>&)>;

  // `clouds` have been checked (config_clouds.h). Reads nothing yet and asks
  // nobody.
  explicit CloudService(std::vector<CloudConfig> clouds);
  ~CloudService();
  CloudService(const CloudService&) = delete;
  CloudService& operator=(const CloudService&) = delete;

  // Whether `token` may be one of that cloud: its letters and length only. What
  // is not never gets into a URL.
  bool IsToken(const std::string& cloud, const std::string& token) const;

  // Asks `cloud`, which must be one of ours, for `token`, for which IsToken is
  // true. The same token is asked for once at a time, and not again for a few
  // seconds after an answer that stands (found, not found). `done` is called
  // inside the call or by HandlePollFds, exactly once unless Close comes first.
  void Resolve(const std::string& cloud, const std::string& token, Done done);

  // As AdminServer's.
  void AddPollFds(std::vector<pollfd>* fds) const;
  void HandlePollFds(std::span<const pollfd> fds, int64_t now_ms);
  int64_t NextDeadlineMs() const;

  std::vector<CloudStats> stats() const;

  void Close();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_SERVICE_H_
