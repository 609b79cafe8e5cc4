// SPDX-License-Identifier: Apache-2.0
//
// Who is there in a scenario: how many viewers, with which channels, and what
// runs on them.
#ifndef SPICEGATE_BENCH_LOAD_LAYOUT_H_
#define SPICEGATE_BENCH_LOAD_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench/load/options.h"
#include "bench/load/viewer.h"
#include "proto/channel.h"

namespace spicegate {

// Of a usual desktop: ten, main included.
std::vector<proto::ChannelKey> DesktopChannels();

class Layout {
 public:
  // `options` outlives the layout.
  explicit Layout(const LoadOptions* options) : options_(options) {}

  size_t num_viewers() const;
  // Without main.
  std::vector<proto::ChannelKey> ChannelsOf(size_t viewer) const;
  size_t num_channels() const;
  // Begins what the viewer's channels carry.
  void StartTraffic(Viewer* viewer) const;

 private:
  FloodPlan BulkPlan(const Viewer& viewer) const;
  FloodPlan DisplayPlan(const Viewer& viewer) const;
  void StartPings(Viewer* viewer) const;
  void StartDesktop(Viewer* viewer) const;

  const LoadOptions* const options_;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_LAYOUT_H_
