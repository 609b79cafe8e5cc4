// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "gateway/base/json.h"
#include "gateway/base/json_reader.h"
#include "gateway/console/file_reader.h"

namespace spicegate {
namespace {

constexpr size_t kMaxFileNameLen = 4095;  // PATH_MAX
constexpr size_t kMaxUnixPathLen = 107;   // sockaddr_un
constexpr size_t kMaxHostLen = 253;       // RFC 1035
constexpr size_t kMaxSubjectLen = 1024;
constexpr size_t kMaxAddressLen = 64;  // longest: [IPv6]:65535
// A spin beyond this is not a moment any more.
constexpr int64_t kLongestSpinUs = 1000;
constexpr int64_t kDayS = 24 * 3600;

using Text = JsonObjectReader::Text;

bool IsAddress(std::string_view text) {
  BindAddress ignored;
  return ParseBindAddress(text, &ignored);
}

// The name goes into .vv files as it is.
bool IsPublicHost(std::string_view host) {
  return IsNumericHost(host) ||
         std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
         });
}

bool IsSubject(std::string_view subject) {
  return subject.find('=') != std::string_view::npos &&
         std::none_of(subject.begin(), subject.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

bool IsAbsolutePath(std::string_view path) { return path[0] == '/'; }

bool IsLevel(std::string_view level) {
  LogLevel ignored;
  return ParseLogLevel(level, &ignored);
}

bool IsTlsVersion(std::string_view version) {
  return version == "1.2" || version == "1.3";
}

constexpr Text kAddress = {
    "IPV4:PORT, [IPV6]:PORT or *:PORT with a port from 0 to 65535",
    kMaxAddressLen, IsAddress};
constexpr Text kFile = {"a file name", kMaxFileNameLen};
constexpr Text kDirectory = {"a directory name", kMaxFileNameLen};
constexpr Text kUnixPath = {"an absolute path of at most 107 bytes",
                            kMaxUnixPathLen, IsAbsolutePath};
constexpr Text kHost = {"a host name or an address, without port", kMaxHostLen,
                        IsPublicHost};
constexpr Text kSubject = {"a subject such as \"O=Test,CN=vm.example.test\"",
                           kMaxSubjectLen, IsSubject};
constexpr Text kLevel = {"\"debug\", \"info\", \"warning\" or \"error\"", 16,
                         IsLevel};
constexpr Text kTlsVersion = {"\"1.2\" or \"1.3\"", 8, IsTlsVersion};

void ReadAddress(JsonObjectReader& reader, BindAddress* out) {
  std::string text;
  reader.String("address", kAddress, &text);
  if (reader.ok() && !text.empty()) {
    ParseBindAddress(text, out);
  }
}

// Reads one configuration, section by section.
class ConfigParser {
 public:
  explicit ConfigParser(const std::string& file_name) : file_name_(file_name) {}

  void Read(JsonObjectReader& root);
  Config Take() { return std::move(config_); }

 private:
  void ReadListener(JsonObjectReader& reader);
  void ReadTls(JsonObjectReader& reader);
  void ReadAdmin(JsonObjectReader& reader);
  void ReadPublic(JsonObjectReader& reader);
  void ReadLimits(JsonObjectReader& reader);
  void ReadLog(JsonObjectReader& reader);
  void CheckListeners(JsonObjectReader& root);
  void Path(JsonObjectReader& reader, const char* key, const Text& text,
            std::string* out);

  const std::string& file_name_;
  Config config_;
};

void ConfigParser::Read(JsonObjectReader& root) {
  root.Int("workers", 0, kMaxWorkers, &config_.workers);
  if (root.Has("listeners")) {
    config_.listeners.clear();
  }
  root.Objects("listeners", 1, kMaxListeners,
               [this](JsonObjectReader& reader) { ReadListener(reader); });
  CheckListeners(root);
  root.Object("tls", [this](JsonObjectReader& reader) { ReadTls(reader); });
  root.Object("admin", [this](JsonObjectReader& reader) { ReadAdmin(reader); });
  root.Object("public",
              [this](JsonObjectReader& reader) { ReadPublic(reader); });
  Path(root, "consoles", kFile, &config_.consoles_path);
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

void ConfigParser::ReadListener(JsonObjectReader& reader) {
  ListenerConfig listener;
  reader.Require("address", kAddress.expected);
  ReadAddress(reader, &listener.address);
  reader.Bool("tls", &listener.tls);
  reader.Bool("need_secured", &listener.need_secured);
  if (listener.tls && listener.need_secured) {
    reader.Fail("need_secured", "false on a listener with tls, got true");
  }
  config_.listeners.push_back(std::move(listener));
}

void ConfigParser::CheckListeners(JsonObjectReader& root) {
  const std::vector<ListenerConfig>& all = config_.listeners;
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (all[i].address == all[j].address && all[i].address.port != 0) {
        root.Fail("listeners[" + std::to_string(i) + "].address",
                  "an address of its own, got that of listeners[" +
                      std::to_string(j) + "]");
      }
    }
  }
}

void ConfigParser::ReadTls(JsonObjectReader& reader) {
  Path(reader, "certificate", kFile, &config_.tls.certificate_path);
  Path(reader, "key", kFile, &config_.tls.key_path);
  std::string version = "1.2";
  reader.String("min_version", kTlsVersion, &version);
  config_.tls.min_version =
      version == "1.3" ? TlsVersion::kTls13 : TlsVersion::kTls12;
  if (reader.Has("certificate")) {
    reader.Require("key", "a file name beside certificate");
  }
  if (reader.Has("key")) {
    reader.Require("certificate", "a file name beside key");
  }
}

void ConfigParser::ReadAdmin(JsonObjectReader& reader) {
  ReadAddress(reader, &config_.admin.address);
  reader.String("unix", kUnixPath, &config_.admin.unix_path);
  if (reader.Has("address") && reader.Has("unix")) {
    reader.Fail("", "either address or unix, got both");
  }
  // Whoever reaches it gets into every desktop.
  if (!IsLoopback(config_.admin.address)) {
    reader.Fail("address", "a loopback address, got " +
                               FormatBindAddress(config_.admin.address));
  }
}

void ConfigParser::ReadPublic(JsonObjectReader& reader) {
  PublicConfig& out = config_.public_address;
  reader.String("host", kHost, &out.host);
  reader.Port("port", &out.port);
  reader.Port("tls_port", &out.tls_port);
  reader.String("host_subject", kSubject, &out.host_subject);
  Path(reader, "ca_file", kFile, &out.ca_path);
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
  reader.Int("max_links", 0, 10'000'000, &out.max_links);
  // 256 ids of each of 11 types are all that the protocol can name.
  reader.Int("max_channels_per_session", 1, 2816,
             &out.max_channels_per_session);
  reader.Int("max_tickets", 1, 10'000'000, &out.max_tickets);
}

void ConfigParser::Path(JsonObjectReader& reader, const char* key,
                        const Text& text, std::string* out) {
  reader.String(key, text, out);
  if (reader.Has(key)) {
    *out = ResolveBeside(file_name_, *out);
  }
}

}  // namespace

bool Config::HasTlsListener() const {
  return std::any_of(
      listeners.begin(), listeners.end(),
      [](const ListenerConfig& listener) { return listener.tls; });
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
