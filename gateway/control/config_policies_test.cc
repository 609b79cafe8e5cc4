// SPDX-License-Identifier: Apache-2.0
//
// What a configuration says of the guard, of policies and of migrations.
#include "gateway/control/config_policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "gateway/control/config.h"
#include "proto/channel.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;

Config Parse(const std::string& text) {
  const absl::StatusOr<Config> config = ParseConfig(text, "f");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

// The error without the file's name in front.
std::string ErrorOf(const std::string& text) {
  const absl::Status status = ParseConfig(text, "f").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  const std::string message(status.message());
  EXPECT_EQ(message.substr(0, 3), "f: ");
  return message.substr(std::min<size_t>(3, message.size()));
}

// The policy written as `json`.
Policy PolicyOf(const std::string& json) {
  const Config config = Parse(R"({"policies": {"p": )" + json + "}}");
  EXPECT_TRUE(config.policies.contains("p"));
  return config.policies.contains("p") ? config.policies.at("p") : Policy();
}

std::string ErrorOfPolicy(const std::string& json) {
  return ErrorOf(R"({"policies": {"p": )" + json + "}}");
}

bool Refuses(const Policy& policy, proto::ChannelType type) {
  return policy.refuses_channel(static_cast<uint8_t>(type));
}

TEST(ConfigPolicies, NothingIsForbiddenByDefault) {
  const Config config = Parse("{}");
  EXPECT_EQ(config.guard, GuardMode::kEnforce);
  EXPECT_TRUE(config.policies.empty());
  EXPECT_TRUE(config.migration_destinations.any());
  EXPECT_EQ(config.limits.migration_link_ms, 3'500);
  EXPECT_TRUE(Parse(R"({"policies": {}})").policies.empty());
  EXPECT_EQ(PolicyOf("{}"), Policy());
}

TEST(ConfigPolicies, ReadsEveryKey) {
  const Config config = Parse(R"({"policies": {
      "kiosk": {"refuse_channels": ["usbredir", "webdav"], "read_only": true,
                "clipboard": "none", "file_transfer": false},
      "vis.it_or-2": {"read_only": false, "file_transfer": true}}})");
  ASSERT_EQ(config.policies.size(), 2U);
  const Policy& kiosk = config.policies.at("kiosk");
  EXPECT_TRUE(kiosk.read_only);
  EXPECT_FALSE(kiosk.clipboard_to_guest);
  EXPECT_FALSE(kiosk.clipboard_from_guest);
  EXPECT_FALSE(kiosk.file_transfer);
  EXPECT_EQ(kiosk.refused_channels, 1U << 9 | 1U << 11);
  EXPECT_EQ(config.policies.at("vis.it_or-2"), Policy());
}

TEST(ConfigPolicies, RefusesEachOptionalChannel) {
  using proto::ChannelType;
  for (const ChannelType type :
       {ChannelType::kPlayback, ChannelType::kRecord, ChannelType::kSmartcard,
        ChannelType::kUsbredir, ChannelType::kPort, ChannelType::kWebdav}) {
    const std::string name(proto::ChannelName(type));
    const Policy policy = PolicyOf(R"({"refuse_channels": [")" + name + "\"]}");
    for (size_t i = 0; i < proto::kNumChannelTypes; ++i) {
      const auto other = static_cast<ChannelType>(i);
      EXPECT_EQ(Refuses(policy, other), other == type) << name << i;
    }
  }
}

TEST(ConfigPolicies, NoDesktopIsWithoutItsBasicChannels) {
  for (const std::string name :
       {"main", "display", "inputs", "cursor", "tunnel", "unknown", "usb"}) {
    EXPECT_EQ(
        ErrorOfPolicy(R"({"refuse_channels": ["record", ")" + name + "\"]}"),
        "policies.p.refuse_channels[1]: expected \"usbredir\", "
        "\"record\", \"playback\", \"smartcard\", \"webdav\" or "
        "\"port\", got \"" +
            name + "\"");
  }
}

TEST(ConfigPolicies, ReadsEachDirectionOfTheClipboard) {
  for (const auto& [word, to_guest, from_guest] :
       {std::tuple("both", true, true), std::tuple("to_guest", true, false),
        std::tuple("from_guest", false, true),
        std::tuple("none", false, false)}) {
    const Policy policy =
        PolicyOf(std::string(R"({"clipboard": ")") + word + "\"}");
    EXPECT_EQ(policy.clipboard_to_guest, to_guest) << word;
    EXPECT_EQ(policy.clipboard_from_guest, from_guest) << word;
  }
}

TEST(ConfigPolicies, NamesThePathOfAMistake) {
  EXPECT_EQ(ErrorOfPolicy(R"({"clipboard": "in"})"),
            "policies.p.clipboard: expected \"both\", \"to_guest\", "
            "\"from_guest\" or \"none\", got \"in\"");
  EXPECT_EQ(ErrorOfPolicy(R"({"clipboard": false})"),
            "policies.p.clipboard: expected \"both\", \"to_guest\", "
            "\"from_guest\" or \"none\", got false");
  EXPECT_EQ(ErrorOfPolicy(R"({"read_only": "yes"})"),
            "policies.p.read_only: expected true or false, got \"yes\"");
  EXPECT_EQ(ErrorOfPolicy(R"({"readonly": true})"),
            "policies.p: expected one of the keys refuse_channels, read_only, "
            "clipboard, file_transfer, got \"readonly\"");
  EXPECT_EQ(ErrorOfPolicy("true"), "policies.p: expected an object, got true");
  EXPECT_EQ(ErrorOf(R"({"policies": {"a b": {}}})"),
            "policies: expected each key a name of 1 to 128 of A-Z a-z 0-9 . "
            "_ -, got \"a b\"");
  EXPECT_EQ(ErrorOf(R"({"policies": []})"),
            "policies: expected an object, got an array");
}

TEST(ConfigPolicies, ReadsTheGuardsMode) {
  EXPECT_EQ(Parse(R"({"guard": "enforce"})").guard, GuardMode::kEnforce);
  EXPECT_EQ(Parse(R"({"guard": "count"})").guard, GuardMode::kCount);
  EXPECT_EQ(Parse(R"({"guard": "off"})").guard, GuardMode::kOff);
  for (const std::string word : {"\"on\"", "false", "\"\"", "\"Off\""}) {
    EXPECT_EQ(ErrorOf("{\"guard\": " + word + "}"),
              "guard: expected \"enforce\", \"count\" or \"off\", got " + word);
  }
}

TEST(ConfigPolicies, ReadsDestinations) {
  const Destinations list =
      Parse(R"({"migration": {"destinations": ["10.1.0.0/16",
                ".example.org"]}})")
          .migration_destinations;
  EXPECT_TRUE(list.Allows("10.1.2.3"));
  EXPECT_TRUE(list.Allows("hv2.example.org"));
  EXPECT_FALSE(list.Allows("10.2.2.3"));
  EXPECT_TRUE(Parse(R"({"migration": {}})").migration_destinations.any());
}

TEST(ConfigPolicies, ChecksDestinations) {
  const auto error_of = [](const std::string& list) {
    return ErrorOf(R"({"migration": {"destinations": )" + list + "}}");
  };
  EXPECT_EQ(error_of(R"(["a", "10.0.0.1/8"])"),
            std::string("migration.destinations[1]: expected ") +
                Destinations::kExpected + ", got \"10.0.0.1/8\"");
  // Nothing allowed, or everything?
  EXPECT_THAT(error_of("[]"),
              HasSubstr("migration.destinations: expected an array of 1 to"));
  EXPECT_THAT(error_of("\"a\""), HasSubstr("got \"a\""));
  EXPECT_EQ(ErrorOf(R"({"migration": {"destination": ["a"]}})"),
            "migration: expected one of the keys destinations, got "
            "\"destination\"");
}

TEST(ConfigPolicies, ReadsTheLimitOfADestinationsLink) {
  EXPECT_EQ(Parse(R"({"limits": {"migration_link_ms": 200}})")
                .limits.migration_link_ms,
            200);
  // The source's QEMU would have gone on without an answer.
  EXPECT_EQ(ErrorOf(R"({"limits": {"migration_link_ms": 10001}})"),
            "limits.migration_link_ms: expected a whole number from 100 to "
            "10000, got 10001");
}

}  // namespace
}  // namespace spicegate
