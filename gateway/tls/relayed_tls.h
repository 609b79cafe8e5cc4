// SPDX-License-Identifier: Apache-2.0
//
// A TLS connection that is being relayed, as the metrics see it.
#ifndef SPICEGATE_GATEWAY_TLS_RELAYED_TLS_H_
#define SPICEGATE_GATEWAY_TLS_RELAYED_TLS_H_

#include <utility>

#include "gateway/base/counters.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

// Counts one connection as open as long as it exists. Belongs to the thread
// that `counters` do. A default one counts nothing.
class RelayedTls {
 public:
  RelayedTls() = default;
  RelayedTls(WorkerCounters* counters, TlsLeg leg, TlsVersion version,
             TlsSuite suite, OffloadDirections offload)
      : counters_(counters),
        leg_(leg),
        version_(version),
        suite_(suite),
        offload_(offload) {
    Of(&counters->tls_connections)->Add(1);
    Of(&counters->tls_connections_open)->Add(1);
  }
  RelayedTls(RelayedTls&& other) noexcept { *this = std::move(other); }
  RelayedTls& operator=(RelayedTls&& other) noexcept {
    std::swap(counters_, other.counters_);
    std::swap(leg_, other.leg_);
    std::swap(version_, other.version_);
    std::swap(suite_, other.suite_);
    std::swap(offload_, other.offload_);
    return *this;
  }
  ~RelayedTls() {
    if (counters_ != nullptr) {
      Of(&counters_->tls_connections_open)->Add(-1);
    }
  }

  // The peer ended without close_notify.
  void CountTruncated() {
    if (counters_ != nullptr) {
      counters_->tls_truncated[static_cast<size_t>(leg_)].Add(1);
    }
  }

 private:
  Counter* Of(TlsConnectionCounters* all) const {
    return &(*all)[static_cast<size_t>(leg_)][static_cast<size_t>(version_)]
                  [static_cast<size_t>(suite_)][static_cast<size_t>(offload_)];
  }

  WorkerCounters* counters_ = nullptr;
  TlsLeg leg_ = TlsLeg::kClient;
  TlsVersion version_ = TlsVersion::kTls12;
  TlsSuite suite_ = TlsSuite::kOther;
  OffloadDirections offload_ = OffloadDirections::kNone;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_RELAYED_TLS_H_
