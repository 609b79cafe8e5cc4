// SPDX-License-Identifier: Apache-2.0
//
// Takes JSON replies of other services apart. Members that nobody asks for are
// fine there, other than in files that people write (gateway/base/json_reader):
// services grow. What is asked for is judged strictly, whatever it may hold.
#ifndef SPICEGATE_GATEWAY_CLOUD_REPLY_FIELDS_H_
#define SPICEGATE_GATEWAY_CLOUD_REPLY_FIELDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "gateway/base/json.h"

namespace spicegate {

// Nothing when `body` is longer than `max_bytes` or no JSON object.
std::optional<JsonValue> ParseReplyObject(const std::string& body,
                                          size_t max_bytes);

// The member `key` where `object` is an object and that one is of `type`; else
// null.
const JsonValue* Member(const JsonValue& object, std::string_view key,
                        JsonValue::Type type);

// What a string of a reply may be.
struct ReplyText {
  size_t max_len;  // bytes
  bool (*valid)(std::string_view) = nullptr;
};

// The string `key`. Absent, null and "" leave `*out` as it was. False when it
// is something else than `text` says.
bool TakeText(const JsonValue& object, std::string_view key,
              const ReplyText& text, std::string* out);

// The port `key`, 1 to 65535. Absent, null, 0 and -1 (libvirt's word for none)
// leave `*out` as it was. False when it is something else.
bool TakePort(const JsonValue& object, std::string_view key, uint16_t* out);

// Of a host that can be dialled: a DNS name, an IPv4 address or an IPv6 address
// without brackets and zone.
bool IsReplyHost(std::string_view host);

// Text in one line.
bool IsPrintableText(std::string_view text);

// InvalidArgument with `what`, which holds nothing of the reply.
absl::Status BrokenReply(const char* what);

// DataLoss: the whole reply is not of the service that was asked.
absl::Status ForeignReply(const char* what);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_REPLY_FIELDS_H_
