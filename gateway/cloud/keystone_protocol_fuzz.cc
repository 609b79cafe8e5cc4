// SPDX-License-Identifier: Apache-2.0
//
// The first line as X-Subject-Token and as a time, the rest as Keystone's
// reply: what is taken of it keeps to its bounds.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/cloud/keystone_protocol.h"

namespace {

using spicegate::ComputeConfig;

void CheckUrl(const std::string& url) {
  CHECK(url.starts_with("http:") || url.starts_with("https:"));
  CHECK(url.size() <= spicegate::kMaxEndpointLen && !url.ends_with('/'));
  CHECK(std::all_of(url.begin(), url.end(),
                    [](char c) { return c > 0x20 && c < 0x7f; }));
}

void CheckReply(const std::string& token, const std::string& body,
                const ComputeConfig& compute) {
  const auto reply = spicegate::ParseKeystoneReply(&token, body, compute,
                                                   /*wall_s=*/1'787'313'600);
  if (!reply.ok()) {
    CHECK(reply.status().message().size() <= 200);
    return;
  }
  CHECK(reply->token.text() == token && !token.empty());
  CHECK(token.find_first_of(" \r\n") == std::string::npos);
  CHECK(reply->life_s > 0 && reply->life_s <= 30 * 24 * 3600);
  CheckUrl(reply->compute_url);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string text(reinterpret_cast<const char*>(data), len);
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string first = text.substr(0, end);
  const std::string body = text.substr(std::min(end + 1, text.size()));
  int64_t unix_s = -1;
  CHECK(spicegate::ParseKeystoneTime(first, &unix_s) == (unix_s >= 0));
  ComputeConfig compute;
  CheckReply(first, body, compute);
  compute.region = "RegionOne";
  compute.interface = "internal";
  CheckReply(first, body, compute);
  return 0;
}
