// SPDX-License-Identifier: Apache-2.0
#include "gateway/door/client_link.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "gateway/door/client_leg.h"
#include "gateway/io/deadline.h"

namespace spicegate {
namespace {

using proto::LinkError;

// A step of the link: refused, or on to the next one.
using Refusal = std::optional<CloseReason>;

// Answers with an error reply; the link is over.
Task<Refusal> RefuseLink(Leg* leg, TimerWheel* timers, LinkError error,
                         CloseReason reason) {
  const auto reply = proto::EncodeLinkErrorReply(error);
  if (co_await WriteAll(leg, reply) == 0) {
    co_await SayGoodbye(leg, timers);
  }
  co_return reason;
}

// What the client sends up to its ticket, in few reads: each takes along what
// the client must still send in any case, and never what comes behind the
// ticket, which is the channel's.
class LinkInput {
 public:
  explicit LinkInput(Leg* leg) : leg_(leg) {}
  LinkInput(const LinkInput&) = delete;
  LinkInput& operator=(const LinkInput&) = delete;

  // Fills `out` whole, as ReadExactly. At least `ahead_len` bytes follow it
  // before the channel begins.
  Task<int> Read(std::span<uint8_t> out, size_t ahead_len);

  // Reads at most `len` bytes if nothing is in hand. False when nothing has
  // come yet; an end or a failure shows in the next Read.
  bool Fill(size_t len);

 private:
  Leg* const leg_;
  std::array<uint8_t, proto::kLinkHeaderLen + proto::kLinkMessFixedLen +
                          proto::kTicketLen>
      bytes_;
  size_t begin_ = 0;
  size_t end_ = 0;
  int error_ = 0;
};

bool LinkInput::Fill(size_t len) {
  if (begin_ != end_ || error_ != 0) {
    return true;
  }
  const ssize_t n =
      leg_->stream->Read(std::span(bytes_).first(std::min(len, bytes_.size())));
  if (n == -EAGAIN) {
    return false;
  }
  begin_ = 0;
  end_ = static_cast<size_t>(std::max<ssize_t>(n, 0));
  if (n <= 0) {
    error_ = n == 0 ? -ENODATA : static_cast<int>(n);
  }
  return true;
}

Task<int> LinkInput::Read(std::span<uint8_t> out, size_t ahead_len) {
  while (!out.empty()) {
    if (!Fill(out.size() + ahead_len)) {
      const int error = co_await leg_->socket->Until(leg_->stream->ReadWait());
      if (error != 0) {
        co_return error;
      }
      continue;
    }
    if (begin_ == end_) {
      co_return error_;
    }
    const size_t len = std::min(out.size(), end_ - begin_);
    std::copy_n(bytes_.begin() + begin_, len, out.begin());
    begin_ += len;
    out = out.subspan(len);
  }
  co_return 0;
}

// Reads the header. A wrong magic is answered as soon as it shows, which may
// be before there are 16 bytes.
Task<Refusal> ReadHeader(Leg* leg, LinkInput* input, TimerWheel* timers,
                         proto::LinkHeader* header) {
  constexpr size_t kBehindLen = proto::kLinkMessFixedLen + proto::kTicketLen;
  std::array<uint8_t, proto::kLinkHeaderLen> bytes;
  const std::span<uint8_t> magic(bytes.data(), proto::kLinkMagic.size());
  const std::span<uint8_t> rest = std::span(bytes).subspan(magic.size());
  int error = co_await input->Read(magic, rest.size() + kBehindLen);
  if (error != 0) {
    co_return ClientReasonOf(error);
  }
  if (proto::MagicPrefixWrong(magic)) {
    co_return co_await RefuseLink(leg, timers, LinkError::kInvalidMagic,
                                  CloseReason::kBadMagic);
  }
  error = co_await input->Read(rest, kBehindLen);
  if (error != 0) {
    co_return ClientReasonOf(error);
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
Task<Refusal> ReadLinkMess(Leg* leg, LinkInput* input,
                           const DoorContext* context, size_t body_len,
                           ClientLink* link) {
  std::array<uint8_t, proto::kMaxLinkMessLen> body;
  const std::span<uint8_t> used(body.data(), body_len);
  const int error = co_await input->Read(used, proto::kTicketLen);
  if (error != 0) {
    co_return ClientReasonOf(error);
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
  link->tls = context->tls != nullptr;
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
                                            proto::OfferedCapsFor(type), reply);
  const int error = co_await WriteAll(leg, std::span(reply).first(len));
  if (error != 0) {
    co_return ClientReasonOf(error);
  }
  co_return std::nullopt;
}

// Reads the mechanism, if this client sends one, and the ticket.
Task<Refusal> ReadTicket(Leg* leg, LinkInput* input, const DoorContext* context,
                         ClientLink* link) {
  const bool selects = link->common_caps.Has(proto::kCommonCapAuthSelection);
  if (!input->Fill(proto::kTicketLen +
                   (selects ? proto::kAuthMechanismLen : 0)) &&
      context->before_ticket) {
    context->before_ticket(*link, context->deadline_ms);
  }
  if (selects) {
    std::array<uint8_t, proto::kAuthMechanismLen> mechanism;
    const int error = co_await input->Read(mechanism, proto::kTicketLen);
    if (error != 0) {
      co_return ClientReasonOf(error);
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
  const int error = co_await input->Read(ticket, 0);
  if (error != 0) {
    co_return ClientReasonOf(error);
  }
  // Failing to decrypt leaves an empty ticket, which is looked up like any
  // other: every wrong ticket takes the same way.
  const TicketPlaintext plaintext = context->link_key->Decrypt(ticket);
  link->ticket = TicketVault::DigestOf(plaintext.view());
  if (context->keep_ticket) {
    link->kept_ticket = plaintext.view();
  }
  co_return std::nullopt;
}

Task<Refusal> RunSteps(Leg* leg, const DoorContext* context, ClientLink* link) {
  Refusal refusal;
  if (context->tls != nullptr) {
    refusal = co_await SecureClient(leg, context);
    if (refusal.has_value()) {
      co_return refusal;
    }
  }
  LinkInput input(leg);
  proto::LinkHeader header;
  refusal = co_await ReadHeader(leg, &input, context->timers, &header);
  if (refusal.has_value()) {
    co_return refusal;
  }
  refusal = co_await ReadLinkMess(leg, &input, context, header.size, link);
  if (refusal.has_value()) {
    co_return refusal;
  }
  refusal =
      co_await SendReply(leg, context->link_key.get(), link->channel.type);
  if (refusal.has_value()) {
    co_return refusal;
  }
  refusal = co_await ReadTicket(leg, &input, context, link);
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
