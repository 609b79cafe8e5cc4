// SPDX-License-Identifier: Apache-2.0
//
// A home worker in the simulator with a scripted SPICE server behind it: what
// the tests of openings share.
#ifndef SPICEGATE_GATEWAY_SESSION_SESSION_FIXTURE_H_
#define SPICEGATE_GATEWAY_SESSION_SESSION_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gateway/auth/link_key.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/session/connection_index.h"
#include "gateway/session/early_dial.h"
#include "gateway/session/opener.h"
#include "gateway/session/passage.h"
#include "gateway/session/recording_driver.h"
#include "proto/main_channel.h"

namespace spicegate {

inline constexpr uint16_t kServerPort = 5900;
inline constexpr uint32_t kSessionId = 77;
inline constexpr char kPassword[] = "qemu password";
inline constexpr char kAliasHost[] = "alias.example.test";
inline constexpr uint16_t kAliasPort = 61000;
inline constexpr char kClientAddress[] = "192.0.2.1:50001";

inline std::string Message(uint16_t type, std::span<const uint8_t> body) {
  std::array<uint8_t, proto::kMiniHeaderLen> header;
  proto::DataHeader fields;
  fields.type = type;
  fields.size = static_cast<uint32_t>(body.size());
  proto::EncodeDataHeader(proto::HeaderKind::kMini, fields, header);
  return std::string(header.begin(), header.end()) +
         std::string(body.begin(), body.end());
}

inline std::string DisplayInitMessage() {
  return Message(101, proto::EncodeDisplayInit({}));
}

inline std::string Result(proto::LinkError error) {
  const auto bytes = proto::EncodeLinkResult(error);
  return std::string(bytes.begin(), bytes.end());
}

inline const std::shared_ptr<const LinkKey>& ServerKey() {
  static const auto* key =
      new std::shared_ptr<const LinkKey>(LinkKey::Generate());
  return *key;
}

class SessionFixture : public testing::Test {
 protected:
  // One link from the client's side.
  struct Client {
    SimPeer peer;
    Handle opening;
    ClientLink link;
    bool done = false;
    std::optional<CloseReason> refusal;
  };

  SessionFixture() {
    listener_ = network_.Listen(SimAddress(kServerPort));
    Console console;
    console.name = "vm";
    console.host = "127.0.0.1";
    console.port = kServerPort;
    console.ticket = kPassword;
    target_.console = std::make_shared<const Console>(console);
    ticket_text_ = *vault_.Issue("vm", "", driver_.NowMs());
  }

  ~SessionFixture() override {
    registry_.CloseAll(CloseReason::kShutdown);
    Run();
    // Displays that still linger, links that still wait.
    RunFor(2 * kDisplayCommittedMs + limits_.display_init_ms);
    openings_.InterruptAll(/*committed_too=*/true);
    Run();
    EXPECT_TRUE(registry_.done());
    EXPECT_TRUE(early_dials_.done());
    EXPECT_EQ(openings_.size(), 0u);
    EXPECT_EQ(driver_.OpsInFlight(), 0u);
    ExpectGaugesAtRest();
    driver_.Close(listener_, false);
    EXPECT_EQ(network_.OpenSockets(), 0u);
  }

  void ExpectGaugesAtRest() const {
    EXPECT_EQ(links_open_.load(), 0);
    EXPECT_EQ(counters_.links_open.value(), 0);
    EXPECT_EQ(counters_.sessions_open.value(), 0);
    EXPECT_EQ(counters_.migrations_pending.value(), 0);
    EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
    for (const Counter& open : counters_.channels_open) {
      EXPECT_EQ(open.value(), 0);
    }
  }

  void Run(int turns = 60) {
    for (int i = 0; i < turns; ++i) {
      driver_.Wait(0);
      timers_.Advance(driver_.NowMs());
      driver_.Dispatch();
      registry_.RunTurn();
    }
  }

  void RunFor(int64_t ms) {
    network_.AdvanceMs(ms);
    Run();
  }

  // A client that asked for a channel and has not sent its ticket. The fixture
  // keeps every client: its coroutine may outlive the test's body.
  Client* Arrive(proto::ChannelType type, uint32_t connection_id,
                 const std::string& address = kClientAddress) {
    Client* client = &clients_.emplace_back();
    auto connection = network_.Connection();
    client->peer = std::move(connection.second);
    client->opening =
        openings_.Add(Leg::Plain(&driver_, connection.first), address);
    client->link.connection_id = connection_id;
    client->link.channel = {type, 0};
    client->link.tls = client_tls_;
    links_open_.fetch_add(1);
    counters_.links_open.Add(1);
    return client;
  }

  // Its ticket is here, and good.
  void Accept(Client* client) {
    client->link.ticket = TicketVault::DigestOf(ticket_text_);
    Spawn(Serve(client));
    Run();
  }

  // The client goes, or its ticket is bad: as the worker has it.
  void End(Client* client) {
    Opening* opening = openings_.Get(client->opening);
    early_dials_.Drop(opening->early_dial);
    if (opening->client || client->refusal.has_value()) {
      links_open_.fetch_sub(1);
      counters_.links_open.Add(-1);
    }
    openings_.Remove(client->opening);
    client->done = true;
  }

  Task<void> Serve(Client* client) {
    std::unique_ptr<Passage> passage;
    if (make_passage_) {
      passage = make_passage_();
    }
    TicketClaim ticket = vault_.Claim(client->link.ticket, driver_.NowMs());
    if (!ticket && passage != nullptr) {
      ticket = TicketClaim::Unvaulted(client->link.ticket, passage->grant.name);
    }
    client->refusal = co_await opener_.Open(
        client->opening, client->link, std::move(ticket), std::move(passage));
    End(client);
  }

  Client* Open(proto::ChannelType type, uint32_t connection_id) {
    Client* client = Arrive(type, connection_id);
    Accept(client);
    return client;
  }

  // Let through by CONNECT: to the console, ...
  std::unique_ptr<Passage> PassageToConsole() {
    auto passage = std::make_unique<Passage>();
    passage->alias = {kAliasHost, kAliasPort};
    passage->settings = connect_;
    passage->grant.kind = ConnectGrant::Kind::kConsole;
    passage->grant.claim =
        vault_.Claim(TicketVault::DigestOf(ticket_text_), driver_.NowMs());
    passage->grant.name = "vm";
    return passage;
  }
  // ... or to a place of that name that is no console's. It is connected;
  // `server` is its end.
  std::unique_ptr<Passage> PassageTo(const std::string& name, SimPeer* server) {
    auto passage = std::make_unique<Passage>();
    passage->alias = {kAliasHost, kAliasPort};
    passage->settings = connect_;
    passage->may_reach = [this](const SocketAddress& address, uint16_t port,
                                bool by_name) {
      reached_ = AddressText(address) + " " + std::to_string(port) +
                 (by_name ? " by name" : "");
      return may_reach_;
    };
    passage->grant.kind = ConnectGrant::Kind::kAllowed;
    passage->grant.host = "127.0.0.1";
    passage->grant.port = kServerPort;
    passage->grant.name = name;
    passage->grant.group = TicketVault::DigestOf("allowed " + name);
    auto connection = network_.Connection();
    passage->server = Leg::Plain(&dialler_, connection.first);
    *server = std::move(connection.second);
    return passage;
  }

  // The server's side of the newest connection, up to its link reply.
  SimPeer AnswerLink() { return AnswerLink(listener_); }
  SimPeer AnswerLink(int listener) {
    SimPeer server = network_.AcceptPeer(listener);
    EXPECT_TRUE(server.open());
    AnswerLinkOn(&server);
    return server;
  }
  void AnswerLinkOn(SimPeer* server) {
    link_message_ = server->ReadAll();
    EXPECT_GE(link_message_.size(),
              proto::kLinkHeaderLen + proto::kLinkMessFixedLen);
    std::array<uint8_t, proto::kMaxLinkReplyLen> reply;
    const size_t len = proto::EncodeLinkReply(
        ServerKey()->public_key_der(),
        proto::ReplyCapsFor(proto::ChannelType::kMain), reply);
    server->WriteString(std::string(reply.begin(), reply.begin() + len));
    Run();
  }

  // Takes the ticket, which must be `password`, and gives `result`.
  void AnswerTicket(SimPeer* server, proto::LinkError result,
                    const char* password = kPassword) {
    const std::string auth = server->ReadAll();
    ASSERT_EQ(auth.size(), proto::kAuthMechanismLen + proto::kTicketLen);
    std::array<uint8_t, proto::kTicketLen> ticket;
    std::copy(auth.begin() + proto::kAuthMechanismLen, auth.end(),
              ticket.begin());
    EXPECT_EQ(ServerKey()->Decrypt(ticket).view(), password);
    server->WriteString(Result(result));
    Run();
  }

  // A session with its main channel, whose server has said INIT.
  void OpenMain() {
    main_ = Open(proto::ChannelType::kMain, 0);
    main_server_ = AnswerLink();
    AnswerTicket(&main_server_, proto::LinkError::kOk);
    proto::MainInit init;
    init.session_id = kSessionId;
    main_server_.WriteString(Message(103, proto::EncodeMainInit(init)));
    Run();
    EXPECT_TRUE(main_->done);
    EXPECT_EQ(main_->refusal, std::nullopt);
    EXPECT_EQ(main_->peer.ReadAll().substr(0, 4),
              Result(proto::LinkError::kOk));
  }

  int64_t Closed(CloseReason reason) const {
    return counters_.channels_closed[static_cast<size_t>(reason)].value();
  }
  int64_t Refusals(proto::ChannelType type, GuardRule rule) const {
    return counters_
        .guard_refusals[static_cast<size_t>(type)][static_cast<size_t>(rule)]
        .value();
  }

  static bool IsEnded(const SimPeer& peer) { return peer.ended(); }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_{&network_};
  RecordingDriver dialler_{&driver_};  // of the servers' legs
  TimerWheel timers_{driver_.NowMs()};
  WorkerCounters counters_;
  Limits limits_;
  BufferPool buffers_{&counters_.relay_buffer_bytes};
  TicketVault vault_{TicketVault::Options{}};
  std::atomic<int64_t> links_open_{0};
  Handle asked_;  // the newest name look-up
  NameLookup names_{&timers_, [this](Handle lookup, const HostPort&, int64_t) {
                      asked_ = lookup;
                    }};
  Handle asked_access_;  // the newest question about a server, and its words
  AccessQuestion question_;
  AccessLookup access_{
      &timers_,
      [this](Handle inquiry, const AccessQuestion& question, int64_t) {
        asked_access_ = inquiry;
        question_ = question;
      }};
  OwnSockets own_sockets_;
  const ServerLinkContext servers_{&dialler_,  &timers_,     &names_,
                                   &counters_, &limits_,     nullptr,
                                   &access_,   &own_sockets_};
  OpeningTable openings_{64};
  MigrationSettings migrations_;
  PolicySet policies_;
  SessionRegistry registry_{
      {&timers_, &limits_, {&buffers_, nullptr, &counters_}},
      &openings_,
      &links_open_,
      &migrations_};
  ConnectionIndex connections_;
  EarlyDials early_dials_{servers_, &registry_, &connections_, /*worker=*/0};
  ConsoleTarget target_;
  ChannelOpener opener_{servers_,
                        &registry_,
                        &openings_,
                        &early_dials_,
                        &policies_,
                        GuardMode::kEnforce,
                        [this](const TicketClaim& ticket) {
                          return ticket.console() == "vm" && known_
                                     ? std::optional<ConsoleTarget>(target_)
                                     : std::nullopt;
                        }};
  // What clients come through, where that is CONNECT.
  std::function<std::unique_ptr<Passage>()> make_passage_;
  std::shared_ptr<ConnectSettings> connect_ =
      std::make_shared<ConnectSettings>();
  bool may_reach_ = true;  // every address may be dialled
  std::string reached_;    // the one that was asked about last
  bool known_ = true;
  bool client_tls_ = false;   // clients come by TLS
  std::string link_message_;  // what the server was asked last
  int listener_ = -1;
  std::string ticket_text_;
  std::deque<Client> clients_;
  Client* main_ = nullptr;
  SimPeer main_server_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_SESSION_FIXTURE_H_
