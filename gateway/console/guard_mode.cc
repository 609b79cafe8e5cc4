// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/guard_mode.h"

#include <string>
#include <string_view>

namespace spicegate {
namespace {

bool Parse(std::string_view text, GuardMode* out) {
  if (text == "enforce") {
    *out = GuardMode::kEnforce;
  } else if (text == "count") {
    *out = GuardMode::kCount;
  } else if (text == "off") {
    *out = GuardMode::kOff;
  } else {
    return false;
  }
  return true;
}

bool IsMode(std::string_view text) {
  GuardMode ignored;
  return Parse(text, &ignored);
}

constexpr JsonObjectReader::Text kMode = {"\"enforce\", \"count\" or \"off\"",
                                          16, IsMode};

}  // namespace

void ReadGuardMode(JsonObjectReader& reader, GuardMode* out) {
  std::string text;
  reader.String("guard", kMode, &text);
  Parse(text, out);
}

}  // namespace spicegate
