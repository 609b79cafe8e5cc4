// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/opener.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "gateway/base/limits.h"
#include "gateway/io/deadline.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

// A client's INIT as it goes on to the server: header and body.
using InitMessage =
    std::array<uint8_t, proto::kMaxDataHeaderLen + proto::kDisplayInitLen>;

CloseReason ClientReason(int error) {
  switch (error) {
    case -ECANCELED:
      return CloseReason::kShutdown;
    case -ENODATA:
    case -ETIMEDOUT:
      return CloseReason::kClientGone;
    default:
      return CloseReason::kClientReset;
  }
}

// Lists an opening with its session as long as it is under way.
class ListedOpening {
 public:
  ListedOpening(SessionRegistry* registry, Handle session, Handle opening)
      : registry_(registry), session_(session), opening_(opening) {
    if (Session* s = registry_->Get(session_)) {
      s->openings.push_back(opening_);
    }
  }
  ~ListedOpening() {
    if (Session* s = registry_->Get(session_)) {
      std::erase(s->openings, opening_);
      if (s->openings.empty()) {
        s->openings = {};  // most of its life a session has none
      }
    }
  }
  ListedOpening(const ListedOpening&) = delete;
  ListedOpening& operator=(const ListedOpening&) = delete;

 private:
  SessionRegistry* const registry_;
  const Handle session_;
  const Handle opening_;
};

// Counts a main link as long as it is under way.
class OpeningMain {
 public:
  // `ticket` is null for other channels: nothing is counted.
  OpeningMain(SessionRegistry* registry, const TicketClaim* ticket)
      : registry_(registry), wanted_(ticket != nullptr) {
    if (wanted_) {
      digest_ = ticket->digest();
      counted_ = registry_->AddOpeningMain(digest_);
    }
  }
  ~OpeningMain() {
    if (counted_) {
      registry_->RemoveOpeningMain(digest_);
    }
  }
  OpeningMain(const OpeningMain&) = delete;
  OpeningMain& operator=(const OpeningMain&) = delete;

  bool refused() const { return wanted_ && !counted_; }

 private:
  SessionRegistry* const registry_;
  const bool wanted_;
  bool counted_ = false;
  TicketDigest digest_;
};

Task<int> ReadInitMessage(Leg* client, proto::HeaderKind kind,
                          std::span<uint8_t> message) {
  const size_t header_len = proto::DataHeaderLen(kind);
  const int error = co_await ReadExactly(client, message.first(header_len));
  if (error != 0) {
    co_return error;
  }
  const auto header = proto::ParseDataHeader(kind, message.first(header_len));
  if (!header.has_value() || header->type != proto::kMsgcDisplayInit ||
      header->size != proto::kDisplayInitLen) {
    co_return -EPROTO;
  }
  co_return co_await ReadExactly(client, message.subspan(header_len));
}

}  // namespace

Task<std::optional<CloseReason>> ChannelOpener::Open(Handle handle,
                                                     ClientLink link,
                                                     TicketClaim ticket) {
  Opening* opening = openings_->Get(handle);
  Place place;
  Refusal refusal = co_await FindPlace(opening, &link, &ticket, &place);
  if (refusal.has_value()) {
    co_return refusal;
  }
  const ListedOpening listed(registry_, place.session, handle);
  const OpeningMain main(
      registry_, link.channel.type == ChannelType::kMain ? &ticket : nullptr);
  if (main.refused()) {
    co_return CloseReason::kTooManyChannels;
  }
  place.ticket = std::move(ticket);
  const std::shared_ptr<EarlyDial> early =
      early_dials_->Take(std::exchange(opening->early_dial, {}), place.session);
  std::optional<ServerLink> own;
  ServerLink* server =
      early != nullptr ? early->link() : &own.emplace(server_, place.target);
  opening->server = server->leg();
  if (early != nullptr) {
    refusal = co_await early->Opened();
  } else {
    refusal = co_await server->Open(RequestFor(link));
  }
  if (!refusal.has_value()) {
    if (link.channel.type == ChannelType::kDisplay) {
      refusal = co_await OpenDisplay(opening, &link, &place, server);
    } else {
      refusal = co_await OpenPlain(opening, &link, &place, server);
    }
  }
  opening->server = nullptr;
  if (refusal.has_value() && place.session && !IsAlive(place.session)) {
    refusal = CloseReason::kSessionOver;
  }
  co_return refusal;
}

bool ChannelOpener::IsAlive(Handle handle) {
  const Session* session = registry_->Get(handle);
  return session != nullptr && !session->ending.has_value();
}

Task<ChannelOpener::Refusal> ChannelOpener::FindPlace(Opening* opening,
                                                      const ClientLink* link,
                                                      const TicketClaim* ticket,
                                                      Place* place) {
  const bool is_main = link->channel.type == ChannelType::kMain;
  if (is_main && link->connection_id == 0) {
    std::optional<ConsoleTarget> target = find_target_(ticket->console());
    if (!target.has_value()) {
      co_return CloseReason::kConsoleUnknown;
    }
    place->target = *std::move(target);
    co_return std::nullopt;
  }
  // A main link with an id says "I am migrating"; nobody expects that here.
  if (!is_main) {
    place->session = registry_->FindSession(link->ticket, link->connection_id);
  }
  Session* session = registry_->Get(place->session);
  if (session == nullptr) {
    co_await SendLinkResult(&opening->client, server_.timers,
                            LinkError::kBadConnectionId);
    co_return CloseReason::kBadConnectionId;
  }
  const int64_t num_channels =
      static_cast<int64_t>(session->channels.size() + session->openings.size());
  if (num_channels >= server_.limits->max_channels_per_session) {
    co_await SendLinkResult(&opening->client, server_.timers,
                            LinkError::kChannelNotAvailable);
    co_return CloseReason::kTooManyChannels;
  }
  place->target = session->target;
  co_return std::nullopt;
}

Task<ChannelOpener::Refusal> ChannelOpener::OpenPlain(Opening* opening,
                                                      const ClientLink* link,
                                                      Place* place,
                                                      ServerLink* server) {
  Refusal refusal =
      co_await server->Authenticate(server_.limits->server_link_ms, {});
  if (refusal.has_value()) {
    // What the server says about the channel is the client's to know; what it
    // says about its own ticket is not.
    const LinkError result = server->result();
    if (place->session && (result == LinkError::kBadConnectionId ||
                           result == LinkError::kChannelNotAvailable)) {
      co_await SendLinkResult(&opening->client, server_.timers, result);
    }
    co_return refusal;
  }
  const int error =
      co_await SendLinkResult(&opening->client, server_.timers, LinkError::kOk);
  if (error != 0) {
    co_return ClientReason(error);
  }
  Join(opening, link, place, server, /*bytes_sent=*/0);
  co_return std::nullopt;
}

Task<ChannelOpener::Refusal> ChannelOpener::OpenDisplay(Opening* opening,
                                                        const ClientLink* link,
                                                        Place* place,
                                                        ServerLink* server) {
  // The server lives and has the channel; its ticket stays here until the
  // client's INIT has come whole, since from the ticket on the display must be
  // seen through.
  int error =
      co_await SendLinkResult(&opening->client, server_.timers, LinkError::kOk);
  if (error != 0) {
    co_return ClientReason(error);
  }
  InitMessage message;
  const std::span<uint8_t> init(
      message.data(),
      proto::DataHeaderLen(link->header_kind) + proto::kDisplayInitLen);
  {
    const Deadline deadline(
        server_.timers, opening->client.socket.get(),
        server_.timers->now_ms() + server_.limits->display_init_ms);
    error = co_await ReadInitMessage(&opening->client, link->header_kind, init);
  }
  if (error != 0) {
    co_return error == -EPROTO ? CloseReason::kClientProtocol
                               : ClientReason(error);
  }
  if (!IsAlive(place->session)) {
    co_return CloseReason::kSessionOver;
  }
  opening->committed = true;
  const Refusal refusal =
      co_await server->Authenticate(kDisplayCommittedMs, init);
  if (refusal.has_value()) {
    CountIfGivenUp(*refusal);
    co_return refusal;
  }
  Join(opening, link, place, server, init.size());
  co_return std::nullopt;
}

void ChannelOpener::CountIfGivenUp(CloseReason refusal) {
  // Anything else is the server's own doing.
  if (refusal == CloseReason::kServerTimeout ||
      refusal == CloseReason::kShutdown) {
    server_.counters->display_safe_end[static_cast<size_t>(SafeEnd::kTimedOut)]
        .Add(1);
  }
}

void ChannelOpener::Join(Opening* opening, const ClientLink* link, Place* place,
                         ServerLink* server, size_t bytes_sent) {
  Handle session = place->session;
  if (link->channel.type == ChannelType::kMain) {
    session = registry_->BeginSession(std::move(place->ticket), place->target,
                                      opening->client_address);
  }
  opening->server = nullptr;
  registry_->AddChannel(session, link->channel, link->header_kind,
                        std::move(opening->client), server->TakeLeg(),
                        bytes_sent);
}

}  // namespace spicegate
