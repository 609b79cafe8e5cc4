// SPDX-License-Identifier: Apache-2.0
//
// A Proxmox cluster, as far as it signs tickets. Only for tests.
#ifndef SPICEGATE_GATEWAY_AUTH_PROXMOX_FIXTURE_H_
#define SPICEGATE_GATEWAY_AUTH_PROXMOX_FIXTURE_H_

#include <openssl/sha.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

namespace spicegate {

// `plain` with its signature behind it, whatever it is.
inline std::string SignProxmoxText(const std::string& plain,
                                   const std::string& secret) {
  const std::string input = plain + secret;
  std::array<uint8_t, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const uint8_t*>(input.data()), input.size(),
       digest.data());
  std::string text = plain + "::";
  for (const uint8_t byte : digest) {
    std::array<char, 3> hex;
    std::snprintf(hex.data(), hex.size(), "%02x", byte);
    text += hex.data();
  }
  return text;
}

// The old form when there is no port.
inline std::string MakeProxmoxTicket(const std::string& secret,
                                     int64_t issued_s, const std::string& vmid,
                                     const std::string& node,
                                     std::optional<uint16_t> port) {
  std::array<char, 9> time;
  std::snprintf(time.data(), time.size(), "%08x",
                static_cast<unsigned int>(issued_s));
  std::string plain = "pvespiceproxy:";
  plain += time.data();
  plain += ":" + vmid + ":" + node;
  if (port.has_value()) {
    plain += ":" + std::to_string(*port);
  }
  return SignProxmoxText(plain, secret);
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_AUTH_PROXMOX_FIXTURE_H_
