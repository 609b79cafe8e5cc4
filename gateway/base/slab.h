// SPDX-License-Identifier: Apache-2.0
//
// A pool of objects with stable addresses, named by Handle. Owned and used by
// one thread. Slots are reused last-in first-out (the warm one first), each
// time under a new generation.
#ifndef SPICEGATE_GATEWAY_BASE_SLAB_H_
#define SPICEGATE_GATEWAY_BASE_SLAB_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "gateway/base/check.h"
#include "gateway/base/handle.h"

namespace spicegate {

template <typename T>
class Slab {
 public:
  // At most `capacity` objects at once; memory grows on demand and stays.
  explicit Slab(size_t capacity) : capacity_(capacity) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // Makes an object. A null handle means the slab is full.
  template <typename... Args>
  Handle Emplace(Args&&... args) {
    if (free_.empty()) {
      if (slots_.size() == capacity_) {
        return Handle{};
      }
      free_.push_back(static_cast<uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    Slot& slot = slots_[index];
    slot.object.emplace(std::forward<Args>(args)...);
    ++size_;
    return Handle{index, slot.generation};
  }

  // The object, or nullptr when it is gone. The pointer is valid until Erase.
  T* Get(Handle handle) {
    if (handle.slot >= slots_.size()) {
      return nullptr;
    }
    Slot& slot = slots_[handle.slot];
    if (slot.generation != handle.generation || !slot.object.has_value()) {
      return nullptr;
    }
    return &*slot.object;
  }

  // Destroys the object; its handle is stale from now on.
  void Erase(Handle handle) {
    CHECK(Get(handle) != nullptr);
    Slot& slot = slots_[handle.slot];
    slot.object.reset();
    slot.generation = slot.generation == UINT32_MAX ? 1 : slot.generation + 1;
    free_.push_back(handle.slot);
    --size_;
  }

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }

  // Handles of everything alive now. For rare, whole-slab work: the caller may
  // erase while it walks the copy.
  std::vector<Handle> Handles() const {
    std::vector<Handle> handles;
    handles.reserve(size_);
    for (uint32_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].object.has_value()) {
        handles.push_back(Handle{i, slots_[i].generation});
      }
    }
    return handles;
  }

 private:
  struct Slot {
    std::optional<T> object;
    uint32_t generation = 1;
  };

  const size_t capacity_;
  std::deque<Slot> slots_;  // a deque, because objects must not move
  std::vector<uint32_t> free_;
  size_t size_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_SLAB_H_
