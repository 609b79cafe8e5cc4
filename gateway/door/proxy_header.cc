// SPDX-License-Identifier: Apache-2.0
#include "gateway/door/proxy_header.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace spicegate {

Task<std::optional<ProxyHeader>> ReadProxyHeader(Leg* leg) {
  std::array<uint8_t, kMaxProxyHeaderBytes> bytes;
  size_t len = 0;
  for (;;) {
    const std::optional<size_t> lack =
        ProxyHeaderLack(std::span<const uint8_t>(bytes).first(len));
    if (!lack.has_value()) {
      co_return std::nullopt;
    }
    if (*lack == 0) {
      co_return ParseProxyHeader(std::span<const uint8_t>(bytes).first(len));
    }
    const int n = co_await ReadAtLeast(
        leg, std::span(bytes).subspan(len, *lack), /*at_least=*/1);
    if (n < 0) {
      co_return std::nullopt;
    }
    len += static_cast<size_t>(n);
  }
}

}  // namespace spicegate
