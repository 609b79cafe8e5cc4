// SPDX-License-Identifier: Apache-2.0
//
// A pool of objects with stable addresses, named by Handle. Owned and used by
// one thread. Slots are reused last-in first-out (the warm one first), each
// time under a new generation.
#ifndef SPICEGATE_GATEWAY_BASE_SLAB_H_
#define SPICEGATE_GATEWAY_BASE_SLAB_H_

#include <array>
#include <cstddef>
#include <memory>
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
      if (num_slots_ == capacity_) {
        return Handle{};
      }
      AddSlot();
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    Slot& slot = SlotAt(index);
    slot.object.emplace(std::forward<Args>(args)...);
    ++size_;
    return Handle{index, slot.generation};
  }

  // The object, or nullptr when it is gone. The pointer is valid until Erase.
  T* Get(Handle handle) {
    if (handle.slot >= num_slots_) {
      return nullptr;
    }
    Slot& slot = SlotAt(handle.slot);
    if (slot.generation != handle.generation || !slot.object.has_value()) {
      return nullptr;
    }
    return &*slot.object;
  }

  // Destroys the object; its handle is stale from now on.
  void Erase(Handle handle) {
    CHECK(Get(handle) != nullptr);
    Slot& slot = SlotAt(handle.slot);
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
    for (uint32_t i = 0; i < num_slots_; ++i) {
      const Slot& slot = SlotAt(i);
      if (slot.object.has_value()) {
        handles.push_back(Handle{i, slot.generation});
      }
    }
    return handles;
  }

 private:
  struct Slot {
    std::optional<T> object;
    uint32_t generation = 1;
  };

  // Slots come in chunks, because objects must not move and an allocation for
  // each would cost an idle channel a fifth more memory.
  static constexpr size_t kChunkSlots = 32;
  using Chunk = std::array<Slot, kChunkSlots>;

  Slot& SlotAt(size_t index) const {
    return (*chunks_[index / kChunkSlots])[index % kChunkSlots];
  }
  void AddSlot() {
    if (num_slots_ == chunks_.size() * kChunkSlots) {
      chunks_.push_back(std::make_unique<Chunk>());
    }
    free_.push_back(static_cast<uint32_t>(num_slots_++));
  }

  const size_t capacity_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  size_t num_slots_ = 0;
  std::vector<uint32_t> free_;
  size_t size_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_SLAB_H_
