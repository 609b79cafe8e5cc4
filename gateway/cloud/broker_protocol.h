// SPDX-License-Identifier: Apache-2.0
//
// What a broker of kind "http" is asked and answers (docs/brokers.md): POST of
// a token, a console as JSON. Pure: text in and text out, no I/O.
#ifndef SPICEGATE_GATEWAY_CLOUD_BROKER_PROTOCOL_H_
#define SPICEGATE_GATEWAY_CLOUD_BROKER_PROTOCOL_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/cloud/cloud_console.h"
#include "gateway/cloud/secret.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {

inline constexpr size_t kMaxBrokerReplyBytes = 64 * 1024;
// Of its members: a chain of some certificates, and what a certificate's
// subject may be in a consoles file.
inline constexpr size_t kMaxBrokerCaBytes = 32 * 1024;
inline constexpr size_t kMaxBrokerSubjectLen = 1024;
inline constexpr size_t kMaxBrokerTitleLen = 256;

// 8 to 256 of [A-Za-z0-9._~-].
bool IsBrokerToken(std::string_view token);

// The question for `token`, which IsBrokerToken; without CA file and deadline.
// No Authorization where `bearer` is empty.
HttpCall BrokerCall(const std::string& url, const std::string& token,
                    const Secret& bearer);

// Takes a reply of status 200 apart. InvalidArgument: not as it must be, with a
// message that says what is wrong and holds nothing of the reply.
absl::StatusOr<CloudConsole> ParseBrokerReply(const std::string& body);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_BROKER_PROTOCOL_H_
