// SPDX-License-Identifier: Apache-2.0
//
// What one source may ask of the portal: links that turn out to be of no
// desktop cost, those that work do not, and only so many are looked up at once.
// Pure: the caller brings the clock.
#ifndef SPICEGATE_GATEWAY_PORTAL_SOURCE_LIMITS_H_
#define SPICEGATE_GATEWAY_PORTAL_SOURCE_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <list>

#include "absl/container/flat_hash_map.h"
#include "gateway/base/limits.h"
#include "gateway/console/host_patterns.h"

namespace spicegate {

// Lookups of one source under way. An office behind one address opens its
// desktops in the same minute, and each takes a fraction of a second.
inline constexpr int64_t kMaxSourceLookups = 64;

// Sources remembered, about 150 bytes each. More than fails at the same time
// when nobody attacks; an attacker with more addresses makes us forgive, and
// still guesses one of 2^122 links.
inline constexpr size_t kMaxPortalSources = 16'384;

// Not thread-safe: the control thread's.
class SourceLimits {
 public:
  enum class Verdict : uint8_t {
    kGo,         // End is to be called, once
    kThrottled,  // too many failures; RetryAfterS says for how long
    kBusy,       // too many lookups under way
  };

  // A source with more than `max_failures` (>= 0) that are not forgiven yet
  // is throttled; one is forgiven every kPortalForgiveMs.
  explicit SourceLimits(int64_t max_failures,
                        size_t max_sources = kMaxPortalSources);
  SourceLimits(const SourceLimits&) = delete;
  SourceLimits& operator=(const SourceLimits&) = delete;

  // An address as ParseHostAddress gives it. All of an IPv6 /64 is one source:
  // a single host can have them all. IPv4 stands for itself.
  Verdict Begin(const AddressBytes& address, int64_t now_ms);

  // After a Begin that said kGo. `failed`: the link was of no desktop. `now_ms`
  // may be that of Begin: it only decides from when on it is forgiven.
  void End(const AddressBytes& address, bool failed, int64_t now_ms);

  // Seconds until Begin would not say kThrottled any more, rounded up; 0 when
  // it does not.
  int64_t RetryAfterS(const AddressBytes& address, int64_t now_ms) const;

  // Sources remembered: with a lookup under way, or failures.
  size_t num_sources() const { return sources_.size(); }

 private:
  struct Source {
    // When all its failures are forgiven. Each pushes it back by
    // kPortalForgiveMs, from now on at least.
    int64_t forgiven_ms = INT64_MIN;
    int64_t num_lookups = 0;
    // Its place in idle_; there is one exactly while num_lookups is 0.
    std::list<AddressBytes>::iterator idle;
  };

  // Milliseconds until `source` is let in again; <= 0: it is.
  int64_t WaitMs(const Source& source, int64_t now_ms) const;
  // The entry of `key`, made where there is none; null when there is no room.
  Source* Obtain(const AddressBytes& key);

  const int64_t max_failures_;
  const size_t max_sources_;
  absl::flat_hash_map<AddressBytes, Source> sources_;
  // Without a lookup under way; who ended the longest ago is in front, and the
  // first to be forgotten.
  std::list<AddressBytes> idle_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_SOURCE_LIMITS_H_
