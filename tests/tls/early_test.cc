// SPDX-License-Identifier: Apache-2.0
//
// Bytes that are there before the records could be handed over: in one record
// with the end of the link, or in many right behind it, from either peer. And
// viewers that end their direction so early that the kernel refuses.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proto/display_channel.h"
#include "proto/messages.h"
#include "tests/tls/exchange.h"
#include "tests/tls/tls_world.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;
using proto::Direction;

constexpr ChannelKey kUsb = {ChannelType::kUsbredir, 0};
constexpr ChannelKey kDisplay = {ChannelType::kDisplay, 0};
constexpr uint64_t kSeed = 91;
constexpr uint64_t kSomeBytes = 256 * 1024;
constexpr uint64_t kSocketTakes = 20'000;
constexpr const char* kTotal = "spicegate_tls_connections_total";

struct EarlyCase {
  LegKind viewer;
  LegKind server;
  uint64_t early_bytes;
};

const EarlyCase kCases[] = {
    {kTls13Leg, kPlainLeg, 1000},   {kTls13Leg, kPlainLeg, 200'000},
    {kTls12Leg, kPlainLeg, 1000},   {kTls12Leg, kPlainLeg, 200'000},
    {kPlainLeg, kTls13Leg, 1000},   {kPlainLeg, kTls13Leg, 200'000},
    {kPlainLeg, kTls12Leg, 1000},   {kPlainLeg, kTls12Leg, 200'000},
    {kTls13Leg, kTls13Leg, 20'000}, {kTls12Leg, kTls12Leg, 20'000}};

class EarlyTest : public testing::TestWithParam<EarlyCase> {
 protected:
  TlsWorld& world() { return TlsWorld::For({}); }
  PeerLoop* loop() { return world().loop(); }

  // Messages of a pattern.
  std::vector<uint8_t> Pattern(TrafficShape shape) {
    TrafficWriter writer(kSeed, shape, GetParam().early_bytes);
    const auto bytes = writer.Next(SIZE_MAX);
    pattern_body_bytes_ = writer.body_bytes();
    return {bytes.begin(), bytes.end()};
  }
  // Reads what Pattern() made.
  void ExpectPattern(PeerStream* stream, TrafficShape shape) {
    TrafficReader reader = EndlessReader(kSeed, shape);
    EXPECT_EQ(
        loop()->Run(ReadPatternUntil(stream, &reader, pattern_body_bytes_)),
        "");
    EXPECT_TRUE(reader.at_boundary());
  }
  void ExpectAlive(ChannelEnds* ends) {
    const ExchangePlan plan = BulkPlan(kUsb, kSomeBytes);
    EXPECT_EQ(loop()->Run(Exchange(ends->viewer(), ends->server.get(), &plan)),
              "");
  }

  // Viewers' legs that were never handed to the kernel, ever.
  double NumViewersInUserSpace() {
    double sum = 0;
    for (const char* version : {"1.2", "1.3"}) {
      for (const char* cipher :
           {"aes128_gcm", "aes256_gcm", "chacha20_poly1305"}) {
        sum += world().gateway().Metrics().Value(
            kTotal, std::string(R"(leg="client",offload="none",version=")") +
                        version + R"(",cipher=")" + cipher + "\"");
      }
    }
    return sum;
  }

  uint64_t pattern_body_bytes_ = 0;
};

TEST_P(EarlyTest, DataBehindTheTicket) {
  const TrafficShape shape =
      ShapeOf(ChannelType::kUsbredir, Direction::kClientToServer);
  TlsSession session(&world(), GetParam().viewer, GetParam().server);
  LinkBugs early;
  early.behind_ticket = Pattern(shape);
  const auto ends = session.OpenSilently(kUsb, early);
  ASSERT_NE(ends, nullptr);
  ExpectPattern(ends->server.get(), shape);
  ExpectAlive(ends.get());
  session.ExpectOffload(2);
}

TEST_P(EarlyTest, DataBehindTheResult) {
  const TrafficShape shape =
      ShapeOf(ChannelType::kUsbredir, Direction::kServerToClient);
  TlsSession session(&world(), GetParam().viewer, GetParam().server);
  world().set_behind_result(Pattern(shape));
  const auto ends = session.OpenSilently(kUsb);
  world().set_behind_result({});
  ASSERT_NE(ends, nullptr);
  ExpectPattern(ends->viewer(), shape);
  ExpectAlive(ends.get());
  session.ExpectOffload(2);
}

TEST_P(EarlyTest, DisplayDataBehindTheTicket) {
  const TrafficShape shape =
      ShapeOf(ChannelType::kDisplay, Direction::kClientToServer);
  TlsSession session(&world(), GetParam().viewer, GetParam().server);
  // The INIT that every display begins with is sent by Open(); here it has to
  // stand before the pattern.
  const auto init = proto::EncodeDisplayInit({});
  std::vector<uint8_t> bytes(proto::kMiniHeaderLen);
  proto::EncodeDataHeader(proto::HeaderKind::kMini,
                          {.type = proto::kMsgcDisplayInit,
                           .size = static_cast<uint32_t>(init.size())},
                          bytes);
  bytes.insert(bytes.end(), init.begin(), init.end());
  const size_t init_len = bytes.size();
  const std::vector<uint8_t> pattern = Pattern(shape);
  bytes.insert(bytes.end(), pattern.begin(), pattern.end());
  LinkBugs early;
  early.behind_ticket = bytes;
  const auto ends = session.OpenSilently(kDisplay, early);
  ASSERT_NE(ends, nullptr);
  std::vector<uint8_t> first(init_len);
  EXPECT_EQ(loop()->Run(ends->server->ReadFull(first)),
            static_cast<int64_t>(init_len));
  // What is behind the INIT waits until the server may be sent it.
  ASSERT_TRUE(session.GreetFromServer(ends.get()));
  ExpectPattern(ends->server.get(), shape);
  session.ExpectOffload(2);
}

TEST_P(EarlyTest, ViewerEndsBehindItsFirstMessages) {
  const TrafficShape up =
      ShapeOf(ChannelType::kUsbredir, Direction::kClientToServer);
  const TrafficShape down =
      ShapeOf(ChannelType::kUsbredir, Direction::kServerToClient);
  TlsSession session(&world(), GetParam().viewer, GetParam().server);
  const double before = NumViewersInUserSpace();
  LinkBugs early;
  early.behind_ticket = Pattern(up);
  early.after_ticket = LinkBugs::Then::kHalfClose;
  const auto ends = session.OpenSilently(kUsb, early);
  ASSERT_NE(ends, nullptr);
  ExpectPattern(ends->server.get(), up);
  uint8_t byte;
  EXPECT_EQ(loop()->Run(ends->server->Read({&byte, 1})), 0);
  // The other direction goes on as long as the server likes.
  EXPECT_EQ(loop()->Run(ends->server->Write(Pattern(down))), 0);
  ExpectPattern(ends->viewer(), down);
  ends->server->ShutdownWrite();
  EXPECT_EQ(loop()->Run(ends->viewer()->Read({&byte, 1})), 0);
  // Behind more than a socket takes the FIN is not there yet, and the kernel
  // does not refuse.
  if (GetParam().viewer.is_tls() && GetParam().early_bytes <= kSocketTakes) {
    EXPECT_EQ(NumViewersInUserSpace(), before + 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Legs, EarlyTest, testing::ValuesIn(kCases),
                         [](const auto& tested) {
                           return tested.param.viewer.name() + "To" +
                                  tested.param.server.name() + "_" +
                                  std::to_string(tested.param.early_bytes);
                         });

}  // namespace
}  // namespace spicegate
