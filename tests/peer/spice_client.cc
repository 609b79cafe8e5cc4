// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/spice_client.h"

#include <cerrno>

#include "proto/common_channel.h"
#include "proto/data_header.h"
#include "proto/display_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

// No server sends more in one message to these tests.
constexpr uint32_t kMaxBodyLen = 64 << 20;

PeerTask<int> AnswerPing(SpiceClient* client, const PeerMessage& ping) {
  const auto parsed = proto::ParsePing(ping.body);
  if (!parsed.has_value()) {
    co_return -EPROTO;
  }
  const auto pong = proto::EncodePing(*parsed);
  co_return co_await client->WriteTask(proto::kMsgcPong, pong);
}

}  // namespace

PeerTask<int> SpiceClient::ConnectTask() {
  int error = 0;
  end_ = PeerEnd::kOpen;
  stream_ = co_await PeerStream::Connect(loop_, endpoint_.address, &error);
  if (stream_ == nullptr) {
    co_return error;
  }
  stream_->set_timeout_ms(timeout_ms_);
  if (endpoint_.tls != nullptr) {
    error = co_await stream_->TlsConnect(endpoint_.tls, endpoint_.server_name);
  }
  co_return error;
}

PeerTask<LinkOutcome> SpiceClient::LinkTask(const LinkRequest& request) {
  if (stream_ == nullptr && co_await ConnectTask() != 0) {
    end_ = PeerEnd::kReset;
    LinkOutcome outcome;
    outcome.end = end_;
    co_return outcome;
  }
  LinkOutcome outcome = co_await LinkAsClient(stream_.get(), request);
  end_ = outcome.end;
  co_return outcome;
}

PeerTask<std::optional<PeerMessage>> SpiceClient::ReadTask() {
  std::array<uint8_t, proto::kMiniHeaderLen> bytes;
  std::optional<PeerMessage> message;
  int64_t n = co_await stream_->ReadFull(bytes);
  if (n != static_cast<int64_t>(bytes.size())) {
    end_ = n >= 0 ? PeerEnd::kFin : EndOf(n);
    co_return message;
  }
  const auto header =
      proto::ParseDataHeader(proto::HeaderKind::kMini, bytes).value();
  if (header.size > kMaxBodyLen) {
    end_ = PeerEnd::kReset;
    co_return message;
  }
  PeerMessage read;
  read.type = header.type;
  read.body.resize(header.size);
  n = co_await stream_->ReadFull(read.body);
  if (n != static_cast<int64_t>(read.body.size())) {
    end_ = n >= 0 ? PeerEnd::kFin : EndOf(n);
    co_return message;
  }
  message = std::move(read);
  co_return message;
}

PeerTask<std::optional<PeerMessage>> SpiceClient::ReadUntilTask(uint16_t type) {
  for (;;) {
    std::optional<PeerMessage> message = co_await ReadTask();
    if (!message.has_value() || message->type == type) {
      co_return message;
    }
  }
}

PeerTask<int> SpiceClient::WriteTask(uint16_t type,
                                     std::span<const uint8_t> body) {
  std::vector<uint8_t> bytes(proto::kMiniHeaderLen);
  proto::EncodeDataHeader(
      proto::HeaderKind::kMini,
      {.type = type, .size = static_cast<uint32_t>(body.size())}, bytes);
  bytes.insert(bytes.end(), body.begin(), body.end());
  co_return co_await stream_->Write(bytes);
}

PeerEnd SpiceClient::WaitForEnd() {
  std::vector<uint8_t> dropped;
  end_ = loop_->Run(ReadToEnd(stream_.get(), &dropped, SIZE_MAX));
  return end_;
}

PeerTask<std::optional<MainGreeting>> GreetMain(SpiceClient* main) {
  std::optional<MainGreeting> greeting;
  MainGreeting heard;
  for (;;) {
    const std::optional<PeerMessage> message = co_await main->ReadTask();
    if (!message.has_value()) {
      co_return greeting;
    }
    int written = 0;
    if (message->type == proto::kMsgMainInit) {
      heard.init = proto::ParseMainInit(message->body).value_or(heard.init);
      written = co_await main->WriteTask(proto::kMsgcMainAttachChannels, {});
    } else if (message->type == proto::kMsgPing) {
      written = co_await AnswerPing(main, *message);
    } else if (message->type == proto::kMsgMainChannelsList) {
      const auto list = proto::ChannelsListView::Parse(message->body);
      for (size_t i = 0; list.has_value() && i < list->size(); ++i) {
        heard.channels.push_back((*list)[i]);
      }
      greeting = heard;
    }
    if (written != 0 || greeting.has_value()) {
      co_return greeting;
    }
  }
}

PeerTask<int> SendDisplayInit(SpiceClient* display) {
  const auto body = proto::EncodeDisplayInit({.pixmap_cache_id = 1,
                                              .pixmap_cache_px = 20'971'520,
                                              .glz_dictionary_id = 1,
                                              .glz_window_px = 20'971'520});
  co_return co_await display->WriteTask(proto::kMsgcDisplayInit, body);
}

}  // namespace spicegate
