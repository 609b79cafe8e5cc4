// SPDX-License-Identifier: Apache-2.0
//
// The public key of a server's link reply: 162 bytes that a hostile server
// chooses, here of any length.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/auth/link_key.h"
#include "gateway/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  std::array<uint8_t, spicegate::kEncryptedTicketLen> out;
  out.fill(0xa5);
  const std::array<uint8_t, spicegate::kEncryptedTicketLen> untouched = out;
  if (!spicegate::EncryptTicket({data, len}, "secret", out)) {
    CHECK(out == untouched);
  }
  return 0;
}
