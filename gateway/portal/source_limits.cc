// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/source_limits.h"

#include <algorithm>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr size_t kPrefixBytes = 8;  // of a /64

// What stands for `address` among the sources.
AddressBytes KeyOf(AddressBytes address) {
  static constexpr AddressBytes kIpv4 = {0, 0, 0, 0, 0,   0,
                                         0, 0, 0, 0, 255, 255};
  if (!std::equal(kIpv4.begin(), kIpv4.begin() + 12, address.begin())) {
    std::fill(address.begin() + kPrefixBytes, address.end(), uint8_t{0});
  }
  return address;
}

}  // namespace

SourceLimits::SourceLimits(int64_t max_failures, size_t max_sources)
    : max_failures_(max_failures), max_sources_(max_sources) {
  CHECK(max_failures >= 0 && max_sources > 0);
}

SourceLimits::Verdict SourceLimits::Begin(const AddressBytes& address,
                                          int64_t now_ms) {
  const AddressBytes key = KeyOf(address);
  const auto known = sources_.find(key);
  if (known != sources_.end() && WaitMs(known->second, now_ms) > 0) {
    return Verdict::kThrottled;
  }
  Source* const source = known != sources_.end() ? &known->second : Obtain(key);
  if (source == nullptr || source->num_lookups >= kMaxSourceLookups) {
    return Verdict::kBusy;
  }
  if (source->num_lookups == 0) {
    idle_.erase(source->idle);
  }
  ++source->num_lookups;
  return Verdict::kGo;
}

void SourceLimits::End(const AddressBytes& address, bool failed,
                       int64_t now_ms) {
  const AddressBytes key = KeyOf(address);
  const auto found = sources_.find(key);
  CHECK(found != sources_.end() && found->second.num_lookups > 0);
  Source& source = found->second;
  if (failed) {
    source.forgiven_ms =
        std::max(source.forgiven_ms, now_ms) + kPortalForgiveMs;
  }
  if (--source.num_lookups > 0) {
    return;
  }
  if (source.forgiven_ms <= now_ms) {
    sources_.erase(found);
    return;
  }
  source.idle = idle_.insert(idle_.end(), key);
}

int64_t SourceLimits::RetryAfterS(const AddressBytes& address,
                                  int64_t now_ms) const {
  const auto found = sources_.find(KeyOf(address));
  if (found == sources_.end()) {
    return 0;
  }
  const int64_t wait_ms = WaitMs(found->second, now_ms);
  return wait_ms > 0 ? (wait_ms + 999) / 1000 : 0;
}

int64_t SourceLimits::WaitMs(const Source& source, int64_t now_ms) const {
  // Nothing to forgive also where now_ms is far below zero.
  return source.forgiven_ms == INT64_MIN
             ? 0
             : source.forgiven_ms - now_ms - max_failures_ * kPortalForgiveMs;
}

SourceLimits::Source* SourceLimits::Obtain(const AddressBytes& key) {
  if (sources_.size() >= max_sources_) {
    if (idle_.empty()) {
      return nullptr;
    }
    sources_.erase(idle_.front());
    idle_.pop_front();
  }
  Source& source = sources_[key];
  source.idle = idle_.insert(idle_.end(), key);
  return &source;
}

}  // namespace spicegate
