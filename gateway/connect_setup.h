// SPDX-License-Identifier: Apache-2.0
//
// What CONNECT listeners go by: made from the configuration, and kept up with
// the cluster's key file and list of nodes and the addresses of this machine.
// Control thread.
#ifndef SPICEGATE_GATEWAY_CONNECT_SETUP_H_
#define SPICEGATE_GATEWAY_CONNECT_SETUP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/console/watched_files.h"
#include "gateway/control/config.h"
#include "gateway/own_places.h"
#include "gateway/session/connect_access.h"

namespace spicegate {

// The key that Proxmox tickets are signed with; null where they are not taken.
// The error names the file. Reads it.
absl::StatusOr<std::shared_ptr<const ProxmoxKey>> LoadProxmoxKey(
    const ProxmoxConfig& config, WatchedFiles* files);

class ConnectSetup {
 public:
  // `config` outlives the object; `machine_name` is this node's where the
  // configuration names none, up to its first dot.
  ConnectSetup(const Config& config, std::string machine_name)
      : config_(config), machine_name_(std::move(machine_name)) {}
  ConnectSetup(const ConnectSetup&) = delete;
  ConnectSetup& operator=(const ConnectSetup&) = delete;

  // `ports` are those of this process's listeners.
  absl::Status Load(std::vector<uint16_t> ports);

  // Looks for changes; true when settings() or own_places() are other ones. A
  // key file that cannot be used is logged once, and the old key stays.
  bool Refresh();

  // Null before Load.
  const std::shared_ptr<const ConnectSettings>& settings() const {
    return settings_;
  }
  const std::shared_ptr<const OwnPlaces>& own_places() const {
    return own_places_;
  }

 private:
  std::shared_ptr<const ConnectSettings> With(
      std::shared_ptr<const ProxmoxKey> key) const;
  bool RefreshKey();
  bool RefreshMembers();
  bool RefreshPlaces();

  const Config& config_;
  const std::string machine_name_;
  std::vector<uint16_t> ports_;
  WatchedFiles files_;
  std::map<std::string, std::string> members_;
  std::shared_ptr<const ConnectSettings> settings_;
  std::shared_ptr<const OwnPlaces> own_places_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONNECT_SETUP_H_
