// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/close_reason.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace spicegate {
namespace {

TEST(CloseReasonTest, NamesAreUniqueLowerCaseWords) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < kNumCloseReasons; ++i) {
    const std::string_view name = CloseReasonName(static_cast<CloseReason>(i));
    EXPECT_TRUE(seen.insert(name).second) << name;
    ASSERT_FALSE(name.empty());
    EXPECT_NE(name.front(), '_');
    EXPECT_NE(name.back(), '_');
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"),
              std::string_view::npos)
        << name;
    EXPECT_EQ(name.find("__"), std::string_view::npos) << name;
  }
}

TEST(CloseReasonTest, NamesFollowTheEnum) {
  // Spread over the table, so that a missing or doubled line shows.
  EXPECT_EQ(CloseReasonName(CloseReason::kClientClosed), "client_closed");
  EXPECT_EQ(CloseReasonName(CloseReason::kServerTlsRekey), "server_tls_rekey");
  EXPECT_EQ(CloseReasonName(CloseReason::kTlsKeyLimit), "tls_key_limit");
  EXPECT_EQ(CloseReasonName(CloseReason::kServerGuard), "server_guard");
  EXPECT_EQ(CloseReasonName(CloseReason::kMigrationOver), "migration_over");
  EXPECT_EQ(CloseReasonName(CloseReason::kTunnelIdle), "tunnel_idle");
  EXPECT_EQ(CloseReasonName(CloseReason::kShutdown), "shutdown");
  EXPECT_EQ(CloseReasonName(CloseReason::kPreauthTimeout), "preauth_timeout");
  EXPECT_EQ(CloseReasonName(CloseReason::kNeedSecured), "need_secured");
  EXPECT_EQ(CloseReasonName(CloseReason::kBadTicket), "bad_ticket");
  EXPECT_EQ(CloseReasonName(CloseReason::kProxyHeader), "proxy_header");
  EXPECT_EQ(CloseReasonName(CloseReason::kTunnelProtocol), "tunnel_protocol");
  EXPECT_EQ(CloseReasonName(CloseReason::kConsoleUnknown), "console_unknown");
  EXPECT_EQ(CloseReasonName(CloseReason::kPolicyRefused), "policy_refused");
  EXPECT_EQ(CloseReasonName(CloseReason::kDestinationRefused),
            "destination_refused");
  EXPECT_EQ(CloseReasonName(CloseReason::kServerTimeout), "server_timeout");
  EXPECT_EQ(CloseReasonName(CloseReason::kServerTlsSubject),
            "server_tls_subject");
  EXPECT_EQ(CloseReasonName(CloseReason::kServerRefused), "server_refused");
  EXPECT_EQ(CloseReasonName(CloseReason::kServerQmp), "server_qmp");
  EXPECT_EQ(CloseReasonName(CloseReason::kInternal), "internal");
}

TEST(CloseReasonTest, OutsideTheEnumBreaksAnInvariant) {
  EXPECT_DEATH(CloseReasonName(static_cast<CloseReason>(kNumCloseReasons)),
               "invariant broken");
}

}  // namespace
}  // namespace spicegate
