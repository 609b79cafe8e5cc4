// SPDX-License-Identifier: Apache-2.0
//
// The families about what sessions were kept from, and about migrations. For
// MetricsText alone.
#ifndef SPICEGATE_GATEWAY_CONTROL_GUARD_METRICS_H_
#define SPICEGATE_GATEWAY_CONTROL_GUARD_METRICS_H_

#include "gateway/control/metric_families.h"

namespace spicegate {

void AddGuard(const Workers& workers, Families* out);
void AddMigrations(const Workers& workers, Families* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_GUARD_METRICS_H_
