// SPDX-License-Identifier: Apache-2.0
#include "tests/tls/record_fixture.h"

#include "proto/messages.h"
#include "tests/tls/exchange.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr ChannelKey kChannel = {ChannelType::kUsbredir, 0};
constexpr uint32_t kBodyLen = 100;
constexpr uint64_t kSaysSeed = 31;
constexpr uint64_t kAnswersSeed = 32;
constexpr size_t kAnswerLen = 3000;
constexpr const char* kClosed = "spicegate_channels_closed_total";

TrafficShape ShapeFrom(TlsSide side) {
  if (side == TlsSide::kClient) {
    return {proto::kMsgcSpicevmcData, kBodyLen};
  }
  return {proto::kMsgSpicevmcData, kBodyLen};
}

std::string ReasonLabel(const std::string& reason) {
  return "reason=\"" + reason + "\"";
}

}  // namespace

std::vector<RecordCase> AllRecordCases() {
  return {{TlsSide::kClient, TLS1_2_VERSION},
          {TlsSide::kClient, TLS1_3_VERSION},
          {TlsSide::kServer, TLS1_2_VERSION},
          {TlsSide::kServer, TLS1_3_VERSION}};
}

std::string RecordCaseName(const testing::TestParamInfo<RecordCase>& tested) {
  const bool client = tested.param.side == TlsSide::kClient;
  const bool tls13 = tested.param.version == TLS1_3_VERSION;
  return std::string(client ? "Viewer" : "Server") +
         (tls13 ? "Tls13" : "Tls12");
}

void RecordFixture::SetUp() {
  const LegKind tls = {.version = GetParam().version};
  const bool client = side() == TlsSide::kClient;
  world_ = &TlsWorld::For({});
  session_ = std::make_unique<TlsSession>(world_, client ? tls : kPlainLeg,
                                          client ? kPlainLeg : tls);
  ends_ = session_->Open(kChannel);
  ASSERT_NE(ends_, nullptr);
  session_->ExpectOffload(2);
  PeerStream* faulty = client ? ends_->viewer() : ends_->server.get();
  honest_ = client ? ends_->server.get() : ends_->viewer();
  peer_ = std::make_unique<RecordPeer>(faulty);
  const TlsSide other = client ? TlsSide::kServer : TlsSide::kClient;
  says_ = std::make_unique<TrafficWriter>(
      EndlessWriter(kSaysSeed, ShapeFrom(side())));
  heard_ = std::make_unique<TrafficReader>(
      EndlessReader(kSaysSeed, ShapeFrom(side())));
  answers_ = std::make_unique<TrafficWriter>(
      EndlessWriter(kAnswersSeed, ShapeFrom(other)));
  read_ = std::make_unique<TrafficReader>(
      EndlessReader(kAnswersSeed, ShapeFrom(other)));
  before_ = world_->gateway().Metrics();
  truncated_before_ = NumTruncated();
}

void RecordFixture::TearDown() {
  peer_.reset();
  ends_.reset();
  session_.reset();
}

bool RecordFixture::KernelReceives() const {
  const std::string offload = world_->ExpectedOffload(side());
  return offload == "both" || offload == "receive";
}

std::vector<uint8_t> RecordFixture::Pattern(size_t len) {
  const auto bytes = says_->Next(len);
  return {bytes.begin(), bytes.end()};
}

void RecordFixture::ExpectHeard() {
  EXPECT_EQ(world_->loop()->Run(
                ReadPatternUntil(honest_, heard_.get(), says_->body_bytes())),
            "");
  EXPECT_TRUE(heard_->at_boundary());
}

void RecordFixture::ExpectAlive() {
  SendData(kAnswerLen);
  ExpectHeard();
  ExpectAnswered();
}

void RecordFixture::ExpectHonestReadsFin() {
  uint8_t byte = 0;
  EXPECT_EQ(world_->loop()->Run(honest_->Read({&byte, 1})), 0);
}

void RecordFixture::ExpectAnswered() {
  const auto answer = answers_->Next(kAnswerLen);
  EXPECT_EQ(world_->loop()->Run(honest_->Write(answer)), 0);
  EXPECT_EQ(peer_->ReadPatternUntil(read_.get(), answers_->body_bytes()), "");
}

void RecordFixture::ExpectEnds(const std::string& reason) {
  std::vector<uint8_t> dropped;
  const PeerEnd end =
      world_->loop()->Run(ReadToEnd(honest_, &dropped, SIZE_MAX));
  EXPECT_TRUE(end == PeerEnd::kFin || end == PeerEnd::kReset)
      << PeerEndName(end);
  CloseHonest();
  ExpectClosed(reason);
}

void RecordFixture::ExpectClosed(const std::string& reason) {
  const double wanted = before_.Value(kClosed, ReasonLabel(reason)) + 1;
  const GatewayMetrics metrics =
      world_->gateway().WaitForMetrics([&](const GatewayMetrics& now) {
        return now.Sum(kClosed) > before_.Sum(kClosed);
      });
  EXPECT_EQ(metrics.Value(kClosed, ReasonLabel(reason)), wanted)
      << "wanted: " << reason << "; before:\n"
      << before_.NonZero(kClosed) << "now:\n"
      << metrics.NonZero(kClosed);
}

double RecordFixture::NumTruncated() {
  return world_->gateway().Metrics().Value(
             "spicegate_tls_truncated_total",
             std::string("leg=\"") + SideName(side()) + "\"") -
         truncated_before_;
}

}  // namespace spicegate
