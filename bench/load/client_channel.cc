// SPDX-License-Identifier: Apache-2.0
#include "bench/load/client_channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "gateway/auth/link_key.h"
#include "proto/caps.h"
#include "proto/display_channel.h"
#include "proto/link.h"
#include "proto/main_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;

// An answer to HTTP CONNECT that is longer is none.
constexpr size_t kMaxTunnelAnswerLen = 8192;
// What the server announces on displays.
constexpr uint32_t kAckGeneration = 1;
constexpr uint32_t kAckWindow = 20;

// spice-gtk's: spice-protocol, "Capabilities".
constexpr std::array<uint32_t, 1> kCommonCaps = {0x0D};

uint32_t ChannelCaps(ChannelType type) {
  switch (type) {
    case ChannelType::kMain:
      return 0x0F;
    case ChannelType::kDisplay:
      return 0x03BF;
    case ChannelType::kPlayback:
      return 0x0E;
    case ChannelType::kRecord:
      return 0x06;
    case ChannelType::kUsbredir:
      return 0x01;
    default:
      return 0;
  }
}

std::string Text(proto::ChannelKey key) {
  return std::string(proto::ChannelName(key.type)) + ":" +
         std::to_string(key.id);
}

}  // namespace

ClientChannel::ClientChannel(Shared* shared, const ClientOptions* options,
                             ChannelOwner* owner, const ChannelRequest& request,
                             int fd, int64_t begun_ns)
    : Connection(shared, fd),
      options_(options),
      owner_(owner),
      request_(request),
      session_id_(request.session_id),
      begun_ns_(begun_ns) {}

std::unique_ptr<ClientChannel> ClientChannel::Connect(
    Shared* shared, const ClientOptions* options, ChannelOwner* owner,
    const ChannelRequest& request, std::string* error) {
  const int64_t begun_ns = request.due_ns > 0 ? request.due_ns : NowNs();
  const int fd = ConnectTo(options->target, request.spread);
  if (fd < 0) {
    *error = std::string("connect: ") + std::strerror(-fd);
    return nullptr;
  }
  return std::unique_ptr<ClientChannel>(
      new ClientChannel(shared, options, owner, request, fd, begun_ns));
}

void ClientChannel::OnConnected() {
  if (options_->connect.empty()) {
    StartLink();
    return;
  }
  state_ = State::kTunnel;
  Send(proto::AsBytes("CONNECT " + options_->connect +
                      " HTTP/1.1\r\nHost: " + options_->connect + "\r\n\r\n"));
}

// ---- Link.

void ClientChannel::StartLink() {
  if (options_->tls != nullptr && !stream_.StartTls(*options_->tls)) {
    Fail(-EPROTO);
    return;
  }
  if (options_->raw) {
    StartData({}, 0);
    Opened();
    return;
  }
  state_ = State::kReply;
  const uint32_t caps = ChannelCaps(request_.key.type);
  std::array<uint8_t, 64> mess;
  const size_t len = proto::EncodeLinkMess(
      {.connection_id = request_.session_id,
       .channel = request_.key,
       .common_caps = kCommonCaps,
       .channel_caps = std::span(&caps, caps != 0 ? 1 : 0)},
      mess);
  Send(proto::Bytes(mess).first(len));
}

bool ClientChannel::OnLinkBytes(proto::Bytes bytes) {
  link_bytes_.append(proto::AsText(bytes));
  if (state_ == State::kTunnel) {
    return TakeTunnel();
  }
  if (state_ == State::kReply && !TakeReply()) {
    return false;
  }
  return state_ != State::kResult || TakeResult();
}

bool ClientChannel::TakeTunnel() {
  const size_t end = link_bytes_.find("\r\n\r\n");
  if (end == std::string::npos) {
    return link_bytes_.size() <= kMaxTunnelAnswerLen;
  }
  // "HTTP/1.1 200 ...". Nothing may follow: the client speaks first.
  if (link_bytes_.compare(9, 3, "200") != 0 || end + 4 != link_bytes_.size()) {
    error_ = "CONNECT refused: " + link_bytes_.substr(0, 60);
    return false;
  }
  link_bytes_.clear();
  StartLink();
  return is_open();
}

bool ClientChannel::TakeReply() {
  const proto::Bytes bytes = proto::AsBytes(link_bytes_);
  if (bytes.size() < proto::kLinkHeaderLen) {
    return true;
  }
  const proto::LinkHeader header =
      proto::ParseLinkHeader(bytes.first<proto::kLinkHeaderLen>());
  const size_t len = proto::kLinkHeaderLen + header.size;
  if (!proto::IsReplyHeaderOk(header)) {
    error_ = "not a SPICE link reply";
    return false;
  }
  if (bytes.size() < len) {
    return true;
  }
  const proto::ParsedLinkReply parsed =
      proto::ParseLinkReply(bytes.subspan(proto::kLinkHeaderLen, header.size));
  if (parsed.verdict != proto::LinkReplyVerdict::kOk) {
    error_ =
        "link reply: " + std::string(proto::LinkErrorName(parsed.reply.error));
    return false;
  }
  const bool sent = SendTicket(parsed.reply.pub_key);
  link_bytes_.erase(0, len);
  state_ = State::kResult;
  return sent;
}

// A display's INIT goes right behind the ticket, as viewers do it: a gateway
// may wait for it before it gives the ticket to the server.
bool ClientChannel::SendTicket(proto::Bytes public_key) {
  constexpr size_t kTicketAt = proto::kAuthMechanismLen;
  constexpr size_t kInitAt = kTicketAt + proto::kTicketLen;
  std::array<uint8_t, kInitAt + proto::kMiniHeaderLen + proto::kDisplayInitLen>
      bytes;
  proto::StoreU32(bytes.data(), proto::kAuthMechanismSpice);
  if (!EncryptTicket(
          public_key, *request_.ticket,
          std::span(bytes).subspan<kTicketAt, proto::kTicketLen>())) {
    error_ = "the ticket cannot be encrypted";
    return false;
  }
  if (request_.key.type != ChannelType::kDisplay) {
    return Send(proto::Bytes(bytes).first(kInitAt));
  }
  proto::EncodeDataHeader(
      proto::HeaderKind::kMini,
      {.type = proto::kMsgcDisplayInit, .size = proto::kDisplayInitLen},
      std::span(bytes).subspan(kInitAt));
  const auto init = proto::EncodeDisplayInit({.pixmap_cache_id = 1,
                                              .pixmap_cache_px = 20'971'520,
                                              .glz_dictionary_id = 1,
                                              .glz_window_px = 20'971'520});
  std::copy(init.begin(), init.end(),
            bytes.begin() + kInitAt + proto::kMiniHeaderLen);
  return Send(bytes);
}

bool ClientChannel::TakeResult() {
  const proto::Bytes bytes = proto::AsBytes(link_bytes_);
  if (bytes.size() < proto::kLinkResultLen) {
    return true;
  }
  const proto::LinkError result =
      proto::ParseLinkResult(bytes.first<proto::kLinkResultLen>());
  if (result != proto::LinkError::kOk) {
    error_ = "link result: " + std::string(proto::LinkErrorName(result));
    return false;
  }
  const std::string behind = link_bytes_.substr(proto::kLinkResultLen);
  link_bytes_ = {};
  const bool greeted = request_.key.type == ChannelType::kMain ||
                       request_.key.type == ChannelType::kDisplay;
  const bool is_display = request_.key.type == ChannelType::kDisplay;
  state_ = State::kGreeting;
  const uint64_t init_len =
      is_display ? proto::kMiniHeaderLen + proto::kDisplayInitLen : 0;
  if (!StartData({}, init_len)) {
    return false;
  }
  if (!greeted) {
    Opened();
  }
  return is_open() && StartData(proto::AsBytes(behind), data_sent());
}

void ClientChannel::Opened() {
  state_ = State::kOpen;
  opened_ns_ = NowNs();
  owner_->OnOpen(this);
}

// ---- Data.

bool ClientChannel::OnGreeting(uint16_t type, proto::Bytes body) {
  if (request_.key.type == ChannelType::kMain) {
    const auto init = proto::ParseMainInit(body);
    if (type != proto::kMsgMainInit || !init.has_value()) {
      error_ = "main does not begin with INIT";
      return false;
    }
    session_id_ = init->session_id;
    if (!SendMessage(proto::kMsgcMainAttachChannels, {})) {
      return false;
    }
  }
  Opened();
  return true;
}

void ClientChannel::OnFloodMessage() {
  // Nothing may follow the last message.
  if (acknowledging_ && state_ == State::kOpen &&
      ++num_unacknowledged_ == kAckWindow) {
    num_unacknowledged_ = 0;
    SendMessage(proto::kMsgcAck, {});
  }
}

bool ClientChannel::OnMessage(uint16_t type, proto::Bytes body) {
  if (state_ == State::kGreeting) {
    return OnGreeting(type, body);
  }
  if (type == proto::kMsgPing) {
    return OnPing(body);
  }
  if (type == proto::kMsgSetAck || type == proto::kMsgMainChannelsList) {
    return true;
  }
  error_ = "message " + std::to_string(type) + " was not expected";
  return false;
}

bool ClientChannel::OnPing(proto::Bytes body) {
  const auto command = ParseCommand(body);
  if (command.has_value() && command->op == Op::kFinish) {
    return OnFinishAnswer(*command);
  }
  if (command.has_value()) {
    owner_->OnProbed(this);
    return true;
  }
  const int64_t now_ns = NowNs();
  const auto due_ns = pings_ == nullptr
                          ? std::nullopt
                          : pings_->OnAnswer(*shared_->pattern, body);
  if (!due_ns.has_value()) {
    ++shared_->meter->num_checksum_errors;
    error_ = "a wrong answer to a ping";
    return false;
  }
  ++shared_->meter->totals.round_trips;
  if (shared_->meter->InWindow(*due_ns)) {
    shared_->meter->latency.Record(now_ns - *due_ns);
  }
  owner_->OnRoundTrip(this);
  if (is_open() && pings_->is_closed_loop() && state_ == State::kOpen) {
    SendPing(now_ns);
  }
  return is_open();
}

bool ClientChannel::OnFinishAnswer(const Command& answer) {
  if (answer.tag != 0) {
    shared_->meter->num_checksum_errors += answer.tag;
    shared_->meter->Error(
        Text(key()) + ": the server received other bytes " +
        "than were sent, errors: " + std::to_string(answer.tag));
  }
  if (answer.argument != data_received()) {
    shared_->meter->Error(Text(key()) + ": " + std::to_string(answer.argument) +
                          " bytes sent, " + std::to_string(data_received()) +
                          " received");
  }
  state_ = State::kFinished;
  owner_->OnFinished(this);
  return is_open();
}

void ClientChannel::SendCommand(const Command& command) {
  SendMessage(proto::kMsgcPong, EncodeCommand(command));
}

void ClientChannel::AcknowledgeMessages() {
  acknowledging_ = true;
  std::array<uint8_t, sizeof(uint32_t)> generation;
  proto::StoreU32(generation.data(), kAckGeneration);
  SendMessage(proto::kMsgcAckSync, generation);
}

void ClientChannel::Probe() { SendCommand({.op = Op::kProbe}); }

void ClientChannel::StartDownload(FloodPlan plan) {
  plan.type = ServerFloodType(request_.key.type);
  ExpectFlood(plan);
  SendCommand(PlanCommand(Op::kSend, plan));
}

void ClientChannel::StartUpload(FloodPlan plan) {
  plan.type = ClientFloodType();
  SendCommand(PlanCommand(Op::kExpect, plan));
  if (is_open()) {
    StartFlood(plan);
  }
}

void ClientChannel::StartPings(uint32_t message_len, uint16_t seed,
                               int64_t period_ns, int64_t first_ns) {
  pings_ = std::make_unique<PingPong>(message_len, seed, period_ns, first_ns);
  if (pings_->is_closed_loop()) {
    SendPing(NowNs());
  } else {
    shared_->loop->WakeAt(first_ns, this);
  }
}

void ClientChannel::SendPing(int64_t due_ns) {
  Send(pings_->Next(shared_->pattern, due_ns));
}

void ClientChannel::OnDue(int64_t now_ns) {
  if (pings_ == nullptr || pings_->is_closed_loop() || state_ != State::kOpen ||
      pings_->next_due_ns() > now_ns) {
    return;
  }
  while (is_open() && pings_->next_due_ns() <= now_ns) {
    SendPing(pings_->next_due_ns());
    pings_->SkipToNext();
  }
  if (is_open()) {
    shared_->loop->WakeAt(pings_->next_due_ns(), this);
  }
}

void ClientChannel::Finish() {
  if (state_ == State::kOpen) {
    state_ = State::kFinishing;
    StopFlood();
  }
}

void ClientChannel::OnFloodBoundary() {
  SendCommand(
      {.op = Op::kFinish,
       .argument = data_sent() + proto::kMiniHeaderLen + proto::kPingLen});
}

void ClientChannel::OnEnd(int error) {
  std::string why = Text(key()) + ": " + error_;
  if (error_.empty()) {
    why +=
        error == 0 ? "closed by the peer" : std::string(std::strerror(-error));
  }
  owner_->OnBroken(this, why);
}

}  // namespace spicegate
