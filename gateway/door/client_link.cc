// SPDX-License-Identifier: Apache-2.0
#include "gateway/door/client_link.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "gateway/base/limits.h"
#include "gateway/io/deadline.h"
#include "gateway/tls/handshake.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {
namespace {

using proto::LinkError;

// A step of the link: refused, or on to the next one.
using Refusal = std::optional<CloseReason>;

CloseReason ReasonOf(int error) {
  switch (error) {
    case -ETIMEDOUT:
      return CloseReason::kPreauthTimeout;
    case -ECANCELED:
      return CloseReason::kShutdown;
    default:
      return CloseReason::kClientGone;
  }
}

void CountTls(const TlsStream& tls, WorkerCounters* counters) {
  counters
      ->tls_connections[static_cast<size_t>(TlsLeg::kClient)]
                       [static_cast<size_t>(tls.version())]
                       [static_cast<size_t>(tls.suite())]
      .Add(1);
}

// Puts TLS on the leg.
Task<Refusal> Secure(Leg* leg, const DoorContext* context) {
  auto stream = TlsStream::Server(context->tls, std::move(leg->stream));
  if (stream == nullptr) {
    co_return CloseReason::kInternal;
  }
  TlsStream* tls = stream.get();
  leg->stream = std::move(stream);
  const int error = co_await CompleteHandshake(tls, leg->socket.get());
  if (error == 0) {
    CountTls(*tls, context->counters);
    co_return std::nullopt;
  }
  if (error == -ETIMEDOUT || error == -ECANCELED) {
    co_return ReasonOf(error);
  }
  co_return ClientTlsReason(tls->failure());
}

// Sends the end of our direction, then reads and drops until the client has
// seen it: closing with unread input would turn the answer into a RST.
Task<void> SayGoodbye(Leg* leg, TimerWheel* timers) {
  Deadline deadline(timers, leg->socket.get(),
                    timers->now_ms() + kRefusalLingerMs);
  leg->stream->ShutdownWrite();
  std::array<uint8_t, 1024> dropped;
  // Bounded in bytes as well: a refused client may not keep us reading.
  for (size_t total = 0; total < kPumpBufferBytes;) {
    const ssize_t n = leg->stream->Read(dropped);
    if (n == 0 || (n < 0 && n != -EAGAIN)) {
      co_return;
    }
    if (n > 0) {
      total += static_cast<size_t>(n);
      continue;
    }
    if (co_await leg->socket->Until(leg->stream->ReadWait()) != 0) {
      co_return;
    }
  }
}

// Answers with an error reply; the link is over.
Task<Refusal> RefuseLink(Leg* leg, TimerWheel* timers, LinkError error,
                         CloseReason reason) {
  const auto reply = proto::EncodeLinkErrorReply(error);
  if (co_await WriteAll(leg, reply) == 0) {
    co_await SayGoodbye(leg, timers);
  }
  co_return reason;
}

// Reads the header. A wrong magic is answered as soon as it shows, which may
// be before there are 16 bytes.
Task<Refusal> ReadHeader(Leg* leg, TimerWheel* timers,
                         proto::LinkHeader* header) {
  std::array<uint8_t, proto::kLinkHeaderLen> bytes;
  const std::span<uint8_t> magic(bytes.data(), proto::kLinkMagic.size());
  int error = co_await ReadExactly(leg, magic);
  if (error != 0) {
    co_return ReasonOf(error);
  }
  if (proto::MagicPrefixWrong(magic)) {
    co_return co_await RefuseLink(leg, timers, LinkError::kInvalidMagic,
                                  CloseReason::kBadMagic);
  }
  error = co_await ReadExactly(leg, std::span(bytes).subspan(magic.size()));
  if (error != 0) {
    co_return ReasonOf(error);
  }
  *header = proto::ParseLinkHeader(bytes);
  const proto::HeaderVerdict verdict = proto::JudgeLinkHeader(*header);
  switch (verdict) {
    case proto::HeaderVerdict::kAccept:
      co_return std::nullopt;
    case proto::HeaderVerdict::kCloseSilently:
      co_return CloseReason::kBadVersion;
    case proto::HeaderVerdict::kVersionMismatch:
      co_return co_await RefuseLink(leg, timers, LinkError::kVersionMismatch,
                                    CloseReason::kBadVersion);
    case proto::HeaderVerdict::kInvalidMagic:
      co_return co_await RefuseLink(leg, timers, LinkError::kInvalidMagic,
                                    CloseReason::kBadMagic);
    case proto::HeaderVerdict::kInvalidData:
      break;
  }
  co_return co_await RefuseLink(leg, timers, LinkError::kInvalidData,
                                CloseReason::kBadLink);
}

// Reads the link message and judges what it asks for.
Task<Refusal> ReadLinkMess(Leg* leg, const DoorContext* context,
                           size_t body_len, ClientLink* link) {
  std::array<uint8_t, proto::kMaxLinkMessLen> body;
  const std::span<uint8_t> used(body.data(), body_len);
  const int error = co_await ReadExactly(leg, used);
  if (error != 0) {
    co_return ReasonOf(error);
  }
  const std::optional<proto::LinkMess> mess = proto::ParseLinkMess(used);
  if (!mess.has_value()) {
    co_return co_await RefuseLink(leg, context->timers, LinkError::kInvalidData,
                                  CloseReason::kBadLink);
  }
  // Before anything is said about the channel, as spice-server has it.
  if (context->need_secured) {
    co_return co_await RefuseLink(leg, context->timers, LinkError::kNeedSecured,
                                  CloseReason::kNeedSecured);
  }
  if (!proto::IsKnownChannelType(mess->channel_type)) {
    co_return CloseReason::kBadLink;  // spice-server closes without a word
  }
  link->connection_id = mess->connection_id;
  link->channel = mess->key();
  link->common_caps = proto::CapsWords(mess->common_caps);
  link->channel_caps = proto::CapsWords(mess->channel_caps);
  link->header_kind = mess->common_caps.Has(proto::kCommonCapMiniHeader)
                          ? proto::HeaderKind::kMini
                          : proto::HeaderKind::kFull;
  co_return std::nullopt;
}

Task<Refusal> SendReply(Leg* leg, const LinkKey* key, proto::ChannelType type) {
  std::array<uint8_t, proto::kMaxLinkReplyLen> reply;
  const size_t len = proto::EncodeLinkReply(key->public_key_der(),
                                            proto::ReplyCapsFor(type), reply);
  const int error = co_await WriteAll(leg, std::span(reply).first(len));
  if (error != 0) {
    co_return ReasonOf(error);
  }
  co_return std::nullopt;
}

// Reads the mechanism, if this client sends one, and the ticket.
Task<Refusal> ReadTicket(Leg* leg, const DoorContext* context,
                         ClientLink* link) {
  if (link->common_caps.Has(proto::kCommonCapAuthSelection)) {
    std::array<uint8_t, proto::kAuthMechanismLen> mechanism;
    const int error = co_await ReadExactly(leg, mechanism);
    if (error != 0) {
      co_return ReasonOf(error);
    }
    // Where spice-server built with SASL would start a dialogue that nobody
    // can relay, a gateway refuses SASL like any unknown mechanism.
    if (proto::ParseAuthMechanism(mechanism) != proto::kAuthMechanismSpice) {
      co_return co_await RefuseLink(leg, context->timers,
                                    LinkError::kInvalidData,
                                    CloseReason::kBadMechanism);
    }
  }
  std::array<uint8_t, proto::kTicketLen> ticket;
  const int error = co_await ReadExactly(leg, ticket);
  if (error != 0) {
    co_return ReasonOf(error);
  }
  // Failing to decrypt leaves an empty ticket, which is looked up like any
  // other: every wrong ticket takes the same way.
  const TicketPlaintext plaintext = context->link_key->Decrypt(ticket);
  link->ticket = TicketVault::DigestOf(plaintext.view());
  co_return std::nullopt;
}

Task<Refusal> RunSteps(Leg* leg, const DoorContext* context, ClientLink* link) {
  Refusal refusal;
  if (context->tls != nullptr) {
    refusal = co_await Secure(leg, context);
    if (refusal.has_value()) {
      co_return refusal;
    }
  }
  proto::LinkHeader header;
  refusal = co_await ReadHeader(leg, context->timers, &header);
  if (refusal.has_value()) {
    co_return refusal;
  }
  refusal = co_await ReadLinkMess(leg, context, header.size, link);
  if (refusal.has_value()) {
    co_return refusal;
  }
  refusal =
      co_await SendReply(leg, context->link_key.get(), link->channel.type);
  if (refusal.has_value()) {
    co_return refusal;
  }
  refusal = co_await ReadTicket(leg, context, link);
  co_return refusal;
}

}  // namespace

Task<DoorResult> RunClientLink(Leg* leg, DoorContext context) {
  const Deadline deadline(context.timers, leg->socket.get(),
                          context.deadline_ms);
  DoorResult result;
  ClientLink link;
  const Refusal refusal = co_await RunSteps(leg, &context, &link);
  if (refusal.has_value()) {
    result.refusal = *refusal;
  } else {
    result.link = std::move(link);
  }
  co_return result;
}

Task<int> SendLinkResult(Leg* leg, TimerWheel* timers, LinkError result) {
  const auto bytes = proto::EncodeLinkResult(result);
  const int error = co_await WriteAll(leg, bytes);
  if (error == 0 && result != LinkError::kOk) {
    co_await SayGoodbye(leg, timers);
  }
  co_return error;
}

}  // namespace spicegate
