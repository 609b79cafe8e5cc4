// SPDX-License-Identifier: Apache-2.0
//
// What texts of HTTP are made of: for all who read or write its heads.
#ifndef SPICEGATE_GATEWAY_BASE_HTTP_TEXT_H_
#define SPICEGATE_GATEWAY_BASE_HTTP_TEXT_H_

#include <algorithm>
#include <string_view>

namespace spicegate {

// One letter of a token: RFC 9110, 5.6.2.
constexpr bool IsHttpTokenChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// A method, or the name of a header.
constexpr bool IsHttpToken(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), IsHttpTokenChar);
}

// Without the blanks and tabs around it, which mean nothing there: RFC 9110,
// 5.6.3.
constexpr std::string_view HttpTrimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_HTTP_TEXT_H_
