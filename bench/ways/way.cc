// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/way.h"

#include <liburing.h>
#include <signal.h>

#include "bench/ways/inline_relay.h"
#include "bench/ways/ring_relay.h"
#include "bench/ways/ring_splice.h"

namespace spicegate {
namespace {

// Newer than Debian 12's header.
constexpr unsigned kFeatureBundle = 1u << 14;  // IORING_FEAT_RECVSEND_BUNDLE

bool OpSupported(int op) {
  io_uring_probe* probe = io_uring_get_probe();
  const bool supported =
      probe != nullptr && io_uring_opcode_supported(probe, op) != 0;
  io_uring_free_probe(probe);
  return supported;
}

bool BundlesSupported() {
  io_uring ring{};
  io_uring_params params{};
  if (io_uring_queue_init_params(2, &ring, &params) != 0) {
    return false;
  }
  io_uring_queue_exit(&ring);
  return (params.features & kFeatureBundle) != 0;
}

bool RingSupported() {
  io_uring ring{};
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  if (io_uring_queue_init_params(2, &ring, &params) != 0) {
    return false;
  }
  io_uring_queue_exit(&ring);
  return true;
}

bool IsInline(Mover mover) {
  return mover == Mover::kCopy || mover == Mover::kSplice ||
         mover == Mover::kHybrid;
}

}  // namespace

std::string WhyImpossible(const Way& way) {
  const bool needs_ring =
      !IsInline(way.mover) || way.readiness != Readiness::kEpoll;
  if (needs_ring && !RingSupported()) {
    return "no io_uring with DEFER_TASKRUN";
  }
  if (way.mover == Mover::kBundle && !BundlesSupported()) {
    return "no bundles before Linux 6.10";
  }
  if (way.mover == Mover::kSendZc && !OpSupported(IORING_OP_SEND_ZC)) {
    return "no IORING_OP_SEND_ZC";
  }
  return "";
}

std::unique_ptr<Relay> MakeRelay(const Way& way) {
  signal(SIGPIPE, SIG_IGN);  // splice(2) has no MSG_NOSIGNAL
  if (IsInline(way.mover)) {
    return std::make_unique<InlineRelay>(way);
  }
  if (way.mover == Mover::kRingSplice) {
    return std::make_unique<RingSpliceRelay>(way);
  }
  return std::make_unique<RingRelay>(way);
}

}  // namespace spicegate
