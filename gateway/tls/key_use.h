// SPDX-License-Identifier: Apache-2.0
//
// How much one AES-GCM key has encrypted. RFC 8446, 5.5 allows 2^24.5 full
// records under a key, which is 2^34.5 blocks of the cipher; with records of
// any size it is the blocks that count, and one more for each record.
#ifndef SPICEGATE_GATEWAY_TLS_KEY_USE_H_
#define SPICEGATE_GATEWAY_TLS_KEY_USE_H_

#include <cstddef>
#include <cstdint>

#include "gateway/base/limits.h"

namespace spicegate {

class KeyUse {
 public:
  // Another `num_bytes` in records as full as they can be.
  void Add(size_t num_bytes) {
    constexpr size_t kBlockBytes = 16;
    constexpr size_t kRecordBytes = 16 * 1024;
    num_blocks_ += num_bytes / kBlockBytes + num_bytes / kRecordBytes + 2;
  }
  // A new key.
  void Reset() { num_blocks_ = 0; }

  bool exhausted() const { return num_blocks_ >= kMaxTlsKeyBlocks; }

 private:
  uint64_t num_blocks_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_KEY_USE_H_
