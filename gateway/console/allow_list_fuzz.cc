// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a host that a client asks for, with a list that allows as much
// as a list can without naming special addresses.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/console/allow_list.h"

namespace {

using spicegate::AddressBytes;
using spicegate::AllowList;

constexpr uint16_t kPort = 5900;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == ':' || c == '-' || c == '_';
}

// Loopback in the shapes that name most of it.
bool IsLoopback(const AddressBytes& address) {
  static const std::string kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f", 13);
  static const std::string kSix("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
  const std::string bytes(address.begin(), address.end());
  return bytes.starts_with(kMapped) || bytes == kSix;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  static const AllowList list = *AllowList::Parse(
      {{{"0.0.0.0/0", "::/0", ".org", "localhost"}, {{kPort, kPort}}}});
  const std::string host(reinterpret_cast<const char*>(data), len);
  CHECK(list.Judge(host, kPort + 1) == AllowList::Verdict::kRefused);
  const AllowList::Verdict verdict = list.Judge(host, kPort);
  AddressBytes address;
  const bool is_address = spicegate::ParseHostAddress(host, &address);
  if (verdict != AllowList::Verdict::kRefused) {
    // It means the same to every resolver.
    CHECK(!host.empty() && std::all_of(host.begin(), host.end(), IsPlain));
    CHECK(!is_address || !IsLoopback(address));
  }
  if (is_address) {
    CHECK(verdict != AllowList::Verdict::kAllowed);
    CHECK((verdict == AllowList::Verdict::kAskAddress) ==
          list.AllowsAddress(address, kPort, /*by_name=*/false));
  }
  return 0;
}
