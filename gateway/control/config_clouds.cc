// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_clouds.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/base/ascii.h"
#include "gateway/console/console.h"
#include "gateway/console/guard_mode.h"
#include "gateway/console/host_patterns.h"
#include "gateway/control/config_text.h"
#include "gateway/control/service_url.h"

namespace spicegate {
namespace {

using Text = JsonObjectReader::Text;

constexpr size_t kMaxIdentityLen = 255;  // Keystone's columns
constexpr size_t kMaxTitleLen = 256;
constexpr size_t kMaxPathLen = 128;
constexpr char kDefaultDomainId[] = "default";

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9');
}

// In metric labels, log lines and console names alike.
bool IsCloudName(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return IsAlphanumeric(c) || c == '-' || c == '_';
  });
}

bool IsKind(std::string_view word) { return word == "nova" || word == "http"; }

bool IsInterface(std::string_view word) {
  return word == "public" || word == "internal" || word == "admin";
}

// Segments that browsers and balancers would change never arrive.
bool HasOddSegment(std::string_view path) {
  const std::string closed = std::string(path) + "/";
  return path.find("//") != std::string_view::npos ||
         closed.find("/./") != std::string::npos ||
         closed.find("/../") != std::string::npos;
}

// "/" and "/favicon.ico" are the portal's own.
bool IsPortalPath(std::string_view path) {
  return path.size() > 1 && path[0] == '/' && path != "/favicon.ico" &&
         !HasOddSegment(path) &&
         std::all_of(path.begin(), path.end(), [](char c) {
           return IsAlphanumeric(c) ||
                  std::string_view("._~/-").find(c) != std::string_view::npos;
         });
}

bool IsPortalHost(std::string_view host) {
  AddressBytes ignored_address;
  std::string ignored_name;
  return ParseHostAddress(host, &ignored_address) ||
         ParseHostName(host, &ignored_name);
}

bool IsServiceUrl(std::string_view url) {
  ServiceUrl ignored;
  return ParseServiceUrl(url, &ignored);
}

// A placeholder that is misspelt would be taken for a part of the name.
bool IsHostSubject(std::string_view subject) {
  const std::string sample = HostSubjectFor(std::string(subject), "h");
  return IsSubjectText(subject) &&
         sample.find_first_of("{}") == std::string::npos;
}

constexpr Text kName = {"a name of 1 to 32 of A-Z a-z 0-9 _ -",
                        kMaxCloudNameLen, IsCloudName};
constexpr Text kKind = {"\"nova\" or \"http\"", 16, IsKind};
constexpr Text kPath = {
    "a path of at most 128 of A-Z a-z 0-9 . _ ~ / - that begins with /, other "
    "than / and /favicon.ico, without empty, . and .. segments",
    kMaxPathLen, IsPortalPath};
constexpr Text kHost = {"a host name or an address, without port and brackets",
                        kMaxConfigHostLen, IsPortalHost};
// Shown by its length only: somebody may have put a password into it.
constexpr Text kUrl = {
    "an http: or https: URL with host and maybe port and path, without user, "
    "password, query and fragment",
    kMaxServiceUrlLen, IsServiceUrl, /*secret=*/true};
constexpr Text kIdentity = {"a name or an id of at most 255 bytes in one line",
                            kMaxIdentityLen, IsOneLineText};
constexpr Text kInterface = {"\"public\", \"internal\" or \"admin\"", 16,
                             IsInterface};
constexpr Text kTitle = {"a title of at most 256 bytes in one line",
                         kMaxTitleLen, IsOneLineText};
constexpr Text kPolicy = {"the name of a policy", kMaxConsoleNameLen,
                          IsConsoleName};
constexpr Text kHostSubject = {
    "a subject such as \"O=Example,CN={host}\", with no other braces",
    kMaxConfigSubjectLen, IsHostSubject};

// A name or an id, and the domain of a name, by name or id.
struct Identity {
  std::string* name;
  std::string* id;
  std::string* domain;
  std::string* domain_id;
};

// The keys of one: {"user", "user_id", "user_domain", "user_domain_id"}.
struct IdentityKeys {
  const char* name;
  const char* id;
  const char* domain;
  const char* domain_id;
};

constexpr IdentityKeys kUserKeys = {"user", "user_id", "user_domain",
                                    "user_domain_id"};
constexpr IdentityKeys kProjectKeys = {"project", "project_id",
                                       "project_domain", "project_domain_id"};

// At most one of both keys.
void CheckEither(JsonObjectReader& reader, const char* one, const char* other) {
  if (reader.Has(one) && reader.Has(other)) {
    reader.Fail("",
                std::string("either ") + one + " or " + other + ", got both");
  }
}

// `key` has nothing to say here, because of `reason`.
void CheckAbsent(JsonObjectReader& reader, const char* key,
                 const std::string& reason) {
  if (reader.Has(key)) {
    reader.Fail(key, "nothing " + reason + ", got a value");
  }
}

void ReadIdentity(JsonObjectReader& reader, const IdentityKeys& keys,
                  const Identity& out) {
  CheckEither(reader, keys.name, keys.id);
  CheckEither(reader, keys.domain, keys.domain_id);
  reader.String(keys.name, kIdentity, out.name);
  reader.String(keys.id, kIdentity, out.id);
  reader.String(keys.domain, kIdentity, out.domain);
  reader.String(keys.domain_id, kIdentity, out.domain_id);
  if (!reader.Has(keys.name)) {
    reader.Require(keys.id, kIdentity.expected);
    const std::string reason = std::string("beside ") + keys.id;
    CheckAbsent(reader, keys.domain, reason);
    CheckAbsent(reader, keys.domain_id, reason);
  } else if (out.domain->empty() && out.domain_id->empty()) {
    *out.domain_id = kDefaultDomainId;
  }
}

// Reads the clouds of one configuration.
class CloudsParser {
 public:
  CloudsParser(const std::string& file_name, const Config& config)
      : file_name_(file_name), config_(config) {}

  void ReadOne(JsonObjectReader& reader);
  std::vector<CloudConfig> Take() { return std::move(clouds_); }

 private:
  void ReadPlaces(JsonObjectReader& reader, CloudConfig* cloud);
  void ReadNova(JsonObjectReader& reader, CloudConfig* cloud);
  void ReadKeystone(JsonObjectReader& reader, KeystoneConfig* out);
  void ReadPassword(JsonObjectReader& reader, KeystoneConfig* out);
  void ReadCredential(JsonObjectReader& reader, KeystoneConfig* out);
  void ReadCompute(JsonObjectReader& reader, ComputeConfig* out);
  void ReadBroker(JsonObjectReader& reader, BrokerConfig* out);
  void ReadServers(JsonObjectReader& reader, CloudConfig* cloud);
  void ReadRules(JsonObjectReader& reader, CloudConfig* cloud);
  void CheckName(JsonObjectReader& reader, const CloudConfig& cloud);
  void CheckPlaces(JsonObjectReader& reader, const CloudConfig& cloud);
  void File(JsonObjectReader& reader, const char* key, std::string* out) {
    ReadPath(reader, key, kFileText, file_name_, out);
  }

  const std::string& file_name_;
  const Config& config_;
  std::vector<CloudConfig> clouds_;
};

void CloudsParser::ReadOne(JsonObjectReader& reader) {
  CloudConfig cloud;
  reader.Require("name", kName.expected);
  reader.String("name", kName, &cloud.name);
  CheckName(reader, cloud);
  reader.Require("kind", kKind.expected);
  std::string kind;
  reader.String("kind", kKind, &kind);
  if (kind == "http") {
    cloud.kind = CloudKind::kHttp;
    cloud.paths = {"/console", "/console.vv"};
    ReadBroker(reader, &cloud.broker);
  } else {
    ReadNova(reader, &cloud);
  }
  ReadPlaces(reader, &cloud);
  ReadServers(reader, &cloud);
  ReadRules(reader, &cloud);
  clouds_.push_back(std::move(cloud));
}

void CloudsParser::CheckName(JsonObjectReader& reader,
                             const CloudConfig& cloud) {
  for (size_t i = 0; i < clouds_.size(); ++i) {
    if (clouds_[i].name == cloud.name) {
      reader.Fail("name", "a name of its own, got that of clouds[" +
                              std::to_string(i) + "]");
    }
  }
}

// Whether `text` occurs in `list`.
bool Contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool ShareOne(const std::vector<std::string>& a,
              const std::vector<std::string>& b) {
  return std::any_of(a.begin(), a.end(), [&b](const std::string& text) {
    return Contains(b, text);
  });
}

// Each entry of `key` once.
void CheckTwice(JsonObjectReader& reader, const char* key,
                const std::vector<std::string>& list) {
  for (size_t i = 1; i < list.size(); ++i) {
    if (std::find(list.begin(), list.begin() + i, list[i]) !=
        list.begin() + i) {
      reader.Fail(std::string(key) + "[" + std::to_string(i) + "]",
                  "each entry once, got \"" + list[i] + "\" again");
    }
  }
}

// As a Host header is compared: names in lower case, addresses as they are.
std::string PlainHost(const std::string& host) {
  std::string name;
  return ParseHostName(host, &name) ? name : AsciiLowered(host);
}

void CloudsParser::ReadPlaces(JsonObjectReader& reader, CloudConfig* cloud) {
  reader.Strings("paths", 1, kMaxCloudPaths, kPath, &cloud->paths);
  reader.Strings("hosts", 1, kMaxCloudHosts, kHost, &cloud->hosts);
  for (std::string& host : cloud->hosts) {
    host = PlainHost(host);
  }
  CheckTwice(reader, "paths", cloud->paths);
  CheckTwice(reader, "hosts", cloud->hosts);
  CheckPlaces(reader, *cloud);
}

// A token must be shown to one cloud only.
void CloudsParser::CheckPlaces(JsonObjectReader& reader,
                               const CloudConfig& cloud) {
  for (size_t i = 0; i < clouds_.size(); ++i) {
    const CloudConfig& other = clouds_[i];
    const bool same_host = cloud.hosts.empty()
                               ? other.hosts.empty()
                               : ShareOne(cloud.hosts, other.hosts);
    if (same_host && ShareOne(cloud.paths, other.paths)) {
      reader.Fail("paths", "other paths than clouds[" + std::to_string(i) +
                               "], or other hosts, got one path of both at "
                               "the same host");
    }
  }
}

void CloudsParser::ReadNova(JsonObjectReader& reader, CloudConfig* cloud) {
  reader.Require("keystone", "an object");
  reader.Object("keystone", [this, cloud](JsonObjectReader& inner) {
    ReadKeystone(inner, &cloud->keystone);
  });
  reader.Object("compute", [this, cloud](JsonObjectReader& inner) {
    ReadCompute(inner, &cloud->compute);
  });
  if (cloud->compute.ca_path.empty()) {
    cloud->compute.ca_path = cloud->keystone.ca_path;
  }
}

void CloudsParser::ReadKeystone(JsonObjectReader& reader, KeystoneConfig* out) {
  reader.Require("url", kUrl.expected);
  reader.String("url", kUrl, &out->url);
  File(reader, "ca_file", &out->ca_path);
  out->credential = reader.Has("application_credential");
  if (!out->credential) {
    ReadPassword(reader, out);
  }
  reader.Object("application_credential", [this, out](JsonObjectReader& inner) {
    ReadCredential(inner, out);
  });
}

void CloudsParser::ReadPassword(JsonObjectReader& reader, KeystoneConfig* out) {
  ReadIdentity(
      reader, kUserKeys,
      {&out->user, &out->user_id, &out->user_domain, &out->user_domain_id});
  reader.Require("password_file", kFileText.expected);
  File(reader, "password_file", &out->secret_path);
  ReadIdentity(reader, kProjectKeys,
               {&out->project, &out->project_id, &out->project_domain,
                &out->project_domain_id});
}

// Keystone refuses a scope with it: the credential has its project.
void CloudsParser::ReadCredential(JsonObjectReader& reader,
                                  KeystoneConfig* out) {
  CheckEither(reader, "id", "name");
  reader.String("id", kIdentity, &out->credential_id);
  reader.String("name", kIdentity, &out->credential_name);
  if (reader.Has("name")) {
    ReadIdentity(
        reader, kUserKeys,
        {&out->user, &out->user_id, &out->user_domain, &out->user_domain_id});
  } else {
    reader.Require("id", kIdentity.expected);
  }
  reader.Require("secret_file", kFileText.expected);
  File(reader, "secret_file", &out->secret_path);
}

void CloudsParser::ReadCompute(JsonObjectReader& reader, ComputeConfig* out) {
  reader.String("endpoint", kUrl, &out->endpoint);
  reader.String("interface", kInterface, &out->interface);
  reader.String("region", kIdentity, &out->region);
  File(reader, "ca_file", &out->ca_path);
  CheckEither(reader, "endpoint", "interface");
  CheckEither(reader, "endpoint", "region");
}

void CloudsParser::ReadBroker(JsonObjectReader& reader, BrokerConfig* out) {
  reader.Require("url", kUrl.expected);
  reader.String("url", kUrl, &out->url);
  File(reader, "ca_file", &out->ca_path);
  File(reader, "bearer_file", &out->secret_path);
}

// A broker may bring the CA with each console; Nova has none to give.
void CloudsParser::ReadServers(JsonObjectReader& reader, CloudConfig* cloud) {
  CloudServers& out = cloud->servers;
  reader.Object("servers", [&](JsonObjectReader& inner) {
    inner.Bool("require_secure", &out.require_secure);
    File(inner, "ca_file", &out.ca_path);
    inner.String("host_subject", kHostSubject, &out.host_subject);
    if (cloud->kind == CloudKind::kHttp) {
      return;
    }
    if (out.require_secure) {
      inner.Require("ca_file", "a file name beside require_secure");
    }
    if (inner.Has("host_subject")) {
      inner.Require("ca_file", "a file name beside host_subject");
    }
  });
}

void CloudsParser::ReadRules(JsonObjectReader& reader, CloudConfig* cloud) {
  reader.String("title", kTitle, &cloud->title);
  reader.String("policy", kPolicy, &cloud->policy_name);
  if (reader.ok() && reader.Has("policy") &&
      config_.policies.count(cloud->policy_name) == 0) {
    reader.Fail("policy", "one of the configuration's policies, got \"" +
                              cloud->policy_name + '"');
  }
  cloud->guard = config_.guard;
  ReadGuardMode(reader, &cloud->guard);
}

}  // namespace

std::string HostSubjectFor(const std::string& host_subject,
                           const std::string& host) {
  constexpr std::string_view kPlaceholder = kHostPlaceholder;
  std::string filled;
  size_t done = 0;
  for (size_t at;
       (at = host_subject.find(kPlaceholder, done)) != std::string::npos;) {
    filled += host_subject.substr(done, at - done) + host;
    done = at + kPlaceholder.size();
  }
  return filled + host_subject.substr(done);
}

void ReadClouds(JsonObjectReader& root, const std::string& file_name,
                Config* out) {
  CloudsParser parser(file_name, *out);
  root.Objects("clouds", 1, kMaxClouds,
               [&parser](JsonObjectReader& reader) { parser.ReadOne(reader); });
  out->clouds = parser.Take();
  if (out->portal.enabled) {
    root.Require("clouds", "at least one beside portal");
  } else if (!out->clouds.empty()) {
    root.Require("portal", "an object beside clouds");
  }
}

}  // namespace spicegate
