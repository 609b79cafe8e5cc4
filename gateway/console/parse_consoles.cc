// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "gateway/base/json.h"
#include "gateway/base/json_reader.h"
#include "gateway/console/file_directory.h"
#include "gateway/console/guard_mode.h"

namespace spicegate {
namespace {

constexpr size_t kMaxTitleLen = 256;
constexpr size_t kMaxHostLen = 253;       // RFC 1035
constexpr size_t kMaxFileNameLen = 4095;  // PATH_MAX
constexpr size_t kMaxSubjectLen = 1024;
constexpr size_t kMaxShownPolicies = 20;

using Text = JsonObjectReader::Text;

bool IsPrintable(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

bool IsPatternTitle(std::string_view text) {
  return IsPrintable(text) && text.find('*') == text.rfind('*');
}

bool IsMonitor(std::string_view word) {
  return word == "shared" || word == "own";
}

// Names are judged by the resolver; this keeps out what is no name at all:
// URLs, brackets, ports.
bool IsHost(std::string_view host) {
  const bool is_ipv6 = std::count(host.begin(), host.end(), ':') > 1;
  return std::all_of(host.begin(), host.end(), [is_ipv6](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
           (is_ipv6 && (c == ':' || c == '%'));
  });
}

bool IsAbsolutePath(std::string_view path) { return path[0] == '/'; }

bool LooksLikePem(std::string_view pem) {
  return pem.find("-----BEGIN CERTIFICATE-----") != std::string_view::npos;
}

bool LooksLikeSubject(std::string_view subject) {
  return IsPrintable(subject) && subject.find('=') != std::string_view::npos;
}

constexpr Text kName = {"a name of 1 to 128 of A-Z a-z 0-9 . _ -",
                        kMaxConsoleNameLen, IsConsoleName};
constexpr Text kTitle = {"a title of at most 256 bytes in one line",
                         kMaxTitleLen, IsPrintable};
constexpr Text kHost = {"a host name or an address without brackets and port",
                        kMaxHostLen, IsHost};
constexpr Text kUnix = {"an absolute path of at most 107 bytes",
                        kMaxSocketPathLen, IsAbsolutePath};
constexpr Text kSockets = {"an absolute path of at most 107 bytes with one *",
                           kMaxSocketPathLen, IsSocketPattern};
constexpr Text kPatternName = {
    "one * and around it up to 127 of A-Z a-z 0-9 . _ -", kMaxConsoleNameLen,
    IsPatternName};
constexpr Text kPatternTitle = {
    "a title of at most 256 bytes in one line, with at most one *",
    kMaxTitleLen, IsPatternTitle};
constexpr Text kMonitor = {"\"shared\" or \"own\"", 16, IsMonitor};
constexpr Text kTicket = {"a ticket of at most 59 bytes", kMaxServerTicketLen,
                          nullptr, /*secret=*/true, /*may_be_empty=*/true};
constexpr Text kPolicyName = {"the name of a policy", kMaxConsoleNameLen,
                              IsConsoleName};
constexpr Text kCa = {"certificates in PEM", kMaxCaBytes, LooksLikePem};
constexpr Text kCaFile = {"a file name", kMaxFileNameLen, nullptr};
constexpr Text kSubject = {"a subject such as \"O=Test,CN=vm.example.test\"",
                           kMaxSubjectLen, LooksLikeSubject};

const Policy* FindPolicy(const PolicySet* policies, const std::string& name) {
  if (policies == nullptr) {
    return nullptr;
  }
  const auto found = policies->find(name);
  return found == policies->end() ? nullptr : &found->second;
}

// What a policy's name must be, for an error.
std::string KnownPolicies(const PolicySet* policies) {
  if (policies == nullptr || policies->empty()) {
    return "no policy, as the configuration has none";
  }
  std::string names;
  size_t num_shown = 0;
  for (const auto& [name, ignored] : *policies) {
    if (num_shown == kMaxShownPolicies) {
      names += " and " + std::to_string(policies->size() - num_shown) + " more";
      break;
    }
    names += (names.empty() ? "" : ", ") + name;
    ++num_shown;
  }
  return "one of the configuration's policies: " + names;
}

// Reads the consoles of one file.
class ConsolesParser {
 public:
  ConsolesParser(const std::string& file_name, const ConsoleDefaults& defaults,
                 const FileFetch& fetch, const PemCheck& pem_check)
      : file_name_(file_name),
        defaults_(defaults),
        fetch_(fetch),
        pem_check_(pem_check) {}

  void ReadOne(JsonObjectReader& reader);
  void ReadPattern(JsonObjectReader& reader);
  ConsolesFile Take() { return std::move(file_); }

 private:
  static void ReadQmp(JsonObjectReader& reader, Console* console);
  static void ReadMonitor(JsonObjectReader& reader, Console* console);
  void ReadAddress(JsonObjectReader& reader, Console* console);
  void ReadTickets(JsonObjectReader& reader, Console* console);
  void ReadTls(JsonObjectReader& reader, Console* console);
  void CheckTls(JsonObjectReader& reader);
  void ReadPolicy(JsonObjectReader& reader, Console* console);
  void FetchCa(JsonObjectReader& reader, const std::string& name,
               Console* console);
  void CheckUnique(JsonObjectReader& reader, const Console& console);

  const std::string& file_name_;
  const ConsoleDefaults& defaults_;
  const FileFetch& fetch_;
  const PemCheck& pem_check_;
  ConsolesFile file_;
  absl::flat_hash_map<std::string, size_t> index_by_name_;
  absl::flat_hash_map<std::string, size_t> index_by_socket_;
};

void ConsolesParser::ReadOne(JsonObjectReader& reader) {
  Console console;
  reader.Require("name", kName.expected);
  reader.String("name", kName, &console.name);
  reader.String("title", kTitle, &console.title);
  ReadAddress(reader, &console);
  ReadTickets(reader, &console);
  ReadQmp(reader, &console);
  ReadTls(reader, &console);
  ReadPolicy(reader, &console);
  CheckUnique(reader, console);
  if (reader.ok()) {
    file_.consoles.push_back(std::move(console));
  }
}

void ConsolesParser::ReadPattern(JsonObjectReader& reader) {
  ConsolePattern pattern;
  Console& model = pattern.model;
  model.name = "*";
  reader.Require("sockets", kSockets.expected);
  reader.String("sockets", kSockets, &pattern.sockets);
  reader.String("name", kPatternName, &model.name);
  reader.String("title", kPatternTitle, &model.title);
  ReadMonitor(reader, &model);
  ReadTls(reader, &model);
  ReadPolicy(reader, &model);
  if (reader.ok()) {
    file_.patterns.push_back(std::move(pattern));
  }
}

void ConsolesParser::ReadAddress(JsonObjectReader& reader, Console* console) {
  reader.String("host", kHost, &console->host);
  reader.Port("port", &console->port);
  reader.Port("tls_port", &console->tls_port);
  reader.String("unix", kUnix, &console->unix_path);
  const bool has_host =
      reader.Has("host") || reader.Has("port") || reader.Has("tls_port");
  if (reader.Has("unix") && has_host) {
    reader.Fail("", "either unix, or host and ports, got both");
  }
  if (!reader.Has("unix") && !reader.Has("qmp")) {
    reader.Require("host", "a host, or unix or qmp in its place");
    if (!reader.Has("port") && !reader.Has("tls_port")) {
      reader.Fail("", "port or tls_port beside host, got neither");
    }
  }
}

void ConsolesParser::ReadTickets(JsonObjectReader& reader, Console* console) {
  reader.String("ticket", kTicket, &console->ticket);
  std::string destination_ticket;
  reader.String("destination_ticket", kTicket, &destination_ticket);
  if (reader.Has("destination_ticket")) {
    console->destination_ticket = std::move(destination_ticket);
  }
}

// Where its server is and what it lets in is asked there.
void ConsolesParser::ReadQmp(JsonObjectReader& reader, Console* console) {
  reader.String("qmp", kUnix, &console->qmp_path);
  ReadMonitor(reader, console);
  if (!reader.Has("qmp")) {
    if (reader.Has("qmp_monitor")) {
      reader.Fail("qmp", "a socket beside qmp_monitor, got nothing");
    }
    return;
  }
  for (const char* key :
       {"host", "port", "tls_port", "unix", "ticket", "destination_ticket"}) {
    if (reader.Has(key)) {
      reader.Fail("", std::string("either qmp or ") + key + ", got both");
    }
  }
}

void ConsolesParser::ReadMonitor(JsonObjectReader& reader, Console* console) {
  std::string monitor = "shared";
  reader.String("qmp_monitor", kMonitor, &monitor);
  console->qmp_monitor =
      monitor == "own" ? QmpMonitor::kOwn : QmpMonitor::kShared;
}

void ConsolesParser::ReadTls(JsonObjectReader& reader, Console* console) {
  reader.String("ca", kCa, &console->ca_pem);
  std::string ca_file;
  reader.String("ca_file", kCaFile, &ca_file);
  reader.String("host_subject", kSubject, &console->host_subject);
  CheckTls(reader);
  if (!ca_file.empty() && reader.ok()) {
    FetchCa(reader, ca_file, console);
  }
  if (pem_check_ && !console->ca_pem.empty() && reader.ok()) {
    const absl::Status status = pem_check_(console->ca_pem);
    if (!status.ok()) {
      reader.Fail(reader.Has("ca") ? "ca" : "ca_file",
                  "certificates in PEM: " + std::string(status.message()));
    }
  }
}

// Whoever wrote one of these believes that the connection is verified.
void ConsolesParser::CheckTls(JsonObjectReader& reader) {
  const bool has_ca = reader.Has("ca") || reader.Has("ca_file");
  const bool has_qmp = reader.Has("qmp") || reader.Has("sockets");
  if (reader.Has("ca") && reader.Has("ca_file")) {
    reader.Fail("", "either ca or ca_file, got both");
  }
  if (reader.Has("tls_port") && !has_ca) {
    reader.Fail("ca", "ca or ca_file beside tls_port, got nothing");
  }
  if (has_qmp && reader.Has("host_subject") && !has_ca) {
    reader.Fail("ca", "ca or ca_file beside host_subject, got nothing");
  }
  if (!has_qmp && !reader.Has("tls_port") &&
      (has_ca || reader.Has("host_subject"))) {
    reader.Fail("tls_port",
                "a port beside ca, ca_file or host_subject, got nothing");
  }
}

void ConsolesParser::ReadPolicy(JsonObjectReader& reader, Console* console) {
  console->guard = defaults_.guard;
  ReadGuardMode(reader, &console->guard);
  reader.String("policy", kPolicyName, &console->policy_name);
  if (!reader.ok() || console->policy_name.empty()) {
    return;
  }
  const Policy* policy = FindPolicy(defaults_.policies, console->policy_name);
  if (policy == nullptr) {
    return reader.Fail("policy", KnownPolicies(defaults_.policies) +
                                     ", got \"" + console->policy_name + '"');
  }
  console->policy = *policy;
}

void ConsolesParser::FetchCa(JsonObjectReader& reader, const std::string& name,
                             Console* console) {
  absl::StatusOr<std::string> pem = fetch_(ResolveBeside(file_name_, name));
  if (!pem.ok()) {
    reader.Fail("ca_file",
                "a readable file; " + std::string(pem.status().message()));
  } else if (!LooksLikePem(*pem)) {
    reader.Fail("ca_file", "a file with certificates in PEM, got none in it");
  } else {
    console->ca_pem = *std::move(pem);
  }
}

void ConsolesParser::CheckUnique(JsonObjectReader& reader,
                                 const Console& console) {
  const size_t index = file_.consoles.size();
  const auto [name, is_new] = index_by_name_.emplace(console.name, index);
  if (!is_new) {
    reader.Fail("name", "a name of its own, got that of consoles[" +
                            std::to_string(name->second) + "]");
  }
  if (console.qmp_path.empty()) {
    return;
  }
  // Each would take the other's password away.
  const auto [socket, is_free] =
      index_by_socket_.emplace(console.qmp_path, index);
  if (!is_free) {
    reader.Fail("qmp", "a socket of its own, got that of consoles[" +
                           std::to_string(socket->second) + "]");
  }
}

}  // namespace

absl::StatusOr<ConsolesFile> ParseConsoles(const std::string& text,
                                           const std::string& file_name,
                                           const ConsoleDefaults& defaults,
                                           const FileFetch& fetch,
                                           const PemCheck& pem_check) {
  ConsolesParser parser(file_name, defaults, fetch, pem_check);
  absl::StatusOr<JsonValue> root = ParseJson(text);
  absl::Status status = root.status();
  if (root.ok()) {
    JsonObjectReader reader(*root, "", &status);
    if (!reader.Has("qmp")) {
      reader.Require("consoles", "an array of objects");
    }
    reader.Objects("consoles", 0, kMaxConsoles,
                   [&](JsonObjectReader& item) { parser.ReadOne(item); });
    reader.Objects("qmp", 0, kMaxConsolePatterns,
                   [&](JsonObjectReader& item) { parser.ReadPattern(item); });
    reader.Finish();
  }
  if (!status.ok()) {
    return absl::InvalidArgumentError(file_name + ": " +
                                      std::string(status.message()));
  }
  return parser.Take();
}

}  // namespace spicegate
