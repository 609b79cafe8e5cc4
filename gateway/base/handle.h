// SPDX-License-Identifier: Apache-2.0
//
// A Handle names an object in a Slab: slot and generation. A handle kept after
// its object is gone finds nothing, never the slot's next tenant.
#ifndef SPICEGATE_GATEWAY_BASE_HANDLE_H_
#define SPICEGATE_GATEWAY_BASE_HANDLE_H_

#include <cstdint>

namespace spicegate {

struct Handle {
  uint32_t slot = 0;
  uint32_t generation = 0;  // 0 is never handed out: a null handle

  explicit operator bool() const { return generation != 0; }
  friend bool operator==(Handle, Handle) = default;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_HANDLE_H_
