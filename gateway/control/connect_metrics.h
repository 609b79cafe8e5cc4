// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CONTROL_CONNECT_METRICS_H_
#define SPICEGATE_GATEWAY_CONTROL_CONNECT_METRICS_H_

#include "gateway/control/metric_families.h"
#include "gateway/control/metrics.h"

namespace spicegate {

// What PROXY headers and CONNECT requests came to.
void AddConnect(const Workers& workers, Families* out);

// What was asked of consoles' QMP sockets.
void AddQmp(const QmpValues& values, Families* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONNECT_METRICS_H_
