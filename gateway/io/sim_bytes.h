// SPDX-License-Identifier: Apache-2.0
//
// A queue of bytes: what a simulated connection or pipe holds. Test code only.
#ifndef SPICEGATE_GATEWAY_IO_SIM_BYTES_H_
#define SPICEGATE_GATEWAY_IO_SIM_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

namespace spicegate {

class SimBytes {
 public:
  size_t size() const { return data_.size() - start_; }

  void Append(std::span<const uint8_t> in) {
    data_.erase(0, std::exchange(start_, 0));
    data_.append(reinterpret_cast<const char*>(in.data()), in.size());
  }

  // The oldest bytes, at most `max`; valid until the next call.
  std::span<const uint8_t> Front(size_t max) const {
    return {reinterpret_cast<const uint8_t*>(data_.data()) + start_,
            std::min(max, size())};
  }

  // Drops the oldest `n` bytes, or the newest down to `n`.
  void DropFront(size_t n) { start_ += n; }
  void KeepFront(size_t n) { data_.resize(start_ + n); }

  size_t Take(std::span<uint8_t> out) {
    const std::span<const uint8_t> front = Front(out.size());
    std::memcpy(out.data(), front.data(), front.size());
    DropFront(front.size());
    return front.size();
  }

 private:
  std::string data_;
  size_t start_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_SIM_BYTES_H_
