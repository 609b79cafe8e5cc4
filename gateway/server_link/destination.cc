// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/destination.h"

#include <memory>
#include <string>
#include <utility>

namespace spicegate {

std::optional<ConsoleTarget> DestinationOf(const ConsoleTarget& source,
                                           const proto::DstInfo& to) {
  auto console = std::make_shared<Console>(*source.console);
  console->unix_path.clear();
  console->host = std::string(to.host);
  console->host_subject = std::string(to.cert_subject);
  console->port = to.port;
  console->tls_port = to.sport;
  if (console->destination_ticket.has_value()) {
    console->ticket = *console->destination_ticket;
  }
  ConsoleTarget target;
  target.moved = true;
  if (source.tls == nullptr) {
    if (console->port == 0) {
      return std::nullopt;
    }
    console->tls_port = 0;
  } else {
    auto tls = source.tls->ForServer(console->host_subject, console->host);
    if (console->tls_port == 0 || !tls.ok()) {
      return std::nullopt;
    }
    target.tls = *std::move(tls);
  }
  target.console = std::move(console);
  return target;
}

std::string PlaceOf(const ConsoleTarget& target) {
  const Console& console = *target.console;
  if (!console.unix_path.empty()) {
    return console.unix_path;
  }
  const bool is_ipv6 = console.host.find(':') != std::string::npos;
  const uint16_t port = target.tls != nullptr ? console.tls_port : console.port;
  return (is_ipv6 ? "[" + console.host + "]" : console.host) + ":" +
         std::to_string(port);
}

}  // namespace spicegate
