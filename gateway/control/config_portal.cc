// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_portal.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/control/config_text.h"

namespace spicegate {
namespace {

using Text = JsonObjectReader::Text;

constexpr Text kProxy = {HostPatterns::kNetworkExpected, kMaxHostPatternLen,
                         HostPatterns::IsNetworkEntry};

void ReadProxies(JsonObjectReader& reader, PortalConfig* out) {
  std::vector<std::string> entries;
  reader.Strings("trusted_proxies", 1, kMaxProxies, kProxy, &entries);
  absl::StatusOr<HostPatterns> parsed = HostPatterns::Parse(entries);
  if (reader.ok() && parsed.ok()) {
    out->trusted_proxies = *std::move(parsed);
  }
  reader.Bool("proxy_protocol", &out->proxy_protocol);
  if (out->proxy_protocol) {
    // Else anybody could say that he is anybody.
    reader.Require("trusted_proxies",
                   "the balancers' addresses beside proxy_protocol");
  }
}

void ReadCertificate(JsonObjectReader& reader, const std::string& file_name,
                     PortalConfig* out) {
  if (reader.Has("certificate")) {
    reader.Require("key", "a file name beside certificate");
  }
  if (reader.Has("key")) {
    reader.Require("certificate", "a file name beside key");
  }
  ReadPath(reader, "certificate", kFileText, file_name, &out->certificate_path);
  ReadPath(reader, "key", kFileText, file_name, &out->key_path);
  if (!out->tls && reader.Has("certificate")) {
    reader.Fail("certificate", "none with tls false, got one");
  }
}

// Links and tickets are worth a desktop to whoever reads them on the way.
void CheckPlain(JsonObjectReader& reader, const PortalConfig& portal) {
  if (!portal.tls && !IsLoopback(portal.address) &&
      portal.trusted_proxies.empty()) {
    reader.Fail("tls",
                "true, or a loopback address, or trusted_proxies that speak "
                "TLS in front of it, got false at " +
                    FormatBindAddress(portal.address));
  }
}

void CheckAddress(JsonObjectReader& reader, const Config& config) {
  const BindAddress& own = config.portal.address;
  if (own.port == 0) {
    return;
  }
  const auto taken = std::find_if(
      config.listeners.begin(), config.listeners.end(),
      [&own](const ListenerConfig& other) { return other.address == own; });
  std::string whose;
  if (taken != config.listeners.end()) {
    whose =
        "listeners[" + std::to_string(taken - config.listeners.begin()) + "]";
  } else if (config.admin.unix_path.empty() && config.admin.address == own) {
    whose = "admin";
  } else {
    return;
  }
  reader.Fail("address", "an address of its own, got that of " + whose);
}

// Where the viewers of its files are to go.
void CheckWayIn(JsonObjectReader& reader, const Config& config) {
  const bool spice = std::any_of(
      config.listeners.begin(), config.listeners.end(),
      [](const auto& one) { return one.protocol == ListenerProtocol::kSpice; });
  const PublicConfig& place = config.public_address;
  if (!spice && place.port == 0 && place.tls_port == 0 &&
      !config.connect.tickets) {
    reader.Fail("address",
                "a portal beside a listener that takes its tickets: one of "
                "SPICE, or one of CONNECT with connect.tickets");
  }
}

}  // namespace

void ReadPortal(JsonObjectReader& root, const std::string& file_name,
                Config* out) {
  PortalConfig& portal = out->portal;
  root.Object("portal", [&](JsonObjectReader& reader) {
    portal.enabled = true;
    reader.Require("address", kBindAddressText.expected);
    ReadBindAddress(reader, &portal.address);
    reader.Bool("tls", &portal.tls);
    ReadCertificate(reader, file_name, &portal);
    ReadProxies(reader, &portal);
    CheckPlain(reader, portal);
    CheckAddress(reader, *out);
    CheckWayIn(reader, *out);
  });
}

}  // namespace spicegate
