// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/synthetic_channel.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "proto/common_channel.h"
#include "proto/data_header.h"
#include "proto/display_channel.h"
#include "proto/main_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::Direction;

constexpr size_t kReadLen = 32 * 1024;
constexpr size_t kWriteLen = 32 * 1024;
// How often a channel that does not read looks whether it may again.
constexpr int64_t kPausePollMs = 5;

uint64_t SeedOf(const SyntheticServer& server, const SyntheticSession& session,
                proto::ChannelKey key, Direction direction) {
  return TrafficSeed(server.options().consoles[session.console].seed, key,
                     direction);
}

TrafficPlan PlanOf(const SyntheticServer& server, proto::ChannelKey key) {
  return server.options().plan ? server.options().plan(key) : TrafficPlan{};
}

}  // namespace

SyntheticChannel::SyntheticChannel(SyntheticServer* server, PeerStream* stream,
                                   proto::ChannelKey key,
                                   std::shared_ptr<SyntheticSession> session)
    : server_(server),
      stream_(stream),
      key_(key),
      session_(std::move(session)),
      writer_(SeedOf(*server, *session_, key, Direction::kServerToClient),
              ShapeOf(key.type, Direction::kServerToClient),
              PlanOf(*server, key).to_client_bytes),
      reader_(SeedOf(*server, *session_, key, Direction::kClientToServer),
              ShapeOf(key.type, Direction::kClientToServer),
              PlanOf(*server, key).to_server_bytes,
              [this](uint16_t type, std::span<const uint8_t> body) {
                OnMessage(type, body);
              }),
      counted_read_(stream->bytes_read()),
      counted_written_(stream->bytes_written()) {
  if (key_.type == ChannelType::kMain) {
    session_->main = stream;
  } else if (key_.type != ChannelType::kDisplay) {
    session_->secondaries.push_back(stream);
  }
  server_->Count([](ServerTotals& totals) {
    ++totals.num_channels_opened;
    ++totals.num_channels_open;
  });
}

SyntheticChannel::~SyntheticChannel() {
  std::erase(session_->secondaries, stream_);
  const bool complete = reader_.done() && writer_.done();
  server_->Count([complete, this](ServerTotals& totals) {
    --totals.num_channels_open;
    totals.num_channels_complete += complete ? 1 : 0;
    if (!reader_.error().empty()) {
      ++totals.num_pattern_errors;
      totals.first_error =
          totals.first_error.empty() ? reader_.error() : totals.first_error;
    }
  });
}

void SyntheticChannel::CountBytes() {
  const uint64_t read = stream_->bytes_read() - counted_read_;
  const uint64_t written = stream_->bytes_written() - counted_written_;
  counted_read_ += read;
  counted_written_ += written;
  server_->Count([&](ServerTotals& totals) {
    totals.Of(key_.type).to_server += read;
    totals.Of(key_.type).to_client += written;
  });
}

void SyntheticChannel::OnMessage(uint16_t type, std::span<const uint8_t> body) {
  if (key_.type == ChannelType::kMain &&
      type == proto::kMsgcMainAttachChannels) {
    attached_ = true;
  }
  if (key_.type == ChannelType::kDisplay && type == proto::kMsgcDisplayInit &&
      proto::ParseDisplayInit(body).has_value()) {
    display_ready_ = true;
  }
}

PeerTask<bool> SyntheticChannel::Send(std::span<const uint8_t> bytes) {
  const int written = co_await stream_->Write(bytes);
  CountBytes();
  co_return written == 0;
}

PeerTask<bool> SyntheticChannel::SendMessage(uint16_t type,
                                             std::span<const uint8_t> body) {
  std::vector<uint8_t> bytes(proto::kMiniHeaderLen);
  proto::EncodeDataHeader(
      proto::HeaderKind::kMini,
      {.type = type, .size = static_cast<uint32_t>(body.size())}, bytes);
  bytes.insert(bytes.end(), body.begin(), body.end());
  co_return co_await Send(bytes);
}

// Feeds the reader until `reached`; false when the client's direction or the
// pattern broke first.
PeerTask<bool> SyntheticChannel::ReadUntil(std::function<bool()> reached) {
  std::vector<uint8_t> buffer(kReadLen);
  while (!reached()) {
    while (server_->reading_paused() && key_.type != ChannelType::kMain &&
           !server_->loop()->draining()) {
      co_await server_->loop()->Sleep(kPausePollMs);
    }
    const int64_t n = co_await stream_->Read(buffer);
    CountBytes();
    if (n <= 0) {
      end_ = EndOf(n);
      co_return false;
    }
    if (!reader_.Feed(std::span(buffer).first(static_cast<size_t>(n)))) {
      co_return false;
    }
  }
  co_return true;
}

PeerTask<bool> SyntheticChannel::GreetMain() {
  const auto init = proto::EncodeMainInit({.session_id = session_->id,
                                           .display_channels_hint = 1,
                                           .supported_mouse_modes = 3,
                                           .current_mouse_mode = 1,
                                           .agent_tokens = 10});
  bool good = co_await SendMessage(proto::kMsgMainInit, init);
  good = good && co_await ReadUntil([this] { return attached_; });
  if (!good) {
    co_return false;
  }
  std::vector<uint8_t> list(4 + 2 * server_->options().channels.size());
  list.resize(proto::EncodeChannelsList(server_->options().channels, list));
  co_return co_await SendMessage(proto::kMsgMainChannelsList, list);
}

PeerTask<bool> SyntheticChannel::SendSetAck() {
  const auto body = proto::EncodeSetAck({.generation = 1, .window = 20});
  co_return co_await SendMessage(proto::kMsgSetAck, body);
}

void SyntheticChannel::NoteStall() {
  if (!session_->main_gone) {
    return;
  }
  const auto stalled = std::chrono::duration_cast<std::chrono::milliseconds>(
      PeerClock::now() - session_->main_gone_at);
  server_->Count([&](ServerTotals& totals) {
    totals.max_stall_ms =
        std::max<int64_t>(totals.max_stall_ms, stalled.count());
  });
}

PeerTask<bool> SyntheticChannel::GreetDisplay() {
  const bool ready = co_await ReadUntil([this] { return display_ready_; });
  NoteStall();
  bool alive = ready;
  if (ready) {
    co_await server_->loop()->Sleep(server_->options().display_window_ms);
    bool has_bytes = false;
    alive = stream_->Peek(&has_bytes) == PeerEnd::kOpen && !stream_->closed();
    server_->Count([has_bytes](ServerTotals& totals) {
      totals.num_display_intrusions += has_bytes ? 1 : 0;
    });
  }
  if (!alive && !server_->loop()->draining()) {
    server_->Count(
        [](ServerTotals& totals) { ++totals.num_would_have_crashed; });
  }
  if (!alive) {
    co_return false;
  }
  session_->secondaries.push_back(stream_);
  co_return co_await SendSetAck();
}

PeerTask<bool> SyntheticChannel::Greet() {
  switch (key_.type) {
    case ChannelType::kMain:
      return GreetMain();
    case ChannelType::kDisplay:
      return GreetDisplay();
    default:
      return SendSetAck();
  }
}

PeerTask<void> SyntheticChannel::WriteTraffic(PeerJoin* join) {
  bool good = true;
  while (good && !writer_.done()) {
    good = co_await Send(writer_.Next(kWriteLen));
  }
  join->Done();
}

PeerTask<void> SyntheticChannel::ReadToTheEnd() {
  co_await ReadUntil([] { return false; });
  if (!reader_.error().empty()) {
    // A wrong byte: nothing behind it means anything.
    stream_->Close();
  }
}

// As spice-server: the secondaries end with main, except a display that still
// waits for its INIT and holds everything up.
void SyntheticChannel::EndSession() {
  session_->main = nullptr;
  session_->main_gone = true;
  session_->main_gone_at = PeerClock::now();
  for (PeerStream* stream : session_->secondaries) {
    stream->ShutdownWrite();
  }
}

PeerTask<void> SyntheticChannel::Run() {
  const bool greeted = co_await Greet();
  if (greeted && session_->main_gone) {
    stream_->ShutdownWrite();
  }
  if (greeted) {
    PeerJoin join(server_->loop());
    join.Add();
    server_->loop()->Spawn(WriteTraffic(&join));
    co_await ReadToTheEnd();
    co_await join.Wait();
  }
  if (key_.type == ChannelType::kMain) {
    EndSession();
  }
}

}  // namespace spicegate
