// SPDX-License-Identifier: Apache-2.0
//
// Lower case of ASCII alone, whatever the locale: names of hosts and nodes.
#ifndef SPICEGATE_GATEWAY_BASE_ASCII_H_
#define SPICEGATE_GATEWAY_BASE_ASCII_H_

#include <algorithm>
#include <string>

namespace spicegate {

constexpr char AsciiLower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

inline std::string AsciiLowered(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), AsciiLower);
  return text;
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_ASCII_H_
