// SPDX-License-Identifier: Apache-2.0
//
// How the workers' counters become families of series. For the files that make
// MetricsText, and no others.
#ifndef SPICEGATE_GATEWAY_CONTROL_METRIC_FAMILIES_H_
#define SPICEGATE_GATEWAY_CONTROL_METRIC_FAMILIES_H_

#include <prometheus/metric_family.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/base/counters.h"
#include "proto/channel.h"

namespace spicegate {

using Workers = std::vector<const WorkerCounters*>;
using Label = prometheus::ClientMetric::Label;

static_assert(kNumChannelTypes == proto::kNumChannelTypes);

// Adds one number over all workers; `pick` chooses the counter.
template <typename Pick>
double Sum(const Workers& workers, const Pick& pick) {
  int64_t sum = 0;
  for (const WorkerCounters* worker : workers) {
    sum += pick(*worker).value();
  }
  return static_cast<double>(sum);
}

// Collects families in the order in which they are shown.
class Families {
 public:
  using MetricType = prometheus::MetricType;
  using Histogram = prometheus::ClientMetric::Histogram;

  void Begin(MetricType type, const char* name, const char* help) {
    prometheus::MetricFamily family;
    family.name = name;
    family.help = help;
    family.type = type;
    list_.push_back(std::move(family));
  }

  // Adds a series to the family begun last.
  void Add(double value, std::vector<Label> labels = {}) {
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    if (list_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    list_.back().metric.push_back(std::move(metric));
  }

  void Counter(const char* name, const char* help, double value) {
    Begin(MetricType::Counter, name, help);
    Add(value);
  }

  void Gauge(const char* name, const char* help, double value) {
    Begin(MetricType::Gauge, name, help);
    Add(value);
  }

  // A family of one series without labels.
  void AddHistogram(const char* name, const char* help, Histogram histogram) {
    Begin(MetricType::Histogram, name, help);
    prometheus::ClientMetric metric;
    metric.histogram = std::move(histogram);
    list_.back().metric.push_back(std::move(metric));
  }

  const std::vector<prometheus::MetricFamily>& list() const { return list_; }

 private:
  std::vector<prometheus::MetricFamily> list_;
};

// A label of an enumeration's name.
inline Label Named(const char* label, std::string_view value) {
  return {label, std::string(value)};
}

// One series for each channel type that `has` is true for. `pick` gives a
// worker's counter of a type, by its index.
template <typename Has, typename Pick>
void AddByType(const Workers& workers, const Has& has, const Pick& pick,
               const std::vector<Label>& more, Families* out) {
  for (size_t i = 0; i < kNumChannelTypes; ++i) {
    const auto type = static_cast<proto::ChannelType>(i);
    if (!has(type)) {
      continue;
    }
    std::vector<Label> labels = {Named("channel", proto::ChannelName(type))};
    labels.insert(labels.end(), more.begin(), more.end());
    const auto counter = [&](const WorkerCounters& w) -> const Counter& {
      return pick(w, i);
    };
    out->Add(Sum(workers, counter), std::move(labels));
  }
}

// ... that the gateway knows the messages of.
template <typename Pick>
void AddByChannel(const Workers& workers, const Pick& pick,
                  const std::vector<Label>& more, Families* out) {
  AddByType(
      workers,
      [](proto::ChannelType type) { return proto::IsKnownChannelType(type); },
      pick, more, out);
}

// ... that the gateway relays: an opaque tunnel is one of them, and has the
// number that SPICE once gave to a channel of that name.
template <typename Pick>
void AddByRelayed(const Workers& workers, const Pick& pick,
                  const std::vector<Label>& more, Families* out) {
  AddByType(
      workers,
      [](proto::ChannelType type) {
        return type == proto::ChannelType::kTunnel ||
               proto::IsKnownChannelType(type);
      },
      pick, more, out);
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_METRIC_FAMILIES_H_
