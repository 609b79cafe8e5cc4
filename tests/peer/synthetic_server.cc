// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/synthetic_server.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "proto/caps.h"
#include "tests/peer/synthetic_channel.h"

namespace spicegate {
namespace {

using proto::LinkError;
using Kind = ServerFault::Kind;

// How often a held result looks whether it may go.
constexpr int64_t kHoldPollMs = 5;

}  // namespace

// One connection in its link stage.
struct SyntheticServer::Link {
  PeerStream* stream = nullptr;
  bool tls = false;
  proto::ChannelKey channel;
  uint32_t connection_id = 0;
  bool has_mechanism = false;
  std::optional<size_t> console;  // Set by a right ticket.
  std::shared_ptr<SyntheticSession> session;
  uint64_t sent_len = 0;
};

SyntheticServer::SyntheticServer(PeerLoop* loop, SyntheticServerOptions options)
    : loop_(loop),
      options_(std::move(options)),
      // Spread out, so that ids of different servers rarely meet.
      next_session_id_(static_cast<uint32_t>(
          reinterpret_cast<uintptr_t>(this) * 2654435761u | 1)) {
  for (size_t i = 0; i < options_.consoles.size(); ++i) {
    console_of_password_[options_.consoles[i].password] = i;
  }
}

SyntheticServer::~SyntheticServer() { StopListening(); }

PeerAddress SyntheticServer::Listen(const PeerAddress& address,
                                    const PeerTlsContext* context) {
  listeners_.push_back(std::make_unique<PeerListener>(loop_, address));
  PeerListener* listener = listeners_.back().get();
  loop_->Spawn(AcceptAll(listener, context));
  return listener->address();
}

void SyntheticServer::StopListening() {
  for (const auto& listener : listeners_) {
    listener->Close();
  }
}

ServerTotals SyntheticServer::Totals() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return totals_;
}

void SyntheticServer::ReleaseResults() { results_released_ = true; }

void SyntheticServer::CloseAll() {
  const auto sessions = sessions_;
  for (const auto& [id, session] : sessions) {
    if (session->main != nullptr) {
      session->main->Close();
    }
  }
}

PeerTask<void> SyntheticServer::AcceptAll(PeerListener* listener,
                                          const PeerTlsContext* context) {
  for (;;) {
    std::unique_ptr<PeerStream> stream = co_await listener->Accept();
    if (stream == nullptr) {
      co_return;
    }
    Count([](ServerTotals& totals) { ++totals.num_links; });
    loop_->Spawn(ServeLink(std::move(stream), context));
  }
}

PeerTask<void> SyntheticServer::ServeLink(std::unique_ptr<PeerStream> stream,
                                          const PeerTlsContext* context) {
  if (options_.fault.kind == Kind::kResetOnAccept) {
    stream->Reset();
    co_return;
  }
  if (options_.fault.kind == Kind::kCloseOnAccept) {
    co_return;
  }
  // spice-server itself waits without end; ten minutes outlast any test.
  stream->set_timeout_ms(600'000);
  if (context != nullptr && co_await stream->TlsAccept(context) != 0) {
    co_return;
  }
  Link link;
  link.stream = stream.get();
  link.tls = context != nullptr;
  const bool open = co_await RunLinkStage(&link);
  if (open && options_.take_opened) {
    options_.take_opened({.stream = std::move(stream),
                          .key = link.channel,
                          .session_id = link.session->id});
  } else if (open) {
    SyntheticChannel channel(this, stream.get(), link.channel, link.session);
    co_await channel.Run();
  }
}

PeerTask<bool> SyntheticServer::RunLinkStage(Link* link) {
  bool open = co_await ReadLink(link);
  open = open && co_await SendReply(link);
  open = open && co_await ReadTicket(link);
  open = open && co_await SendResult(link);
  co_return open;
}

// Sends what the fault lets through.
PeerTask<bool> SyntheticServer::Send(Link* link,
                                     std::span<const uint8_t> bytes) {
  const ServerFault fault = FaultOf(*link);
  if (fault.kind == Kind::kDrip) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const int written = co_await link->stream->Write(bytes.subspan(i, 1));
      if (written != 0) {
        co_return false;
      }
      co_await loop_->Sleep(static_cast<int64_t>(fault.value));
    }
    co_return true;
  }
  size_t len = bytes.size();
  if (fault.kind == Kind::kCutAt) {
    len = std::min<size_t>(len, fault.value - link->sent_len);
    link->sent_len += len;
  }
  const int written = co_await link->stream->Write(bytes.first(len));
  if (len < bytes.size()) {
    // FIN, then wait for the other side: bytes it sent must not make a RST.
    link->stream->ShutdownWrite();
    std::vector<uint8_t> dropped;
    co_await ReadToEnd(link->stream, &dropped);
  }
  co_return written == 0 && len == bytes.size();
}

PeerTask<bool> SyntheticServer::Refuse(Link* link, LinkError error) {
  const auto reply = proto::EncodeLinkErrorReply(error);
  co_await link->stream->Write(reply);
  link->stream->ShutdownWrite();
  std::vector<uint8_t> dropped;
  co_await ReadToEnd(link->stream, &dropped);
  co_return false;
}

ServerFault SyntheticServer::FaultOf(const Link& link) const {
  const bool spared = options_.fault.secondaries_only &&
                      link.channel.type == proto::ChannelType::kMain;
  return spared ? ServerFault{} : options_.fault;
}

bool SyntheticServer::Offers(const Link& link) const {
  const auto& channels = options_.channels;
  return link.channel == proto::ChannelKey{} ||
         std::find(channels.begin(), channels.end(), link.channel) !=
             channels.end();
}

PeerTask<bool> SyntheticServer::ReadLink(Link* link) {
  std::array<uint8_t, proto::kLinkHeaderLen> bytes;
  if (co_await link->stream->ReadFull(bytes) !=
      static_cast<int64_t>(bytes.size())) {
    co_return false;
  }
  const proto::LinkHeader header = proto::ParseLinkHeader(bytes);
  const proto::HeaderVerdict verdict = proto::JudgeLinkHeader(header);
  if (verdict == proto::HeaderVerdict::kCloseSilently) {
    co_return false;
  }
  if (verdict != proto::HeaderVerdict::kAccept) {
    co_return co_await Refuse(link, proto::ErrorOf(verdict));
  }
  std::vector<uint8_t> body(header.size);
  if (co_await link->stream->ReadFull(body) !=
      static_cast<int64_t>(body.size())) {
    co_return false;
  }
  const auto mess = proto::ParseLinkMess(body);
  if (!mess.has_value()) {
    co_return co_await Refuse(link, LinkError::kInvalidData);
  }
  link->channel = mess->key();
  link->connection_id = mess->connection_id;
  link->has_mechanism = proto::AuthPrefixLen(mess->common_caps) != 0;
  if (options_.need_secured && !link->tls) {
    co_return co_await Refuse(link, LinkError::kNeedSecured);
  }
  co_return Offers(*link);
}

std::vector<uint8_t> SyntheticServer::BuildReply(const Link& link) const {
  const ServerFault fault = FaultOf(link);
  std::vector<uint8_t> reply(512);
  reply.resize(proto::EncodeLinkReply(
      key_.public_der(), proto::ReplyCapsFor(link.channel.type), reply));
  const std::span<uint8_t> key =
      std::span(reply).subspan(proto::kLinkHeaderLen + 4, proto::kPubKeyLen);
  switch (fault.kind) {
    case Kind::kNotSpice: {
      const std::string_view text = "HTTP/1.1 400 Bad Request\r\n\r\n";
      return {text.begin(), text.end()};
    }
    case Kind::kReplyMajor:
      proto::StoreU32(reply.data() + 4, static_cast<uint32_t>(fault.value));
      break;
    case Kind::kReplySize:
      proto::StoreU32(reply.data() + 12, static_cast<uint32_t>(fault.value));
      break;
    case Kind::kZeroKey:
      std::fill(key.begin(), key.end(), uint8_t{0});
      break;
    case Kind::kGarbageKey:
      FillPattern(1, 0, key);
      break;
    case Kind::kCapsOutside:
      proto::StoreU32(reply.data() + proto::kLinkHeaderLen + 174, 0x7ffffff0);
      break;
    default:
      break;
  }
  return reply;
}

PeerTask<bool> SyntheticServer::SendReply(Link* link) {
  const ServerFault fault = FaultOf(*link);
  std::vector<uint8_t> dropped;
  if (fault.kind == Kind::kNeverReply) {
    co_await ReadToEnd(link->stream, &dropped);
    co_return false;
  }
  if (fault.kind == Kind::kReplyError) {
    co_return co_await Refuse(link, static_cast<LinkError>(fault.value));
  }
  const std::vector<uint8_t> reply = BuildReply(*link);
  Count([](ServerTotals& totals) { ++totals.num_replies; });
  const bool sent = co_await Send(link, reply);
  if (sent &&
      (fault.kind == Kind::kReplySize || fault.kind == Kind::kNotSpice)) {
    // Says no more, and leaves it to the other side to notice.
    co_await ReadToEnd(link->stream, &dropped);
    co_return false;
  }
  co_return sent;
}

PeerTask<bool> SyntheticServer::ReadTicket(Link* link) {
  if (link->has_mechanism) {
    std::array<uint8_t, proto::kAuthMechanismLen> bytes;
    if (co_await link->stream->ReadFull(bytes) !=
        static_cast<int64_t>(bytes.size())) {
      co_return false;
    }
    if (proto::ParseAuthMechanism(bytes) != proto::kAuthMechanismSpice) {
      co_return co_await Refuse(link, LinkError::kInvalidData);
    }
  }
  PeerTicket ticket;
  if (co_await link->stream->ReadFull(ticket) !=
      static_cast<int64_t>(ticket.size())) {
    co_return false;
  }
  const auto plaintext = key_.Decrypt(ticket);
  if (plaintext.has_value()) {
    const std::string password(proto::PasswordOf(*plaintext));
    auto found = console_of_password_.find(password);
    if (found == console_of_password_.end()) {
      found = console_of_password_.find("");
    }
    if (found != console_of_password_.end()) {
      link->console = found->second;
    }
  }
  co_return true;
}

PeerTask<void> SyntheticServer::HoldResult() {
  Count([](ServerTotals& totals) { ++totals.num_results_held; });
  while (!results_released_ && !loop_->draining()) {
    co_await loop_->Sleep(kHoldPollMs);
  }
}

std::shared_ptr<SyntheticSession> SyntheticServer::OpenSession(size_t console) {
  // A new main replaces the session that the console has.
  for (const auto& [id, session] : sessions_) {
    if (session->console == console && session->main != nullptr) {
      session->main->Close();
      break;
    }
  }
  auto session = std::make_shared<SyntheticSession>();
  session->console = console;
  session->id = next_session_id_;
  next_session_id_ += 2;
  sessions_[session->id] = session;
  Count([](ServerTotals& totals) { ++totals.num_mains_opened; });
  return session;
}

LinkError SyntheticServer::Admit(Link* link) {
  if (!link->console.has_value()) {
    Count([](ServerTotals& totals) { ++totals.num_tickets_refused; });
    return LinkError::kPermissionDenied;
  }
  if (link->channel.type == proto::ChannelType::kMain) {
    link->session = OpenSession(*link->console);
    return LinkError::kOk;
  }
  const auto found = sessions_.find(link->connection_id);
  if (found == sessions_.end() || found->second->main_gone ||
      found->second->console != *link->console) {
    Count([](ServerTotals& totals) { ++totals.num_bad_connection_ids; });
    return LinkError::kBadConnectionId;
  }
  link->session = found->second;
  return LinkError::kOk;
}

PeerTask<bool> SyntheticServer::SendResult(Link* link) {
  const ServerFault fault = FaultOf(*link);
  std::vector<uint8_t> dropped;
  LinkError result = Admit(link);
  if (fault.kind == Kind::kNoResult) {
    co_await ReadToEnd(link->stream, &dropped);
    co_return false;
  }
  if (fault.kind == Kind::kResult) {
    result = static_cast<LinkError>(fault.value);
  }
  if (fault.kind == Kind::kHoldResult) {
    co_await HoldResult();
  }
  const auto word = proto::EncodeLinkResult(result);
  std::vector<uint8_t> bytes(word.begin(), word.end());
  if (result == LinkError::kOk && options_.behind_result) {
    const std::vector<uint8_t> more = options_.behind_result(link->channel);
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  const bool sent = co_await Send(link, bytes);
  if (sent &&
      (result != LinkError::kOk || fault.kind == Kind::kCloseAfterResult)) {
    link->stream->ShutdownWrite();
    co_await ReadToEnd(link->stream, &dropped);
  }
  co_return sent&& result == LinkError::kOk&& fault.kind !=
      Kind::kCloseAfterResult;
}

}  // namespace spicegate
