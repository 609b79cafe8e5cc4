// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/relay_plan.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <utility>

#include "proto/main_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;

constexpr ChannelType kTypes[] = {
    ChannelType::kMain,     ChannelType::kDisplay,  ChannelType::kInputs,
    ChannelType::kCursor,   ChannelType::kPlayback, ChannelType::kRecord,
    ChannelType::kUsbredir, ChannelType::kDisplay,  ChannelType::kDisplay,
};

class Planner {
 public:
  explicit Planner(uint64_t seed) : random_(seed) {}

  RelayPlan Make(uint64_t seed) {
    RelayPlan plan;
    plan.clean = random_.Chance(0.4);
    flood_ = random_.Chance(0.03);
    plan.network = Network(seed, plan.clean);
    const uint64_t num_channels = 1 + random_.Below(3);
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
    options.link_capacity_bytes = size_t{1} << (flood_ ? 20 : Between(5, 16));
    SimFaults& faults = options.faults;
    faults.partial_read = Sometimes(0.9);
    faults.partial_write = Sometimes(0.9);
    faults.spurious_ready = Sometimes(0.3);
    faults.spurious_eagain = Sometimes(0.5);
    faults.cancel_loses = Sometimes(1);
    faults.max_delay_turns = static_cast<unsigned>(random_.Below(6));
    if (!clean) {
      faults.recv_error = Sometimes(0.02);
      faults.send_error = Sometimes(0.02);
      faults.reset_discards = Sometimes(1);
    }
    return options;
  }

  std::string Noise(size_t len) {
    std::string noise(len, '\0');
    for (char& c : noise) {
      c = static_cast<char>(random_.Next());
    }
    return noise;
  }

  size_t TextLen() {
    return flood_ ? Between(300'000, 600'000)
                  : random_.Below(size_t{1} << Between(1, 15));
  }

  void AppendMessage(ChannelPlan* plan, uint16_t type, const std::string& body,
                     std::string* text) {
    const proto::DataHeader header{.type = type,
                                   .size = static_cast<uint32_t>(body.size()),
                                   .serial = ++serial_,
                                   .sub_list = 0};
    std::array<uint8_t, proto::kMaxDataHeaderLen> bytes;
    const size_t len =
        proto::EncodeDataHeader(plan->header_kind, header, bytes);
    text->append(bytes.begin(), bytes.begin() + len);
    text->append(body);
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
    while (text.size() < len) {
      const size_t body_len = random_.Below(size_t{1} << Between(0, 12));
      // Not INIT: that comes once, first.
      AppendMessage(plan, static_cast<uint16_t>(random_.Below(100)),
                    Noise(body_len), &text);
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
      script.stall_after_bytes = random_.Below(2'000);
    }
    return script;
  }

  ChannelPlan Channel(uint8_t id, bool clean) {
    ChannelPlan plan;
    plan.key = {kTypes[random_.Below(std::size(kTypes))], id};
    plan.header_kind = random_.Chance(0.8) ? proto::HeaderKind::kMini
                                           : proto::HeaderKind::kFull;
    const bool hostile = !clean && random_.Chance(0.1);
    const bool silent = !clean && random_.Chance(0.1);
    std::string text;
    if (hostile) {
      text = Noise(TextLen());
      NoteFirstMessage(&plan, text);
    } else if (!silent) {
      text = Messages(&plan, TextLen());
    }
    plan.server = Peer(std::move(text), clean);
    plan.client = Peer(Noise(TextLen()), clean);
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
  // Wide links and more bytes than a pump may move in one turn.
  bool flood_ = false;
  uint64_t serial_ = 0;
};

}  // namespace

RelayPlan MakeRelayPlan(uint64_t seed) {
  // Another stream of chance than the network's own.
  return Planner(~seed).Make(seed);
}

}  // namespace spicegate
