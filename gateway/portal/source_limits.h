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

// A site is a whole /48, what a customer of a provider has: 65 536 sources. It
// may fail, and look up, that much more often than one of them.
inline constexpr int64_t kSiteFailuresFactor = 16;
inline constexpr int64_t kMaxSiteLookups = 4 * kMaxSourceLookups;

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

  struct Options {
    // A source with more than so many (>= 0) that are not forgiven yet is
    // throttled; one is forgiven every kPortalForgiveMs.
    int64_t max_failures = 0;
    int64_t max_lookups = kMaxSourceLookups;
    size_t max_sources = kMaxPortalSources;
    // Of an IPv6 address, what makes a source. IPv4 stands for itself.
    size_t prefix_bytes = 8;
  };

  explicit SourceLimits(const Options& options);
  SourceLimits(const SourceLimits&) = delete;
  SourceLimits& operator=(const SourceLimits&) = delete;

  // An address as ParseHostAddress gives it.
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

  AddressBytes KeyOf(AddressBytes address) const;

  const Options options_;
  absl::flat_hash_map<AddressBytes, Source> sources_;
  // Without a lookup under way; who ended the longest ago is in front, and the
  // first to be forgotten.
  std::list<AddressBytes> idle_;
};

// Both limits that a visitor of the portal has: as a source, which of IPv6 is a
// /64 because a single host can have all of it, and as part of a site.
class VisitorLimits {
 public:
  explicit VisitorLimits(int64_t max_failures)
      : sources_({.max_failures = max_failures}),
        sites_({.max_failures = max_failures * kSiteFailuresFactor,
                .max_lookups = kMaxSiteLookups,
                .prefix_bytes = 6}) {}

  // As SourceLimits'.
  SourceLimits::Verdict Begin(const AddressBytes& address, int64_t now_ms);
  void End(const AddressBytes& address, bool failed, int64_t now_ms);
  int64_t RetryAfterS(const AddressBytes& address, int64_t now_ms) const;

 private:
  SourceLimits sources_;
  SourceLimits sites_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_SOURCE_LIMITS_H_
