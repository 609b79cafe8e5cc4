// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/relay_plan.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <utility>

#include "proto/main_channel.h"
#include "proto/messages.h"
#include "tests/sim/plan_messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;

constexpr ChannelType kTypes[] = {
    ChannelType::kMain,     ChannelType::kDisplay,  ChannelType::kInputs,
    ChannelType::kCursor,   ChannelType::kPlayback, ChannelType::kRecord,
    ChannelType::kUsbredir, ChannelType::kDisplay,  ChannelType::kDisplay,
    ChannelType::kWebdav,
};

class Planner {
 public:
  Planner(uint64_t seed, PlanFamily family)
      : random_(seed),
        guard_random_(seed + 1),
        switching_(family == PlanFamily::kSwitching) {}

  RelayPlan Make(uint64_t seed) {
    RelayPlan plan;
    plan.clean = random_.Chance(switching_ ? 0.6 : 0.4);
    flood_ = !switching_ && random_.Chance(0.03);
    plan.network = Network(seed, plan.clean);
    plan.pipes = Pipes();
    guarded_ = guard_random_.Chance(switching_ ? 0.3 : 0.4);
    if (guarded_ && guard_random_.Chance(0.5)) {
      plan.migration_turn = static_cast<unsigned>(guard_random_.Below(120));
      plan.migration_over_turn =
          plan.migration_turn + static_cast<unsigned>(guard_random_.Below(120));
    }
    const uint64_t num_channels =
        switching_ ? 1 + random_.Below(8) / 7 : 1 + random_.Below(3);
    bool ends_by_itself = true;
    for (uint64_t i = 0; i < num_channels; ++i) {
      plan.channels.push_back(Channel(static_cast<uint8_t>(i), plan.clean));
      ends_by_itself &= EndsByItself(plan.channels.back());
    }
    if (!plan.clean && (!ends_by_itself || random_.Chance(0.3))) {
      plan.close_turn = static_cast<unsigned>(
          random_.Below(random_.Chance(0.5) ? 60 : 3'000));
      plan.close_reason = random_.Chance(0.5) ? CloseReason::kSessionOver
                                              : CloseReason::kShutdown;
    }
    return plan;
  }

 private:
  uint64_t Between(uint64_t least, uint64_t most) {
    return least + random_.Below(most - least + 1);
  }

  // 0 as often as anything else: many runs have only one kind of fault.
  double Sometimes(double most) {
    return random_.Chance(0.5)
               ? 0
               : most * static_cast<double>(random_.Below(1'000)) / 1'000;
  }

  SimOptions Network(uint64_t seed, bool clean) {
    SimOptions options;
    options.seed = seed;
    options.link_capacity_bytes = LinkCapacity();
    SimFaults& faults = options.faults;
    faults.partial_read = Sometimes(switching_ ? 0.4 : 0.9);
    faults.partial_write = Sometimes(0.9);
    faults.spurious_ready = Sometimes(0.3);
    faults.spurious_eagain = Sometimes(0.5);
    faults.no_memory = random_.Chance(0.2) ? Sometimes(0.2) : 0;
    faults.cancel_loses = Sometimes(1);
    faults.max_delay_turns = static_cast<unsigned>(random_.Below(6));
    faults.odd_segments = Sometimes(1);
    if (random_.Chance(0.2)) {
      faults.pipe_error = Sometimes(1);
      faults.small_pipe = Sometimes(1);
      options.pipe_quota_bytes = size_t{1} << Between(13, 20);
    }
    if (!clean) {
      faults.recv_error = Sometimes(0.02);
      faults.send_error = Sometimes(0.02);
      faults.reset_discards = Sometimes(1);
    }
    return options;
  }

  size_t LinkCapacity() {
    if (switching_) {
      // Less than a buffer, or enough for a large read behind a full one.
      return random_.Chance(0.7) ? Between(40'000, 65'000)
                                 : Between(66'000, 150'000);
    }
    return size_t{1} << (flood_ ? 20 : Between(5, 16));
  }

  PipePool::Options Pipes() {
    PipePool::Options options;
    options.pipe_bytes = size_t{1} << Between(16, 20);
    if (random_.Chance(0.1)) {
      options.max_pipes = random_.Below(3);
    }
    return options;
  }

  std::string Noise(size_t len) { return PlanNoise(len, &random_); }

  // `bulk` is how often a switching plan has much to say in this direction;
  // two cycles of burst and trickle are enough to go both ways.
  size_t TextLen(double bulk) {
    if (switching_) {
      return random_.Chance(bulk) ? Between(200'000, 350'000)
                                  : random_.Below(20'000);
    }
    return flood_ ? Between(300'000, 600'000)
                  : random_.Below(size_t{1} << Between(1, 15));
  }

  void Append(proto::HeaderKind kind, uint16_t type, const std::string& body,
              std::string* text) {
    const proto::DataHeader header{.type = type,
                                   .size = static_cast<uint32_t>(body.size()),
                                   .serial = ++serial_,
                                   .sub_list = 0};
    std::array<uint8_t, proto::kMaxDataHeaderLen> bytes;
    const size_t len = proto::EncodeDataHeader(kind, header, bytes);
    text->append(bytes.begin(), bytes.begin() + len);
    text->append(body);
  }

  void AppendMessage(ChannelPlan* plan, uint16_t type, const std::string& body,
                     std::string* text) {
    Append(plan->header_kind, type, body, text);
    if (plan->first_message_len == SIZE_MAX) {
      plan->first_message_len = text->size();
    }
  }

  void AppendInit(ChannelPlan* plan, std::string* text) {
    plan->has_init = true;
    plan->session_id = static_cast<uint32_t>(random_.Next());
    const auto body =
        proto::EncodeMainInit(proto::MainInit{.session_id = plan->session_id});
    // A newer server's INIT may be longer.
    AppendMessage(
        plan, proto::kMsgMainInit,
        std::string(body.begin(), body.end()) + Noise(random_.Below(3) * 4),
        text);
  }

  std::string Messages(ChannelPlan* plan, size_t len) {
    std::string text;
    if (plan->key.type == ChannelType::kMain && random_.Chance(0.8)) {
      AppendInit(plan, &text);
    }
    while (plan->key.type == ChannelType::kMain && text.size() < len) {
      const PlannedMessage message = GoodMainMessage(&random_);
      AppendMessage(plan, message.type, message.body, &text);
    }
    while (text.size() < len) {
      const size_t body_len = random_.Below(size_t{1} << Between(0, 12));
      // Not INIT: that comes once, first.
      AppendMessage(plan, static_cast<uint16_t>(random_.Below(100)),
                    Noise(body_len), &text);
    }
    return text;
  }

  // Whole messages where a guard cuts the client's bytes into them: main has
  // always one.
  std::string ClientText(const ChannelPlan& plan, size_t len) {
    const bool framed = plan.guard == GuardMode::kEnforce ||
                        plan.key.type == ChannelType::kMain;
    if (!framed || plan.hostile_client) {
      return Noise(len);
    }
    std::string text;
    while (text.size() < len) {
      const PlannedMessage message =
          GoodClientMessage(plan.key.type, &guard_random_);
      Append(plan.header_kind, message.type, message.body, &text);
    }
    return text;
  }

  PeerScript Peer(std::string text, bool clean) {
    using Leave = PeerScript::Leave;
    PeerScript script;
    script.text = std::move(text);
    script.leave_after_bytes = script.text.size();
    script.eagerness = 0.2 + 0.8 * static_cast<double>(random_.Below(5)) / 4;
    script.max_piece_bytes = size_t{1} << Between(4, 17);
    if (flood_) {
      script.max_piece_bytes = size_t{1} << 20;
    }
    if (switching_) {
      script.eagerness = 0.5 + script.eagerness / 2;
      script.max_piece_bytes = size_t{1} << Between(17, 18);
      script.burst_bytes = Between(100'000, 160'000);
      script.trickle_bytes = Between(1'000, 6'000);
    }
    if (clean) {
      return script;
    }
    constexpr Leave kLeaves[] = {Leave::kFin, Leave::kClose, Leave::kReset,
                                 Leave::kNever};
    script.leave = kLeaves[random_.Below(std::size(kLeaves))];
    script.follows = random_.Chance(0.7);
    if (random_.Chance(0.5)) {
      script.leave_after_bytes = random_.Below(script.text.size() + 1);
    }
    if (random_.Chance(0.15)) {
      script.stall_after_bytes = random_.Below(switching_ ? 200'000 : 2'000);
    }
    return script;
  }

  ChannelPlan Channel(uint8_t id, bool clean) {
    ChannelPlan plan;
    plan.key = {kTypes[random_.Below(std::size(kTypes))], id};
    plan.header_kind = random_.Chance(0.8) ? proto::HeaderKind::kMini
                                           : proto::HeaderKind::kFull;
    if (guarded_) {
      plan.guard = GuardMode::kEnforce;
      plan.hostile_client = !clean && guard_random_.Chance(0.1);
    }
    const bool hostile = !clean && random_.Chance(0.1);
    plan.hostile_server = hostile;
    const bool silent = !clean && random_.Chance(0.1);
    std::string text;
    if (hostile) {
      text = Noise(TextLen(0.97));
      NoteFirstMessage(&plan, text);
    } else if (!silent) {
      text = Messages(&plan, TextLen(0.97));
    }
    plan.server = Peer(std::move(text), clean);
    plan.client = Peer(ClientText(plan, TextLen(0.4)), clean);
    return plan;
  }

  // Noise is a message too, and mostly one that never ends.
  static void NoteFirstMessage(ChannelPlan* plan, const std::string& text) {
    const size_t header_len = proto::DataHeaderLen(plan->header_kind);
    const auto header = proto::ParseDataHeader(
        plan->header_kind,
        {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    if (header.has_value()) {
      plan->first_message_len = header_len + header->size;
    }
  }

  static bool Leaves(const PeerScript& script) {
    return script.leave != PeerScript::Leave::kNever;
  }

  // Somebody leaves, and nobody keeps the other from being noticed: where a
  // pump has its hands full, only the session or TCP's own timeout ends it.
  static bool EndsByItself(const ChannelPlan& plan) {
    const bool stalls = plan.client.stall_after_bytes != SIZE_MAX ||
                        plan.server.stall_after_bytes != SIZE_MAX;
    const bool fits =
        plan.client.text.size() < 60'000 && plan.server.text.size() < 60'000;
    return (Leaves(plan.client) || Leaves(plan.server)) && !stalls && fits;
  }

  SimRandom random_;
  SimRandom guard_random_;  // of its own: without a guard nothing changes
  const bool switching_;
  // Wide links and more bytes than a pump may move in one turn.
  bool flood_ = false;
  bool guarded_ = false;
  uint64_t serial_ = 0;
};

}  // namespace

RelayPlan MakeRelayPlan(uint64_t seed, PlanFamily family) {
  // Another stream of chance than the network's own.
  return Planner(~seed, family).Make(seed);
}

}  // namespace spicegate
