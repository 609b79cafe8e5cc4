// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a host that a server names, and as an entry of the list.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/console/destinations.h"

namespace {

using spicegate::Destinations;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == ':' || c == '-' || c == '_';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  static const Destinations list =
      *Destinations::Parse({"0.0.0.0/0", "::/0", ".org", "localhost"});
  const std::string text(reinterpret_cast<const char*>(data), len);
  // What is allowed means the same to every resolver.
  if (list.Allows(text)) {
    CHECK(!text.empty() && std::all_of(text.begin(), text.end(), IsPlain));
  }
  const auto own = Destinations::Parse({text});
  CHECK(own.ok() == Destinations::IsEntry(text));
  // An entry without a dot in front or a prefix allows itself.
  if (own.ok() && text[0] != '.' && text.find('/') == std::string::npos) {
    CHECK(own->Allows(text));
  }
  return 0;
}
