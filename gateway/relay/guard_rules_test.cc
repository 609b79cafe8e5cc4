// SPDX-License-Identifier: Apache-2.0
// What the guard thinks of a message by its header and its claims.
#include "gateway/relay/guard_rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/relay/guard_fixture.h"
#include "proto/common_channel.h"
#include "proto/display_channel.h"
#include "proto/messages.h"
#include "proto/usbredir.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Then = PumpFilter::Then;
using proto::ChannelType;
using proto::HeaderKind;

constexpr ChannelType kChannels[] = {
    ChannelType::kMain,      ChannelType::kDisplay,  ChannelType::kInputs,
    ChannelType::kCursor,    ChannelType::kPlayback, ChannelType::kRecord,
    ChannelType::kSmartcard, ChannelType::kUsbredir, ChannelType::kPort,
    ChannelType::kWebdav,
};

// What viewers send at any time, and how long it is.
struct Good {
  ChannelType channel;
  uint16_t type;
  size_t min_len;
  size_t max_len;
};

constexpr size_t kMiB = 1024 * 1024;

constexpr Good kGood[] = {
    {ChannelType::kMain, 102, 0, 0},
    {ChannelType::kMain, 103, 0, 0},
    {ChannelType::kMain, 104, 0, 0},
    {ChannelType::kMain, 105, 2, 2},
    {ChannelType::kMain, 106, 4, 4},
    {ChannelType::kMain, 107, 1, 2048},
    {ChannelType::kMain, 111, 0, 0},
    {ChannelType::kDisplay, 102, 32, 32},
    {ChannelType::kDisplay, 103, 1, 1},
    {ChannelType::kDisplay, 104, 0, 0},
    {ChannelType::kDisplay, 105, 2, 256},
    {ChannelType::kInputs, 101, 4, 4},
    {ChannelType::kInputs, 102, 4, 4},
    {ChannelType::kInputs, 103, 2, 2},
    {ChannelType::kInputs, 104, 1, 2048},
    {ChannelType::kInputs, 111, 10, 10},
    {ChannelType::kInputs, 112, 11, 11},
    {ChannelType::kInputs, 113, 3, 3},
    {ChannelType::kInputs, 114, 3, 3},
    {ChannelType::kRecord, 101, 5, 4096},
    {ChannelType::kRecord, 102, 6, 64},
    {ChannelType::kRecord, 103, 4, 4},
    {ChannelType::kSmartcard, 101, 12, 64 * 1024 + 12},
    {ChannelType::kPort, 101, 1, kMiB},
    {ChannelType::kPort, 201, 1, 1},
    {ChannelType::kWebdav, 101, 1, kMiB},
    {ChannelType::kWebdav, 201, 1, 1},
};

// Likewise, on every channel.
constexpr Good kGoodAnywhere[] = {
    {ChannelType::kMain, 1, 4, 4},
    {ChannelType::kMain, 2, 0, 0},
    {ChannelType::kMain, 3, 12, 12},
    {ChannelType::kMain, 6, 12, 12},
};

std::vector<Good> AllGood() {
  std::vector<Good> all(std::begin(kGood), std::end(kGood));
  for (const ChannelType channel : kChannels) {
    for (Good good : kGoodAnywhere) {
      good.channel = channel;
      all.push_back(good);
    }
  }
  return all;
}

// Good at one moment only (guard_test.cc), or with one content only.
bool NeedsAMoment(ChannelType channel, uint16_t type) {
  return type == 4 || type == 5 ||
         (channel == ChannelType::kUsbredir && type == 101) ||
         (channel == ChannelType::kMain && (type == 109 || type == 110)) ||
         (channel == ChannelType::kDisplay && type == 101);
}

// A body whose claims are true.
Buffer GoodBody(ChannelType channel, uint16_t type, size_t len) {
  Buffer body(len, 0x5A);
  if (channel == ChannelType::kDisplay && type == 105 && len > 0) {
    body[0] = static_cast<uint8_t>(len - 1);
  } else if (channel == ChannelType::kSmartcard && type == 101 && len >= 12) {
    proto::StoreU32(&body[8], static_cast<uint32_t>(len - 12));
  }
  return body;
}

class GuardRulesTest : public testing::TestWithParam<HeaderKind> {
 protected:
  // The rule that stopped this message as a channel's first, if any.
  std::optional<GuardRule> Refusal(ChannelType channel, const Buffer& message,
                                   GuardMode mode = GuardMode::kEnforce) {
    GuardedLeg leg(
        {.key = {channel, 0}, .header_kind = GetParam(), .mode = mode});
    leg.runner.Feed(message);
    const bool refused = !leg.host.rules.empty();
    EXPECT_LE(leg.host.rules.size(), 1u);
    const bool stopped = refused && mode == GuardMode::kEnforce;
    EXPECT_EQ(leg.runner.then(), stopped ? Then::kRefuse : Then::kGoOn);
    EXPECT_EQ(leg.runner.out(), stopped ? Buffer() : message);
    return refused ? std::optional(leg.host.rules[0]) : std::nullopt;
  }

  Buffer Of(uint16_t type, const Buffer& body) const {
    return WithSize(type, static_cast<uint32_t>(body.size()), body);
  }

  Buffer WithSize(uint16_t type, uint32_t size, const Buffer& body) const {
    return ClientMessage(GetParam(), {.type = type, .size = size, .serial = 1},
                         body);
  }

  std::optional<GuardRule> OfLength(ChannelType channel, uint16_t type,
                                    size_t len) {
    return Refusal(channel, Of(type, GoodBody(channel, type, len)));
  }
};

TEST_P(GuardRulesTest, GoodMessagesPass) {
  for (const Good& good : AllGood()) {
    SCOPED_TRACE(std::string(proto::ChannelName(good.channel)) + ' ' +
                 std::to_string(good.type));
    EXPECT_EQ(OfLength(good.channel, good.type, good.min_len), std::nullopt);
    EXPECT_EQ(OfLength(good.channel, good.type, good.max_len), std::nullopt);
  }
}

TEST_P(GuardRulesTest, OtherSizesDoNot) {
  for (const Good& good : AllGood()) {
    SCOPED_TRACE(std::string(proto::ChannelName(good.channel)) + ' ' +
                 std::to_string(good.type));
    EXPECT_EQ(OfLength(good.channel, good.type, good.max_len + 1),
              GuardRule::kMessageSize);
    if (good.min_len > 0) {
      EXPECT_EQ(OfLength(good.channel, good.type, good.min_len - 1),
                GuardRule::kMessageSize);
    }
  }
}

TEST_P(GuardRulesTest, OtherTypesDoNot) {
  const std::vector<Good> all = AllGood();
  for (const ChannelType channel : kChannels) {
    for (uint32_t type = 0; type <= 0xFFFF; type += type < 1000 ? 1 : 97) {
      const bool good = std::ranges::any_of(all, [&](const Good& g) {
        return g.channel == channel && g.type == type;
      });
      if (!good && !NeedsAMoment(channel, static_cast<uint16_t>(type))) {
        ASSERT_EQ(OfLength(channel, static_cast<uint16_t>(type), 4),
                  GuardRule::kMessageType)
            << proto::ChannelName(channel) << ' ' << type;
      }
    }
  }
}

// A header is enough to refuse: nothing waits for a body that never comes.
TEST_P(GuardRulesTest, HugeSizesAreRefusedByTheirHeader) {
  for (const Good& good : AllGood()) {
    for (const uint32_t size : {0x00200000u, 0x40000000u, 0x7FFFFFFFu,
                                0x80000000u, 0xFFFFFFF0u, 0xFFFFFFFFu}) {
      EXPECT_EQ(Refusal(good.channel, WithSize(good.type, size, {})),
                GuardRule::kMessageSize);
    }
  }
}

TEST_P(GuardRulesTest, ModesCountOrIgnoreTheSame) {
  const Buffer bad_type = Of(150, {1, 2, 3});
  const Buffer bad_size = Of(proto::kMsgcPong, {1, 2, 3});
  for (const ChannelType channel : kChannels) {
    EXPECT_EQ(Refusal(channel, bad_type, GuardMode::kCount),
              GuardRule::kMessageType);
    EXPECT_EQ(Refusal(channel, bad_size, GuardMode::kCount),
              GuardRule::kMessageSize);
    EXPECT_EQ(Refusal(channel, bad_type, GuardMode::kOff), std::nullopt);
    EXPECT_EQ(Refusal(channel, bad_size, GuardMode::kOff), std::nullopt);
  }
}

TEST_P(GuardRulesTest, CodecsAreAsManyAsTheirCount) {
  EXPECT_EQ(Refusal(ChannelType::kDisplay, Of(105, {3, 1, 2, 3})),
            std::nullopt);
  for (const Buffer& body :
       {Buffer{4, 1, 2, 3}, Buffer{2, 1, 2, 3}, Buffer{0, 1}, Buffer{255, 1}}) {
    EXPECT_EQ(Refusal(ChannelType::kDisplay, Of(105, body)),
              GuardRule::kClaimedSize);
  }
}

TEST_P(GuardRulesTest, CardMessagesHoldWhatTheyClaim) {
  Buffer body(20);
  for (const uint32_t len : {0u, 7u, 8u}) {
    proto::StoreU32(&body[8], len);
    EXPECT_EQ(Refusal(ChannelType::kSmartcard, Of(101, body)), std::nullopt);
  }
  for (const uint32_t len : {9u, 0x7FFFFFFFu, 0xFFFFFFF4u, 0xFFFFFFFFu}) {
    proto::StoreU32(&body[8], len);
    EXPECT_EQ(Refusal(ChannelType::kSmartcard, Of(101, body)),
              GuardRule::kClaimedSize);
  }
}

// The first packet of a client's, its hello, is as far as a channel comes
// whose server has said nothing.
TEST_P(GuardRulesTest, UsbredirDataAreBoundedPackets) {
  constexpr size_t kHelloLen = proto::kUsbredirShortHeaderLen + 68;
  Buffer hello(kHelloLen);
  proto::StoreU32(&hello[4], 68);
  const auto refusal = [this](const Buffer& body) {
    return Refusal(ChannelType::kUsbredir, Of(101, body));
  };
  EXPECT_EQ(refusal({0}), std::nullopt);
  EXPECT_EQ(refusal(hello), std::nullopt);
  EXPECT_EQ(refusal(Buffer(100, 0xFF)), GuardRule::kUsbPacket);
  EXPECT_EQ(refusal({}), GuardRule::kMessageSize);
  constexpr uint32_t kMostBytes =
      kMaxUsbPacketBytes + proto::kUsbredirLongHeaderLen;
  const auto of_size = [this](uint32_t size) {
    return Refusal(ChannelType::kUsbredir, WithSize(101, size, {}));
  };
  EXPECT_EQ(of_size(kMostBytes), std::nullopt);
  EXPECT_EQ(of_size(kMostBytes + 1), GuardRule::kMessageSize);
  EXPECT_EQ(of_size(0xFFFFFFF0), GuardRule::kMessageSize);
}

TEST_P(GuardRulesTest, ClaimsAreNotLookedAtWhenTheGuardIsOff) {
  const Buffer message = Of(101, Buffer(12, 0xFF));
  EXPECT_EQ(Refusal(ChannelType::kSmartcard, message, GuardMode::kCount),
            GuardRule::kClaimedSize);
  EXPECT_EQ(Refusal(ChannelType::kSmartcard, message, GuardMode::kOff),
            std::nullopt);
  // Nor waited for.
  GuardedLeg off({.key = {ChannelType::kSmartcard, 0},
                  .header_kind = GetParam(),
                  .mode = GuardMode::kOff});
  EXPECT_TRUE(off.Passes(WithSize(101, 12, {})));
}

TEST(SubListTest, IsNotForClients) {
  for (const Good& good : AllGood()) {
    const Buffer body = GoodBody(good.channel, good.type, good.min_len);
    const Buffer message =
        ClientMessage(HeaderKind::kFull,
                      {.type = good.type,
                       .size = static_cast<uint32_t>(body.size()),
                       .serial = 1,
                       .sub_list = 1},
                      body);
    GuardedLeg leg(
        {.key = {good.channel, 0}, .header_kind = HeaderKind::kFull});
    leg.runner.Feed(message);
    EXPECT_EQ(leg.host.rules, std::vector{GuardRule::kSubList});
    EXPECT_TRUE(leg.runner.out().empty());
  }
}

TEST(DisplayInitTest, WindowIsOneThatTheServerMakes) {
  const auto is_good = [](int32_t window_px) {
    return IsGoodDisplayInit(proto::EncodeDisplayInit(
        {.pixmap_cache_px = 1 << 20, .glz_window_px = window_px}));
  };
  EXPECT_TRUE(is_good(0));
  EXPECT_TRUE(is_good(12 << 20));
  EXPECT_TRUE(is_good(1 << 25));
  EXPECT_FALSE(is_good((1 << 25) + 1));
  EXPECT_FALSE(is_good(-1));
  EXPECT_FALSE(is_good(INT32_MIN));
}

TEST(DisplayInitTest, LengthIsExact) {
  const auto body = proto::EncodeDisplayInit({});
  EXPECT_TRUE(IsGoodDisplayInit(body));
  EXPECT_FALSE(IsGoodDisplayInit(std::span(body).first(13)));
  Buffer longer(body.begin(), body.end());
  longer.push_back(0);
  EXPECT_FALSE(IsGoodDisplayInit(longer));
}

INSTANTIATE_TEST_SUITE_P(Headers, GuardRulesTest,
                         testing::Values(HeaderKind::kMini, HeaderKind::kFull),
                         [](const auto& info) {
                           return info.param == HeaderKind::kMini ? "Mini"
                                                                  : "Full";
                         });

}  // namespace
}  // namespace spicegate
