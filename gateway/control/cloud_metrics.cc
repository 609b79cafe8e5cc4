// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/cloud_metrics.h"

#include <algorithm>
#include <string>
#include <utility>

namespace spicegate {
namespace {

using MetricType = Families::MetricType;

// What the portal answers ordinarily, so that these series are there from the
// start.
constexpr std::pair<const char*, int> kPortalAnswers[] = {
    {"file", 200},  {"page", 200},  {"error", 400}, {"error", 403},
    {"error", 404}, {"error", 409}, {"error", 429}, {"error", 502},
    {"error", 503}, {"error", 504}, {"other", 200}, {"other", 404},
    {"other", 405}, {"other", 503}};

double Number(uint64_t n) { return static_cast<double>(n); }

void AddRequests(const CloudStats& cloud, const char* service,
                 const CloudStats::Requests& requests, Families* out) {
  for (const auto& [result, count] :
       {std::pair("ok", requests.ok),
        std::pair("not_found", requests.not_found),
        std::pair("refused", requests.refused),
        std::pair("error", requests.error),
        std::pair("timeout", requests.timeout),
        std::pair("gone", requests.gone),
        std::pair("rejected", requests.rejected)}) {
    out->Add(
        Number(count),
        {{"cloud", cloud.cloud}, {"service", service}, {"result", result}});
  }
}

bool HasKeystone(const CloudStats& cloud) {
  return cloud.kind == CloudKind::kNova;
}

void AddTokenEnds(const std::vector<CloudStats>& clouds, Families* out) {
  if (std::none_of(clouds.begin(), clouds.end(), HasKeystone)) {
    return;
  }
  out->Begin(MetricType::Gauge,
             "spicegate_cloud_token_expires_timestamp_seconds",
             "When the gateway's own token of a cloud ends, since 1970; 0: "
             "there is none.");
  for (const CloudStats& cloud : clouds) {
    if (HasKeystone(cloud)) {
      out->Add(static_cast<double>(cloud.token_expires_unix_s),
               {{"cloud", cloud.cloud}});
    }
  }
}

}  // namespace

void AddPortal(const PortalValues& values, Families* out) {
  if (!values.enabled) {
    return;
  }
  auto answers = values.answers;
  for (const auto& [kind, code] : kPortalAnswers) {
    answers.try_emplace({kind, code}, 0);
  }
  out->Begin(MetricType::Counter, "spicegate_portal_answers_total",
             "Answers of the portal, by what they were and by status.");
  for (const auto& [answer, count] : answers) {
    out->Add(Number(count),
             {{"kind", answer.first}, {"code", std::to_string(answer.second)}});
  }
  out->Gauge("spicegate_portal_connections",
             "Connections to the portal now, in any state.",
             static_cast<double>(values.connections));
  out->Counter("spicegate_portal_throttled_total",
               "Requests to the portal that were refused unasked, as their "
               "source had shown too many links of no desktop.",
               Number(values.throttled));
}

void AddClouds(const std::vector<CloudStats>& clouds, Families* out) {
  if (clouds.empty()) {
    return;
  }
  out->Begin(MetricType::Counter, "spicegate_cloud_requests_total",
             "What clouds were asked, by service and end; rejected was not "
             "tried.");
  for (const CloudStats& cloud : clouds) {
    if (HasKeystone(cloud)) {
      AddRequests(cloud, "keystone", cloud.identity, out);
      AddRequests(cloud, "nova", cloud.console, out);
    } else {
      AddRequests(cloud, "broker", cloud.console, out);
    }
  }
  out->Begin(MetricType::Counter, "spicegate_cloud_answers_shared_total",
             "Look-ups of a token that another one's answer was given to.");
  for (const CloudStats& cloud : clouds) {
    out->Add(Number(cloud.shared), {{"cloud", cloud.cloud}});
  }
  out->Begin(MetricType::Gauge, "spicegate_cloud_breaker_open",
             "1 while a cloud failed so often that it is left alone for now.");
  for (const CloudStats& cloud : clouds) {
    out->Add(cloud.breaker_open ? 1 : 0, {{"cloud", cloud.cloud}});
  }
  AddTokenEnds(clouds, out);
}

}  // namespace spicegate
