// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/agent_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "gateway/relay/agent_fixture.h"
#include "proto/test_bytes.h"

namespace spicegate {
namespace {

using proto::Join;
using proto::ToHex;
using Buffer = std::vector<uint8_t>;
using Verdict = AgentFilter::Verdict;

Buffer Capabilities(uint32_t word, size_t num_words = 1) {
  Buffer message =
      AgentMessage(proto::kAgentAnnounceCapabilities, 4 + 4 * num_words);
  proto::StoreU32(message.data() + proto::kAgentHeaderLen, 1);
  if (num_words != 0) {
    proto::StoreU32(message.data() + proto::kAgentHeaderLen + 4, word);
  }
  return message;
}

Policy NoClipboard() {
  return {.clipboard_to_guest = false, .clipboard_from_guest = false};
}
Policy OnlyToGuest() { return {.clipboard_from_guest = false}; }
Policy OnlyFromGuest() { return {.clipboard_to_guest = false}; }
Policy NoFiles() { return {.file_transfer = false}; }
Policy ReadOnly() { return {.read_only = true}; }
Policy Nothing() {
  return {.read_only = true,
          .clipboard_to_guest = false,
          .clipboard_from_guest = false,
          .file_transfer = false};
}

// The types of 1..17 that are dropped, each in a filter of its own.
std::vector<uint32_t> Dropped(const Policy& policy, bool from_client) {
  std::vector<uint32_t> types;
  for (uint32_t type = 1; type <= 17; ++type) {
    AgentFilter filter(policy);
    const Buffer message = AgentMessage(type, 8);
    const Verdict verdict =
        from_client ? filter.FromClient(message) : filter.FromServer(message);
    EXPECT_EQ(filter.dropped().has_value(), verdict == Verdict::kDrop);
    if (verdict == Verdict::kDrop) {
      types.push_back(type);
    }
  }
  return types;
}

using Types = std::vector<uint32_t>;

TEST(AgentFilterTest, WhatEachPolicyDrops) {
  EXPECT_EQ(Dropped({}, true), Types{});
  EXPECT_EQ(Dropped({}, false), Types{});
  EXPECT_EQ(Dropped(NoClipboard(), true), (Types{4, 7, 8, 9}));
  EXPECT_EQ(Dropped(NoClipboard(), false), (Types{4, 7, 8, 9}));
  EXPECT_EQ(Dropped(OnlyToGuest(), true), Types{8});
  EXPECT_EQ(Dropped(OnlyToGuest(), false), (Types{4, 7, 9}));
  EXPECT_EQ(Dropped(OnlyFromGuest(), true), (Types{4, 7, 9}));
  EXPECT_EQ(Dropped(OnlyFromGuest(), false), Types{8});
  EXPECT_EQ(Dropped(NoFiles(), true), (Types{10, 11, 12}));
  EXPECT_EQ(Dropped(NoFiles(), false), (Types{10, 11, 12}));
  EXPECT_EQ(Dropped(ReadOnly(), true), Types{2});
  EXPECT_EQ(Dropped(ReadOnly(), false), Types{});
}

TEST(AgentFilterTest, SaysWhatWasDropped) {
  AgentFilter filter(Nothing());
  filter.FromClient(AgentMessage(proto::kAgentClipboardGrab, 4));
  EXPECT_EQ(filter.dropped(), PolicyDrop::kClipboard);
  filter.FromClient(AgentMessage(proto::kAgentMonitorsConfig, 28));
  EXPECT_EQ(filter.dropped(), PolicyDrop::kReadOnly);
  filter.FromServer(AgentMessage(proto::kAgentFileXferStatus, 8));
  EXPECT_EQ(filter.dropped(), PolicyDrop::kFileTransfer);
  filter.FromClient(AgentMessage(proto::kAgentReply, 4));
  EXPECT_EQ(filter.dropped(), std::nullopt);
}

// Everything that goes on of `stream`, in pieces that end at `cuts`.
Buffer RunServer(AgentFilter& filter, std::span<const uint8_t> stream,
                 size_t first, size_t step) {
  Buffer out;
  for (size_t at = 0; at < stream.size();) {
    const size_t len =
        std::min(at == 0 && first != 0 ? first : step, stream.size() - at);
    const auto piece = stream.subspan(at, len);
    const Verdict verdict = filter.FromServer(piece);
    if (verdict == Verdict::kPass) {
      out.insert(out.end(), piece.begin(), piece.end());
    } else if (verdict == Verdict::kReplace) {
      EXPECT_FALSE(filter.replacement().empty());
      const auto piece_out = filter.replacement();
      out.insert(out.end(), piece_out.begin(), piece_out.end());
    }
    at += len;
  }
  return out;
}

struct Case {
  Policy policy;
  Buffer in;
  Buffer out;
};

Case MixedCase() {
  const Buffer reply = AgentMessage(proto::kAgentReply, 8);
  const Buffer volume = AgentMessage(proto::kAgentAudioVolumeSync, 0);
  const Buffer clipboard = AgentMessage(proto::kAgentClipboard, 61);
  const Buffer grab = AgentMessage(proto::kAgentClipboardGrab, 0);
  const Buffer file = AgentMessage(proto::kAgentFileXferStatus, 9);
  return {Nothing(),
          Join({reply, clipboard, volume, grab, file, Capabilities(0xfdfff, 2),
                clipboard, reply}),
          Join({reply, volume, Capabilities(0xfff97, 2), reply})};
}

TEST(AgentFilterServerTest, PiecesCutAnywhere) {
  const Case mixed = MixedCase();
  for (size_t step = 1; step <= mixed.in.size(); ++step) {
    AgentFilter filter(mixed.policy);
    EXPECT_EQ(ToHex(RunServer(filter, mixed.in, 0, step)), ToHex(mixed.out))
        << "pieces of " << step;
  }
  for (size_t first = 1; first < mixed.in.size(); ++first) {
    AgentFilter filter(mixed.policy);
    EXPECT_EQ(ToHex(RunServer(filter, mixed.in, first, mixed.in.size())),
              ToHex(mixed.out))
        << "cut at " << first;
  }
}

TEST(AgentFilterServerTest, NothingForbiddenIsUntouched) {
  const Case mixed = MixedCase();
  AgentFilter filter(Policy{});
  EXPECT_EQ(filter.FromServer(mixed.in), Verdict::kPass);
  for (size_t first = 1; first < mixed.in.size(); ++first) {
    EXPECT_EQ(ToHex(RunServer(filter, mixed.in, first, mixed.in.size())),
              ToHex(mixed.in));
  }
}

TEST(AgentFilterServerTest, CutHeaderIsKeptBack) {
  AgentFilter filter(NoClipboard());
  const Buffer reply = AgentMessage(proto::kAgentReply, 4);
  const Buffer in = Join({reply, reply});
  const auto bytes = std::span(in);
  EXPECT_EQ(filter.FromServer(bytes.first(29)), Verdict::kReplace);
  EXPECT_EQ(ToHex(filter.replacement()), ToHex(reply));
  EXPECT_EQ(filter.FromServer(bytes.subspan(29, 3)), Verdict::kDrop);
  EXPECT_EQ(filter.dropped(), std::nullopt);
  EXPECT_EQ(filter.FromServer(bytes.subspan(32)), Verdict::kReplace);
  EXPECT_EQ(ToHex(filter.replacement()), ToHex(reply));
}

TEST(AgentFilterServerTest, CapabilitiesChangeOnlyWhereForbidden) {
  const struct {
    Policy policy;
    uint32_t in;
    uint32_t out;
  } cases[] = {
      {NoClipboard(), 0x68, 0},       {NoClipboard(), 0xffffffff, 0xffffff97},
      {OnlyToGuest(), 0x68, 0x68},    {OnlyFromGuest(), 0x68, 0x68},
      {NoFiles(), 0x68, 0x2068},      {NoFiles(), 0x2000, 0x2000},
      {ReadOnly(), 0x1ffff, 0x1ffff}, {Nothing(), 0x10068, 0x12000},
  };
  for (const auto& c : cases) {
    AgentFilter filter(c.policy);
    const Buffer in = Capabilities(c.in);
    EXPECT_EQ(ToHex(RunServer(filter, in, 0, in.size())),
              ToHex(Capabilities(c.out)));
    EXPECT_EQ(filter.dropped(), std::nullopt);
  }
}

TEST(AgentFilterServerTest, CapabilitiesWithoutWords) {
  AgentFilter filter(Nothing());
  EXPECT_EQ(filter.FromServer(Capabilities(0, 0)), Verdict::kPass);
  EXPECT_EQ(
      filter.FromServer(AgentMessage(proto::kAgentAnnounceCapabilities, 0)),
      Verdict::kPass);
}

TEST(AgentFilterServerTest, ClientsCapabilitiesStay) {
  AgentFilter filter(Nothing());
  EXPECT_EQ(filter.FromClient(Capabilities(0xffffffff)), Verdict::kPass);
}

TEST(AgentFilterServerTest, MalformedIsDroppedUntilTheAgentChanges) {
  AgentFilter filter(NoClipboard());
  Buffer wrong = AgentMessage(proto::kAgentReply, 4);
  wrong[0] = 2;
  const Buffer good = AgentMessage(proto::kAgentReply, 4);
  EXPECT_EQ(filter.FromServer(wrong), Verdict::kDrop);
  EXPECT_EQ(filter.FromServer(good), Verdict::kDrop);
  EXPECT_EQ(filter.dropped(), std::nullopt);
  filter.AgentChanged();
  EXPECT_EQ(filter.FromServer(good), Verdict::kPass);
}

TEST(AgentFilterServerTest, AgentChangedForgetsWhatWasUnderWay) {
  const Buffer reply = AgentMessage(proto::kAgentReply, 4);
  for (const uint32_t type : {proto::kAgentClipboard, proto::kAgentReply}) {
    for (const size_t cut : {5u, 20u, 24u}) {
      AgentFilter filter(NoClipboard());
      const Buffer begun = AgentMessage(type, 100);
      filter.FromServer(std::span(begun).first(cut));
      filter.AgentChanged();
      EXPECT_EQ(filter.FromServer(reply), Verdict::kPass) << type << " " << cut;
    }
  }
}

TEST(AgentFilterServerTest, LongestMessages) {
  AgentFilter filter(NoClipboard());
  const Buffer begun = AgentMessage(proto::kAgentClipboard, 2028, 0xffffffff);
  EXPECT_EQ(filter.FromServer(begun), Verdict::kDrop);
  EXPECT_EQ(filter.dropped(), PolicyDrop::kClipboard);
  EXPECT_EQ(filter.FromServer(begun), Verdict::kDrop);
  EXPECT_EQ(filter.dropped(), std::nullopt);
}

TEST(AgentFilterServerTest, EmptyPiecePasses) {
  AgentFilter filter(NoClipboard());
  EXPECT_EQ(filter.FromServer({}), Verdict::kPass);
}

}  // namespace
}  // namespace spicegate
