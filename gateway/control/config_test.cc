// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;

Config Parse(const std::string& text) {
  const absl::StatusOr<Config> config = ParseConfig(text, "/etc/sg/c.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

// The error without the file's name in front.
std::string ErrorOf(const std::string& text) {
  const absl::Status status = ParseConfig(text, "f.json").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  const std::string message(status.message());
  EXPECT_EQ(message.substr(0, 8), "f.json: ");
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return message.substr(std::min<size_t>(8, message.size()));
}

TEST(Config, DefaultsServeASingleHost) {
  const Config config = Parse("{}");
  ASSERT_EQ(config.listeners.size(), 2U);
  EXPECT_EQ(FormatBindAddress(config.listeners[0].address), "*:5930");
  EXPECT_FALSE(config.listeners[0].tls);
  EXPECT_TRUE(config.listeners[0].need_secured);
  EXPECT_EQ(FormatBindAddress(config.listeners[1].address), "*:5931");
  EXPECT_TRUE(config.listeners[1].tls);
  EXPECT_TRUE(config.HasTlsListener());
  EXPECT_TRUE(config.tls.self_signed());
  EXPECT_EQ(config.tls.min_version, TlsVersion::kTls12);
  EXPECT_TRUE(config.tls.tls12_suites.empty());
  EXPECT_EQ(config.tls.ticket_keys_path, "");
  EXPECT_EQ(config.tls.offload, TlsOffload::kAuto);
  EXPECT_EQ(config.tls.client_offload, OffloadDirections::kBoth);
  EXPECT_EQ(config.tls.server_offload, OffloadDirections::kBoth);
  EXPECT_EQ(FormatBindAddress(config.admin.address), "127.0.0.1:9480");
  EXPECT_EQ(config.admin.unix_path, "");
  EXPECT_EQ(config.consoles_path, "/etc/spicegate/consoles.json");
  EXPECT_EQ(config.workers, 0);
  EXPECT_EQ(config.tickets.first_use_s, 60);
  EXPECT_EQ(config.log_level, LogLevel::kInfo);
  EXPECT_EQ(config.relay.spin_us, kDefaultSpinUs);
  EXPECT_TRUE(config.relay.splice);
  EXPECT_EQ(config.limits.preauth_deadline_ms, Limits().preauth_deadline_ms);
}

TEST(Config, ReadsEveryKey) {
  const Config config = Parse(R"({
    "workers": 3,
    "listeners": [{"address": "127.0.0.1:5930", "tls": false,
                   "need_secured": true},
                  {"address": "[::1]:0", "tls": true}],
    "tls": {"certificate": "cert.pem", "key": "/k/key.pem",
            "min_version": "1.3",
            "tls12_suites": ["chacha20_poly1305", "aes256_gcm"],
            "ticket_keys": "tickets.keys", "offload": "required",
            "client_offload": "send", "server_offload": "none"},
    "admin": {"unix": "/run/spicegate/admin.sock"},
    "public": {"host": "desktops.example.org", "port": 1, "tls_port": 2,
               "host_subject": "CN=x", "ca_file": "ca.pem"},
    "consoles": "consoles.json",
    "state_dir": "state",
    "tickets": {"first_use_s": 5},
    "log": {"level": "debug"},
    "relay": {"spin_us": 7, "splice": false},
    "limits": {"preauth_deadline_ms": 101, "server_connect_ms": 102,
               "server_link_ms": 103, "half_close_ms": 104,
               "display_init_ms": 105,
               "max_links": 107, "max_channels_per_session": 108,
               "max_tickets": 109}})");
  EXPECT_EQ(config.workers, 3);
  ASSERT_EQ(config.listeners.size(), 2U);
  EXPECT_TRUE(config.listeners[0].need_secured);
  EXPECT_EQ(config.listeners[1].address, (BindAddress{"::1", 0}));
  EXPECT_TRUE(config.listeners[1].tls);
  ASSERT_EQ(config.tls.certificates.size(), 1U);
  EXPECT_EQ(config.tls.certificates[0].certificate, "/etc/sg/cert.pem");
  EXPECT_EQ(config.tls.certificates[0].key, "/k/key.pem");
  EXPECT_FALSE(config.tls.self_signed());
  EXPECT_EQ(config.tls.tls12_suites,
            (std::vector<TlsSuite>{TlsSuite::kChaCha20Poly1305,
                                   TlsSuite::kAes256Gcm}));
  EXPECT_EQ(config.tls.ticket_keys_path, "/etc/sg/tickets.keys");
  EXPECT_EQ(config.tls.offload, TlsOffload::kRequired);
  EXPECT_EQ(config.tls.client_offload, OffloadDirections::kSend);
  EXPECT_EQ(config.tls.server_offload, OffloadDirections::kNone);
  EXPECT_EQ(config.tls.min_version, TlsVersion::kTls13);
  EXPECT_EQ(config.admin.unix_path, "/run/spicegate/admin.sock");
  EXPECT_EQ(config.public_address.host, "desktops.example.org");
  EXPECT_EQ(config.public_address.port, 1);
  EXPECT_EQ(config.public_address.tls_port, 2);
  EXPECT_EQ(config.public_address.host_subject, "CN=x");
  EXPECT_EQ(config.public_address.ca_path, "/etc/sg/ca.pem");
  EXPECT_EQ(config.consoles_path, "/etc/sg/consoles.json");
  EXPECT_EQ(config.state_dir, "/etc/sg/state");
  EXPECT_EQ(config.tickets.first_use_s, 5);
  EXPECT_EQ(config.log_level, LogLevel::kDebug);
  EXPECT_EQ(config.relay.spin_us, 7);
  EXPECT_FALSE(config.relay.splice);
  EXPECT_EQ(config.limits.preauth_deadline_ms, 101);
  EXPECT_EQ(config.limits.server_connect_ms, 102);
  EXPECT_EQ(config.limits.server_link_ms, 103);
  EXPECT_EQ(config.limits.half_close_ms, 104);
  EXPECT_EQ(config.limits.display_init_ms, 105);
  EXPECT_EQ(config.limits.max_links, 107);
  EXPECT_EQ(config.limits.max_channels_per_session, 108);
  EXPECT_EQ(config.limits.max_tickets, 109);
}

TEST(Config, GivenListenersReplaceTheDefaults) {
  const Config config = Parse(R"({"listeners": [{"address": "*:1"}]})");
  ASSERT_EQ(config.listeners.size(), 1U);
  EXPECT_FALSE(config.listeners[0].tls);
  EXPECT_FALSE(config.listeners[0].need_secured);
  EXPECT_FALSE(config.HasTlsListener());
}

TEST(Config, NamesThePathAndWhatWasExpected) {
  EXPECT_EQ(ErrorOf(R"({"listeners": [{"address": "*:1"},
                                      {"address": "*:2", "tls": "yes"}]})"),
            "listeners[1].tls: expected true or false, got \"yes\"");
  EXPECT_EQ(ErrorOf(R"({"workers": 257})"),
            "workers: expected a whole number from 0 to 256, got 257");
  EXPECT_EQ(ErrorOf(R"({"log": {"level": "loud"}})"),
            "log.level: expected \"debug\", \"info\", \"warning\" or "
            "\"error\", got \"loud\"");
  EXPECT_EQ(ErrorOf("{\n  \"workers\": 1\n  \"log\": {}\n}"),
            "line 3, column 3: not valid JSON");
  EXPECT_EQ(ErrorOf(R"({"worker": 1})")
                .find("expected one of the keys "
                      "workers, listeners, connect, proxmox, tls"),
            0U);
}

TEST(Config, ChecksListeners) {
  EXPECT_THAT(ErrorOf(R"({"listeners": []})"),
              HasSubstr("listeners: expected an array of 1 to 16"));
  EXPECT_THAT(ErrorOf(R"({"listeners": [{}]})"),
              HasSubstr("listeners[0].address: expected IPV4:PORT"));
  EXPECT_THAT(ErrorOf(R"({"listeners": [{"address": "localhost:5930"}]})"),
              HasSubstr("got \"localhost:5930\""));
  EXPECT_EQ(ErrorOf(R"({"listeners": [{"address": "*:1", "tls": true,
                                       "need_secured": true}]})"),
            "listeners[0].need_secured: expected false on a listener with "
            "tls, got true");
  EXPECT_EQ(ErrorOf(R"({"listeners": [{"address": "*:1"},
                                      {"address": "*:1", "tls": true}]})"),
            "listeners[1].address: expected an address of its own, got that "
            "of listeners[0]");
  // The kernel chooses two different ports.
  Parse(R"({"listeners": [{"address": "*:0"}, {"address": "*:0"}]})");
}

TEST(Config, AdminWithoutClientCertificatesIsForThisMachineOnly) {
  Parse(R"({"admin": {"address": "[::1]:0"}})");
  EXPECT_EQ(ErrorOf(R"({"admin": {"address": "*:9480"}})"),
            "admin.address: expected a loopback address unless tls.client_ca "
            "is given, got *:9480");
  EXPECT_EQ(ErrorOf(R"({"admin": {"address": "10.0.0.1:9480"}})"),
            "admin.address: expected a loopback address unless tls.client_ca "
            "is given, got 10.0.0.1:9480");
  EXPECT_EQ(ErrorOf(R"({"admin": {"address": "10.0.0.1:9480",
                        "tls": {"certificate": "c", "key": "k"}}})"),
            "admin.address: expected a loopback address unless tls.client_ca "
            "is given, got 10.0.0.1:9480");
  EXPECT_EQ(ErrorOf(R"({"admin": {"address": "127.0.0.1:1", "unix": "/s"}})"),
            "admin: expected either address or unix, got both");
  EXPECT_THAT(ErrorOf(R"({"admin": {"unix": "relative"}})"),
              HasSubstr("admin.unix: expected an absolute path"));
}

TEST(Config, ReadsTlsOfTheAdminAddress) {
  const AdminConfig plain = Parse("{}").admin;
  EXPECT_FALSE(plain.tls.enabled());
  const AdminConfig https = Parse(R"({"admin": {
      "tls": {"certificate": "c.pem", "key": "/k.pem"}}})")
                                .admin;
  EXPECT_TRUE(https.tls.enabled());
  EXPECT_EQ(https.tls.certificate_path, "/etc/sg/c.pem");
  EXPECT_EQ(https.tls.key_path, "/k.pem");
  EXPECT_EQ(https.tls.client_ca_path, "");
  EXPECT_EQ(FormatBindAddress(https.address), "127.0.0.1:9480");
  const AdminConfig mutual = Parse(R"({"admin": {"address": "*:9480",
      "tls": {"certificate": "c.pem", "key": "k.pem", "client_ca": "ca.pem",
              "client_names": ["prometheus", "spiffe://example/portal"]}}})")
                                 .admin;
  EXPECT_EQ(FormatBindAddress(mutual.address), "*:9480");
  EXPECT_EQ(mutual.tls.client_ca_path, "/etc/sg/ca.pem");
  EXPECT_EQ(
      mutual.tls.client_names,
      (std::vector<std::string>{"prometheus", "spiffe://example/portal"}));
}

TEST(Config, ChecksTlsOfTheAdminAddress) {
  const auto error_of = [](const std::string& tls) {
    return ErrorOf(R"({"admin": {"tls": )" + tls + "}}");
  };
  EXPECT_EQ(error_of(R"({"key": "k"})"),
            "admin.tls.certificate: expected a file name, got nothing");
  EXPECT_EQ(error_of(R"({"certificate": "c"})"),
            "admin.tls.key: expected a file name, got nothing");
  EXPECT_EQ(error_of(R"({"certificate": "c", "key": "k",
                         "client_names": ["x"]})"),
            "admin.tls.client_ca: expected a file name beside client_names, "
            "got nothing");
  EXPECT_EQ(error_of(R"({"certificate": "c", "key": "k", "client_ca": "a",
                         "client_names": ["x", ""]})"),
            "admin.tls.client_names[1]: expected a common name, DNS name or "
            "URI, got \"\"");
  // An empty list would let nobody in, or everybody.
  EXPECT_THAT(error_of(R"({"certificate": "c", "key": "k", "client_ca": "a",
                           "client_names": []})"),
              HasSubstr("admin.tls.client_names: expected an array of 1 to"));
  EXPECT_EQ(ErrorOf(R"({"admin": {"unix": "/s",
                        "tls": {"certificate": "c", "key": "k"}}})"),
            "admin: expected either tls or unix, got both");
}

TEST(Config, CertificateAndKeyBelongTogether) {
  EXPECT_EQ(ErrorOf(R"({"tls": {"certificate": "c"}})"),
            "tls.key: expected a file name beside certificate, got nothing");
  EXPECT_EQ(ErrorOf(R"({"tls": {"key": "k"}})"),
            "tls.certificate: expected a file name beside key, got nothing");
  EXPECT_EQ(ErrorOf(R"({"tls": {"min_version": "1.1"}})"),
            "tls.min_version: expected \"1.2\" or \"1.3\", got \"1.1\"");
}

TEST(Config, ReadsAListOfCertificates) {
  const Config config = Parse(R"({"tls": {"certificates": [
      {"certificate": "a.pem", "key": "a.key"},
      {"certificate": "/b.pem", "key": "/b.key"}]}})");
  ASSERT_EQ(config.tls.certificates.size(), 2U);
  EXPECT_FALSE(config.tls.self_signed());
  EXPECT_EQ(config.tls.certificates[0].certificate, "/etc/sg/a.pem");
  EXPECT_EQ(config.tls.certificates[0].key, "/etc/sg/a.key");
  EXPECT_EQ(config.tls.certificates[1].certificate, "/b.pem");
  EXPECT_EQ(config.tls.certificates[1].key, "/b.key");
}

TEST(Config, ChecksAListOfCertificates) {
  const auto error_of = [](const std::string& tls) {
    return ErrorOf(R"({"tls": )" + tls + "}");
  };
  EXPECT_EQ(error_of(R"({"certificate": "c", "key": "k", "certificates": [
                         {"certificate": "c", "key": "k"}]})"),
            "tls: expected either certificate and key or certificates, got "
            "both");
  EXPECT_EQ(error_of(R"({"certificates": [{"certificate": "c", "key": "k"},
                                          {"certificate": "c"}]})"),
            "tls.certificates[1].key: expected a file name, got nothing");
  EXPECT_EQ(error_of(R"({"certificates": [{"key": "k"}]})"),
            "tls.certificates[0].certificate: expected a file name, got "
            "nothing");
  EXPECT_EQ(error_of(R"({"certificates": []})"),
            "tls.certificates: expected an array of 1 to 256 objects, got 0");
  EXPECT_THAT(error_of(R"({"certificates": [
                  {"certificate": "c", "key": "k", "name": "x"}]})"),
              HasSubstr("tls.certificates[0]: expected one of the keys"));
}

TEST(Config, ChecksSuitesAndOffload) {
  const auto error_of = [](const std::string& tls) {
    return ErrorOf(R"({"tls": )" + tls + "}");
  };
  EXPECT_EQ(error_of(R"({"tls12_suites": ["aes128_gcm", "aes128_cbc"]})"),
            "tls.tls12_suites[1]: expected \"aes128_gcm\", \"aes256_gcm\" or "
            "\"chacha20_poly1305\", got \"aes128_cbc\"");
  EXPECT_EQ(error_of(R"({"tls12_suites": ["aes128_gcm", "aes128_gcm"]})"),
            "tls.tls12_suites: expected each suite once, got \"aes128_gcm\" "
            "again");
  EXPECT_THAT(error_of(R"({"tls12_suites": []})"),
              HasSubstr("tls.tls12_suites: expected an array of 1 to 3"));
  EXPECT_EQ(error_of(R"({"offload": "on"})"),
            "tls.offload: expected \"auto\", \"required\" or \"off\", got "
            "\"on\"");
  EXPECT_EQ(error_of(R"({"client_offload": "tx"})"),
            "tls.client_offload: expected \"both\", \"send\", \"receive\" or "
            "\"none\", got \"tx\"");
  EXPECT_EQ(error_of(R"({"server_offload": true})"),
            "tls.server_offload: expected \"both\", \"send\", \"receive\" or "
            "\"none\", got true");
  for (const auto& [word, value] :
       {std::pair("both", OffloadDirections::kBoth),
        std::pair("send", OffloadDirections::kSend),
        std::pair("receive", OffloadDirections::kReceive),
        std::pair("none", OffloadDirections::kNone)}) {
    const Config config =
        Parse(std::string(R"({"tls": {"server_offload": ")") + word + "\"}}");
    EXPECT_EQ(config.tls.server_offload, value) << word;
  }
  EXPECT_EQ(Parse(R"({"tls": {"offload": "off"}})").tls.offload,
            TlsOffload::kOff);
}

TEST(Config, ChecksPublicHost) {
  Parse(R"({"public": {"host": "::1"}})");
  for (const char* host : {"a b", "h:1", "[::1]", "a\\nb", ""}) {
    EXPECT_THAT(
        ErrorOf(std::string(R"({"public": {"host": ")") + host + "\"}}"),
        HasSubstr("public.host: expected a host name"));
  }
}

TEST(Config, ChecksLimits) {
  EXPECT_EQ(ErrorOf(R"({"limits": {"preauth_deadline_ms": 99}})"),
            "limits.preauth_deadline_ms: expected a whole number from 100 to "
            "600000, got 99");
  EXPECT_THAT(ErrorOf(R"({"limits": {"max_links": -1}})"),
              HasSubstr("limits.max_links"));
  EXPECT_THAT(ErrorOf(R"({"relay": {"spin_us": 1001}})"),
              HasSubstr("relay.spin_us"));
  EXPECT_THAT(ErrorOf(R"({"tickets": {"first_use_s": 0}})"),
              HasSubstr("tickets.first_use_s"));
}

TEST(Config, LoadsAFile) {
  const std::string path = ::testing::TempDir() + "/config_test.json";
  std::remove(path.c_str());
  EXPECT_TRUE(absl::IsNotFound(LoadConfig(path).status()));
  std::ofstream(path) << R"({"workers": "x"})";
  EXPECT_EQ(LoadConfig(path).status().message(),
            path +
                ": workers: expected a whole number from 0 to 256, got "
                "\"x\"");
  std::ofstream(path) << R"({"workers": 2})";
  EXPECT_EQ(LoadConfig(path)->workers, 2);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace spicegate
