// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/allow_list.h"

#include <algorithm>

namespace spicegate {
namespace {

// Who answers at these is not who a name or a wide network was written for,
// but this machine, its neighbour on the cable, or many at once. The kernel
// takes 0.0.0.0 and :: for loopback; clouds keep their machines' credentials
// at 169.254.169.254.
const std::vector<HostNetwork>& SpecialNetworks() {
  static const auto* const networks = new std::vector<HostNetwork>(
      HostPatterns::Parse({"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16",
                           "224.0.0.0/4", "255.255.255.255", "::/127",
                           "fe80::/10", "ff00::/8"})
          ->networks());
  return *networks;
}

const HostNetwork* SpecialNetworkOf(const AddressBytes& address) {
  const std::vector<HostNetwork>& networks = SpecialNetworks();
  const auto found = std::find_if(networks.begin(), networks.end(),
                                  [&address](const HostNetwork& network) {
                                    return network.Holds(address);
                                  });
  return found != networks.end() ? &*found : nullptr;
}

// Whether `address` is held by an entry that names nothing but special
// addresses of its kind.
bool HoldsExplicitly(const HostPatterns& hosts, const HostNetwork& special,
                     const AddressBytes& address) {
  return std::any_of(hosts.networks().begin(), hosts.networks().end(),
                     [&](const HostNetwork& network) {
                       return special.HoldsNetwork(network) &&
                              network.Holds(address);
                     });
}

absl::Status RuleError(size_t index, const std::string& what) {
  return absl::InvalidArgumentError("rule " + std::to_string(index) + ": " +
                                    what);
}

bool IsPortRange(const std::pair<uint16_t, uint16_t>& range) {
  return range.first > 0 && range.first <= range.second;
}

}  // namespace

bool AllowList::ParsedRule::HasPort(uint16_t port) const {
  return std::any_of(ports.begin(), ports.end(), [port](const auto& range) {
    return range.first <= port && port <= range.second;
  });
}

absl::StatusOr<AllowList> AllowList::Parse(const std::vector<Rule>& rules) {
  AllowList list;
  for (size_t i = 0; i < rules.size(); ++i) {
    const Rule& rule = rules[i];
    absl::StatusOr<HostPatterns> hosts = HostPatterns::Parse(rule.hosts);
    if (!hosts.ok()) {
      return RuleError(i, std::string(hosts.status().message()));
    }
    if (hosts->empty()) {
      return RuleError(i, "expected at least one host");
    }
    if (rule.ports.empty() ||
        !std::all_of(rule.ports.begin(), rule.ports.end(), IsPortRange)) {
      return RuleError(i, "expected ports from 1 to 65535, at least one");
    }
    list.rules_.push_back({*std::move(hosts), rule.ports});
  }
  return list;
}

AllowList::Verdict AllowList::Judge(std::string_view host,
                                    uint16_t port) const {
  AddressBytes address;
  if (ParseHostAddress(host, &address)) {
    return AllowsAddress(address, port, /*by_name=*/false)
               ? Verdict::kAskAddress
               : Verdict::kRefused;
  }
  std::string name;
  if (!ParseHostName(host, &name)) {
    return Verdict::kRefused;
  }
  Verdict verdict = Verdict::kRefused;
  for (const ParsedRule& rule : rules_) {
    if (!rule.HasPort(port)) {
      continue;
    }
    if (rule.hosts.HoldsName(name)) {
      return Verdict::kAllowed;
    }
    if (!rule.hosts.networks().empty()) {
      verdict = Verdict::kAskAddress;
    }
  }
  return verdict;
}

bool AllowList::AllowsAddress(std::span<const uint8_t, 16> v6_mapped,
                              uint16_t port, bool by_name) const {
  AddressBytes address;
  std::copy(v6_mapped.begin(), v6_mapped.end(), address.begin());
  const HostNetwork* const special = SpecialNetworkOf(address);
  if (by_name && special == nullptr) {
    return true;
  }
  return std::any_of(rules_.begin(), rules_.end(), [&](const ParsedRule& rule) {
    return rule.HasPort(port) &&
           (special != nullptr ? HoldsExplicitly(rule.hosts, *special, address)
                               : rule.hosts.HoldsAddress(address));
  });
}

}  // namespace spicegate
