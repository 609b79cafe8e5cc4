// SPDX-License-Identifier: Apache-2.0
//
// What a stranger sends where a PROXY header must come. The bytes are taken as
// the reader takes them, so that what is read beyond a header would show: no
// beginning of a whole header may ask for more than the header still has.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "gateway/base/check.h"
#include "gateway/base/proxy_header.h"

namespace spicegate {
namespace {

// The length of the header at the beginning of `bytes`, if there is a whole one
// that is well-formed.
std::optional<size_t> HeaderLen(std::span<const uint8_t> bytes) {
  size_t len = 0;
  for (;;) {
    const std::optional<size_t> lack = ProxyHeaderLack(bytes.first(len));
    if (!lack.has_value() || *lack > bytes.size() - len) {
      return std::nullopt;
    }
    if (*lack == 0) {
      CHECK(len <= kMaxProxyHeaderBytes);
      return ParseProxyHeader(bytes.first(len)).has_value()
                 ? std::optional<size_t>(len)
                 : std::nullopt;
    }
    len += *lack;
  }
}

void CheckHeader(std::span<const uint8_t> whole) {
  for (size_t len = 0; len < whole.size(); ++len) {
    const std::optional<size_t> lack = ProxyHeaderLack(whole.first(len));
    CHECK(lack.has_value());
    CHECK(*lack > 0 && *lack <= whole.size() - len);
    CHECK(!ParseProxyHeader(whole.first(len)).has_value());
  }
  const std::optional<ProxyHeader> header = ParseProxyHeader(whole);
  CHECK(header->outcome != ProxyHeaderOutcome::kRefused);
  CHECK(header->source.empty() ==
        (header->outcome == ProxyHeaderOutcome::kLocal));
  CHECK(!header->local || header->outcome == ProxyHeaderOutcome::kLocal);
}

}  // namespace
}  // namespace spicegate

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::span<const uint8_t> bytes(data, len);
  spicegate::ParseProxyHeader(bytes);  // whatever it is
  const std::optional<size_t> header_len = spicegate::HeaderLen(bytes);
  if (header_len.has_value()) {
    spicegate::CheckHeader(bytes.first(*header_len));
  }
  return 0;
}
