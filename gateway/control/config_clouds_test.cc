// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_clouds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kIdentity[] =
    R"("user": "spicegate", "password_file": "pw", "project": "service")";

std::string WithClouds(const std::string& clouds, const std::string& more) {
  return R"({"portal": {"address": "*:13002"}, "clouds": [)" + clouds + "]" +
         more + "}";
}

// A cloud of Nova whose "keystone" is `keystone`.
std::string Nova(const std::string& keystone, const std::string& more = "",
                 const std::string& name = "prod") {
  return R"({"name": ")" + name + R"(", "kind": "nova", "keystone": {)" +
         R"("url": "https://k/v3", )" + keystone + "}" +
         (more.empty() ? "" : ", " + more) + "}";
}

std::string Broker(const std::string& more = "",
                   const std::string& name = "b") {
  return R"({"name": ")" + name + R"(", "kind": "http", "url": "https://b/c")" +
         (more.empty() ? "" : ", " + more) + "}";
}

std::vector<CloudConfig> Clouds(const std::string& clouds,
                                const std::string& more = "") {
  const auto config = ParseConfig(WithClouds(clouds, more), "/etc/sg/c.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->clouds : std::vector<CloudConfig>(2);
}

CloudConfig Cloud(const std::string& cloud, const std::string& more = "") {
  return Clouds(cloud, more).front();
}

// The error without the file's name in front.
std::string ErrorOf(const std::string& clouds, const std::string& more = "") {
  const absl::Status status =
      ParseConfig(WithClouds(clouds, more), "f").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << clouds;
  const std::string message(status.message());
  EXPECT_THAT(message, StartsWith("f: ")) << clouds;
  return message.substr(std::min<size_t>(3, message.size()));
}

TEST(ConfigClouds, ReadsPassword) {
  const CloudConfig cloud = Cloud(Nova(kIdentity));
  EXPECT_EQ(cloud.name, "prod");
  EXPECT_EQ(cloud.kind, CloudKind::kNova);
  EXPECT_THAT(cloud.paths, ElementsAre("/nova", "/nova-console.vv"));
  EXPECT_TRUE(cloud.hosts.empty());
  const KeystoneConfig& keystone = cloud.keystone;
  EXPECT_EQ(keystone.url, "https://k/v3");
  EXPECT_EQ(keystone.ca_path, "");
  EXPECT_FALSE(keystone.credential);
  EXPECT_EQ(keystone.user, "spicegate");
  EXPECT_EQ(keystone.user_domain, "");
  EXPECT_EQ(keystone.user_domain_id, "default");
  EXPECT_EQ(keystone.project, "service");
  EXPECT_EQ(keystone.project_domain_id, "default");
  EXPECT_EQ(keystone.secret_path, "/etc/sg/pw");
  EXPECT_EQ(cloud.compute.endpoint, "");
  EXPECT_EQ(cloud.compute.interface, "public");
  EXPECT_EQ(cloud.compute.region, "");
  EXPECT_FALSE(cloud.servers.require_secure);
  EXPECT_EQ(cloud.guard, GuardMode::kEnforce);
}

TEST(ConfigClouds, ReadsNamesIdsAndDomains) {
  const KeystoneConfig ids = Cloud(Nova(R"("user_id": "u1", "project_id": "p1",
                    "password_file": "/run/credentials/x/pw")"))
                                 .keystone;
  EXPECT_EQ(ids.user_id, "u1");
  EXPECT_EQ(ids.user, "");
  EXPECT_EQ(ids.user_domain_id, "");
  EXPECT_EQ(ids.project_id, "p1");
  EXPECT_EQ(ids.project_domain_id, "");
  EXPECT_EQ(ids.secret_path, "/run/credentials/x/pw");
  const KeystoneConfig names =
      Cloud(Nova(std::string(kIdentity) +
                 R"(, "user_domain": "Default", "project_domain_id": "d2")"))
          .keystone;
  EXPECT_EQ(names.user_domain, "Default");
  EXPECT_EQ(names.user_domain_id, "");
  EXPECT_EQ(names.project_domain, "");
  EXPECT_EQ(names.project_domain_id, "d2");
}

TEST(ConfigClouds, ReadsApplicationCredentials) {
  const KeystoneConfig by_id =
      Cloud(Nova(R"("application_credential": {"id": "ac", "secret_file": "s"},
                    "ca_file": "k.pem")"))
          .keystone;
  EXPECT_TRUE(by_id.credential);
  EXPECT_EQ(by_id.credential_id, "ac");
  EXPECT_EQ(by_id.secret_path, "/etc/sg/s");
  EXPECT_EQ(by_id.ca_path, "/etc/sg/k.pem");
  EXPECT_EQ(by_id.project_domain_id, "");
  const KeystoneConfig by_name =
      Cloud(Nova(R"("application_credential": {"name": "n", "user": "u",
                    "user_domain": "D", "secret_file": "s"})"))
          .keystone;
  EXPECT_EQ(by_name.credential_id, "");
  EXPECT_EQ(by_name.credential_name, "n");
  EXPECT_EQ(by_name.user, "u");
  EXPECT_EQ(by_name.user_domain, "D");
  EXPECT_EQ(by_name.user_domain_id, "");
}

TEST(ConfigClouds, ReadsCompute) {
  const CloudConfig fixed =
      Cloud(Nova(std::string(kIdentity) + R"(, "ca_file": "k.pem")",
                 R"("compute": {"endpoint": "http://[fd00::1]:8774/v2.1/"})"));
  EXPECT_EQ(fixed.compute.endpoint, "http://[fd00::1]:8774/v2.1/");
  EXPECT_EQ(fixed.compute.ca_path, "/etc/sg/k.pem");
  const CloudConfig listed =
      Cloud(Nova(kIdentity, R"("compute": {"interface": "internal",
                         "region": "RegionTwo", "ca_file": "n.pem"})"));
  EXPECT_EQ(listed.compute.interface, "internal");
  EXPECT_EQ(listed.compute.region, "RegionTwo");
  EXPECT_EQ(listed.compute.ca_path, "/etc/sg/n.pem");
}

TEST(ConfigClouds, ReadsServersAndRules) {
  const CloudConfig cloud = Cloud(
      Nova(kIdentity, R"("servers": {"require_secure": true, "ca_file": "h.pem",
                         "host_subject": "O=Example,CN={host}"},
                         "title": "Büro", "policy": "office",
                         "guard": "count", "paths": ["/a/b.vv"],
                         "hosts": ["Desk.Example.org", "10.0.0.1",
                                   "FD00::1"])"),
      R"(, "policies": {"office": {}}, "guard": "off")");
  EXPECT_TRUE(cloud.servers.require_secure);
  EXPECT_EQ(cloud.servers.ca_path, "/etc/sg/h.pem");
  EXPECT_EQ(cloud.servers.host_subject, "O=Example,CN={host}");
  EXPECT_EQ(cloud.title, "Büro");
  EXPECT_EQ(cloud.policy_name, "office");
  EXPECT_EQ(cloud.guard, GuardMode::kCount);
  EXPECT_THAT(cloud.paths, ElementsAre("/a/b.vv"));
  EXPECT_THAT(cloud.hosts,
              ElementsAre("desk.example.org", "10.0.0.1", "fd00::1"));
  EXPECT_EQ(Cloud(Broker(), R"(, "guard": "off")").guard, GuardMode::kOff);
}

TEST(ConfigClouds, ReadsBrokers) {
  const CloudConfig cloud =
      Cloud(Broker(R"("ca_file": "b.pem", "bearer_file": "bearer",
                      "servers": {"require_secure": true})"));
  EXPECT_EQ(cloud.kind, CloudKind::kHttp);
  EXPECT_EQ(cloud.broker.url, "https://b/c");
  EXPECT_EQ(cloud.broker.ca_path, "/etc/sg/b.pem");
  EXPECT_EQ(cloud.broker.secret_path, "/etc/sg/bearer");
  EXPECT_TRUE(cloud.servers.require_secure);
  EXPECT_THAT(cloud.paths, ElementsAre("/console", "/console.vv"));
}

TEST(ConfigClouds, WantsNameAndKind) {
  EXPECT_EQ(ErrorOf(R"({"kind": "nova"})"),
            "clouds[0].name: expected a name of 1 to 32 of A-Z a-z 0-9 _ -, "
            "got nothing");
  EXPECT_EQ(ErrorOf(R"({"name": "a"})"),
            "clouds[0].kind: expected \"nova\" or \"http\", got nothing");
  EXPECT_EQ(ErrorOf(R"({"name": "a", "kind": "openstack"})"),
            "clouds[0].kind: expected \"nova\" or \"http\", got \"openstack\"");
  for (const char* name :
       {"", "a.b", "a b", "ä", "a23456789012345678901234567890123"}) {
    EXPECT_THAT(ErrorOf(Broker("", name)), HasSubstr("clouds[0].name: exp"));
  }
  EXPECT_EQ(ErrorOf(Broker() + "," + Broker(R"("paths": ["/x"])")),
            "clouds[1].name: expected a name of its own, got that of "
            "clouds[0]");
}

TEST(ConfigClouds, KnowsTheKeysOfEachKind) {
  EXPECT_THAT(ErrorOf(Broker(R"("keystone": {})")),
              HasSubstr("clouds[0]: expected one of the keys"));
  EXPECT_THAT(ErrorOf(Nova(kIdentity, R"("bearer_file": "f")")),
              HasSubstr("clouds[0]: expected one of the keys"));
  EXPECT_EQ(ErrorOf(R"({"name": "a", "kind": "nova"})"),
            "clouds[0].keystone: expected an object, got nothing");
  EXPECT_THAT(ErrorOf(R"({"name": "a", "kind": "http"})"),
              HasSubstr("clouds[0].url: expected an http: or https: URL"));
}

TEST(ConfigClouds, WantsOneIdentity) {
  EXPECT_THAT(ErrorOf(Nova(R"("password_file": "p", "project": "s")")),
              HasSubstr("clouds[0].keystone.user_id: expected a name or an "
                        "id"));
  EXPECT_THAT(ErrorOf(Nova(R"("user": "u", "project": "s")")),
              HasSubstr("clouds[0].keystone.password_file: expected a file"));
  EXPECT_THAT(ErrorOf(Nova(R"("user": "u", "password_file": "p")")),
              HasSubstr("clouds[0].keystone.project_id: expected a name or"));
  const auto with = [](const std::string& more) {
    return ErrorOf(Nova(std::string(kIdentity) + ", " + more));
  };
  EXPECT_EQ(with(R"("user_id": "u")"),
            "clouds[0].keystone: expected either user or user_id, got both");
  EXPECT_EQ(with(R"("project_domain": "a", "project_domain_id": "b")"),
            "clouds[0].keystone: expected either project_domain or "
            "project_domain_id, got both");
  EXPECT_EQ(ErrorOf(Nova(R"("user_id": "u", "user_domain": "d",
                            "password_file": "p", "project": "s")")),
            "clouds[0].keystone.user_domain: expected nothing beside user_id, "
            "got a value");
  EXPECT_THAT(with(R"("password": "hunter2")"),
              HasSubstr("clouds[0].keystone: expected one of the keys"));
}

TEST(ConfigClouds, WantsOneCredential) {
  const auto with = [](const std::string& members) {
    return ErrorOf(Nova(R"("application_credential": {)" + members + "}"));
  };
  const std::string path = "clouds[0].keystone.application_credential";
  EXPECT_THAT(with(R"("secret_file": "s")"), HasSubstr(path + ".id: expected"));
  EXPECT_EQ(with(R"("id": "i", "name": "n", "secret_file": "s")"),
            path + ": expected either id or name, got both");
  EXPECT_THAT(with(R"("id": "i")"), HasSubstr(path + ".secret_file: expected"));
  EXPECT_THAT(with(R"("name": "n", "secret_file": "s")"),
              HasSubstr(path + ".user_id: expected"));
  EXPECT_THAT(with(R"("id": "i", "secret_file": "s", "user": "u")"),
              HasSubstr(path + ": expected one of the keys"));
  // Keystone refuses a scope beside it.
  EXPECT_THAT(
      ErrorOf(Nova(R"("project": "service", "application_credential":
                      {"id": "i", "secret_file": "s"})")),
      HasSubstr("clouds[0].keystone: expected one of the keys url, ca_file, "
                "application_credential, got \"project\""));
}

TEST(ConfigClouds, ShowsNoSecretOfAUrl) {
  const std::string error = ErrorOf(
      R"({"name": "b", "kind": "http", "url": "https://u:hunter2@b/c"})");
  EXPECT_THAT(error, HasSubstr("clouds[0].url: expected an http: or https:"));
  EXPECT_THAT(error, HasSubstr("got one of 21 bytes"));
  EXPECT_THAT(error, Not(HasSubstr("hunter2")));
  EXPECT_THAT(ErrorOf(Nova(kIdentity, R"("compute": {"endpoint": "nova"})")),
              HasSubstr("clouds[0].compute.endpoint: expected an http:"));
}

TEST(ConfigClouds, WantsEndpointOrCatalog) {
  const auto with = [](const std::string& members) {
    return ErrorOf(Nova(kIdentity, R"("compute": {)" + members + "}"));
  };
  EXPECT_EQ(with(R"("endpoint": "http://n", "region": "R")"),
            "clouds[0].compute: expected either endpoint or region, got both");
  EXPECT_EQ(with(R"("endpoint": "http://n", "interface": "public")"),
            "clouds[0].compute: expected either endpoint or interface, got "
            "both");
  EXPECT_THAT(with(R"("interface": "publicURL")"),
              HasSubstr("clouds[0].compute.interface: expected \"public\""));
}

TEST(ConfigClouds, WantsTlsThatCanBeChecked) {
  const auto with = [](const std::string& members) {
    return ErrorOf(Nova(kIdentity, R"("servers": {)" + members + "}"));
  };
  EXPECT_EQ(with(R"("require_secure": true)"),
            "clouds[0].servers.ca_file: expected a file name beside "
            "require_secure, got nothing");
  EXPECT_EQ(with(R"("host_subject": "CN={host}")"),
            "clouds[0].servers.ca_file: expected a file name beside "
            "host_subject, got nothing");
  for (const char* subject : {"{host}", "CN={hostname}", "CN={host", "CN=}",
                              "CN={ho{host}st}", "CN={host}\\u0007"}) {
    EXPECT_THAT(with(R"("ca_file": "f", "host_subject": ")" +
                     std::string(subject) + '"'),
                HasSubstr("clouds[0].servers.host_subject: expected a subj"))
        << subject;
  }
}

TEST(ConfigClouds, FillsHostSubjects) {
  EXPECT_EQ(HostSubjectFor("O=E,CN={host}", "h1"), "O=E,CN=h1");
  EXPECT_EQ(HostSubjectFor("CN=fixed", "h1"), "CN=fixed");
  EXPECT_EQ(HostSubjectFor("CN={host},O={host}.", "{host}"),
            "CN={host},O={host}.");
  EXPECT_EQ(HostSubjectFor("", "h1"), "");
}

TEST(ConfigClouds, WantsPathsThatArrive) {
  for (const char* path :
       {"", "nova", "/", "/favicon.ico", "/a b", "/a?b", "/a%41", "/a//b",
        "//a", "/a/../b", "/..", "/./a", "/a/."}) {
    EXPECT_THAT(ErrorOf(Broker(R"("paths": [")" + std::string(path) + "\"]")),
                HasSubstr("clouds[0].paths[0]: expected a path"))
        << path;
  }
  EXPECT_THAT(Cloud(Broker(R"("paths": ["/a/", "/.x/..y/~z"])")).paths,
              ElementsAre("/a/", "/.x/..y/~z"));
  EXPECT_THAT(ErrorOf(Broker(R"("paths": [])")),
              HasSubstr("clouds[0].paths: expected an array of 1 to 8"));
  EXPECT_EQ(ErrorOf(Broker(R"("paths": ["/a", "/b", "/a"])")),
            "clouds[0].paths[2]: expected each entry once, got \"/a\" again");
}

TEST(ConfigClouds, WantsHostsThatArrive) {
  for (const char* host : {"", "a:1", "[::1]", "a b", "*", "127.1", ".a.org"}) {
    EXPECT_THAT(ErrorOf(Broker(R"("hosts": [")" + std::string(host) + "\"]")),
                HasSubstr("clouds[0].hosts[0]: expected a host name"))
        << host;
  }
  EXPECT_EQ(ErrorOf(Broker(R"("hosts": ["a.org", "A.org."])")),
            "clouds[0].hosts[1]: expected each entry once, got \"a.org\" "
            "again");
}

TEST(ConfigClouds, ShowsATokenToOneCloudOnly) {
  const std::string error =
      "clouds[1].paths: expected other paths than clouds[0], or other hosts, "
      "got one path of both at the same host";
  EXPECT_EQ(ErrorOf(Broker() + "," + Broker("", "c")), error);
  EXPECT_EQ(ErrorOf(Broker(R"("hosts": ["a.org", "b.org"])") + "," +
                    Broker(R"("hosts": ["B.org"], "paths": ["/x", "/console"])",
                           "c")),
            error);
  EXPECT_EQ(Clouds(Broker() + "," + Broker(R"("paths": ["/x"])", "c")).size(),
            2U);
  EXPECT_EQ(Clouds(Broker(R"("hosts": ["a.org"])") + "," +
                   Broker(R"("hosts": ["b.org"])", "c"))
                .size(),
            2U);
  // Any other host than a.org.
  EXPECT_EQ(
      Clouds(Broker() + "," + Broker(R"("hosts": ["a.org"])", "c")).size(), 2U);
}

TEST(ConfigClouds, WantsAKnownPolicy) {
  EXPECT_EQ(ErrorOf(Broker(R"("policy": "office")")),
            "clouds[0].policy: expected one of the configuration's policies, "
            "got \"office\"");
  EXPECT_THAT(ErrorOf(Broker(R"("title": "two\nlines")")),
              HasSubstr("clouds[0].title: expected a title"));
  EXPECT_THAT(ErrorOf(Broker(R"("guard": "maybe")")),
              HasSubstr("clouds[0].guard: expected"));
}

TEST(ConfigClouds, HasABound) {
  std::string clouds;
  for (int i = 0; i < 65; ++i) {
    const std::string n = std::to_string(i);
    clouds +=
        (i == 0 ? "" : ",") + Broker(R"("paths": ["/)" + n + "\"]", "c" + n);
  }
  EXPECT_EQ(ErrorOf(clouds),
            "clouds: expected an array of 1 to 64 objects, got 65");
}

}  // namespace
}  // namespace spicegate
