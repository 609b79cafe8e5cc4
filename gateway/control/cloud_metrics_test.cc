// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gateway/control/metrics.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const ProcessValues& values) {
  return MetricsText({}, values);
}

TEST(CloudMetrics, AreAbsentWithoutPortal) {
  const std::string text = Text({});
  EXPECT_THAT(text, Not(HasSubstr("spicegate_portal")));
  EXPECT_THAT(text, Not(HasSubstr("spicegate_cloud")));
}

TEST(CloudMetrics, ShowThePortal) {
  ProcessValues values;
  values.portal.enabled = true;
  values.portal.answers = {{{"file", 200}, 3}, {{"other", 431}, 4}};
  values.portal.throttled = 5;
  values.portal.connections = 6;
  const std::string text = Text(values);
  const std::string answers = "\nspicegate_portal_answers_total{kind=";
  EXPECT_THAT(text, HasSubstr(answers + "\"file\",code=\"200\"} 3\n"));
  EXPECT_THAT(text, HasSubstr(answers + "\"other\",code=\"431\"} 4\n"));
  // Those that have not been given yet.
  EXPECT_THAT(text, HasSubstr(answers + "\"page\",code=\"200\"} 0\n"));
  EXPECT_THAT(text, HasSubstr(answers + "\"error\",code=\"404\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_portal_throttled_total 5\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_portal_connections 6\n"));
  EXPECT_THAT(text, Not(HasSubstr("spicegate_cloud")));
}

TEST(CloudMetrics, ShowAllThatNovaWasAsked) {
  CloudStats cloud;
  cloud.cloud = "prod";
  cloud.identity = {11, 12, 13, 14, 15, 16, 17};
  cloud.console = {21, 22, 23, 24, 25, 26, 27};
  cloud.shared = 31;
  cloud.breaker_open = true;
  cloud.token_expires_unix_s = 1'900'000'000;
  ProcessValues values;
  values.clouds = {cloud};
  const std::string text = Text(values);
  const std::string asked =
      "\nspicegate_cloud_requests_total{cloud=\"prod\",service=";
  int offset = 0;
  for (const char* result :
       {"ok", "not_found", "refused", "error", "timeout", "gone", "rejected"}) {
    ++offset;
    const std::string end = "\",result=\"" + std::string(result) + "\"} ";
    EXPECT_THAT(text, HasSubstr(asked + "\"keystone" + end +
                                std::to_string(10 + offset) + "\n"));
    EXPECT_THAT(text, HasSubstr(asked + "\"nova" + end +
                                std::to_string(20 + offset) + "\n"));
  }
  EXPECT_THAT(text, Not(HasSubstr("\"broker\"")));
  EXPECT_THAT(text, HasSubstr("\nspicegate_cloud_answers_shared_total{cloud="
                              "\"prod\"} 31\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_cloud_breaker_open{cloud="
                              "\"prod\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_cloud_token_expires_timestamp_"
                              "seconds{cloud=\"prod\"} 1900000000\n"));
}

TEST(CloudMetrics, KnowBrokersFromNova) {
  CloudStats cloud;
  cloud.cloud = "b";
  cloud.kind = CloudKind::kHttp;
  cloud.console.timeout = 7;
  ProcessValues values;
  values.clouds = {cloud};
  const std::string text = Text(values);
  EXPECT_THAT(text, HasSubstr("{cloud=\"b\",service=\"broker\",result="
                              "\"timeout\"} 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("\"keystone\"")));
  EXPECT_THAT(text, Not(HasSubstr("spicegate_cloud_token_expires")));
  EXPECT_THAT(text, HasSubstr("spicegate_cloud_breaker_open{cloud=\"b\"} 0\n"));
}

}  // namespace
}  // namespace spicegate
