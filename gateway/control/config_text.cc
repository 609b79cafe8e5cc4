// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_text.h"

#include <algorithm>

#include "gateway/console/file_reader.h"

namespace spicegate {

bool IsBindAddressText(std::string_view text) {
  BindAddress ignored;
  return ParseBindAddress(text, &ignored);
}

bool IsPublicHostText(std::string_view host) {
  return IsNumericHost(host) ||
         std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
         });
}

bool IsOneLineText(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

bool IsSubjectText(std::string_view subject) {
  return IsOneLineText(subject) && subject.find('=') != std::string_view::npos;
}

void ReadBindAddress(JsonObjectReader& reader, BindAddress* out) {
  std::string text;
  reader.String("address", kBindAddressText, &text);
  if (reader.ok() && !text.empty()) {
    ParseBindAddress(text, out);
  }
}

void ReadPath(JsonObjectReader& reader, const char* key,
              const JsonObjectReader::Text& text, const std::string& file_name,
              std::string* out) {
  reader.String(key, text, out);
  if (reader.Has(key)) {
    *out = ResolveBeside(file_name, *out);
  }
}

}  // namespace spicegate
