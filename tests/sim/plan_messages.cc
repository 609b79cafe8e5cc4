// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/plan_messages.h"

#include <span>

#include "gateway/base/limits.h"
#include "proto/agent.h"
#include "proto/common_channel.h"
#include "proto/messages.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using proto::ChannelType;

// A type with the lengths that its body may have.
struct Form {
  uint16_t type = 0;
  size_t min_len = 0;
  size_t max_len = 0;
};

constexpr Form kCommonForms[] = {
    {proto::kMsgcAckSync, 4, 4},
    {proto::kMsgcAck, 0, 0},
    {proto::kMsgcPong, proto::kPingLen, proto::kPingLen},
    {proto::kMsgcDisconnecting, proto::kDisconnectingLen,
     proto::kDisconnectingLen},
};

constexpr Form kMainForms[] = {
    {proto::kMsgcMainAgentData, 1, proto::kMaxAgentPieceLen},
    {proto::kMsgcMainAttachChannels, 0, 0},
    {proto::kMsgcMainMouseModeRequest, 2, 2},
    {proto::kMsgcMainAgentStart, 4, 4},
};

constexpr Form kDisplayForms[] = {
    {proto::kMsgcDisplayStreamReport, 32, 32},
    {proto::kMsgcDisplayPreferredCompression, 1, 1},
    {proto::kMsgcDisplayPreferredVideoCodecType, 2, 256},
};

constexpr Form kInputsForms[] = {
    {proto::kMsgcInputsMouseMotion, 10, 10},
    {proto::kMsgcInputsMousePress, 3, 3},
    {proto::kMsgcInputsKeyDown, 4, 4},
    {proto::kMsgcInputsKeyScancode, 1, kMaxScancodesBytes},
};

constexpr Form kRecordForms[] = {
    {proto::kMsgcRecordData, 5, 4'000},
    {proto::kMsgcRecordStartMark, 4, 4},
};

constexpr Form kMainServerForms[] = {
    {proto::kMsgSetAck, proto::kSetAckLen, proto::kSetAckLen},
    {proto::kMsgPing, proto::kPingLen, 4'000},
    {proto::kMsgMainMouseMode, 4, 8},
    {proto::kMsgMainMultiMediaTime, 4, 4},
    {proto::kMsgMainChannelsList, 4, 4 + 2 * 20},
    {proto::kMsgMainAgentConnectedTokens, 4, 4},
    {proto::kMsgMainAgentData, 0, proto::kMaxAgentPieceLen},
    {proto::kMsgMainUuid, 16, 16},
    {200, 0, 4'000},  // of a later version
};

std::span<const Form> FormsOf(ChannelType channel) {
  switch (channel) {
    case ChannelType::kMain:
      return kMainForms;
    case ChannelType::kDisplay:
      return kDisplayForms;
    case ChannelType::kInputs:
      return kInputsForms;
    case ChannelType::kRecord:
      return kRecordForms;
    default:
      return kCommonForms;
  }
}

PlannedMessage Fill(std::span<const Form> forms, SimRandom* random) {
  const Form& form = forms[random->Below(forms.size())];
  const size_t len =
      form.min_len + random->Below(form.max_len - form.min_len + 1);
  return {form.type, PlanNoise(len, random)};
}

uint8_t* BytesOf(std::string* body) {
  return reinterpret_cast<uint8_t*>(body->data());
}

// Where all noise is cut from: making it is most of the work otherwise.
const std::string& NoisePool() {
  static const std::string pool = [] {
    std::string noise(size_t{1} << 21, '\0');
    SimRandom random(0);
    for (char& c : noise) {
      c = static_cast<char>(random.Next());
    }
    return noise;
  }();
  return pool;
}

}  // namespace

std::string PlanNoise(size_t len, SimRandom* random) {
  const std::string& pool = NoisePool();
  return pool.substr(random->Below(pool.size() - len), len);
}

PlannedMessage GoodClientMessage(ChannelType channel, SimRandom* random) {
  PlannedMessage message =
      Fill(random->Chance(0.3) ? std::span<const Form>(kCommonForms)
                               : FormsOf(channel),
           random);
  if (channel == ChannelType::kDisplay &&
      message.type == proto::kMsgcDisplayPreferredVideoCodecType) {
    message.body[0] = static_cast<char>(message.body.size() - 1);
  }
  return message;
}

PlannedMessage GoodMainMessage(SimRandom* random) {
  PlannedMessage message = Fill(kMainServerForms, random);
  if (message.type == proto::kMsgMainChannelsList) {
    const size_t num_channels = (message.body.size() - 4) / 2;
    message.body.resize(4 + 2 * num_channels);
    proto::StoreU32(BytesOf(&message.body),
                    static_cast<uint32_t>(num_channels));
  }
  return message;
}

}  // namespace spicegate
