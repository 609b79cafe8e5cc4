// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <utility>

#include "proto/common_channel.h"
#include "proto/data_header.h"
#include "proto/display_channel.h"
#include "proto/main_channel.h"
#include "proto/messages.h"
#include "tests/tls/tls_world.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr int64_t kPatienceMs = 60'000;

// Sends a message and compares what arrives at the other end.
PeerTask<bool> PassMessage(PeerStream* from, PeerStream* to, uint16_t type,
                           std::vector<uint8_t> body) {
  std::vector<uint8_t> sent(proto::kMiniHeaderLen);
  proto::EncodeDataHeader(
      proto::HeaderKind::kMini,
      {.type = type, .size = static_cast<uint32_t>(body.size())}, sent);
  sent.insert(sent.end(), body.begin(), body.end());
  if (co_await from->Write(sent) != 0) {
    co_return false;
  }
  std::vector<uint8_t> received(sent.size());
  const int64_t n = co_await to->ReadFull(received);
  co_return n == static_cast<int64_t>(sent.size()) && received == sent;
}

template <typename Array>
std::vector<uint8_t> ToVector(const Array& array) {
  return {array.begin(), array.end()};
}

// The server's first message, which is what makes its end of a channel safe
// to close; on main it tells the session's id.
PeerTask<bool> Greet(ChannelEnds* ends, uint32_t session_id) {
  if (ends->key.type == ChannelType::kMain) {
    return PassMessage(
        ends->server.get(), ends->viewer(), proto::kMsgMainInit,
        ToVector(proto::EncodeMainInit({.session_id = session_id,
                                        .display_channels_hint = 1,
                                        .supported_mouse_modes = 3,
                                        .current_mouse_mode = 1,
                                        .agent_tokens = 10})));
  }
  return PassMessage(
      ends->server.get(), ends->viewer(), proto::kMsgSetAck,
      ToVector(proto::EncodeSetAck({.generation = 1, .window = 20})));
}

// What a display's server waits for.
PeerTask<bool> ReadDisplayInit(PeerStream* server) {
  std::vector<uint8_t> init(proto::kMiniHeaderLen + proto::kDisplayInitLen);
  co_return co_await server->ReadFull(init) ==
      static_cast<int64_t>(init.size());
}

}  // namespace

TlsSession::TlsSession(TlsWorld* world, const LegKind& viewer,
                       const LegKind& server)
    : world_(world), viewer_kind_(viewer), server_kind_(server) {
  ticket_ = world_->gateway().IssueTicket(world_->ConsoleFor(server));
  const std::unique_ptr<ChannelEnds> main = Open({});
  if (main != nullptr) {
    main_ = std::move(*main);
  }
}

TlsSession::~TlsSession() {
  Close();
  world_->WaitUntilIdle();
}

void TlsSession::Close() {
  if (main_.client != nullptr) {
    main_.client->Close();
    main_.server.reset();
  }
}

std::unique_ptr<ChannelEnds> TlsSession::OpenSilently(ChannelKey key,
                                                      LinkBugs bugs) {
  auto ends = std::make_unique<ChannelEnds>();
  ends->key = key;
  ends->client = std::make_unique<SpiceClient>(
      world_->loop(), world_->ViewerEndpoint(viewer_kind_));
  ends->client->set_timeout_ms(kPatienceMs);
  LinkRequest request;
  request.channel = key;
  request.connection_id = session_id_;
  request.password = ticket_;
  request.bugs = std::move(bugs);
  const LinkOutcome outcome = ends->client->Link(request);
  EXPECT_TRUE(outcome.open) << PeerEndName(outcome.end) << "\n"
                            << world_->Complaints();
  if (!outcome.open) {
    return nullptr;
  }
  if (key.type == ChannelType::kDisplay && request.bugs.behind_ticket.empty()) {
    EXPECT_EQ(world_->loop()->Run(SendDisplayInit(ends->client.get())), 0);
  }
  const std::unique_ptr<OpenedChannel> opened = world_->TakeOpened(key);
  if (opened == nullptr) {
    return nullptr;
  }
  ends->server = std::move(opened->stream);
  ends->server->set_timeout_ms(kPatienceMs);
  if (key.type == ChannelType::kMain) {
    session_id_ = opened->session_id;
  }
  return ends;
}

std::unique_ptr<ChannelEnds> TlsSession::Open(ChannelKey key) {
  std::unique_ptr<ChannelEnds> ends = OpenSilently(key);
  if (ends == nullptr) {
    return nullptr;
  }
  PeerLoop* loop = world_->loop();
  bool good = key.type != ChannelType::kDisplay ||
              loop->Run(ReadDisplayInit(ends->server.get()));
  good = good && loop->Run(Greet(ends.get(), session_id_));
  EXPECT_TRUE(good) << "the server's first message did not pass";
  return good ? std::move(ends) : nullptr;
}

bool TlsSession::GreetFromServer(ChannelEnds* ends) {
  return world_->loop()->Run(Greet(ends, session_id_));
}

void TlsSession::ExpectOffload(double num_channels) {
  ExpectSide(TlsSide::kClient, viewer_kind_, num_channels);
  ExpectSide(TlsSide::kServer, server_kind_, num_channels);
}

void TlsSession::ExpectSide(TlsSide side, const LegKind& kind,
                            double num_channels) {
  if (!kind.is_tls()) {
    return;
  }
  const std::string expected = world_->ExpectedOffload(side);
  const bool knows_suite = kind.openssl || kind.version == TLS1_2_VERSION;
  EXPECT_EQ(world_->NumRelayed(side, expected, knows_suite ? &kind : nullptr),
            num_channels)
      << SideName(side) << " " << kind.name() << " " << expected << "\n"
      << world_->gateway().Metrics().NonZero("spicegate_tls_connections");
}

}  // namespace spicegate
