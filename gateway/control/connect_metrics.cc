// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/connect_metrics.h"

#include <utility>

#include "gateway/base/counter_names.h"

namespace spicegate {
namespace {

using MetricType = Families::MetricType;

}  // namespace

void AddConnect(const Workers& workers, Families* out) {
  out->Begin(MetricType::Counter, "spicegate_connect_answers_total",
             "HTTP CONNECT requests, by the status they were answered with.");
  for (size_t i = 0; i < kNumConnectStatuses; ++i) {
    const auto status = static_cast<ConnectStatus>(i);
    const auto pick = [i](auto& w) -> auto& { return w.connect_answers[i]; };
    out->Add(Sum(workers, pick), {Named("code", ConnectStatusName(status))});
  }
  out->Begin(MetricType::Counter, "spicegate_proxy_headers_total",
             "Connections to listeners with proxy_protocol, by what their "
             "PROXY header was.");
  for (size_t i = 0; i < kNumProxyHeaderOutcomes; ++i) {
    const auto outcome = static_cast<ProxyHeaderOutcome>(i);
    const auto pick = [i](auto& w) -> auto& { return w.proxy_headers[i]; };
    out->Add(Sum(workers, pick), {Named("outcome", ProxyHeaderName(outcome))});
  }
}

void AddQmp(const QmpValues& values, Families* out) {
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  out->Begin(MetricType::Counter, "spicegate_qmp_commands_total",
             "What was asked of consoles' QMP sockets, by its end; rejected "
             "was not tried.");
  for (const auto& [result, count] :
       {std::pair("ok", values.commands_ok),
        std::pair("error", values.commands_error),
        std::pair("timeout", values.commands_timeout),
        std::pair("gone", values.commands_gone),
        std::pair("rejected", values.commands_rejected)}) {
    out->Add(number(count), {{"result", result}});
  }
  out->Gauge("spicegate_qmp_breakers_open",
             "Consoles whose QMP failed so often that it is left alone for "
             "now.",
             number(values.breakers_open));
  out->Gauge("spicegate_qmp_consoles", "Consoles with a QMP socket.",
             number(values.consoles));
  out->Counter("spicegate_qmp_foreign_channels_total",
               "Connections to desktops that did not come through the gateway.",
               number(values.foreign_channels));
}

}  // namespace spicegate
