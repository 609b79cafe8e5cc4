// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/connection_file.h"

#include <algorithm>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// In the files of viewers that CONNECT with SPICE inside. Any would do.
constexpr int kConnectTargetPort = 5900;

bool IsSpice(const BoundListener& listener) {
  return listener.protocol == ListenerProtocol::kSpice;
}

// The first listener's port with or without TLS, or 0. Among plain listeners
// one that serves desktops comes before one that only sends viewers to TLS.
uint16_t PortOf(const std::vector<BoundListener>& listeners, bool tls) {
  uint16_t fallback = 0;
  for (const BoundListener& listener : listeners) {
    if (!IsSpice(listener) || listener.tls != tls) {
      continue;
    }
    if (!listener.need_secured) {
      return listener.address.port;
    }
    fallback = fallback == 0 ? listener.address.port : fallback;
  }
  return fallback;
}

bool IsWildcard(const BindAddress& address) {
  return address.any() || address.host == "0.0.0.0" || address.host == "::";
}

std::string HostOf(const std::vector<BoundListener>& listeners,
                   const std::string& machine_name) {
  for (const BoundListener& listener : listeners) {
    if (IsSpice(listener) && !IsWildcard(listener.address)) {
      return listener.address.host;
    }
  }
  return machine_name;
}

void AddText(const char* key, std::string_view value, std::string* out) {
  *out += std::string(key) + "=" + EscapeKeyFileValue(value) + "\n";
}

void AddNumber(const char* key, int value, std::string* out) {
  *out += std::string(key) + "=" + std::to_string(value) + "\n";
}

// What every file ends with.
void AddCommon(const Console& console, std::string* out) {
  AddText("title", console.DisplayTitle(), out);
  AddNumber("delete-this-file", 1, out);
  // One hotkey in a file clears the defaults of all others, so all three that
  // every user needs are here.
  AddText("toggle-fullscreen", "shift+f11", out);
  AddText("release-cursor", "shift+f12", out);
  AddText("secure-attention", "ctrl+alt+end", out);
}

// Console names are ASCII. Viewers lower-case what they CONNECT to, but not
// what they tell in TLS.
std::string LowerCase(std::string text) {
  for (char& c : text) {
    c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return text;
}

std::string ProxyUrl(const ConnectEndpoint& endpoint,
                     const std::string& ticket) {
  const bool v6 = endpoint.host.find(':') != std::string::npos &&
                  !endpoint.host.starts_with('[');
  const std::string host = v6 ? "[" + endpoint.host + "]" : endpoint.host;
  return (endpoint.tls ? "https" : "http") + ("://ticket:" + ticket) + "@" +
         host + ":" + std::to_string(endpoint.port);
}

void AddTunnel(const Console& console, std::string* out) {
  DCHECK(console.tls_port != 0);
  // A subject is checked in place of a name: then any will do.
  AddText("host",
          console.host_subject.empty() ? console.host : LowerCase(console.name),
          out);
  AddNumber("tls-port", console.tls_port, out);
  AddText("password", console.ticket, out);
  AddText("ca", console.ca_pem, out);
  if (!console.host_subject.empty()) {
    AddText("host-subject", console.host_subject, out);
  }
}

}  // namespace

PublicEndpoint ResolvePublicEndpoint(
    const PublicConfig& config, const std::vector<BoundListener>& listeners,
    const std::string& machine_name) {
  PublicEndpoint endpoint;
  endpoint.host =
      config.host.empty() ? HostOf(listeners, machine_name) : config.host;
  endpoint.tls_port =
      config.tls_port != 0 ? config.tls_port : PortOf(listeners, /*tls=*/true);
  endpoint.port = config.port;
  if (endpoint.port == 0 && endpoint.tls_port == 0) {
    endpoint.port = PortOf(listeners, /*tls=*/false);
  }
  return endpoint;
}

uint16_t ResolvePlainPort(const PublicConfig& config,
                          const std::vector<BoundListener>& listeners) {
  if (config.port != 0) {
    return config.port;
  }
  const auto found = std::find_if(
      listeners.begin(), listeners.end(), [](const BoundListener& listener) {
        return IsSpice(listener) && !listener.tls && !listener.need_secured;
      });
  return found == listeners.end() ? 0 : found->address.port;
}

std::string BuildVv(const PublicEndpoint& endpoint, const Console& console,
                    std::string_view ticket) {
  std::string out = "[virt-viewer]\n";
  AddText("type", "spice", &out);
  AddText("host", endpoint.host, &out);
  if (endpoint.port != 0) {
    AddNumber("port", endpoint.port, &out);
  }
  if (endpoint.tls_port != 0) {
    AddNumber("tls-port", endpoint.tls_port, &out);
  }
  AddText("password", ticket, &out);
  // Without TLS nothing would be checked against either of them.
  if (endpoint.tls_port != 0 && !endpoint.ca_pem.empty()) {
    AddText("ca", endpoint.ca_pem, &out);
  }
  if (endpoint.tls_port != 0 && !endpoint.host_subject.empty()) {
    AddText("host-subject", endpoint.host_subject, &out);
  }
  AddCommon(console, &out);
  return out;
}

ConnectEndpoint ResolveConnectEndpoint(
    const PublicConfig& config, const std::vector<BoundListener>& listeners,
    const std::string& machine_name) {
  const auto found =
      std::find_if_not(listeners.begin(), listeners.end(), IsSpice);
  const PublicConnect& given = config.connect;
  ConnectEndpoint endpoint = {given.host, given.port, given.tls};
  if (endpoint.host.empty()) {
    endpoint.host = config.host;
  }
  if (endpoint.host.empty()) {
    endpoint.host = found == listeners.end() || IsWildcard(found->address)
                        ? machine_name
                        : found->address.host;
  }
  if (endpoint.port == 0 && found != listeners.end()) {
    endpoint.port = found->address.port;
  }
  return endpoint;
}

std::string BuildConnectVv(const ConnectEndpoint& endpoint,
                           const IssuedTicket& ticket, const std::string& via) {
  const Console& console = ticket.console;
  std::string out = "[virt-viewer]\n";
  AddText("type", "spice", &out);
  AddText("proxy", ProxyUrl(endpoint, ticket.ticket), &out);
  if (via == "tunnel") {
    AddTunnel(console, &out);
  } else {
    CHECK(via == "connect");
    AddText("host", LowerCase(console.name), &out);
    AddNumber("port", kConnectTargetPort, &out);
    AddText("password", ticket.ticket, &out);
  }
  AddCommon(console, &out);
  return out;
}

std::string EscapeKeyFileValue(std::string_view value) {
  std::string out;
  bool leading = true;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == ' ' && leading) {
      out += "\\s";
      continue;
    }
    leading = false;
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    }
  }
  return out;
}

}  // namespace spicegate
