// SPDX-License-Identifier: Apache-2.0
//
// What several sections of the configuration read alike.
#ifndef SPICEGATE_GATEWAY_CONTROL_CONFIG_TEXT_H_
#define SPICEGATE_GATEWAY_CONTROL_CONFIG_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "gateway/base/address.h"
#include "gateway/base/json_reader.h"

namespace spicegate {

inline constexpr size_t kMaxConfigPathLen = 4095;  // PATH_MAX
inline constexpr size_t kMaxConfigHostLen = 253;   // RFC 1035
inline constexpr size_t kMaxConfigSubjectLen = 1024;

bool IsBindAddressText(std::string_view text);

// What may stand in a .vv file as it is: an address without brackets, or
// letters, digits, '.', '-' and '_'.
bool IsPublicHostText(std::string_view host);

// One line.
bool IsOneLineText(std::string_view text);

// May be a certificate's subject, as far as can be seen without a parser.
bool IsSubjectText(std::string_view subject);

inline constexpr JsonObjectReader::Text kBindAddressText = {
    "IPV4:PORT, [IPV6]:PORT or *:PORT with a port from 0 to 65535",
    64,  // longest: [IPv6]:65535
    IsBindAddressText};
inline constexpr JsonObjectReader::Text kFileText = {"a file name",
                                                     kMaxConfigPathLen};
inline constexpr JsonObjectReader::Text kPublicHostText = {
    "a host name or an address, without port", kMaxConfigHostLen,
    IsPublicHostText};

// Reads the key "address". Absent: *out stays.
void ReadBindAddress(JsonObjectReader& reader, BindAddress* out);

// Reads the name of a file or directory, as seen from the configuration's own
// file `file_name`. Absent: *out stays.
void ReadPath(JsonObjectReader& reader, const char* key,
              const JsonObjectReader::Text& text, const std::string& file_name,
              std::string* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONFIG_TEXT_H_
