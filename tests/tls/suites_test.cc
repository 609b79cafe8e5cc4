// SPDX-License-Identifier: Apache-2.0
//
// Every version and suite on either leg against the openssl program, the other
// leg plain or TLS: bulk both ways at once, single bytes, and the same number
// of records where they belong.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/tls/exchange.h"
#include "tests/tls/tls_world.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr uint64_t kNumPingPongs = 20;

struct SuiteCase {
  LegKind viewer;
  LegKind server;
};

std::vector<SuiteCase> AllCases() {
  std::vector<SuiteCase> cases;
  for (const uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const TlsSuiteName suite :
         {TlsSuiteName::kAes128Gcm, TlsSuiteName::kAes256Gcm,
          TlsSuiteName::kChaCha20}) {
      const LegKind openssl = {
          .version = version, .suite = suite, .openssl = true};
      const LegKind boring = {.version = version, .suite = suite};
      cases.push_back({openssl, kPlainLeg});
      cases.push_back({kPlainLeg, openssl});
      cases.push_back({openssl, boring});
      cases.push_back({boring, openssl});
    }
  }
  return cases;
}

std::string CaseName(const testing::TestParamInfo<SuiteCase>& tested) {
  return tested.param.viewer.name() +
         (tested.param.viewer.openssl ? "Openssl" : "") + "To" +
         tested.param.server.name() +
         (tested.param.server.openssl ? "Openssl" : "");
}

class SuitesTest : public testing::TestWithParam<SuiteCase> {
 protected:
  void SetUp() override {
    if (!HaveOpenssl()) {
      GTEST_SKIP() << "no openssl in PATH";
    }
    bulk_bytes_ = NumberFromEnvironment("SPICEGATE_TLS_BULK_BYTES", 12 << 20);
    if (GetParam().viewer.is_tls() && GetParam().server.is_tls()) {
      // Each leg alone has carried the whole.
      bulk_bytes_ /= 8;
    }
  }

  TlsWorld& world() { return TlsWorld::For({.own_process = true}); }

  uint64_t bulk_bytes_ = 0;
};

TEST_P(SuitesTest, CarriesEveryByte) {
  const ChannelKey key = {ChannelType::kUsbredir, 0};
  TlsSession session(&world(), GetParam().viewer, GetParam().server);
  const std::unique_ptr<ChannelEnds> ends = session.Open(key);
  ASSERT_NE(ends, nullptr);
  session.ExpectOffload(2);
  PeerStream* viewer = ends->viewer();
  PeerStream* server = ends->server.get();
  const ExchangePlan plan = BulkPlan(key, bulk_bytes_);
  EXPECT_EQ(world().loop()->Run(Exchange(viewer, server, &plan)), "");
  EXPECT_EQ(world().loop()->Run(PingPong(viewer, server, kNumPingPongs)), "");
}

INSTANTIATE_TEST_SUITE_P(Suites, SuitesTest, testing::ValuesIn(AllCases()),
                         CaseName);

}  // namespace
}  // namespace spicegate
