// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_connect.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/base/ascii.h"
#include "gateway/console/host_patterns.h"
#include "gateway/control/config_text.h"

namespace spicegate {
namespace {

using Text = JsonObjectReader::Text;

constexpr uint16_t kDefaultConnectPort = 3128;
constexpr size_t kMaxNodeLen = 63;  // a label of a DNS name

bool IsProtocol(std::string_view word) {
  return word == "spice" || word == "connect";
}

bool IsNode(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-';
  });
}

bool IsNodeHost(std::string_view host) {
  AddressBytes ignored_address;
  std::string ignored_name;
  return ParseHostAddress(host, &ignored_address) ||
         ParseHostName(host, &ignored_name);
}

constexpr Text kProtocol = {"\"spice\" or \"connect\"", 16, IsProtocol};
constexpr Text kProxy = {HostPatterns::kNetworkExpected, kMaxHostPatternLen,
                         HostPatterns::IsNetworkEntry};
constexpr Text kAllowedHost = {HostPatterns::kExpected, kMaxHostPatternLen,
                               HostPatterns::IsEntry};
constexpr Text kNode = {"a node's name, 1 to 63 of A-Z a-z 0-9 -", kMaxNodeLen,
                        IsNode};
constexpr Text kNodeHost = {"a host name or an address, without port",
                            kMaxConfigHostLen, IsNodeHost};

void ReadProxies(JsonObjectReader& reader, ListenerConfig* listener) {
  std::vector<std::string> entries;
  reader.Bool("proxy_protocol", &listener->proxy_protocol);
  reader.Strings("proxy_from", 1, kMaxProxies, kProxy, &entries);
  if (reader.Has("proxy_from") && !listener->proxy_protocol) {
    reader.Fail("proxy_protocol",
                std::string("true beside proxy_from, got ") +
                    (reader.Has("proxy_protocol") ? "false" : "nothing"));
  }
  absl::StatusOr<HostPatterns> parsed = HostPatterns::Parse(entries);
  if (reader.ok() && parsed.ok()) {
    listener->proxy_from = *std::move(parsed);
  }
}

void ReadListener(JsonObjectReader& reader, ListenerConfig* listener) {
  reader.Require("address", kBindAddressText.expected);
  ReadBindAddress(reader, &listener->address);
  std::string protocol = "spice";
  reader.String("protocol", kProtocol, &protocol);
  if (protocol == "connect") {
    listener->protocol = ListenerProtocol::kConnect;
  }
  reader.Bool("tls", &listener->tls);
  reader.Bool("need_secured", &listener->need_secured);
  if (listener->tls && listener->need_secured) {
    reader.Fail("need_secured", "false on a listener with tls, got true");
  }
  if (protocol == "connect" && listener->need_secured) {
    reader.Fail("need_secured",
                "false on a listener with protocol \"connect\", got true");
  }
  ReadProxies(reader, listener);
}

void CheckAddresses(JsonObjectReader& root,
                    const std::vector<ListenerConfig>& all) {
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (all[i].address == all[j].address && all[i].address.port != 0) {
        root.Fail("listeners[" + std::to_string(i) + "].address",
                  "an address of its own, got that of listeners[" +
                      std::to_string(j) + "]");
      }
    }
  }
}

void ReadConnect(JsonObjectReader& reader, ConnectConfig* out) {
  reader.Bool("tickets", &out->tickets);
  reader.Bool("tunnels", &out->tunnels);
  reader.Bool("login", &out->login);
  std::vector<AllowList::Rule> rules;
  reader.Objects(
      "allow", 1, kMaxConnectRules, [&rules](JsonObjectReader& item) {
        AllowList::Rule rule;
        item.Require("hosts", "an array of hosts");
        item.Require("ports", "an array of ports");
        item.Strings("hosts", 1, kMaxConnectHosts, kAllowedHost, &rule.hosts);
        item.PortRanges("ports", 1, kMaxConnectPorts, &rule.ports);
        rules.push_back(std::move(rule));
      });
  if (!reader.ok() || rules.empty()) {
    return;
  }
  absl::StatusOr<AllowList> parsed = AllowList::Parse(rules);
  if (!parsed.ok()) {
    return reader.Fail("allow",
                       "rules; " + std::string(parsed.status().message()));
  }
  out->allow = *std::move(parsed);
}

void ReadNodes(JsonObjectReader& reader, ProxmoxConfig* out) {
  std::vector<std::pair<std::string, std::string>> nodes;
  reader.StringMembers("nodes", kMaxProxmoxNodes, kNode, kNodeHost, &nodes);
  for (const auto& [name, host] : nodes) {
    // As tickets have it: viewers lower-case whatever stands where a host is
    // due.
    const std::string lower = AsciiLowered(name);
    if (lower == "localhost" || lower == out->node) {
      reader.Fail("nodes", "other nodes, got this one: \"" + name + '"');
    }
    if (!out->nodes.emplace(lower, host).second) {
      reader.Fail("nodes", "each node once, got \"" + name + "\" again");
    }
  }
}

void ReadProxmox(JsonObjectReader& reader, const std::string& file_name,
                 ProxmoxConfig* out) {
  out->enabled = true;
  reader.Require("key_file", "the file with the cluster's key");
  ReadPath(reader, "key_file", kFileText, file_name, &out->key_path);
  ReadPath(reader, "members_file", kFileText, file_name, &out->members_path);
  reader.String("node", kNode, &out->node);
  out->node = AsciiLowered(out->node);
  ReadNodes(reader, out);
  reader.Port("proxy_port", &out->proxy_port);
  JsonObjectReader::PortRange ports = {out->first_port, out->last_port};
  reader.Ports("ports", &ports);
  out->first_port = ports.first;
  out->last_port = ports.second;
}

// A door that nobody gets through is a mistake, and so are rules without a
// door.
void CheckConnect(JsonObjectReader& root, const Config& config) {
  const bool is_asked_for = root.Has("connect") || root.Has("proxmox");
  const bool has_door = config.FirstConnectListener() != nullptr;
  if (is_asked_for && !has_door) {
    root.Fail("listeners",
              "one with protocol \"connect\" beside connect or proxmox, got "
              "none");
  }
  if (has_door && !config.connect.tickets && config.connect.allow.empty() &&
      !config.proxmox.enabled) {
    root.Fail("connect",
              "tickets, allow or proxmox beside a listener with protocol "
              "\"connect\", got nothing that lets anybody through");
  }
}

}  // namespace

void ReadListeners(JsonObjectReader& root, const std::string& file_name,
                   Config* out) {
  std::vector<ListenerConfig>& listeners = out->listeners;
  if (root.Has("listeners")) {
    listeners.clear();
  } else if (root.Has("connect") || root.Has("proxmox")) {
    listeners.push_back({.address = {"", kDefaultConnectPort},
                         .protocol = ListenerProtocol::kConnect});
  }
  root.Objects("listeners", 1, kMaxListeners,
               [&listeners](JsonObjectReader& reader) {
                 ReadListener(reader, &listeners.emplace_back());
               });
  CheckAddresses(root, listeners);
  root.Object("connect", [out](JsonObjectReader& reader) {
    ReadConnect(reader, &out->connect);
  });
  root.Object("proxmox", [&](JsonObjectReader& reader) {
    ReadProxmox(reader, file_name, &out->proxmox);
  });
  CheckConnect(root, *out);
}

void ReadPublicConnect(JsonObjectReader& reader, Config* out) {
  PublicConnect& connect = out->public_address.connect;
  const ListenerConfig* listener = out->FirstConnectListener();
  if (reader.Has("connect") && listener == nullptr) {
    reader.Fail("connect",
                "a listener with protocol \"connect\" to speak of, got none");
  }
  connect.tls = listener != nullptr && listener->tls;
  reader.Object("connect", [&connect](JsonObjectReader& inner) {
    inner.String("host", kPublicHostText, &connect.host);
    inner.Port("port", &connect.port);
    inner.Bool("tls", &connect.tls);
  });
}

}  // namespace spicegate
