// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gateway/console/file_directory.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;

constexpr char kPem[] =
    "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";

absl::StatusOr<std::string> Fetch(const std::string& path) {
  if (path == "ca.pem") {
    return std::string(kPem);
  }
  return absl::NotFoundError(path + ": cannot be read: No such file");
}

absl::StatusOr<ConsolesFile> Parse(const std::string& text) {
  static const auto* const kPolicies =
      new PolicySet{{"kiosk", {.read_only = true}}};
  return ParseConsoles(text, "f", {kPolicies, GuardMode::kCount}, Fetch,
                       nullptr);
}

ConsolesFile Good(const std::string& text) {
  const absl::StatusOr<ConsolesFile> file = Parse(text);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *file : ConsolesFile();
}

std::string ErrorOf(const std::string& text) {
  return std::string(Parse(text).status().message());
}

// About a console "a" with a QMP socket and `members`.
std::string QmpError(const std::string& members) {
  return ErrorOf(R"({"consoles": [{"name": "a", "qmp": "/q", )" + members +
                 "}]}");
}

std::string PatternError(const std::string& members) {
  return ErrorOf(R"({"qmp": [{)" + members + "}]}");
}

TEST(ParseQmpConsoles, ReadsEveryField) {
  const ConsolesFile file = Good(R"({"consoles": [
    {"name": "a", "title": "A", "qmp": "/run/a.qmp", "qmp_monitor": "own",
     "ca_file": "ca.pem", "host_subject": "CN=a", "policy": "kiosk",
     "guard": "off"},
    {"name": "b", "qmp": "/run/b.qmp"},
    {"name": "c", "qmp": "/run/c.qmp", "qmp_monitor": "shared"},
    {"name": "d", "unix": "/run/d.sock"}]})");
  ASSERT_EQ(file.consoles.size(), 4U);
  const Console& a = file.consoles[0];
  EXPECT_EQ(a.title, "A");
  EXPECT_EQ(a.qmp_path, "/run/a.qmp");
  EXPECT_EQ(a.qmp_monitor, QmpMonitor::kOwn);
  EXPECT_EQ(a.ca_pem, kPem);
  EXPECT_EQ(a.host_subject, "CN=a");
  EXPECT_EQ(a.policy_name, "kiosk");
  EXPECT_EQ(a.guard, GuardMode::kOff);
  EXPECT_EQ(a.host + a.unix_path + a.ticket, "");
  const Console& b = file.consoles[1];
  EXPECT_EQ(b.qmp_path, "/run/b.qmp");
  EXPECT_EQ(b.qmp_monitor, QmpMonitor::kShared);
  EXPECT_EQ(b.ca_pem, "");
  EXPECT_EQ(b.guard, GuardMode::kCount);
  EXPECT_EQ(file.consoles[2].qmp_monitor, QmpMonitor::kShared);
  EXPECT_EQ(file.consoles[3].qmp_path, "");
}

TEST(ParseQmpConsoles, TheSocketSaysAllThatItCan) {
  EXPECT_EQ(QmpError(R"("unix": "/s")"),
            "f: consoles[0]: expected either qmp or unix, got both");
  EXPECT_EQ(QmpError(R"("ticket": "secret")"),
            "f: consoles[0]: expected either qmp or ticket, got both");
  EXPECT_EQ(QmpError(R"("destination_ticket": "")"),
            "f: consoles[0]: expected either qmp or destination_ticket, got "
            "both");
  EXPECT_EQ(QmpError(R"("port": 5900)"),
            "f: consoles[0]: expected either qmp or port, got both");
  EXPECT_EQ(QmpError(R"("host": "h")"),
            "f: consoles[0]: expected either qmp or host, got both");
  EXPECT_EQ(QmpError(R"("tls_port": 5900, "ca_file": "ca.pem")"),
            "f: consoles[0]: expected either qmp or tls_port, got both");
}

TEST(ParseQmpConsoles, NamesWhatIsWrong) {
  EXPECT_EQ(QmpError(R"("qmp_monitor": "mine")"),
            "f: consoles[0].qmp_monitor: expected \"shared\" or \"own\", got "
            "\"mine\"");
  EXPECT_EQ(QmpError(R"("host_subject": "CN=a")"),
            "f: consoles[0].ca: expected ca or ca_file beside host_subject, "
            "got nothing");
  EXPECT_EQ(ErrorOf(R"({"consoles": [{"name": "a", "qmp": "q"}]})"),
            "f: consoles[0].qmp: expected an absolute path of at most 107 "
            "bytes, got \"q\"");
  EXPECT_EQ(ErrorOf(R"({"consoles": [{"name": "a", "unix": "/s",
                                      "qmp_monitor": "own"}]})"),
            "f: consoles[0].qmp: expected a socket beside qmp_monitor, got "
            "nothing");
  EXPECT_EQ(ErrorOf(R"({"consoles": [{"name": "a", "qmp": "/q"},
                                     {"name": "b", "qmp": "/q"}]})"),
            "f: consoles[1].qmp: expected a socket of its own, got that of "
            "consoles[0]");
}

TEST(ParseQmpConsoles, ReadsPatterns) {
  const ConsolesFile file = Good(R"({"qmp": [
    {"sockets": "/var/run/qemu-server/*.qmp", "name": "vm-*",
     "title": "VM *", "ca_file": "ca.pem", "host_subject": "CN=node",
     "policy": "kiosk", "guard": "off", "qmp_monitor": "own"},
    {"sockets": "/run/q/*"}]})");
  EXPECT_TRUE(file.consoles.empty());
  ASSERT_EQ(file.patterns.size(), 2U);
  EXPECT_EQ(file.patterns[0].sockets, "/var/run/qemu-server/*.qmp");
  const Console& model = file.patterns[0].model;
  EXPECT_EQ(model.name, "vm-*");
  EXPECT_EQ(model.title, "VM *");
  EXPECT_EQ(model.ca_pem, kPem);
  EXPECT_EQ(model.host_subject, "CN=node");
  EXPECT_TRUE(model.policy.read_only);
  EXPECT_EQ(model.guard, GuardMode::kOff);
  EXPECT_EQ(model.qmp_monitor, QmpMonitor::kOwn);
  EXPECT_EQ(file.patterns[1].model.name, "*");
  EXPECT_EQ(file.patterns[1].model.title, "");
  EXPECT_TRUE(Good(R"({"consoles": [], "qmp": []})").patterns.empty());
}

TEST(ParseQmpConsoles, NamesWhatIsWrongWithPatterns) {
  const std::string expected =
      "f: qmp[0].sockets: expected an absolute path of at most 107 bytes with "
      "one *, got ";
  EXPECT_EQ(PatternError(""), expected + "nothing");
  for (const char* sockets :
       {"/run/q", "run/*", "/run/*/*", "/run/*/", "/run/*.*", "*", ""}) {
    EXPECT_EQ(PatternError("\"sockets\": \"" + std::string(sockets) + "\""),
              expected + '"' + sockets + '"');
  }
  const std::string sockets = R"("sockets": "/run/*", )";
  for (const char* name : {"vm", "**", "vm *", "a/*", ""}) {
    EXPECT_EQ(PatternError(sockets + "\"name\": \"" + name + "\""),
              "f: qmp[0].name: expected one * and around it up to 127 of A-Z "
              "a-z 0-9 . _ -, got \"" +
                  std::string(name) + '"');
  }
  EXPECT_THAT(PatternError(sockets + R"("title": "* and *")"),
              HasSubstr("qmp[0].title: expected a title of at most 256 bytes"));
  EXPECT_THAT(PatternError(sockets + R"("host_subject": "CN=a")"),
              HasSubstr("qmp[0].ca: expected ca or ca_file beside"));
  EXPECT_THAT(PatternError(sockets + R"("policy": "none")"),
              HasSubstr("qmp[0].policy: expected one of"));
  EXPECT_THAT(PatternError(sockets + R"("ticket": "t")"),
              HasSubstr("qmp[0]: expected one of the keys sockets, name"));
}

}  // namespace
}  // namespace spicegate
