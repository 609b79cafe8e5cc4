// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a host name that CONNECT asks for; then the same with a good
// signature behind them, to reach what only a cluster can write.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/auth/proxmox_fixture.h"
#include "gateway/auth/proxmox_ticket.h"
#include "gateway/base/check.h"

namespace {

using spicegate::ProxmoxKey;
using spicegate::ProxmoxTicket;
using spicegate::ProxmoxVerdict;

constexpr char kSecret[] = "labsecret";
constexpr int64_t kWallS = 0x6b023028;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':' ||
         c == '-';
}

void Check(const ProxmoxKey& key, const std::string& host, bool is_signed) {
  ProxmoxTicket ticket;
  const ProxmoxVerdict verdict = key.Verify(host, kWallS, &ticket);
  if (verdict == ProxmoxVerdict::kMalformed) {
    return;
  }
  // It can be part of a request to another proxy as it is.
  CHECK(spicegate::LooksLikeProxmoxTicket(host));
  CHECK(std::all_of(host.begin(), host.end(), IsPlain));
  CHECK(!is_signed || verdict != ProxmoxVerdict::kForged);
  // What it says is what was signed.
  if (is_signed) {
    CHECK(host == spicegate::MakeProxmoxTicket(kSecret, ticket.issued_s,
                                               ticket.vmid, ticket.node,
                                               ticket.port));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  static const auto key = ProxmoxKey::FromSecret(kSecret);
  const std::string text(reinterpret_cast<const char*>(data), len);
  Check(*key, text, /*is_signed=*/false);
  const std::string plain = text.substr(0, text.find("::"));
  Check(*key, spicegate::SignProxmoxText(plain, kSecret), /*is_signed=*/true);
  return 0;
}
