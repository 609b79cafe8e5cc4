// SPDX-License-Identifier: Apache-2.0
//
// Ciphertext of the call of a TlsStream that is under way, one for each thread:
// hot in the cache, and nothing that an idle stream keeps.
#ifndef SPICEGATE_GATEWAY_TLS_TLS_SCRATCH_H_
#define SPICEGATE_GATEWAY_TLS_TLS_SCRATCH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "gateway/base/limits.h"

namespace spicegate {

struct TlsScratch {
  // A relay buffer as full records, and room for what BoringSSL adds by itself:
  // tickets, an alert, the certificates of a handshake.
  static constexpr size_t kBytes = kPumpBufferBytes + 16 * 1024;

  std::array<uint8_t, kBytes> input;
  std::array<uint8_t, kBytes> output;
  size_t input_begin = 0;
  size_t input_end = 0;
  size_t output_len = 0;
  // The most that is read from below at once; 0: nothing more in this call.
  size_t read_limit = 0;

  static TlsScratch& OfThread() {
    thread_local const std::unique_ptr<TlsScratch> scratch =
        std::make_unique<TlsScratch>();
    return *scratch;
  }

  std::span<const uint8_t> unread() const {
    return {input.data() + input_begin, input_end - input_begin};
  }
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TLS_SCRATCH_H_
