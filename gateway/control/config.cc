// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "gateway/base/json.h"
#include "gateway/base/json_reader.h"
#include "gateway/console/file_reader.h"
#include "gateway/console/guard_mode.h"
#include "gateway/control/config_clouds.h"
#include "gateway/control/config_connect.h"
#include "gateway/control/config_policies.h"
#include "gateway/control/config_portal.h"
#include "gateway/control/config_text.h"

namespace spicegate {
namespace {

constexpr size_t kMaxUnixPathLen = 107;  // sockaddr_un
// A spin beyond this is not a moment any more.
constexpr int64_t kLongestSpinUs = 1000;
constexpr int64_t kDayS = 24 * 3600;
constexpr size_t kMaxClientNames = 256;
constexpr size_t kMaxClientNameLen = 1024;

using Text = JsonObjectReader::Text;

bool IsAbsolutePath(std::string_view path) { return path[0] == '/'; }

bool IsLevel(std::string_view level) {
  LogLevel ignored;
  return ParseLogLevel(level, &ignored);
}

bool IsTlsVersion(std::string_view version) {
  return version == "1.2" || version == "1.3";
}

// A word of the configuration and what it stands for.
template <typename Value>
struct Word {
  std::string_view text;
  Value value;
};

constexpr Word<TlsSuite> kSuites[] = {
    {"aes128_gcm", TlsSuite::kAes128Gcm},
    {"aes256_gcm", TlsSuite::kAes256Gcm},
    {"chacha20_poly1305", TlsSuite::kChaCha20Poly1305}};
constexpr Word<TlsOffload> kOffloads[] = {{"auto", TlsOffload::kAuto},
                                          {"required", TlsOffload::kRequired},
                                          {"off", TlsOffload::kOff}};
constexpr Word<OffloadDirections> kDirections[] = {
    {"both", OffloadDirections::kBoth},
    {"send", OffloadDirections::kSend},
    {"receive", OffloadDirections::kReceive},
    {"none", OffloadDirections::kNone}};

// Whether `text` is one of the words; then *out is what it stands for.
template <typename Value, size_t kNum>
bool FindWord(const Word<Value> (&words)[kNum], std::string_view text,
              Value* out) {
  const auto found = std::find_if(
      std::begin(words), std::end(words),
      [text](const Word<Value>& word) { return word.text == text; });
  if (found == std::end(words)) {
    return false;
  }
  *out = found->value;
  return true;
}

bool IsSuite(std::string_view text) {
  TlsSuite ignored;
  return FindWord(kSuites, text, &ignored);
}

bool IsOffload(std::string_view text) {
  TlsOffload ignored;
  return FindWord(kOffloads, text, &ignored);
}

bool IsDirections(std::string_view text) {
  OffloadDirections ignored;
  return FindWord(kDirections, text, &ignored);
}

constexpr Text kDirectory = {"a directory name", kMaxConfigPathLen};
constexpr Text kUnixPath = {"an absolute path of at most 107 bytes",
                            kMaxUnixPathLen, IsAbsolutePath};
constexpr Text kSubject = {"a subject such as \"O=Test,CN=vm.example.test\"",
                           kMaxConfigSubjectLen, IsSubjectText};
constexpr Text kClientName = {"a common name, DNS name or URI",
                              kMaxClientNameLen, IsOneLineText};
constexpr Text kDestination = {Destinations::kExpected, kMaxDestinationLen,
                               Destinations::IsEntry};
constexpr Text kLevel = {"\"debug\", \"info\", \"warning\" or \"error\"", 16,
                         IsLevel};
constexpr Text kTlsVersion = {"\"1.2\" or \"1.3\"", 8, IsTlsVersion};
constexpr Text kSuite = {
    "\"aes128_gcm\", \"aes256_gcm\" or \"chacha20_poly1305\"", 32, IsSuite};
constexpr Text kOffload = {"\"auto\", \"required\" or \"off\"", 16, IsOffload};
constexpr Text kDirectionsText = {"\"both\", \"send\", \"receive\" or \"none\"",
                                  16, IsDirections};

// Pings alone keep a tunnel alive, so a shorter limit would end sessions that
// work.
void ReadTunnelIdle(JsonObjectReader& reader, int64_t* out) {
  reader.Int("tunnel_idle_ms", 0, kLongestTunnelIdleMs, out);
  if (*out != 0 && *out < kShortestTunnelIdleMs) {
    reader.Fail("tunnel_idle_ms", "0 for no limit, or a whole number from " +
                                      std::to_string(kShortestTunnelIdleMs) +
                                      " to " +
                                      std::to_string(kLongestTunnelIdleMs) +
                                      ", got " + std::to_string(*out));
  }
}

// Reads one configuration, section by section.
class ConfigParser {
 public:
  explicit ConfigParser(const std::string& file_name) : file_name_(file_name) {}

  void Read(JsonObjectReader& root);
  Config Take() { return std::move(config_); }

 private:
  void ReadTls(JsonObjectReader& reader);
  void ReadCertificates(JsonObjectReader& reader);
  void ReadCertificate(JsonObjectReader& reader);
  void ReadSuites(JsonObjectReader& reader);
  void ReadOffload(JsonObjectReader& reader);
  void ReadAdmin(JsonObjectReader& reader);
  void ReadAdminTls(JsonObjectReader& reader);
  void ReadPublic(JsonObjectReader& reader);
  void ReadMigration(JsonObjectReader& reader);
  void ReadLimits(JsonObjectReader& reader);
  void ReadLog(JsonObjectReader& reader);
  void Path(JsonObjectReader& reader, const char* key, const Text& text,
            std::string* out);

  const std::string& file_name_;
  Config config_;
};

void ConfigParser::Read(JsonObjectReader& root) {
  root.Int("workers", 0, kMaxWorkers, &config_.workers);
  ReadListeners(root, file_name_, &config_);
  root.Object("tls", [this](JsonObjectReader& reader) { ReadTls(reader); });
  root.Object("admin", [this](JsonObjectReader& reader) { ReadAdmin(reader); });
  root.Object("public",
              [this](JsonObjectReader& reader) { ReadPublic(reader); });
  Path(root, "consoles", kFileText, &config_.consoles_path);
  ReadGuardMode(root, &config_.guard);
  ReadPolicies(root, &config_.policies);
  ReadPortal(root, file_name_, &config_);
  ReadClouds(root, file_name_, &config_);
  root.Object("migration",
              [this](JsonObjectReader& reader) { ReadMigration(reader); });
  Path(root, "state_dir", kDirectory, &config_.state_dir);
  root.Object("tickets", [this](JsonObjectReader& reader) {
    reader.Int("first_use_s", 1, kDayS, &config_.tickets.first_use_s);
  });
  root.Object("log", [this](JsonObjectReader& reader) { ReadLog(reader); });
  root.Object("relay", [this](JsonObjectReader& reader) {
    reader.Int("spin_us", 0, kLongestSpinUs, &config_.relay.spin_us);
    reader.Bool("splice", &config_.relay.splice);
  });
  root.Object("limits",
              [this](JsonObjectReader& reader) { ReadLimits(reader); });
}

void ConfigParser::ReadTls(JsonObjectReader& reader) {
  ReadCertificates(reader);
  std::string version = "1.2";
  reader.String("min_version", kTlsVersion, &version);
  config_.tls.min_version =
      version == "1.3" ? TlsVersion::kTls13 : TlsVersion::kTls12;
  ReadSuites(reader);
  Path(reader, "ticket_keys", kFileText, &config_.tls.ticket_keys_path);
  ReadOffload(reader);
}

// One pair, or a list of pairs.
void ConfigParser::ReadCertificates(JsonObjectReader& reader) {
  if (reader.Has("certificate")) {
    reader.Require("key", "a file name beside certificate");
  }
  if (reader.Has("key")) {
    reader.Require("certificate", "a file name beside key");
  }
  if (reader.Has("certificate") && reader.Has("certificates")) {
    reader.Fail("", "either certificate and key or certificates, got both");
  }
  reader.Objects("certificates", 1, kMaxCertificates,
                 [this](JsonObjectReader& pair) {
                   pair.Require("certificate", kFileText.expected);
                   pair.Require("key", kFileText.expected);
                   ReadCertificate(pair);
                 });
  if (!reader.Has("certificates")) {
    ReadCertificate(reader);
  }
}

void ConfigParser::ReadCertificate(JsonObjectReader& reader) {
  CertificatePaths paths;
  Path(reader, "certificate", kFileText, &paths.certificate);
  Path(reader, "key", kFileText, &paths.key);
  if (!paths.certificate.empty()) {
    config_.tls.certificates.push_back(std::move(paths));
  }
}

void ConfigParser::ReadSuites(JsonObjectReader& reader) {
  std::vector<std::string> names;
  reader.Strings("tls12_suites", 1, std::size(kSuites), kSuite, &names);
  if (!reader.ok() || names.empty()) {
    return;
  }
  std::vector<TlsSuite>& suites = config_.tls.tls12_suites;
  suites.clear();
  for (const std::string& name : names) {
    TlsSuite suite = TlsSuite::kOther;
    FindWord(kSuites, name, &suite);
    if (std::find(suites.begin(), suites.end(), suite) != suites.end()) {
      reader.Fail("tls12_suites",
                  "each suite once, got \"" + name + "\" again");
    }
    suites.push_back(suite);
  }
}

void ConfigParser::ReadOffload(JsonObjectReader& reader) {
  TlsConfig& out = config_.tls;
  std::string offload = "auto";
  std::string client = "both";
  std::string server = "both";
  reader.String("offload", kOffload, &offload);
  reader.String("client_offload", kDirectionsText, &client);
  reader.String("server_offload", kDirectionsText, &server);
  FindWord(kOffloads, offload, &out.offload);
  FindWord(kDirections, client, &out.client_offload);
  FindWord(kDirections, server, &out.server_offload);
}

void ConfigParser::ReadAdmin(JsonObjectReader& reader) {
  AdminConfig& out = config_.admin;
  ReadBindAddress(reader, &out.address);
  reader.String("unix", kUnixPath, &out.unix_path);
  reader.Object("tls", [this](JsonObjectReader& tls) { ReadAdminTls(tls); });
  if (reader.Has("address") && reader.Has("unix")) {
    reader.Fail("", "either address or unix, got both");
  }
  if (reader.Has("tls") && reader.Has("unix")) {
    reader.Fail("", "either tls or unix, got both");
  }
  // Whoever reaches it gets into every desktop.
  if (!IsLoopback(out.address) && out.tls.client_ca_path.empty()) {
    reader.Fail("address",
                "a loopback address unless tls.client_ca is given, got " +
                    FormatBindAddress(out.address));
  }
}

void ConfigParser::ReadAdminTls(JsonObjectReader& reader) {
  AdminTlsConfig& out = config_.admin.tls;
  reader.Require("certificate", kFileText.expected);
  reader.Require("key", kFileText.expected);
  Path(reader, "certificate", kFileText, &out.certificate_path);
  Path(reader, "key", kFileText, &out.key_path);
  Path(reader, "client_ca", kFileText, &out.client_ca_path);
  reader.Strings("client_names", 1, kMaxClientNames, kClientName,
                 &out.client_names);
  if (reader.Has("client_names")) {
    reader.Require("client_ca", "a file name beside client_names");
  }
}

void ConfigParser::ReadPublic(JsonObjectReader& reader) {
  PublicConfig& out = config_.public_address;
  reader.String("host", kPublicHostText, &out.host);
  reader.Port("port", &out.port);
  reader.Port("tls_port", &out.tls_port);
  reader.String("host_subject", kSubject, &out.host_subject);
  Path(reader, "ca_file", kFileText, &out.ca_path);
  ReadPublicConnect(reader, &config_);
}

// An empty list would allow nothing to a reader and everything to us.
void ConfigParser::ReadMigration(JsonObjectReader& reader) {
  std::vector<std::string> entries;
  reader.Strings("destinations", 1, kMaxDestinations, kDestination, &entries);
  absl::StatusOr<Destinations> parsed = Destinations::Parse(entries);
  if (reader.ok() && parsed.ok()) {
    config_.migration_destinations = *std::move(parsed);
  }
}

void ConfigParser::ReadLog(JsonObjectReader& reader) {
  std::string level = "info";
  reader.String("level", kLevel, &level);
  ParseLogLevel(level, &config_.log_level);
}

void ConfigParser::ReadLimits(JsonObjectReader& reader) {
  Limits& out = config_.limits;
  constexpr int64_t kShortestMs = 100;
  constexpr int64_t kLongestMs = 600'000;
  const auto time_ms = [&reader](const char* key, int64_t* value) {
    reader.Int(key, kShortestMs, kLongestMs, value);
  };
  time_ms("preauth_deadline_ms", &out.preauth_deadline_ms);
  time_ms("server_connect_ms", &out.server_connect_ms);
  time_ms("server_link_ms", &out.server_link_ms);
  time_ms("half_close_ms", &out.half_close_ms);
  time_ms("display_init_ms", &out.display_init_ms);
  ReadTunnelIdle(reader, &out.tunnel_idle_ms);
  // The source's QEMU waits no longer for all destination's channels.
  reader.Int("migration_link_ms", kShortestMs, 10'000, &out.migration_link_ms);
  reader.Int("max_links", 0, 10'000'000, &out.max_links);
  // 256 ids of each of 11 types are all that the protocol can name.
  reader.Int("max_channels_per_session", 1, 2816,
             &out.max_channels_per_session);
  reader.Int("max_tickets", 1, 10'000'000, &out.max_tickets);
  reader.Int("portal_failures", 1, 10'000, &out.portal_failures);
  reader.Int("portal_connections", 16, 65'536, &out.portal_connections);
}

void ConfigParser::Path(JsonObjectReader& reader, const char* key,
                        const Text& text, std::string* out) {
  ReadPath(reader, key, text, file_name_, out);
}

}  // namespace

bool Config::HasTlsListener() const {
  return std::any_of(
      listeners.begin(), listeners.end(),
      [](const ListenerConfig& listener) { return listener.tls; });
}

const ListenerConfig* Config::FirstConnectListener() const {
  const auto found = std::find_if(
      listeners.begin(), listeners.end(), [](const ListenerConfig& listener) {
        return listener.protocol == ListenerProtocol::kConnect;
      });
  return found == listeners.end() ? nullptr : &*found;
}

absl::StatusOr<Config> ParseConfig(const std::string& text,
                                   const std::string& file_name) {
  ConfigParser parser(file_name);
  const absl::StatusOr<JsonValue> root = ParseJson(text);
  absl::Status status = root.status();
  if (root.ok()) {
    JsonObjectReader reader(*root, "", &status);
    parser.Read(reader);
    reader.Finish();
  }
  if (!status.ok()) {
    return absl::InvalidArgumentError(file_name + ": " +
                                      std::string(status.message()));
  }
  return parser.Take();
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  const absl::StatusOr<FileContent> content = ReadFile(path, kMaxConfigBytes);
  if (!content.ok()) {
    return content.status();
  }
  return ParseConfig(content->text, path);
}

}  // namespace spicegate
