// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/portal_user.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace spicegate {
namespace {

HostPatterns Trusted(const std::vector<std::string>& entries) {
  absl::StatusOr<HostPatterns> patterns = HostPatterns::Parse(entries);
  EXPECT_TRUE(patterns.ok());
  return *patterns;
}

class PortalUserTest : public ::testing::Test {
 protected:
  PortalUserTest() { From("10.0.0.1:40000"); }

  void From(const std::string& address) {
    peer_.address = address;
    peer_.socket_address = address;
  }

  void Header(const std::string& name, const std::string& value) {
    request_.headers.push_back({name, value});
  }

  PortalUser Find() const { return FindPortalUser(request_, peer_, trusted_); }
  std::string Source() const { return Find().source; }

  HttpRequest request_;
  HttpPeer peer_;
  HostPatterns trusted_ = Trusted({"10.0.0.0/8", "fd00::/8"});
};

TEST_F(PortalUserTest, IsWhoConnects) {
  From("192.0.2.9:1234");
  EXPECT_EQ(Source(), "192.0.2.9");
  From("[2001:DB8::9]:1234");
  EXPECT_EQ(Source(), "2001:db8::9");
  From("[::ffff:192.0.2.9]:1234");
  EXPECT_EQ(Source(), "192.0.2.9");
  From("[fe80::1%eth0]:1234");
  EXPECT_EQ(Source(), "fe80::1");
}

TEST_F(PortalUserTest, IsWhoATrustedBalancerSaw) {
  Header("x-forwarded-for", "192.0.2.9");
  EXPECT_EQ(Source(), "192.0.2.9");
  From("[fd00::1]:7");
  EXPECT_EQ(Source(), "192.0.2.9");
}

TEST_F(PortalUserTest, IsNotWhoAStrangerClaimsToBe) {
  From("192.0.2.1:1");
  Header("x-forwarded-for", "10.0.0.7");
  EXPECT_EQ(Source(), "192.0.2.1");
}

TEST_F(PortalUserTest, IsTheRightmostThatIsNoBalancer) {
  Header("x-forwarded-for", "198.51.100.1, 192.0.2.9 ,\t10.0.0.2,10.3.0.3");
  EXPECT_EQ(Source(), "192.0.2.9");
}

TEST_F(PortalUserTest, IsTheLeftmostWhereAllAreBalancers) {
  Header("x-forwarded-for", "10.0.0.3, 10.0.0.2");
  EXPECT_EQ(Source(), "10.0.0.3");
}

TEST_F(PortalUserTest, TakesSeveralHeadersForOneList) {
  Header("x-forwarded-for", "198.51.100.1");
  Header("accept", "*/*");
  Header("x-forwarded-for", "192.0.2.9");
  EXPECT_EQ(Source(), "192.0.2.9");
}

TEST_F(PortalUserTest, LeavesPortsAndBracketsOut) {
  Header("x-forwarded-for", "192.0.2.9:5555");
  EXPECT_EQ(Source(), "192.0.2.9");
  request_.headers.clear();
  Header("x-forwarded-for", "[2001:db8::5]:5555");
  EXPECT_EQ(Source(), "2001:db8::5");
  request_.headers.clear();
  Header("x-forwarded-for", "[2001:db8::5]");
  EXPECT_EQ(Source(), "2001:db8::5");
  request_.headers.clear();
  Header("x-forwarded-for", "2001:db8::5");
  EXPECT_EQ(Source(), "2001:db8::5");
}

TEST_F(PortalUserTest, StopsAtWhatIsNoAddress) {
  for (const char* list :
       {"", ",", "unknown", "_hidden", "192.0.2.9,", "1.2.3.4, x", "[::1",
        "[::1]x", "127.1", "192.0.2.9 10.0.0.2", "a:b:c:d", "%", "::1]"}) {
    request_.headers.clear();
    Header("x-forwarded-for", list);
    EXPECT_EQ(Source(), "10.0.0.1") << list;
  }
  request_.headers.clear();
  Header("x-forwarded-for", "192.0.2.9, junk, 10.0.0.2");
  EXPECT_EQ(Source(), "10.0.0.2");
}

TEST_F(PortalUserTest, TakesTheProxyHeadersWord) {
  peer_.address = "192.0.2.9:1";
  Header("x-forwarded-for", "198.51.100.1");
  EXPECT_EQ(Source(), "192.0.2.9");
  // A second balancer in front of the one that wrote the PROXY header.
  peer_.address = "10.0.0.9:1";
  EXPECT_EQ(Source(), "198.51.100.1");
}

TEST_F(PortalUserTest, ComesByTls) {
  From("192.0.2.9:1");
  peer_.tls = true;
  EXPECT_TRUE(Find().https);
  EXPECT_TRUE(Find().welcome);
}

TEST_F(PortalUserTest, ComesByTlsToTheBalancer) {
  Header("x-forwarded-proto", "HTTPS");
  EXPECT_TRUE(Find().https);
  EXPECT_TRUE(Find().welcome);
}

TEST_F(PortalUserTest, ComesWithoutTlsToTheBalancer) {
  Header("x-forwarded-proto", "http");
  EXPECT_FALSE(Find().welcome);
  EXPECT_FALSE(Find().https);
  peer_.tls = true;
  EXPECT_FALSE(Find().welcome);
  EXPECT_FALSE(Find().https);
}

TEST_F(PortalUserTest, BelievesTheNearestBalancersScheme) {
  Header("x-forwarded-proto", "https, http");
  EXPECT_FALSE(Find().welcome);
  request_.headers.clear();
  Header("x-forwarded-proto", "http");
  Header("x-forwarded-proto", "https");
  EXPECT_TRUE(Find().welcome);
  request_.headers.clear();
  Header("x-forwarded-proto", "http, http ,https ");
  EXPECT_TRUE(Find().welcome);
}

TEST_F(PortalUserTest, TrustsABalancerThatSaysNothing) {
  EXPECT_TRUE(Find().welcome);
  EXPECT_FALSE(Find().https);
}

TEST_F(PortalUserTest, RefusesPlainHttpFromStrangers) {
  From("192.0.2.9:1");
  Header("x-forwarded-proto", "https");
  EXPECT_FALSE(Find().welcome);
  EXPECT_FALSE(Find().https);
}

// The user's own X-Forwarded-Proto, through a balancer that only passes bytes.
TEST_F(PortalUserTest, JudgesTheConnectionNotWhatItSpeaksFor) {
  peer_.address = "10.9.9.9:1";
  peer_.socket_address = "192.0.2.9:1";
  Header("x-forwarded-for", "198.51.100.1");
  EXPECT_FALSE(Find().welcome);
  EXPECT_EQ(Source(), "10.9.9.9");
}

TEST_F(PortalUserTest, TakesPlainHttpOfItsOwnMachineWithoutBalancers) {
  From("127.0.0.2:1");
  EXPECT_FALSE(Find().welcome);
  trusted_ = HostPatterns();
  EXPECT_TRUE(Find().welcome);
  From("[::1]:1");
  EXPECT_TRUE(Find().welcome);
  From("10.0.0.1:1");
  EXPECT_FALSE(Find().welcome);
  From("");
  EXPECT_FALSE(Find().welcome);
}

// Nobody's word counts there, a forged address of this machine least of all.
TEST_F(PortalUserTest, BelievesNoHeadersWithoutBalancers) {
  trusted_ = HostPatterns();
  From("127.0.0.1:1");
  Header("x-forwarded-for", "192.0.2.9");
  Header("x-forwarded-proto", "https");
  EXPECT_EQ(Source(), "127.0.0.1");
  EXPECT_FALSE(Find().https);
}

}  // namespace
}  // namespace spicegate
