// SPDX-License-Identifier: Apache-2.0
//
// Nova's os-console-auth-tokens at microversion 2.99
// (docs.openstack.org/api-ref/compute), the first that tells a spice-direct
// console's TLS port. Pure: text in and text out, no I/O.
#ifndef SPICEGATE_GATEWAY_CLOUD_NOVA_PROTOCOL_H_
#define SPICEGATE_GATEWAY_CLOUD_NOVA_PROTOCOL_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/cloud/cloud_console.h"
#include "gateway/cloud/secret.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {

inline constexpr size_t kMaxNovaReplyBytes = 64 * 1024;

// A UUID of 36 characters, in either case: a console token of Nova's, and an
// instance.
bool IsNovaToken(std::string_view token);

// The question for `token`, which IsNovaToken; without CA file and deadline.
HttpCall NovaCall(const std::string& compute_url, const std::string& token,
                  const Secret& service_token);

// Takes a reply of status 200 apart. NotFound: the token is one of another
// kind of console. InvalidArgument: not what Nova sends, with a message that
// holds nothing of the reply.
absl::StatusOr<CloudConsole> ParseNovaReply(const std::string& body);

// Whether `body`, of status 404, is Nova's word that there is no such token,
// not that of a server where Nova's API is not.
bool IsNovaNotFound(const std::string& body);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_NOVA_PROTOCOL_H_
