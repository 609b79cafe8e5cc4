// SPDX-License-Identifier: Apache-2.0
//
// Lines of QEMU 7.2, recorded, and lines that no QEMU of good will says.
#include "gateway/qmp/qmp_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using Family = QmpAddress::Family;
using Kind = QmpEvent::Kind;
using Type = QmpMessage::Type;

const char kGreeting[] =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, )"
    R"("package": "Debian 1:7.2+dfsg-7+deb12u18+b3"}, )"
    R"("capabilities": ["oob"]}})";

const char kThreeChannels[] =
    R"({"return": {"migrated": false, "enabled": true, "auth": "spice", )"
    R"("port": 41593, "compiled-version": "0.15.1", "host": "127.0.0.1", )"
    R"("channels": [{"port": "41156", "family": "ipv4", "channel-type": 1, )"
    R"("connection-id": -1260948935, "host": "127.0.0.1", "channel-id": 0, )"
    R"("tls": false}, {"port": "41160", "family": "ipv4", "channel-type": 2, )"
    R"("connection-id": -1260948935, "host": "127.0.0.1", "channel-id": 0, )"
    R"("tls": false}, {"port": "41174", "family": "ipv4", "channel-type": 3, )"
    R"("connection-id": -1260948935, "host": "127.0.0.1", "channel-id": 0, )"
    R"("tls": false}], "mouse-mode": "server"}, "id": 4})";

const char kUnixChannel[] =
    R"({"return": {"migrated": false, "enabled": true, "auth": "none", )"
    R"("compiled-version": "0.15.1", "host": "/run/vm.spice", "channels": )"
    R"([{"port": "", "family": "unix", "channel-type": 1, "connection-id": )"
    R"(-1916253024, "host": "localhost", "channel-id": 0, "tls": false}], )"
    R"("mouse-mode": "server"}, "id": 4})";

const char kInitialized[] =
    R"({"timestamp": {"seconds": 1795364196, "microseconds": 84753}, )"
    R"("event": "SPICE_INITIALIZED", "data": {"server": {"auth": "spice", )"
    R"("port": "37811", "family": "ipv6", "host": "::1"}, "client": )"
    R"({"port": "36854", "family": "ipv6", "channel-type": 1, )"
    R"("connection-id": 1153281871, "host": "::1", "channel-id": 0, )"
    R"("tls": false}}})";

const char kUnixConnected[] =
    R"({"timestamp": {"seconds": 1795364007, "microseconds": 65618}, )"
    R"("event": "SPICE_CONNECTED", "data": {"server": {"port": )"
    R"("/run/vm.spice", "family": "unix", "host": "localhost"}, )"
    R"("client": {"port": "", "family": "unix", "host": "localhost"}}})";

std::string Replaced(std::string text, const std::string& what,
                     const std::string& with) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

QmpMessage Parse(const std::string& line) {
  const absl::StatusOr<QmpMessage> message = ParseQmpLine(line);
  EXPECT_TRUE(message.ok()) << message.status();
  return message.value_or(QmpMessage());
}

std::string ErrorOf(const std::string& line) {
  const absl::StatusOr<QmpMessage> message = ParseQmpLine(line);
  EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument)
      << line;
  return std::string(message.status().message());
}

absl::StatusOr<QmpSpice> SpiceOf(const std::string& line) {
  return ParseQuerySpice(Parse(line).result);
}

TEST(QmpCommands, AreEncoded) {
  EXPECT_EQ(EncodeQmpCommand(QmpCapabilitiesCommand(), 0),
            "{\"execute\":\"qmp_capabilities\",\"id\":0}\r\n");
  EXPECT_EQ(EncodeQmpCommand(QuerySpiceCommand(), 7),
            "{\"execute\":\"query-spice\",\"id\":7}\r\n");
  EXPECT_EQ(
      EncodeQmpCommand(SetPasswordCommand("a\"b", QmpConnected::kKeep), 1),
      R"({"execute":"set_password","arguments":{"protocol":"spice",)"
      R"("password":"a\"b","connected":"keep"},"id":1})"
      "\r\n");
  EXPECT_THAT(SetPasswordCommand("a", QmpConnected::kDisconnect).arguments,
              HasSubstr(R"("connected":"disconnect")"));
  EXPECT_EQ(EncodeQmpCommand(ExpirePasswordCommand("+20"), 2),
            R"({"execute":"expire_password","arguments":{"protocol":"spice",)"
            R"("time":"+20"},"id":2})"
            "\r\n");
}

TEST(QmpLine, GreetingReturnAndErrors) {
  EXPECT_EQ(Parse(kGreeting).type, Type::kGreeting);

  const QmpMessage empty = Parse(R"({"return": {}, "id": 3})");
  EXPECT_EQ(empty.type, Type::kReturn);
  EXPECT_EQ(empty.id, 3);

  const QmpMessage error =
      Parse(R"({"id": 6, "error": {"class": "GenericError", "desc": )"
            R"("Could not set password"}})");
  EXPECT_EQ(error.type, Type::kError);
  EXPECT_EQ(error.id, 6);
  EXPECT_EQ(error.error.error_class, "GenericError");
  EXPECT_EQ(error.error.desc, "Could not set password");

  const QmpMessage unread =
      Parse(R"({"error": {"class": "GenericError", "desc": )"
            R"("JSON parse error, invalid keyword 'garbage'"}})");
  EXPECT_EQ(unread.type, Type::kError);
  EXPECT_FALSE(unread.id.has_value());
}

TEST(QmpLine, Events) {
  const QmpMessage message = Parse(kInitialized);
  ASSERT_EQ(message.type, Type::kEvent);
  EXPECT_EQ(message.event.kind, Kind::kInitialized);
  EXPECT_EQ(message.event.server, (QmpAddress{Family::kIpv6, "::1", "37811"}));
  EXPECT_EQ(message.event.client, (QmpAddress{Family::kIpv6, "::1", "36854"}));
  ASSERT_TRUE(message.event.channel.has_value());
  EXPECT_EQ(message.event.channel->peer, message.event.client);
  EXPECT_EQ(message.event.channel->channel_type, 1);
  EXPECT_EQ(message.event.channel->connection_id, 1153281871U);

  const QmpEvent unix_event = Parse(kUnixConnected).event;
  EXPECT_EQ(unix_event.kind, Kind::kConnected);
  EXPECT_EQ(unix_event.server, (QmpAddress{Family::kUnix, "localhost", ""}));
  EXPECT_FALSE(unix_event.channel.has_value());

  EXPECT_EQ(
      Parse(Replaced(kUnixConnected, "SPICE_CONNECTED", "SPICE_DISCONNECTED"))
          .event.kind,
      Kind::kDisconnected);
  EXPECT_EQ(Parse(R"({"timestamp": {"seconds": 1, "microseconds": 2}, )"
                  R"("event": "SPICE_MIGRATE_COMPLETED"})")
                .event.kind,
            Kind::kMigrateCompleted);
}

TEST(QmpLine, EventsOfOthersAreNotLookedInto) {
  EXPECT_EQ(Parse(R"({"event": "STOP"})").event.kind, Kind::kOther);
  EXPECT_EQ(Parse(R"({"event": "VNC_CONNECTED", "data": 5})").event.kind,
            Kind::kOther);
}

TEST(QmpLine, WhatIsNoQmpIsAnError) {
  for (const char* line :
       {"", "garbage", "5", "[]", "{}", "{\"QMP\":", R"({"QMP": 1})",
        R"({"id": 1})", R"({"return": {}, "id": "a"})",
        R"({"return": {}, "id": -1})", R"({"return": {}, "id": 1.5})",
        R"({"error": "no", "id": 1})", R"({"error": {"class": "A"}, "id": 1})",
        R"({"event": 5})", R"({"event": "SPICE_CONNECTED"})",
        R"({"return": 1, "return": 2})", "{\"return\": \"\xff\"}"}) {
    ErrorOf(line);
  }
  ErrorOf(Replaced(kInitialized, R"("36854")", "36854"));
  ErrorOf(Replaced(kInitialized, "36854", "368540"));
  ErrorOf(Replaced(kInitialized, "36854", "-1"));
  ErrorOf(Replaced(kInitialized, R"("tls": false)", R"("tls": 0)"));
  ErrorOf(Replaced(kInitialized, R"("channel-id": 0, )", ""));
  ErrorOf(Replaced(kUnixConnected, "/run/vm.spice", std::string(300, 'x')));
}

TEST(QmpLine, SizesAreBounded) {
  const std::string frame = R"({"return": ""})";
  const std::string fill(kMaxQmpLineBytes - frame.size(), 'x');
  const std::string longest = Replaced(frame, R"("")", "\"" + fill + "\"");
  EXPECT_EQ(Parse(longest).result.AsString().size(), fill.size());
  EXPECT_THAT(ErrorOf(longest + " "), HasSubstr("too long"));

  std::string many = "[0";
  for (size_t i = 0; i < kMaxQmpValues; ++i) {
    many += ",0";
  }
  EXPECT_THAT(ErrorOf(R"({"return": )" + many + "]}"),
              HasSubstr("too many values"));
  ErrorOf(R"({"return": )" + std::string(100, '[') + std::string(100, ']') +
          "}");
  // A name that is repeated in the message.
  const std::string name = "\"" + std::string(100'000, 'k') + "\": 1";
  EXPECT_LT(ErrorOf("{" + name + "," + name + "}").size(), 300U);
}

TEST(QmpLine, AnErrorsTextIsCutBetweenCharacters) {
  std::string desc;
  for (int i = 0; i < 1000; ++i) {
    desc += "\xe2\x82\xac";  // three bytes
  }
  const QmpMessage message =
      Parse(R"({"error": {"class": "GenericError", "desc": ")" + desc + "\"}}");
  EXPECT_EQ(message.error.desc, desc.substr(0, kMaxQmpErrorLen / 3 * 3));
}

TEST(QuerySpice, ThreeChannels) {
  const absl::StatusOr<QmpSpice> spice = SpiceOf(kThreeChannels);
  ASSERT_TRUE(spice.ok()) << spice.status();
  EXPECT_TRUE(spice->enabled);
  EXPECT_FALSE(spice->migrated);
  EXPECT_EQ(spice->host, "127.0.0.1");
  EXPECT_EQ(spice->port, 41593);
  EXPECT_EQ(spice->tls_port, 0);
  EXPECT_EQ(spice->unix_path, "");
  EXPECT_EQ(spice->auth, "spice");
  ASSERT_EQ(spice->channels.size(), 3U);
  const QmpChannel& last = spice->channels[2];
  EXPECT_EQ(last.peer, (QmpAddress{Family::kIpv4, "127.0.0.1", "41174"}));
  EXPECT_EQ(last.channel_type, 3);
  EXPECT_EQ(last.channel_id, 0);
  EXPECT_EQ(last.connection_id, 3034018361U);  // -1260948935
  EXPECT_FALSE(last.tls);
}

TEST(QuerySpice, Places) {
  const absl::StatusOr<QmpSpice> unix_spice = SpiceOf(kUnixChannel);
  ASSERT_TRUE(unix_spice.ok()) << unix_spice.status();
  EXPECT_EQ(unix_spice->unix_path, "/run/vm.spice");
  EXPECT_EQ(unix_spice->host, "");
  EXPECT_EQ(unix_spice->auth, "none");
  EXPECT_EQ(unix_spice->channels.at(0).peer.family, Family::kUnix);

  for (const char* host : {"*", "0.0.0.0", "::"}) {
    const std::string line =
        Replaced(kThreeChannels, R"("host": "127.0.0.1")",
                 "\"tls-port\": 2, \"host\": \"" + std::string(host) + "\"");
    EXPECT_EQ(SpiceOf(line)->host, host);
    EXPECT_EQ(SpiceOf(line)->tls_port, 2);
  }
  // "-spice port=0", and a path that only QEMU can find.
  EXPECT_EQ(SpiceOf(Replaced(kUnixChannel, "/run/vm.spice", "*"))->unix_path,
            "");
  EXPECT_EQ(SpiceOf(Replaced(kUnixChannel, "/run/", ""))->unix_path, "");
}

TEST(QuerySpice, WithoutASpiceServer) {
  const absl::StatusOr<QmpSpice> spice =
      SpiceOf(R"({"return": {"migrated": false, "enabled": false, )"
              R"("mouse-mode": "client"}, "id": 1})");
  ASSERT_TRUE(spice.ok()) << spice.status();
  EXPECT_FALSE(spice->enabled);
}

TEST(QuerySpice, ConnectionIdsOfEitherSign) {
  const char kId[] = "-1260948935";
  EXPECT_EQ(SpiceOf(Replaced(kThreeChannels, kId, "4294967295"))
                ->channels.at(0)
                .connection_id,
            4294967295U);
  EXPECT_FALSE(SpiceOf(Replaced(kThreeChannels, kId, "4294967296")).ok());
  EXPECT_FALSE(SpiceOf(Replaced(kThreeChannels, kId, "-2147483649")).ok());
}

TEST(QuerySpice, WhatIsOutOfRangeIsAnError) {
  const std::vector<std::pair<const char*, const char*>> changes = {
      {R"("port": 41593)", R"("port": 65536)"},
      {R"("port": 41593)", R"("port": 0)"},
      {R"("port": 41593)", R"("port": "41593")"},
      {R"("enabled": true)", R"("enabled": "yes")"},
      {R"("auth": "spice", )", ""},
      {R"("channel-type": 2)", R"("channel-type": -1)"},
      {R"("channels": [)", R"("channels": [7, )"},
      {R"("channels": [)", R"("channels": {}, "others": [)"},
  };
  for (const auto& [what, with] : changes) {
    EXPECT_FALSE(SpiceOf(Replaced(kThreeChannels, what, with)).ok()) << with;
  }
  EXPECT_FALSE(ParseQuerySpice(JsonValue::Int(1)).ok());
  EXPECT_FALSE(ParseQuerySpice(JsonValue()).ok());
}

// `count` channels, as query-spice's result.
JsonValue WithChannels(size_t count) {
  const JsonValue result = Parse(kThreeChannels).result;
  std::vector<JsonValue::Member> members = result.Members();
  for (JsonValue::Member& member : members) {
    if (member.first == "channels") {
      member.second = JsonValue::Array(
          std::vector<JsonValue>(count, member.second.Items().front()));
    }
  }
  return JsonValue::Object(std::move(members));
}

TEST(QuerySpice, ManyChannelsFitAndMoreDoNot) {
  const absl::StatusOr<QmpSpice> spice =
      ParseQuerySpice(WithChannels(kMaxQmpChannels));
  ASSERT_TRUE(spice.ok()) << spice.status();
  EXPECT_EQ(spice->channels.size(), kMaxQmpChannels);
  EXPECT_FALSE(ParseQuerySpice(WithChannels(kMaxQmpChannels + 1)).ok());
}

}  // namespace
}  // namespace spicegate
