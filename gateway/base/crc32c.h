// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C (Castagnoli), as in RFC 3720 B.4: reflected, polynomial 0x1EDC6F41,
// all ones before and after.
#ifndef SPICEGATE_GATEWAY_BASE_CRC32C_H_
#define SPICEGATE_GATEWAY_BASE_CRC32C_H_

#include <cstdint>
#include <span>

namespace spicegate {

// Of `bytes`, or of what `before` is the checksum of with `bytes` behind it: a
// checksum can be made piece by piece. A table lookup a byte, for headers.
uint32_t Crc32c(std::span<const uint8_t> bytes, uint32_t before = 0);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_CRC32C_H_
