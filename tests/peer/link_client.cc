// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/link_client.h"

#include <algorithm>

#include "proto/caps.h"
#include "proto/wire.h"
#include "tests/peer/ticket_cipher.h"

namespace spicegate {
namespace {

using proto::ChannelType;

// spice-protocol.md 5.2, spice-gtk 0.42.
std::vector<uint32_t> ViewerChannelCaps(ChannelType type) {
  switch (type) {
    case ChannelType::kMain:
      return {0x0F};
    case ChannelType::kDisplay:
      return {0x03BF};
    case ChannelType::kPlayback:
      return {0x0E};
    case ChannelType::kRecord:
      return {0x06};
    case ChannelType::kUsbredir:
      return {0x01};
    default:
      return {};
  }
}

void PutU32(std::vector<uint8_t>* out, uint32_t value) {
  out->resize(out->size() + 4);
  proto::StoreU32(out->data() + out->size() - 4, value);
}

void PutZeros(std::vector<uint8_t>* out, size_t len) {
  out->resize(out->size() + len);
}

std::vector<uint8_t> BuildLinkBody(const LinkRequest& request) {
  const LinkBugs& bugs = request.bugs;
  const std::vector<uint32_t> channel_caps =
      request.channel_caps.value_or(ViewerChannelCaps(request.channel.type));
  std::vector<uint8_t> body;
  PutU32(&body, request.connection_id);
  body.push_back(
      bugs.channel_type.value_or(static_cast<uint8_t>(request.channel.type)));
  body.push_back(request.channel.id);
  PutU32(&body, bugs.num_common_caps.value_or(
                    static_cast<uint32_t>(request.common_caps.size())));
  PutU32(&body, bugs.num_channel_caps.value_or(
                    static_cast<uint32_t>(channel_caps.size())));
  PutU32(&body, bugs.caps_offset.value_or(proto::kLinkMessFixedLen));
  PutZeros(&body, bugs.gap_before_caps_len);
  for (const uint32_t word : request.common_caps) {
    PutU32(&body, word);
  }
  for (const uint32_t word : channel_caps) {
    PutU32(&body, word);
  }
  PutZeros(&body, bugs.padding_len);
  return body;
}

// Writes everything, or byte by byte with a pause that makes each a segment.
PeerTask<int> Send(PeerStream* stream, const std::vector<uint8_t>& bytes,
                   bool byte_at_a_time) {
  if (!byte_at_a_time) {
    co_return co_await stream->Write(bytes);
  }
  for (const uint8_t& byte : bytes) {
    const int written = co_await stream->Write({&byte, 1});
    if (written != 0) {
      co_return written;
    }
    co_await stream->loop()->Sleep(1);
  }
  co_return 0;
}

// True when the connection is still to be read.
bool Follow(PeerStream* stream, LinkBugs::Then then) {
  if (then == LinkBugs::Then::kHalfClose) {
    stream->ShutdownWrite();
  }
  if (then == LinkBugs::Then::kReset) {
    stream->Reset();
  }
  return then != LinkBugs::Then::kReset;
}

// Appends `len` bytes to `out`; anything but kOpen when they did not all come.
PeerTask<PeerEnd> Append(PeerStream* stream, size_t len,
                         std::vector<uint8_t>* out) {
  const size_t before = out->size();
  out->resize(before + len);
  const int64_t got =
      co_await stream->ReadFull(std::span(*out).subspan(before));
  out->resize(before + (got > 0 ? static_cast<size_t>(got) : 0));
  if (got == static_cast<int64_t>(len)) {
    co_return PeerEnd::kOpen;
  }
  co_return got >= 0 ? PeerEnd::kFin : EndOf(got);
}

// The reply into `out`; whatever follows an error reply is added.
PeerTask<PeerEnd> ReadReply(PeerStream* stream, std::vector<uint8_t>* out) {
  PeerEnd end = co_await Append(stream, proto::kLinkHeaderLen, out);
  if (end != PeerEnd::kOpen) {
    co_return end;
  }
  const uint32_t size = proto::LoadU32(out->data() + 12);
  end = co_await Append(stream, std::min<size_t>(size, proto::kMaxLinkReplyLen),
                        out);
  const bool refused =
      size < 4 || proto::LoadU32(out->data() + proto::kLinkHeaderLen) != 0;
  if (end == PeerEnd::kOpen && refused) {
    end = co_await ReadToEnd(stream, out);
  }
  co_return end;
}

// Mechanism, ticket and what is pipelined behind it.
std::vector<uint8_t> BuildAuth(const LinkRequest& request,
                               const std::vector<uint8_t>& reply) {
  const LinkBugs& bugs = request.bugs;
  std::vector<uint8_t> auth;
  const bool selects =
      !request.common_caps.empty() && (request.common_caps[0] & 1) != 0;
  if (selects) {
    PutU32(&auth, bugs.mechanism.value_or(proto::kAuthMechanismSpice));
  }
  if (bugs.ticket.has_value()) {
    auth.insert(auth.end(), bugs.ticket->begin(), bugs.ticket->end());
  } else if (!bugs.no_ticket) {
    const auto key =
        std::span(reply).subspan(proto::kLinkHeaderLen + 4, proto::kPubKeyLen);
    const auto ticket = EncryptTicket(
        key, bugs.plaintext.value_or(PeerTicketPlaintext(request.password)));
    // A key that cannot be used is answered with zeros, which never decrypt.
    const PeerTicket bytes = ticket.value_or(PeerTicket{});
    auth.insert(auth.end(), bytes.begin(), bytes.end());
  }
  auth.insert(auth.end(), bugs.behind_ticket.begin(), bugs.behind_ticket.end());
  return auth;
}

}  // namespace

std::optional<proto::LinkError> LinkOutcome::reply_error() const {
  if (reply.size() < proto::kErrorReplyLen) {
    return std::nullopt;
  }
  return static_cast<proto::LinkError>(
      proto::LoadU32(reply.data() + proto::kLinkHeaderLen));
}

std::optional<proto::LinkError> LinkOutcome::result() const {
  if (auth_answer.size() < proto::kLinkResultLen) {
    return std::nullopt;
  }
  return static_cast<proto::LinkError>(proto::LoadU32(auth_answer.data()));
}

std::vector<uint8_t> BuildLink(const LinkRequest& request) {
  const LinkBugs& bugs = request.bugs;
  std::vector<uint8_t> link;
  if (bugs.raw_link.has_value()) {
    link = *bugs.raw_link;
  } else {
    const std::vector<uint8_t> body = BuildLinkBody(request);
    const auto magic = bugs.magic.value_or(proto::kLinkMagic);
    link.assign(magic.begin(), magic.end());
    PutU32(&link, bugs.major.value_or(proto::kLinkMajor));
    PutU32(&link, bugs.minor.value_or(proto::kLinkMinor));
    PutU32(&link, bugs.size.value_or(static_cast<uint32_t>(body.size())));
    link.insert(link.end(), body.begin(), body.end());
  }
  link.resize(std::min(link.size(), bugs.link_cut_len));
  return link;
}

PeerTask<LinkOutcome> LinkAsClient(PeerStream* stream,
                                   const LinkRequest& request) {
  const LinkBugs& bugs = request.bugs;
  LinkOutcome outcome;
  // A failed write is not an answer: what the server said is still readable.
  const std::vector<uint8_t> link = BuildLink(request);
  co_await Send(stream, link, bugs.byte_at_a_time);
  if (!Follow(stream, bugs.after_link)) {
    outcome.end = PeerEnd::kReset;
    co_return outcome;
  }
  outcome.end = co_await ReadReply(stream, &outcome.reply);
  if (outcome.end != PeerEnd::kOpen ||
      outcome.reply.size() < proto::kErrorReplyLen) {
    co_return outcome;
  }

  const std::vector<uint8_t> auth = BuildAuth(request, outcome.reply);
  co_await Send(stream, auth, bugs.byte_at_a_time);
  if (!Follow(stream, bugs.after_ticket)) {
    outcome.end = PeerEnd::kReset;
    co_return outcome;
  }
  outcome.end =
      co_await Append(stream, proto::kLinkResultLen, &outcome.auth_answer);
  outcome.open = outcome.result() == proto::LinkError::kOk;
  if (outcome.end == PeerEnd::kOpen && !outcome.open) {
    outcome.end = co_await ReadToEnd(stream, &outcome.auth_answer);
  }
  co_return outcome;
}

}  // namespace spicegate
