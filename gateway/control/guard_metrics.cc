// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/guard_metrics.h"

#include <limits>

#include "gateway/base/counter_names.h"

namespace spicegate {
namespace {

using MetricType = Families::MetricType;

// Workers count each migration in one bucket, Prometheus wants each bucket with
// all below it. The sum and the buckets are read one after the other, so that
// one may be a migration ahead.
Families::Histogram Durations(const Workers& workers) {
  Families::Histogram histogram;
  double total = 0;
  for (size_t i = 0; i <= kMigrationBucketsMs.size(); ++i) {
    total += Sum(
        workers, [i](auto& w) -> auto& { return w.migration_durations[i]; });
    const double bound_s =
        i < kMigrationBucketsMs.size()
            ? static_cast<double>(kMigrationBucketsMs[i]) / 1e3
            : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({static_cast<uint64_t>(total), bound_s});
  }
  histogram.sample_count = static_cast<uint64_t>(total);
  histogram.sample_sum =
      Sum(
          workers, [](auto& w) -> auto& { return w.migration_duration_ms; }) /
      1e3;
  return histogram;
}

}  // namespace

void AddGuard(const Workers& workers, Families* out) {
  out->Begin(MetricType::Counter, "spicegate_guard_refusals_total",
             "Messages and links of clients that the guard found wrong, by "
             "channel type and rule.");
  for (size_t rule = 0; rule < kNumGuardRules; ++rule) {
    AddByChannel(
        workers,
        [rule](auto& w, size_t type) -> auto& {
          return w.guard_refusals[type][rule];
        },
        {Named("rule", GuardRuleName(static_cast<GuardRule>(rule)))}, out);
  }
  out->Begin(MetricType::Counter, "spicegate_policy_drops_total",
             "Messages and channels that a policy kept back, by what it "
             "forbids.");
  for (size_t i = 0; i < kNumPolicyDrops; ++i) {
    out->Add(Sum(
                 workers, [i](auto& w) -> auto& { return w.policy_drops[i]; }),
             {Named("policy", PolicyDropName(static_cast<PolicyDrop>(i)))});
  }
}

void AddMigrations(const Workers& workers, Families* out) {
  out->Begin(MetricType::Counter, "spicegate_migrations_total",
             "Migrations of sessions that ended, by kind and result.");
  for (size_t kind = 0; kind < kNumMigrationKinds; ++kind) {
    for (size_t result = 0; result < kNumMigrationResults; ++result) {
      const auto pick = [=](auto& w) -> auto& {
        return w.migrations[kind][result];
      };
      out->Add(
          Sum(workers, pick),
          {Named("kind", MigrationKindName(static_cast<MigrationKind>(kind))),
           Named("result",
                 MigrationResultName(static_cast<MigrationResult>(result)))});
    }
  }
  out->Gauge(
      "spicegate_migrations_pending",
      "Sessions now between a migration's beginning and its end.",
      Sum(
          workers, [](auto& w) -> auto& { return w.migrations_pending; }));
  out->AddHistogram("spicegate_migration_duration_seconds",
                    "From a completed migration's beginning to the "
                    "destination's taking over.",
                    Durations(workers));
}

}  // namespace spicegate
