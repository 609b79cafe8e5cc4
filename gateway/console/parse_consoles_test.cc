// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/console/file_directory.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using Table = std::shared_ptr<const ConsoleTable>;

constexpr char kPem[] =
    "-----BEGIN CERTIFICATE-----\\nMII=\\n-----END CERTIFICATE-----\\n";

absl::StatusOr<std::string> Fetch(const std::string& path) {
  if (path == "/etc/sg/ca.pem") {
    return "-----BEGIN CERTIFICATE-----\nAAA=\n-----END CERTIFICATE-----\n";
  }
  if (path == "/etc/sg/empty.pem") {
    return "";
  }
  return absl::NotFoundError(path + ": cannot be read: No such file");
}

const PolicySet& Policies() {
  static const auto* const kPolicies = new PolicySet{
      {"kiosk", {.read_only = true}}, {"visitor", {.file_transfer = false}}};
  return *kPolicies;
}

absl::StatusOr<Table> Parse(const std::string& text,
                            const PemCheck& pem_check = nullptr,
                            GuardMode guard = GuardMode::kEnforce) {
  const absl::StatusOr<ConsolesFile> file = ParseConsoles(
      text, "/etc/sg/c.json", {&Policies(), guard}, Fetch, pem_check);
  if (!file.ok()) {
    return file.status();
  }
  return std::make_shared<const ConsoleTable>(file->consoles);
}

// The error about one console, without what stands before it.
std::string ErrorOf(const std::string& console) {
  const absl::Status status =
      Parse("{\"consoles\": [" + console + "]}").status();
  const std::string text(status.message());
  const std::string prefix = "/etc/sg/c.json: consoles[0]";
  EXPECT_EQ(text.substr(0, prefix.size()), prefix);
  return text.substr(std::min(text.size(), prefix.size()));
}

TEST(ParseConsoles, ReadsEveryField) {
  const absl::StatusOr<Table> table = Parse(
      R"({"consoles": [
        {"name": "vm1", "title": "Windows 11", "host": "10.0.0.5",
         "port": 5900, "tls_port": 5901, "ticket": "pa ss", "ca": ")" +
      std::string(kPem) + R"(", "host_subject": "O=Test,CN=vm.example.test"},
        {"name": "vm2", "unix": "/run/vm2.sock"},
        {"name": "vm3", "host": "fe80::1%eth0", "port": 1, "ticket": ""},
        {"name": "vm4", "host": "h.example", "tls_port": 2,
         "ca_file": "ca.pem"}]})");
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ((*table)->size(), 4U);
  const Console& vm1 = *(*table)->Find("vm1");
  EXPECT_EQ(vm1.title, "Windows 11");
  EXPECT_EQ(vm1.host, "10.0.0.5");
  EXPECT_EQ(vm1.port, 5900);
  EXPECT_EQ(vm1.tls_port, 5901);
  EXPECT_EQ(vm1.ticket, "pa ss");
  EXPECT_THAT(vm1.ca_pem, HasSubstr("-----\nMII=\n-----"));
  EXPECT_EQ(vm1.host_subject, "O=Test,CN=vm.example.test");
  EXPECT_EQ((*table)->Find("vm2")->unix_path, "/run/vm2.sock");
  EXPECT_EQ((*table)->Find("vm3")->host, "fe80::1%eth0");
  EXPECT_THAT((*table)->Find("vm4")->ca_pem, HasSubstr("AAA="));
}

TEST(ParseConsoles, ReadsPolicyGuardAndDestinationTicket) {
  const absl::StatusOr<Table> table = Parse(
      R"({"consoles": [
        {"name": "a", "unix": "/s", "policy": "kiosk", "guard": "off",
         "ticket": "t", "destination_ticket": "d"},
        {"name": "b", "unix": "/s", "guard": "enforce",
         "destination_ticket": ""},
        {"name": "c", "unix": "/s"}]})",
      nullptr, GuardMode::kCount);
  ASSERT_TRUE(table.ok()) << table.status();
  const Console& a = *(*table)->Find("a");
  EXPECT_EQ(a.policy_name, "kiosk");
  EXPECT_EQ(a.policy, Policies().at("kiosk"));
  EXPECT_EQ(a.guard, GuardMode::kOff);
  EXPECT_EQ(a.destination_ticket, "d");
  const Console& b = *(*table)->Find("b");
  EXPECT_EQ(b.policy_name, "");
  EXPECT_EQ(b.policy, Policy());
  EXPECT_EQ(b.guard, GuardMode::kEnforce);
  // None at the destination is not the same as the source's.
  EXPECT_EQ(b.destination_ticket, "");
  const Console& c = *(*table)->Find("c");
  EXPECT_EQ(c.guard, GuardMode::kCount);
  EXPECT_EQ(c.destination_ticket, std::nullopt);
}

TEST(ParseConsoles, NamesWhatIsWrongWithPolicyAndGuard) {
  EXPECT_EQ(ErrorOf(R"({"name": "a", "unix": "/s", "policy": "guest"})"),
            ".policy: expected one of the configuration's policies: kiosk, "
            "visitor, got \"guest\"");
  EXPECT_EQ(ErrorOf(R"({"name": "a", "unix": "/s", "policy": ""})"),
            ".policy: expected the name of a policy, got \"\"");
  EXPECT_EQ(ErrorOf(R"({"name": "a", "unix": "/s", "guard": "on"})"),
            ".guard: expected \"enforce\", \"count\" or \"off\", got "
            "\"on\"");
}

TEST(ParseConsoles, SaysThatThereAreNoPolicies) {
  const PolicySet none;
  const std::string text =
      R"({"consoles": [{"name": "a", "unix": "/s", "policy": "kiosk"}]})";
  for (const PolicySet* policies : {&none, static_cast<const PolicySet*>(0)}) {
    EXPECT_EQ(
        ParseConsoles(text, "f", {policies}, Fetch, nullptr).status().message(),
        "f: consoles[0].policy: expected no policy, as the "
        "configuration has none, got \"kiosk\"");
  }
}

TEST(ParseConsoles, ShowsTheFirstOfManyPolicies) {
  PolicySet many;
  for (int i = 10; i < 40; ++i) {
    many["p" + std::to_string(i)] = {};
  }
  const std::string text =
      R"({"consoles": [{"name": "a", "unix": "/s", "policy": "x"}]})";
  EXPECT_THAT(
      std::string(
          ParseConsoles(text, "f", {&many}, Fetch, nullptr).status().message()),
      HasSubstr("p28, p29 and 10 more, got \"x\""));
}

TEST(ParseConsoles, TakesAnEmptyList) {
  const absl::StatusOr<Table> table = Parse("{\"consoles\": []}");
  ASSERT_TRUE(table.ok());
  EXPECT_EQ((*table)->size(), 0U);
}

TEST(ParseConsoles, NamesFileAndPlace) {
  EXPECT_EQ(Parse("{\n \"consoles\": [}").status().message(),
            "/etc/sg/c.json: line 2, column 15: not valid JSON");
  EXPECT_EQ(Parse("{}").status().message(),
            "/etc/sg/c.json: consoles: expected an array of objects, got "
            "nothing");
  EXPECT_EQ(Parse("[]").status().message(),
            "/etc/sg/c.json: expected an object, got an array");
}

TEST(ParseConsoles, NamesWhatIsWrongWithAConsole) {
  EXPECT_EQ(ErrorOf("{}"),
            ".name: expected a name of 1 to 128 of A-Z a-z 0-9 . _ -, got "
            "nothing");
  EXPECT_THAT(ErrorOf(R"({"name": "a b"})"), HasSubstr("got \"a b\""));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "title": "x\ny"})"),
              HasSubstr(".title: expected a title"));
  EXPECT_EQ(ErrorOf(R"({"name": "a"})"),
            ".host: expected a host, or unix or qmp in its place, got nothing");
  EXPECT_EQ(ErrorOf(R"({"name": "a", "host": "h"})"),
            ": expected port or tls_port beside host, got neither");
  EXPECT_EQ(ErrorOf(R"({"name": "a", "host": "h", "port": 70000})"),
            ".port: expected a whole number from 1 to 65535, got 70000");
  EXPECT_EQ(
      ErrorOf(R"({"name": "a", "host": "h", "prot": 1})").find(": expected"),
      0U);
}

TEST(ParseConsoles, RefusesHostsThatAreNone) {
  for (const char* host :
       {"", "h:1", "[::1]", "spice://h", "h h", "h/x", "user@h"}) {
    const std::string console =
        std::string(R"({"name": "a", "host": ")") + host + R"(", "port": 1})";
    EXPECT_THAT(ErrorOf(console), HasSubstr(".host: expected a host name"))
        << host;
  }
}

TEST(ParseConsoles, UnixExcludesTheRest) {
  EXPECT_THAT(ErrorOf(R"({"name": "a", "unix": "/s", "host": "h"})"),
              HasSubstr("got both"));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "unix": "/s", "port": 1})"),
              HasSubstr("got both"));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "unix": "s"})"),
              HasSubstr(".unix: expected an absolute path"));
  EXPECT_THAT(ErrorOf("{\"name\": \"a\", \"unix\": \"/" +
                      std::string(107, 's') + "\"}"),
              HasSubstr("107 bytes"));
}

TEST(ParseConsoles, TlsNeedsATrustAnchorAndTheReverse) {
  EXPECT_THAT(ErrorOf(R"({"name": "a", "host": "h", "tls_port": 1})"),
              HasSubstr(".ca: expected ca or ca_file beside tls_port"));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "host": "h", "port": 1,
                          "ca_file": "ca.pem"})"),
              HasSubstr(".tls_port: expected a port beside ca"));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "unix": "/s",
                          "host_subject": "CN=a"})"),
              HasSubstr(".tls_port: expected a port beside"));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "host": "h", "tls_port": 1,
                          "ca_file": "none.pem"})"),
              HasSubstr(".ca_file: expected a readable file; "
                        "/etc/sg/none.pem: cannot be read"));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "host": "h", "tls_port": 1,
                          "ca_file": "empty.pem"})"),
              HasSubstr(".ca_file: expected a file with certificates"));
  EXPECT_THAT(ErrorOf(R"({"name": "a", "host": "h", "tls_port": 1,
                          "ca": "no"})"),
              HasSubstr(".ca: expected certificates in PEM, got \"no\""));
}

TEST(ParseConsoles, AsksTheCheckOfTheCaller) {
  const PemCheck check = [](const std::string&) {
    return absl::InvalidArgumentError("not today");
  };
  const std::string text =
      R"({"consoles": [{"name": "a", "host": "h", "tls_port": 1,
          "ca_file": "ca.pem"}]})";
  EXPECT_TRUE(Parse(text).ok());
  EXPECT_EQ(Parse(text, check).status().message(),
            "/etc/sg/c.json: consoles[0].ca_file: expected certificates in "
            "PEM: not today");
}

TEST(ParseConsoles, NamesAreUnique) {
  const std::string a = R"({"name": "a", "unix": "/s"})";
  EXPECT_EQ(Parse("{\"consoles\": [" + a + "," + a + "]}").status().message(),
            "/etc/sg/c.json: consoles[1].name: expected a name of its own, "
            "got that of consoles[0]");
}

TEST(ParseConsoles, NeverShowsATicket) {
  const std::string error =
      ErrorOf(R"({"name": "a", "unix": "/s", "ticket": ")" +
              std::string(60, 'q') + "\"}");
  EXPECT_EQ(error,
            ".ticket: expected a ticket of at most 59 bytes, got one of 60 "
            "bytes");
  EXPECT_EQ(ErrorOf(R"({"name": "a", "unix": "/s", "destination_ticket": ")" +
                    std::string(60, 'q') + "\"}"),
            ".destination_ticket: expected a ticket of at most 59 bytes, got "
            "one of 60 bytes");
  EXPECT_THAT(ErrorOf(R"({"name": "a", "ticket": "hunter2"})"),
              Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace spicegate
