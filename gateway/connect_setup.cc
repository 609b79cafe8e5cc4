// SPDX-License-Identifier: Apache-2.0
#include "gateway/connect_setup.h"

#include <map>
#include <optional>
#include <utility>

#include "gateway/base/log.h"
#include "gateway/console/file_reader.h"
#include "gateway/proxmox_members.h"

namespace spicegate {
namespace {

// Proxmox writes an RSA key there, of 3 kB.
constexpr size_t kMaxKeyFileBytes = 64 * 1024;
// A cluster has at most some dozen nodes, of 60 bytes each.
constexpr size_t kMaxMembersBytes = 1024 * 1024;

// Nothing while the file is not there or is being written: what was known
// stays.
std::optional<std::map<std::string, std::string>> ReadMembers(
    const ProxmoxConfig& config) {
  if (!config.enabled) {
    return std::nullopt;
  }
  const absl::StatusOr<FileContent> file =
      ReadFile(config.members_path, kMaxMembersBytes);
  if (!file.ok()) {
    return std::nullopt;
  }
  auto members = ParseProxmoxMembers(file->text);
  return members.ok() ? std::optional(*std::move(members)) : std::nullopt;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ProxmoxKey>> LoadProxmoxKey(
    const ProxmoxConfig& config, WatchedFiles* files) {
  if (!config.enabled) {
    return std::shared_ptr<const ProxmoxKey>();
  }
  absl::StatusOr<std::string> content =
      files->Read(config.key_path, kMaxKeyFileBytes);
  if (!content.ok()) {
    return content.status();
  }
  auto key = ProxmoxKey::FromFileContent(*content);
  if (!key.ok()) {
    return absl::InvalidArgumentError(config.key_path + ": " +
                                      std::string(key.status().message()));
  }
  return key;
}

absl::Status ConnectSetup::Load(std::vector<uint16_t> ports) {
  ports_ = std::move(ports);
  auto key = LoadProxmoxKey(config_.proxmox, &files_);
  if (!key.ok()) {
    return key.status();
  }
  members_ = ReadMembers(config_.proxmox).value_or(members_);
  settings_ = With(*std::move(key));
  own_places_ = std::make_shared<const OwnPlaces>(ports_);
  return absl::OkStatus();
}

std::shared_ptr<const ConnectSettings> ConnectSetup::With(
    std::shared_ptr<const ProxmoxKey> key) const {
  const ProxmoxConfig& proxmox = config_.proxmox;
  auto settings = std::make_shared<ConnectSettings>();
  settings->tickets = config_.connect.tickets;
  settings->tunnels = config_.connect.tunnels;
  settings->login = config_.connect.login;
  settings->allow = config_.connect.allow;
  settings->proxmox_key = std::move(key);
  settings->node = !proxmox.node.empty()
                       ? proxmox.node
                       : machine_name_.substr(0, machine_name_.find('.'));
  settings->nodes = proxmox.nodes;
  settings->addresses = members_;
  settings->proxy_port = proxmox.proxy_port;
  settings->first_port = proxmox.first_port;
  settings->last_port = proxmox.last_port;
  return settings;
}

bool ConnectSetup::Refresh() {
  if (settings_ == nullptr) {
    return false;
  }
  const bool key = RefreshKey();
  const bool members = RefreshMembers();
  const bool places = RefreshPlaces();
  return key || members || places;
}

bool ConnectSetup::RefreshKey() {
  if (!config_.proxmox.enabled || !files_.MayHaveChanged()) {
    return false;
  }
  const size_t before = files_.content_hash();
  files_.Clear();
  auto key = LoadProxmoxKey(config_.proxmox, &files_);
  if (files_.content_hash() == before) {
    return false;
  }
  if (!key.ok()) {
    LogLine(LogLevel::kError, "proxmox_key_refused")
        .Str("file", config_.proxmox.key_path)
        .Str("error", std::string(key.status().message()));
    return false;
  }
  settings_ = With(*std::move(key));
  LogLine(LogLevel::kInfo, "proxmox_key_loaded")
      .Str("file", config_.proxmox.key_path);
  return true;
}

bool ConnectSetup::RefreshMembers() {
  // pmxcfs makes the file up as it is read: there is no time to look at.
  auto members = ReadMembers(config_.proxmox);
  if (!members.has_value() || *members == members_) {
    return false;
  }
  members_ = *std::move(members);
  settings_ = With(settings_->proxmox_key);
  return true;
}

bool ConnectSetup::RefreshPlaces() {
  auto places = std::make_shared<const OwnPlaces>(ports_);
  if (*places == *own_places_) {
    return false;
  }
  own_places_ = std::move(places);
  return true;
}

}  // namespace spicegate
