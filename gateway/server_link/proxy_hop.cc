// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/proxy_hop.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "gateway/io/unread_stream.h"
#include "gateway/server_link/dialer.h"

namespace spicegate {
namespace {

constexpr std::string_view kEnd = "\r\n\r\n";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// "HTTP/1.0 200 OK", "HTTP/1.1 200 Connection established", "HTTP/1.0 200".
bool IsSuccess(std::string_view answer) {
  const std::string_view line = answer.substr(0, answer.find("\r\n"));
  const bool has_version =
      line.starts_with("HTTP/1.0 ") || line.starts_with("HTTP/1.1 ");
  if (!has_version || line.size() < 12) {
    return false;
  }
  return line[9] == '2' && IsDigit(line[10]) && IsDigit(line[11]) &&
         (line.size() == 12 || line[12] == ' ');
}

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Task<std::optional<CloseReason>> PassProxy(Leg* leg,
                                           const std::string* request) {
  const int error = co_await WriteAll(leg, BytesOf(*request));
  if (error != 0) {
    co_return ServerReasonOf(error);
  }
  std::string answer;
  std::array<uint8_t, 1024> bytes;
  size_t end = std::string::npos;
  while (end == std::string::npos && answer.size() < kMaxProxyAnswerBytes) {
    const int len = co_await ReadAtLeast(leg, bytes, 1);
    if (len < 0) {
      co_return ServerReasonOf(len);
    }
    // The end may be cut anywhere.
    const size_t from = answer.size() - std::min(answer.size(), kEnd.size());
    answer.append(reinterpret_cast<const char*>(bytes.data()),
                  static_cast<size_t>(len));
    end = answer.find(kEnd, from);
  }
  if (end == std::string::npos || !IsSuccess(answer)) {
    co_return CloseReason::kServerProxy;
  }
  const std::string_view rest =
      std::string_view(answer).substr(end + kEnd.size());
  leg->stream = Unread(std::move(leg->stream), BytesOf(rest));
  co_return std::nullopt;
}

}  // namespace spicegate
