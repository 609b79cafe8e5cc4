// SPDX-License-Identifier: Apache-2.0
//
// A session in the simulator, with a second scripted server that its own one
// can send it to: what the tests of migrations share.
#ifndef SPICEGATE_GATEWAY_SESSION_MIGRATION_FIXTURE_H_
#define SPICEGATE_GATEWAY_SESSION_MIGRATION_FIXTURE_H_

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gateway/session/session_fixture.h"
#include "proto/common_channel.h"
#include "proto/main_channel.h"
#include "proto/messages.h"

namespace spicegate {

inline constexpr uint16_t kDestinationPort = 5910;
inline constexpr char kDestinationPassword[] = "password at the destination";
inline constexpr char kPlaceHost[] = "desktops.example.test";
inline constexpr char kPlaceSubject[] = "O=Example,CN=gateway";
inline constexpr uint16_t kPlacePort = 5930;
inline constexpr uint16_t kPlaceTlsPort = 5931;

inline std::string Migrate(uint32_t flags) {
  const std::array<uint8_t, 4> body = {static_cast<uint8_t>(flags), 0, 0, 0};
  return Message(proto::kMsgMigrate, body);
}

inline std::string TextMessage(uint16_t type, const std::string& body) {
  return Message(type, std::span(reinterpret_cast<const uint8_t*>(body.data()),
                                 body.size()));
}

class MigrationFixture : public SessionFixture {
 protected:
  // One channel, with the server's end of it.
  struct Link {
    Client* client = nullptr;
    SimPeer server;
    size_t number = 0;  // of the dialled connections
  };

  // What a client reads of where it is to go.
  struct Told {
    uint16_t type = 0;
    uint16_t port = 0;
    uint16_t sport = 0;
    uint32_t version = 0;
    std::string host;
    std::string subject;
  };

  MigrationFixture() {
    destination_listener_ = network_.Listen(SimAddress(kDestinationPort));
    Console console = *target_.console;
    console.destination_ticket = kDestinationPassword;
    target_.console = std::make_shared<const Console>(console);
    migrations_.place = {kPlaceHost, kPlacePort, kPlaceTlsPort, kPlaceSubject};
  }

  ~MigrationFixture() override { driver_.Close(destination_listener_, false); }

  static uint16_t TypeOf(MigrationKind kind) {
    switch (kind) {
      case MigrationKind::kSeamless:
        return proto::kMsgMainMigrateBeginSeamless;
      case MigrationKind::kSemiSeamless:
        return proto::kMsgMainMigrateBegin;
      case MigrationKind::kSwitchHost:
        break;
    }
    return proto::kMsgMainMigrateSwitchHost;
  }

  static proto::DstInfo Destination() {
    proto::DstInfo to;
    to.host = "127.0.0.1";
    to.port = kDestinationPort;
    to.src_mig_version = 1;
    return to;
  }

  // `server` says on its main where its client is to go.
  void Announce(SimPeer* server, MigrationKind kind, const proto::DstInfo& to) {
    const uint16_t type = TypeOf(kind);
    std::array<uint8_t, proto::kMaxDstInfoLen> body;
    const size_t len =
        proto::EncodeDstInfo(*proto::DstInfoKindOf(type), to, body);
    server->WriteString(Message(type, std::span(body).first(len)));
    Run();
  }
  // The session's server says so, and the client reads it.
  Told Announce(MigrationKind kind, const proto::DstInfo& to = Destination()) {
    main_->peer.ReadAll();
    Announce(&main_server_, kind, to);
    return ReadTold(&main_->peer);
  }

  static Told ReadTold(SimPeer* peer) {
    const std::string text = peer->ReadAll();
    const std::span bytes(reinterpret_cast<const uint8_t*>(text.data()),
                          text.size());
    Told told;
    const auto header = proto::ParseDataHeader(proto::HeaderKind::kMini, bytes);
    if (!header.has_value() ||
        bytes.size() != proto::kMiniHeaderLen + header->size) {
      ADD_FAILURE() << "not one message, but " << text.size() << " bytes";
      return told;
    }
    told.type = header->type;
    const auto info = proto::ParseDstInfo(*proto::DstInfoKindOf(header->type),
                                          bytes.subspan(proto::kMiniHeaderLen));
    if (!info.has_value()) {
      ADD_FAILURE() << "no place in a message of type " << header->type;
      return told;
    }
    told.port = info->port;
    told.sport = info->sport;
    told.version = info->src_mig_version;
    told.host = std::string(info->host);
    told.subject = std::string(info->cert_subject);
    return told;
  }

  // The whole link of a channel, to the destination.
  Link LinkThere(proto::ChannelType type) {
    Link link;
    link.client = Open(type, kSessionId);
    link.number = dialler_.dialled().size() - 1;
    EXPECT_EQ(dialler_.dialled().back(), kDestinationPort);
    link.server = AnswerLink(destination_listener_);
    AnswerTicket(&link.server, proto::LinkError::kOk, kDestinationPassword);
    EXPECT_EQ(link.client->peer.ReadAll(), Result(proto::LinkError::kOk));
    return link;
  }

  // ... to the session's server; a display is seen through.
  Link LinkHere(proto::ChannelType type) {
    Link link;
    link.client = Open(type, kSessionId);
    link.number = dialler_.dialled().size() - 1;
    EXPECT_EQ(dialler_.dialled().back(), kServerPort);
    link.server = AnswerLink();
    if (type == proto::ChannelType::kDisplay) {
      link.client->peer.WriteString(DisplayInitMessage());
      Run();
    }
    AnswerTicket(&link.server, proto::LinkError::kOk);
    link.server.WriteString(Message(3, {}));
    Run();
    EXPECT_EQ(link.client->peer.ReadAll(),
              Result(proto::LinkError::kOk) + Message(3, {}));
    link.server.ReadAll();
    return link;
  }

  // A session whose main channel is linked to the destination as well.
  void BeginMigration(MigrationKind kind) {
    OpenMain();
    Announce(kind);
    there_ = LinkThere(proto::ChannelType::kMain);
  }

  void Say(SimPeer* peer, const std::string& messages) {
    peer->WriteString(messages);
    Run();
  }
  // The client has all its links.
  void SayConnected() {
    Say(&main_->peer, Message(proto::kMsgcMainMigrateConnected, {}));
  }
  // A semi-seamless migration's hand-over, and the client's taking over.
  void SourceEnds() {
    Say(&main_server_, Message(proto::kMsgMainMigrateEnd, {}));
  }
  void TakeOver() {
    Say(&there_.client->peer, Message(proto::kMsgcMainMigrateEnd, {}));
  }

  void ExpectMigrations(MigrationKind kind, int64_t completed, int64_t failed,
                        int64_t cancelled) const {
    const auto& results = counters_.migrations[static_cast<size_t>(kind)];
    EXPECT_EQ(results[0].value(), completed) << "completed";
    EXPECT_EQ(results[1].value(), failed) << "failed";
    EXPECT_EQ(results[2].value(), cancelled) << "cancelled";
  }

  // The destination has seen the end of its main before that of `link`.
  void ExpectMainEndedFirst(const Link& link) const {
    EXPECT_LT(dialler_.EndOf(there_.number), dialler_.EndOf(link.number));
    EXPECT_LT(dialler_.EndOf(link.number), dialler_.ended().size());
  }

  int64_t SafeEnds(SafeEnd outcome) const {
    return counters_.display_safe_end[static_cast<size_t>(outcome)].value();
  }

  // The session goes on where it was.
  void ExpectAtSource() {
    EXPECT_EQ(counters_.migrations_pending.value(), 0);
    EXPECT_EQ(counters_.sessions_open.value(), 1);
    Say(&main_->peer, TextMessage(proto::kMsgcPong, std::string(12, 'p')));
    EXPECT_NE(main_server_.ReadAll().find("pppp"), std::string::npos);
    EXPECT_FALSE(IsEnded(main_->peer));
    LinkHere(proto::ChannelType::kCursor);
  }

  int destination_listener_ = -1;
  Link there_;  // main at the destination
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_MIGRATION_FIXTURE_H_
