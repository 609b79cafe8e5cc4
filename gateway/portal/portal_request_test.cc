// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/portal_request.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace spicegate {
namespace {

const std::vector<PortalCloud>& Clouds() {
  static const std::vector<PortalCloud> kClouds = {
      {"any", {"/nova", "/nova.vv"}, {}},
      {"east", {"/nova"}, {"east.example.org", "2001:db8::1"}},
      {"west", {"/nova", "/west"}, {"west.example.org"}},
      {"late", {"/nova"}, {}},
  };
  return kClouds;
}

std::string Find(const std::string& path, const std::string& host) {
  const PortalCloud* const cloud = FindPortalCloud(Clouds(), path, &host);
  return cloud == nullptr ? "" : cloud->name;
}

TEST(FindPortalCloudTest, PrefersWhoNamesTheHost) {
  EXPECT_EQ(Find("/nova", "east.example.org"), "east");
  EXPECT_EQ(Find("/nova", "west.example.org"), "west");
  EXPECT_EQ(Find("/nova", "desk.example.org"), "any");
  EXPECT_EQ(Find("/nova.vv", "east.example.org"), "any");
}

TEST(FindPortalCloudTest, ReadsHostsAsBrowsersWriteThem) {
  EXPECT_EQ(Find("/nova", "EAST.Example.ORG:13002"), "east");
  EXPECT_EQ(Find("/nova", "east.example.org."), "east");
  EXPECT_EQ(Find("/nova", "east.example.org.:443"), "east");
  EXPECT_EQ(Find("/nova", "[2001:db8::1]:13002"), "east");
  EXPECT_EQ(Find("/nova", "[2001:db8::1]"), "east");
  for (const char* odd : {"", "[", "]", ":", ".", "[]", "east.example.org.."}) {
    EXPECT_EQ(Find("/nova", odd), "any") << odd;
  }
}

TEST(FindPortalCloudTest, KnowsNoOtherPathsAndHosts) {
  EXPECT_EQ(Find("/west", "east.example.org"), "");
  EXPECT_EQ(Find("/west", ""), "");
  EXPECT_EQ(Find("/nova/", "east.example.org"), "");
  EXPECT_EQ(Find("/NOVA", "east.example.org"), "");
  EXPECT_EQ(Find("/%6eova", "east.example.org"), "");
}

TEST(FindPortalCloudTest, TakesHttp10WithoutHost) {
  ASSERT_NE(FindPortalCloud(Clouds(), "/nova", nullptr), nullptr);
  EXPECT_EQ(FindPortalCloud(Clouds(), "/nova", nullptr)->name, "any");
  EXPECT_EQ(FindPortalCloud(Clouds(), "/west", nullptr), nullptr);
}

std::string Token(const std::string& query) {
  return ParsePortalQuery(query).token;
}

TEST(ParsePortalQueryTest, FindsTheToken) {
  EXPECT_EQ(Token("token=abc"), "abc");
  EXPECT_EQ(Token("a=1&token=abc&b"), "abc");
  EXPECT_EQ(Token("&&token=abc&"), "abc");
  EXPECT_EQ(Token("token=a=b"), "a=b");
}

TEST(ParsePortalQueryTest, DecodesStrictly) {
  EXPECT_EQ(Token("token=%61%2D%2d"), "a--");
  EXPECT_EQ(Token("%74oken=abc"), "abc");
  EXPECT_EQ(Token("token=a+b"), "a+b");
  EXPECT_EQ(Token("token=a%00b"), std::string("a\0b", 3));
  for (const char* broken :
       {"token=%", "token=%6", "token=%6g", "token=a%%41", "token=abc%2"}) {
    EXPECT_EQ(Token(broken), "") << broken;
  }
}

TEST(ParsePortalQueryTest, TakesExactlyOneToken) {
  for (const char* query :
       {"", "token", "token=", "Token=abc", "tokens=abc", "token=a&token=a",
        "token=a&token", "token=a&%74oken=b", "token=%zz&token=b"}) {
    EXPECT_EQ(Token(query), "") << query;
  }
}

TEST(ParsePortalQueryTest, LooksAtNothingElse) {
  EXPECT_EQ(Token("token=abc&utm=%zz&%zz=1&=&==&x"), "abc");
}

TEST(ParsePortalQueryTest, KnowsTheWishForTheFile) {
  EXPECT_TRUE(ParsePortalQuery("token=a&file=1").file);
  EXPECT_TRUE(ParsePortalQuery("file=1&token=a").file);
  for (const char* query : {"token=a", "file=0", "file", "file=", "file=11",
                            "files=1", "file=true"}) {
    EXPECT_FALSE(ParsePortalQuery(query).file) << query;
  }
}

bool Wants(const std::vector<std::string>& values) {
  HttpRequest request;
  for (const std::string& value : values) {
    request.headers.push_back({"accept", value});
  }
  return WantsPage(request);
}

TEST(WantsPageTest, IsTrueOfBrowsers) {
  EXPECT_TRUE(
      Wants({"text/html,application/xhtml+xml,application/xml;q=0.9,"
             "image/avif,image/webp,*/*;q=0.8"}));
  EXPECT_TRUE(Wants({"text/html, application/xhtml+xml, image/jxr, */*"}));
  EXPECT_TRUE(Wants({"TEXT/HTML;level=1;q=0.1"}));
  EXPECT_TRUE(Wants({"image/png", " text/html ; q=0.001"}));
}

TEST(WantsPageTest, IsFalseOfPrograms) {
  EXPECT_FALSE(Wants({}));
  EXPECT_FALSE(Wants({"*/*"}));
  EXPECT_FALSE(Wants({"text/*"}));
  EXPECT_FALSE(Wants({"application/json"}));
  EXPECT_FALSE(Wants({"application/x-virt-viewer, */*"}));
  EXPECT_FALSE(Wants({"text/htmlx, atext/html"}));
}

TEST(WantsPageTest, FollowsTheHigherQuality) {
  EXPECT_FALSE(Wants({"text/html;q=0.8, application/json"}));
  EXPECT_FALSE(Wants({"application/x-virt-viewer;q=0.9,text/html;q=0.899"}));
  EXPECT_TRUE(Wants({"text/html, application/json"}));
  EXPECT_TRUE(Wants({"text/html;q=0.9;x=1, application/json;q=0.25"}));
  EXPECT_TRUE(
      Wants({"text/html;q=0.1, text/html;q=1.000, "
             "application/json;q=0.5"}));
}

TEST(WantsPageTest, TakesABrokenQualityForNone) {
  for (const char* value :
       {"text/html;q=0", "text/html;q=0.000", "text/html;q=", "text/html;q=2",
        "text/html;q=1.1", "text/html;q=0.1234", "text/html;q=.5",
        "text/html;q=-1", "text/html;q=x", "text/html;q=0,5",
        "text/html;q=1x"}) {
    EXPECT_FALSE(Wants({value})) << value;
  }
}

}  // namespace
}  // namespace spicegate
