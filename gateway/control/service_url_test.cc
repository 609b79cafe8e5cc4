// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/service_url.h"

#include <gtest/gtest.h>

#include <string>

namespace spicegate {
namespace {

ServiceUrl Parse(const std::string& text) {
  ServiceUrl url;
  EXPECT_TRUE(ParseServiceUrl(text, &url)) << text;
  return url;
}

TEST(ServiceUrl, TakesApart) {
  const ServiceUrl plain = Parse("http://Keystone.Example.org/v3");
  EXPECT_FALSE(plain.https);
  EXPECT_EQ(plain.host, "keystone.example.org");
  EXPECT_EQ(plain.port, 80);
  EXPECT_EQ(plain.path, "/v3");
  const ServiceUrl safe = Parse("https://10.0.0.1:5000");
  EXPECT_TRUE(safe.https);
  EXPECT_EQ(safe.host, "10.0.0.1");
  EXPECT_EQ(safe.port, 5000);
  EXPECT_EQ(safe.path, "");
  EXPECT_EQ(Parse("https://nova").port, 443);
  const ServiceUrl ipv6 = Parse("https://[fd00::7]:8774/v2.1/%41_b/");
  EXPECT_EQ(ipv6.host, "fd00::7");
  EXPECT_EQ(ipv6.port, 8774);
  EXPECT_EQ(ipv6.path, "/v2.1/%41_b/");
  EXPECT_EQ(Parse("http://[::1]").host, "::1");
}

TEST(ServiceUrl, RefusesWhatItCannotMean) {
  for (const char* text : {"",
                           "http:",
                           "http://",
                           "https:///v3",
                           "keystone:5000",
                           "//keystone",
                           "HTTP://keystone",
                           "ftp://keystone",
                           "file:///etc/passwd",
                           "unix:///run/x",
                           "http:/keystone",
                           " http://keystone",
                           "http://keystone ",
                           "http://key stone/",
                           "http://k_/ ",
                           "http://keystone:",
                           "http://keystone:0",
                           "http://keystone:65536",
                           "http://keystone:5000x",
                           "http://keystone:+5",
                           "http://:5000",
                           "http://[::1",
                           "http://[::1]5000",
                           "http://[10.0.0.1]",
                           "http://::1/",
                           "http://[fe80::1%25eth0]/",
                           "http://127.1/",
                           "http://0x7f000001/",
                           "http://k/\\",
                           "http://k/a\nb",
                           "http://k/\xc3\xa4"}) {
    ServiceUrl url;
    EXPECT_FALSE(ParseServiceUrl(text, &url)) << text;
  }
}

TEST(ServiceUrl, RefusesSecretsAndQueries) {
  for (const char* text :
       {"http://user:password@keystone/", "http://user@keystone",
        "http://@keystone", "https://keystone/?a=b", "https://keystone?a",
        "https://keystone/#top", "https://keystone#"}) {
    ServiceUrl url;
    EXPECT_FALSE(ParseServiceUrl(text, &url)) << text;
  }
  // Behind the host it is a letter like others.
  EXPECT_EQ(Parse("https://keystone/a@b:c").path, "/a@b:c");
}

TEST(ServiceUrl, HasABound) {
  const std::string start = "http://k/";
  ServiceUrl url;
  EXPECT_TRUE(ParseServiceUrl(
      start + std::string(kMaxServiceUrlLen - start.size(), 'a'), &url));
  EXPECT_FALSE(ParseServiceUrl(
      start + std::string(kMaxServiceUrlLen - start.size() + 1, 'a'), &url));
}

TEST(ServiceUrl, KnowsThisMachine) {
  for (const char* text : {"http://127.0.0.1", "http://127.9.9.9:1/",
                           "http://[::1]/", "http://LocalHost:5000/v3"}) {
    EXPECT_TRUE(IsLoopbackService(Parse(text))) << text;
  }
  for (const char* text : {"http://128.0.0.1", "http://[::2]/", "http://local",
                           "http://localhost.example.org"}) {
    EXPECT_FALSE(IsLoopbackService(Parse(text))) << text;
  }
}

}  // namespace
}  // namespace spicegate
