// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/server_link.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "gateway/auth/link_key.h"
#include "gateway/io/deadline.h"
#include "gateway/server_link/console_dial.h"
#include "gateway/tls/handshake.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {
namespace {

using proto::LinkReplyVerdict;

// The client's own words decide images, codecs and migration, so they go on as
// they are. Authentication is between the gateway and the server: the ticket,
// never SASL, which could not be relayed.
proto::CapsWords CommonCapsFor(const proto::CapsWords& client) {
  proto::CapsWords caps = client;
  caps.Set(proto::kCommonCapAuthSelection);
  caps.Clear(proto::kCommonCapAuthSasl);
  return caps;
}

}  // namespace

Task<ServerLink::Failure> ServerLink::Open(ServerLinkRequest request) {
  Failure failure = co_await Connect();
  if (failure.has_value()) {
    co_return failure;
  }
  const Deadline deadline(context_.timers, leg_.socket.get(),
                          DeadlineIn(context_.limits->server_link_ms));
  if (target_.tls != nullptr) {
    failure = co_await Secure();
    if (failure.has_value()) {
      co_return failure;
    }
  }
  failure = co_await Link(&request);
  co_return failure;
}

int64_t ServerLink::DeadlineIn(int64_t timeout_ms) const {
  return std::min(give_up_ms_, context_.timers->now_ms() + timeout_ms);
}

void ServerLink::Abandon() { dialer_.Abandon(); }

Task<ServerLink::Failure> ServerLink::Connect() {
  Failure failure;
  if (target_.by_qmp()) {
    failure =
        co_await AskForAccess(&target_, context_.access,
                              DeadlineIn(context_.limits->server_connect_ms));
  }
  if (!failure.has_value() && !leg_) {
    failure = co_await DialConsole(
        &dialer_, &target_, DeadlineIn(context_.limits->server_connect_ms));
  }
  if (!failure.has_value()) {
    // By whatever name it was reached, the server may be one that is watched.
    mark_ = OwnSocketMark(context_.own_sockets, leg_.socket->fd());
  }
  co_return failure;
}

Task<ServerLink::Failure> ServerLink::Secure() {
  auto stream =
      TlsStream::Client(target_.tls, std::move(leg_.stream), context_.offload);
  if (stream == nullptr) {
    co_return CloseReason::kInternal;
  }
  TlsStream* tls = stream.get();
  leg_.stream = std::move(stream);
  const int error = co_await CompleteHandshake(tls, leg_.socket.get());
  CountHandshake(*tls, error, TlsLeg::kServer, context_.counters);
  if (error == 0) {
    co_return std::nullopt;
  }
  if (error == -ETIMEDOUT || error == -ECANCELED) {
    co_return ServerReasonOf(error);
  }
  co_return ServerTlsReason(tls->failure());
}

Task<ServerLink::Failure> ServerLink::Link(const ServerLinkRequest* request) {
  const proto::CapsWords common = CommonCapsFor(request->common_caps);
  proto::LinkMessFields fields;
  fields.connection_id = request->connection_id;
  fields.channel = request->channel;
  fields.common_caps = common.words();
  fields.channel_caps = request->channel_caps.words();
  std::array<uint8_t, proto::kLinkHeaderLen + proto::kMaxLinkMessLen> mess;
  const size_t len = proto::EncodeLinkMess(fields, mess);
  const int error = co_await WriteAll(&leg_, std::span(mess).first(len));
  if (error != 0) {
    co_return ServerReasonOf(error);
  }
  co_return co_await ReadReply();
}

Task<int> ServerLink::UntilAnswered() {
  // What TLS may hold already does not show on the socket.
  if (target_.tls != nullptr) {
    co_return 0;
  }
  co_return co_await leg_.socket->Until(Ready::kReadable);
}

Task<ServerLink::Failure> ServerLink::ReadReply() {
  std::array<uint8_t, proto::kLinkHeaderLen + proto::kMaxLinkReplyLen> reply;
  // All that comes: a server has nothing to say behind its reply.
  int len = co_await UntilAnswered();
  if (len == 0) {
    len = co_await ReadAtLeast(&leg_, reply, proto::kLinkHeaderLen);
  }
  if (len < 0) {
    co_return ServerReasonOf(len);
  }
  std::span<uint8_t> left(reply);
  const proto::LinkHeader header =
      proto::ParseLinkHeader(left.first<proto::kLinkHeaderLen>());
  const size_t whole_len = proto::kLinkHeaderLen + header.size;
  if (!proto::IsReplyHeaderOk(header) || static_cast<size_t>(len) > whole_len) {
    co_return CloseReason::kServerProtocol;
  }
  const std::span<uint8_t> used =
      left.subspan(proto::kLinkHeaderLen, header.size);
  const int error = co_await ReadExactly(
      &leg_, left.first(whole_len).subspan(static_cast<size_t>(len)));
  if (error != 0) {
    co_return ServerReasonOf(error);
  }
  const proto::ParsedLinkReply parsed = proto::ParseLinkReply(used);
  switch (parsed.verdict) {
    case LinkReplyVerdict::kRefused:
      co_return CloseReason::kServerRefused;
    case LinkReplyVerdict::kMalformed:
    case LinkReplyVerdict::kKeyUnusable:
      co_return CloseReason::kServerProtocol;
    case LinkReplyVerdict::kOk:
      break;
  }
  std::copy(parsed.reply.pub_key.begin(), parsed.reply.pub_key.end(),
            server_key_.begin());
  co_return std::nullopt;
}

Task<ServerLink::Failure> ServerLink::Authenticate(
    int64_t timeout_ms, std::span<const uint8_t> first_message) {
  const Deadline deadline(context_.timers, leg_.socket.get(),
                          context_.timers->now_ms() + timeout_ms);
  // Mechanism and ticket in one write: one segment, one TLS record.
  std::array<uint8_t, proto::kAuthMechanismLen + proto::kTicketLen> auth;
  const auto mechanism = proto::EncodeAuthMechanism(proto::kAuthMechanismSpice);
  std::copy(mechanism.begin(), mechanism.end(), auth.begin());
  const std::span<uint8_t, proto::kTicketLen> ticket(
      auth.data() + mechanism.size(), proto::kTicketLen);
  if (!EncryptTicket(server_key_, target_.console->ticket, ticket)) {
    co_return CloseReason::kServerProtocol;
  }
  int error = co_await WriteAll(&leg_, auth);
  if (error != 0) {
    co_return ServerReasonOf(error);
  }
  const Failure failure = co_await ReadResult();
  if (failure.has_value()) {
    co_return failure;
  }
  // A record of its own: over TLS QEMU overlooks a message that came together
  // with the ticket.
  error = co_await WriteAll(&leg_, first_message);
  if (error != 0) {
    co_return ServerReasonOf(error);
  }
  co_return std::nullopt;
}

Task<ServerLink::Failure> ServerLink::ReadResult() {
  std::array<uint8_t, proto::kLinkResultLen> result;
  int error = co_await UntilAnswered();
  if (error == 0) {
    error = co_await ReadExactly(&leg_, result);
  }
  if (error != 0) {
    co_return ServerReasonOf(error);
  }
  result_ = proto::ParseLinkResult(result);
  switch (result_) {
    case proto::LinkError::kOk:
      co_return std::nullopt;
    case proto::LinkError::kPermissionDenied:
      co_return CloseReason::kServerTicketRefused;
    default:
      co_return CloseReason::kServerRefused;
  }
}

}  // namespace spicegate
