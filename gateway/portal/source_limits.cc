// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/source_limits.h"

#include <algorithm>

#include "gateway/base/check.h"

namespace spicegate {

SourceLimits::SourceLimits(const Options& options) : options_(options) {
  CHECK(options.max_failures >= 0 && options.max_sources > 0);
}

// What stands for `address` among the sources.
AddressBytes SourceLimits::KeyOf(AddressBytes address) const {
  static constexpr AddressBytes kIpv4 = {0, 0, 0, 0, 0,   0,
                                         0, 0, 0, 0, 255, 255};
  if (!std::equal(kIpv4.begin(), kIpv4.begin() + 12, address.begin())) {
    std::fill(address.begin() + static_cast<ptrdiff_t>(options_.prefix_bytes),
              address.end(), uint8_t{0});
  }
  return address;
}

SourceLimits::Verdict SourceLimits::Begin(const AddressBytes& address,
                                          int64_t now_ms) {
  const AddressBytes key = KeyOf(address);
  const auto known = sources_.find(key);
  if (known != sources_.end() && WaitMs(known->second, now_ms) > 0) {
    return Verdict::kThrottled;
  }
  Source* const source = known != sources_.end() ? &known->second : Obtain(key);
  if (source == nullptr || source->num_lookups >= options_.max_lookups) {
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
    // What came at once is no worse than what came one by one: an office behind
    // one address must not wait for minutes.
    source.forgiven_ms =
        std::min(std::max(source.forgiven_ms, now_ms) + kPortalForgiveMs,
                 now_ms + (options_.max_failures + 1) * kPortalForgiveMs);
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
             : source.forgiven_ms - now_ms -
                   options_.max_failures * kPortalForgiveMs;
}

SourceLimits::Source* SourceLimits::Obtain(const AddressBytes& key) {
  if (sources_.size() >= options_.max_sources) {
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

SourceLimits::Verdict VisitorLimits::Begin(const AddressBytes& address,
                                           int64_t now_ms) {
  const SourceLimits::Verdict verdict = sources_.Begin(address, now_ms);
  if (verdict != SourceLimits::Verdict::kGo) {
    return verdict;
  }
  const SourceLimits::Verdict of_site = sites_.Begin(address, now_ms);
  if (of_site != SourceLimits::Verdict::kGo) {
    sources_.End(address, /*failed=*/false, now_ms);
  }
  return of_site;
}

void VisitorLimits::End(const AddressBytes& address, bool failed,
                        int64_t now_ms) {
  sources_.End(address, failed, now_ms);
  sites_.End(address, failed, now_ms);
}

int64_t VisitorLimits::RetryAfterS(const AddressBytes& address,
                                   int64_t now_ms) const {
  return std::max(sources_.RetryAfterS(address, now_ms),
                  sites_.RetryAfterS(address, now_ms));
}

}  // namespace spicegate
