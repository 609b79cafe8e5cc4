// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CONTROL_CLOUD_METRICS_H_
#define SPICEGATE_GATEWAY_CONTROL_CLOUD_METRICS_H_

#include <vector>

#include "gateway/cloud/cloud_stats.h"
#include "gateway/control/metric_families.h"
#include "gateway/control/metrics.h"

namespace spicegate {

// What the portal answered. Nothing where there is no portal.
void AddPortal(const PortalValues& values, Families* out);

// What clouds were asked, each under its name in the configuration. Nothing
// where there is none.
void AddClouds(const std::vector<CloudStats>& clouds, Families* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CLOUD_METRICS_H_
