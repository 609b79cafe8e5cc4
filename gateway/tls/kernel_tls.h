// SPDX-License-Identifier: Apache-2.0
//
// Which connections may have their records made by the kernel: what the kernel
// can, tried once at start, and what the configuration allows.
#ifndef SPICEGATE_GATEWAY_TLS_KERNEL_TLS_H_
#define SPICEGATE_GATEWAY_TLS_KERNEL_TLS_H_

#include <array>
#include <string>

#include "gateway/base/counters.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

constexpr OffloadDirections operator&(OffloadDirections a,
                                      OffloadDirections b) {
  return static_cast<OffloadDirections>(static_cast<uint8_t>(a) &
                                        static_cast<uint8_t>(b));
}
constexpr OffloadDirections operator|(OffloadDirections a,
                                      OffloadDirections b) {
  return static_cast<OffloadDirections>(static_cast<uint8_t>(a) |
                                        static_cast<uint8_t>(b));
}

// By version and suite. TlsSuite::kOther stays kNone.
struct KernelTlsSupport {
  std::array<std::array<OffloadDirections, kNumTlsSuites>, kNumTlsVersions>
      directions{};

  bool None() const;
  // What is missing of all six combinations in both directions, for an
  // operator; empty when nothing is.
  std::string Missing() const;
};

// Sets keys on loopback connections of its own. Not on a worker.
KernelTlsSupport ProbeKernelTls();

// Immutable once the workers run.
struct OffloadPolicy {
  KernelTlsSupport support;  // nothing when the configuration switched it off
  OffloadDirections client = OffloadDirections::kBoth;
  OffloadDirections server = OffloadDirections::kBoth;

  OffloadDirections For(TlsLeg leg, TlsVersion version, TlsSuite suite) const;
  // Whether any connection of that leg may have its receiving side moved.
  bool MayReceive(TlsLeg leg) const;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_KERNEL_TLS_H_
