// SPDX-License-Identifier: Apache-2.0
#include "bench/load/server_channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "bench/load/server.h"
#include "proto/display_channel.h"
#include "proto/main_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;

// What CHANNELS_LIST names: a usual desktop. Clients of the load open what
// their scenario wants, listed or not.
constexpr std::array<proto::ChannelKey, 9> kChannels = {{
    {ChannelType::kDisplay, 0},
    {ChannelType::kInputs, 0},
    {ChannelType::kCursor, 0},
    {ChannelType::kPlayback, 0},
    {ChannelType::kRecord, 0},
    {ChannelType::kUsbredir, 0},
    {ChannelType::kUsbredir, 1},
    {ChannelType::kUsbredir, 2},
    {ChannelType::kWebdav, 0},
}};

// The longest answer to an echo. Inputs carry 2 KiB at most, raw ones more.
constexpr size_t kMaxGreetingLen = 64;

}  // namespace

void ServerChannel::OnConnected() {
  if (server_->tls() != nullptr && !stream_.StartTls(*server_->tls())) {
    Fail(-EPROTO);
    return;
  }
  if (raw_) {
    state_ = State::kData;
    StartData({}, 0);
  }
}

// ---- Link.

bool ServerChannel::OnLinkBytes(proto::Bytes bytes) {
  link_bytes_.insert(link_bytes_.end(), bytes.begin(), bytes.end());
  if (state_ == State::kMess && !TakeMess()) {
    return false;
  }
  return state_ != State::kTicket || TakeTicket();
}

bool ServerChannel::Refuse(proto::LinkError error) {
  Send(proto::EncodeLinkErrorReply(error));
  return false;
}

bool ServerChannel::TakeMess() {
  if (link_bytes_.size() < proto::kLinkHeaderLen) {
    return true;
  }
  const proto::LinkHeader header = proto::ParseLinkHeader(
      proto::Bytes(link_bytes_).first<proto::kLinkHeaderLen>());
  const proto::HeaderVerdict verdict = proto::JudgeLinkHeader(header);
  if (verdict != proto::HeaderVerdict::kAccept) {
    return Refuse(proto::ErrorOf(verdict));
  }
  const size_t len = proto::kLinkHeaderLen + header.size;
  if (link_bytes_.size() < len) {
    return true;
  }
  const auto mess = proto::ParseLinkMess(
      proto::Bytes(link_bytes_).subspan(proto::kLinkHeaderLen, header.size));
  if (!mess.has_value() || !proto::IsKnownChannelType(mess->channel_type)) {
    return Refuse(proto::LinkError::kInvalidData);
  }
  key_ = mess->key();
  session_ = mess->connection_id;
  auth_prefix_len_ = proto::AuthPrefixLen(mess->common_caps);
  link_bytes_.erase(link_bytes_.begin(),
                    link_bytes_.begin() + static_cast<ptrdiff_t>(len));
  state_ = State::kTicket;
  std::array<uint8_t, 256> reply;
  const size_t reply_len = proto::EncodeLinkReply(
      server_->key().public_key_der(), proto::ReplyCapsFor(key_.type), reply);
  return Send(proto::Bytes(reply).first(reply_len));
}

bool ServerChannel::TakeTicket() {
  const size_t len = auth_prefix_len_ + proto::kTicketLen;
  if (link_bytes_.size() < len) {
    return true;
  }
  const auto ticket = proto::Bytes(link_bytes_)
                          .subspan(auth_prefix_len_)
                          .first<proto::kTicketLen>();
  const TicketPlaintext plaintext = server_->key().Decrypt(ticket);
  const std::vector<uint8_t> behind(
      link_bytes_.begin() + static_cast<ptrdiff_t>(len), link_bytes_.end());
  link_bytes_ = {};
  if (!Admit(plaintext.view() == server_->options().ticket)) {
    return false;
  }
  state_ = State::kData;
  if (!StartData({}, 0) || !Greet()) {
    return false;
  }
  // What came with the ticket, a display's INIT, belongs to the data.
  return StartData(behind, data_sent());
}

bool ServerChannel::Admit(bool ticket_good) {
  proto::LinkError result = proto::LinkError::kOk;
  if (!ticket_good) {
    result = proto::LinkError::kPermissionDenied;
    shared_->meter->Error("server: wrong ticket");
  } else if (key_.type == ChannelType::kMain) {
    session_ = server_->OpenSession();
  } else if (!server_->HasSession(session_)) {
    result = proto::LinkError::kBadConnectionId;
  }
  return Send(proto::EncodeLinkResult(result)) &&
         result == proto::LinkError::kOk;
}

// The first message. A display's is due behind its INIT.
bool ServerChannel::Greet() {
  if (key_.type == ChannelType::kMain) {
    return SendMessage(proto::kMsgMainInit,
                       proto::EncodeMainInit({.session_id = session_,
                                              .display_channels_hint = 1,
                                              .supported_mouse_modes = 3,
                                              .current_mouse_mode = 1,
                                              .agent_tokens = 10}));
  }
  if (key_.type == ChannelType::kDisplay && !has_init_) {
    return true;
  }
  return SendMessage(proto::kMsgSetAck,
                     proto::EncodeSetAck({.generation = 1, .window = 20}));
}

// ---- Data.

bool ServerChannel::OnMessage(uint16_t type, proto::Bytes body) {
  if (type == proto::kMsgcPong) {
    const auto command = ParseCommand(body);
    return !command.has_value() || OnCommand(*command);
  }
  const bool inputs = raw_ || key_.type == ChannelType::kInputs;
  if (inputs && type == proto::kMsgcInputsKeyScancode) {
    return SendMessage(proto::kMsgPing, body);
  }
  if (key_.type == ChannelType::kMain &&
      type == proto::kMsgcMainAttachChannels) {
    std::array<uint8_t, kMaxGreetingLen> list;
    const size_t len = proto::EncodeChannelsList(kChannels, list);
    return SendMessage(proto::kMsgMainChannelsList,
                       proto::Bytes(list).first(len));
  }
  if (key_.type == ChannelType::kDisplay && type == proto::kMsgcDisplayInit &&
      !has_init_) {
    has_init_ = proto::ParseDisplayInit(body).has_value();
    return has_init_ && Greet();
  }
  return type == proto::kMsgcAckSync || type == proto::kMsgcAck;
}

bool ServerChannel::OnCommand(const Command& command) {
  switch (command.op) {
    case Op::kProbe:
      return SendMessage(proto::kMsgPing, EncodeCommand(command));
    case Op::kSend: {
      const auto plan = PlanOf(command, ServerFloodType(key_.type));
      return plan.has_value() && !has_flood() && StartSending(*plan);
    }
    case Op::kExpect: {
      const auto plan = PlanOf(command, ClientFloodType());
      if (plan.has_value()) {
        ExpectFlood(*plan);
      }
      return plan.has_value();
    }
    case Op::kFinish:
      finish_expected_ = command.argument;
      finishing_ = true;
      StopFlood();
      return true;
  }
  return false;
}

bool ServerChannel::StartSending(const FloodPlan& plan) {
  StartFlood(plan);
  if (plan.rate_hz != 0) {
    period_ns_ = 1'000'000'000 / plan.rate_hz;
    // Streams of one rate must not all send at the same moment.
    next_ns_ = NowNs() + period_ns_ * (plan.seed % 64) / 64;
    shared_->loop->WakeAt(next_ns_, this);
  }
  return true;
}

void ServerChannel::OnDue(int64_t now_ns) {
  if (period_ns_ == 0 || next_ns_ > now_ns) {
    return;
  }
  while (has_flood() && !finishing_ && is_open() && next_ns_ <= now_ns) {
    SendPaced();
    next_ns_ += period_ns_;
  }
  if (has_flood() && !finishing_ && is_open()) {
    shared_->loop->WakeAt(next_ns_, this);
  }
}

// The last message of the channel, behind the flood.
void ServerChannel::OnFloodBoundary() {
  const bool count_right = data_received() == finish_expected_;
  const uint64_t wrong = num_bad_messages() + (count_right ? 0 : 1);
  const Command answer = {
      .op = Op::kFinish,
      .tag = static_cast<uint16_t>(std::min<uint64_t>(wrong, UINT16_MAX)),
      .argument = data_sent() + proto::kMiniHeaderLen + proto::kPingLen};
  SendMessage(proto::kMsgPing, EncodeCommand(answer));
}

void ServerChannel::OnEnd(int error) {
  // Clients close as they like, also with RST; what is missing is noticed
  // there. What they may not say is an error here.
  if (error == -EPROTO) {
    shared_->meter->Error("server: a client broke the protocol");
  }
  if (key_.type == ChannelType::kMain && state_ == State::kData && !raw_) {
    server_->EndSession(session_);
  }
  server_->Remove(this);
}

}  // namespace spicegate
