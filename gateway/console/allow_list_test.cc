// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/allow_list.h"

#include <gtest/gtest.h>

namespace spicegate {
namespace {

using Rule = AllowList::Rule;
using Verdict = AllowList::Verdict;

constexpr Verdict kAllowed = Verdict::kAllowed;
constexpr Verdict kAsk = Verdict::kAskAddress;
constexpr Verdict kRefused = Verdict::kRefused;

AllowList Of(const std::vector<Rule>& rules) {
  const absl::StatusOr<AllowList> parsed = AllowList::Parse(rules);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : AllowList();
}

// A list of one rule for port 5900.
AllowList Hosts(const std::vector<std::string>& hosts) {
  return Of({{hosts, {{5900, 5900}}}});
}

bool AllowsAddress(const AllowList& list, std::string_view address,
                   uint16_t port = 5900, bool by_name = false) {
  AddressBytes bytes;
  EXPECT_TRUE(ParseHostAddress(address, &bytes)) << address;
  return list.AllowsAddress(bytes, port, by_name);
}

TEST(AllowList, AnEmptyOneAllowsNothing) {
  for (const AllowList& list : {AllowList(), Of({})}) {
    EXPECT_TRUE(list.empty());
    EXPECT_EQ(list.Judge("hv1.example.org", 5900), kRefused);
    EXPECT_EQ(list.Judge("10.0.0.1", 5900), kRefused);
    EXPECT_FALSE(AllowsAddress(list, "10.0.0.1"));
    EXPECT_FALSE(AllowsAddress(list, "127.0.0.1", 5900, true));
  }
}

TEST(AllowList, HostAndPortAreOfOneRule) {
  const AllowList list =
      Of({{{"10.0.0.0/24", "hv1.example.org"}, {{5900, 5999}, {61000, 61000}}},
          {{"10.0.1.0/24", "hv2.example.org"}, {{22, 22}}}});
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(list.Judge("10.0.0.7", 5900), kAsk);
  EXPECT_EQ(list.Judge("10.0.0.7", 5999), kAsk);
  EXPECT_EQ(list.Judge("10.0.0.7", 61000), kAsk);
  EXPECT_EQ(list.Judge("10.0.0.7", 5899), kRefused);
  EXPECT_EQ(list.Judge("10.0.0.7", 6000), kRefused);
  EXPECT_EQ(list.Judge("10.0.0.7", 0), kRefused);
  EXPECT_EQ(list.Judge("10.0.0.7", 22), kRefused);
  EXPECT_EQ(list.Judge("10.0.1.7", 22), kAsk);
  EXPECT_EQ(list.Judge("10.0.1.7", 5900), kRefused);
  EXPECT_EQ(list.Judge("10.0.2.7", 5900), kRefused);
  EXPECT_EQ(list.Judge("hv1.example.org", 61000), kAllowed);
  EXPECT_EQ(list.Judge("hv2.example.org", 22), kAllowed);
}

TEST(AllowList, NamesThatAreNotListedGoByTheirAddresses) {
  const AllowList list = Of(
      {{{"hv1.example.org"}, {{5900, 5900}}}, {{"10.0.0.0/24"}, {{22, 22}}}});
  EXPECT_EQ(list.Judge("HV1.example.org.", 5900), kAllowed);
  EXPECT_EQ(list.Judge("hv2.example.org", 5900), kRefused)
      << "no network has this port";
  EXPECT_EQ(list.Judge("hv2.example.org", 22), kAsk);
  EXPECT_EQ(list.Judge("hv1.example.org", 22), kAsk);
  EXPECT_TRUE(AllowsAddress(list, "10.0.0.1", 22));
  EXPECT_FALSE(AllowsAddress(list, "10.0.0.1", 5900));
  EXPECT_FALSE(AllowsAddress(list, "10.0.1.1", 22));
}

TEST(AllowList, AListedNameMayBeAnywhereButAtSpecialAddresses) {
  const AllowList list = Hosts({".example.org"});
  EXPECT_EQ(list.Judge("hv1.example.org", 5900), kAllowed);
  EXPECT_TRUE(AllowsAddress(list, "192.0.2.1", 5900, true));
  EXPECT_TRUE(AllowsAddress(list, "fd00::1", 5900, true));
  EXPECT_FALSE(AllowsAddress(list, "192.0.2.1", 5900, false));
  EXPECT_FALSE(AllowsAddress(list, "127.0.0.1", 5900, true));
  EXPECT_FALSE(AllowsAddress(list, "::1", 5900, true));
  EXPECT_FALSE(AllowsAddress(Hosts({"localhost"}), "127.0.0.1", 5900, true));
  EXPECT_TRUE(AllowsAddress(Hosts({"localhost", "127.0.0.1"}), "127.0.0.1",
                            5900, true));
}

constexpr const char* kSpecial[] = {"0.0.0.0",
                                    "0.1.2.3",
                                    "127.0.0.1",
                                    "127.255.255.254",
                                    "::1",
                                    "169.254.169.254",
                                    "::",
                                    "fe80::1",
                                    "febf::1",
                                    "224.0.0.1",
                                    "239.255.255.250",
                                    "255.255.255.255",
                                    "ff02::1",
                                    "::ffff:127.0.0.1"};

TEST(AllowList, WideNetworksHoldNoSpecialAddress) {
  const AllowList list =
      Hosts({"0.0.0.0/0", "::/0", "126.0.0.0/7", "::/8", "fe00::/7",
             "::ffff:0:0/96", "224.0.0.0/3", ".org"});
  for (const char* address : kSpecial) {
    EXPECT_EQ(list.Judge(address, 5900), kRefused) << address;
    EXPECT_FALSE(AllowsAddress(list, address, 5900, false)) << address;
    EXPECT_FALSE(AllowsAddress(list, address, 5900, true)) << address;
  }
  for (const char* address : {"126.255.255.255", "128.0.0.1", "169.253.0.1",
                              "240.0.0.1", "1.0.0.0", "::2", "fec0::1"}) {
    EXPECT_EQ(list.Judge(address, 5900), kAsk) << address;
    EXPECT_TRUE(AllowsAddress(list, address)) << address;
  }
}

TEST(AllowList, SpecialAddressesHoldThemselves) {
  for (const std::string address : kSpecial) {
    const AllowList list =
        Of({{{address}, {{5900, 5900}}}, {{"0.0.0.0/0", "::/0"}, {{22, 22}}}});
    EXPECT_EQ(list.Judge(address, 5900), kAsk) << address;
    EXPECT_TRUE(AllowsAddress(list, address, 5900, true)) << address;
    EXPECT_FALSE(AllowsAddress(list, address, 22, true)) << address;
  }
  EXPECT_TRUE(AllowsAddress(Hosts({"127.0.0.0/8"}), "127.0.0.2"));
  EXPECT_TRUE(AllowsAddress(Hosts({"127.0.0.0/9"}), "127.0.0.2"));
  EXPECT_FALSE(AllowsAddress(Hosts({"127.0.0.0/9"}), "127.128.0.2"));
  EXPECT_FALSE(AllowsAddress(Hosts({"127.0.0.1"}), "::1"));
  EXPECT_TRUE(AllowsAddress(Hosts({"fe80::/10"}), "fe80::1"));
}

// What getaddrinfo would make an address of, or cut short.
TEST(AllowList, NothingThatAResolverReadsOtherwise) {
  const AllowList list =
      Hosts({"0.0.0.0/0", "127.0.0.0/8", "::/0", "::1", ".example.org"});
  for (const std::string& host :
       {std::string(), std::string("."), std::string("127.1"),
        std::string("2130706433"), std::string("0x7f000001"),
        std::string("0177.0.0.1"), std::string("127.0.0.1 "),
        std::string("127.0.0.1."), std::string("[::1]"), std::string("::1%lo"),
        std::string("10.0.0.1\0", 9), std::string("a\0.example.org", 14),
        std::string("pvespiceproxy:6b023028:100:a::b"),
        std::string(254, 'a')}) {
    EXPECT_EQ(list.Judge(host, 5900), kRefused) << host;
  }
}

TEST(AllowList, RulesAreStrict) {
  const Rule good = {{"10.0.0.0/8"}, {{1, 65535}}};
  for (const auto& [bad, wanted] : std::vector<std::pair<Rule, std::string>>{
           {{{"10.0.0.1/8"}, {{1, 2}}},
            std::string("rule 1: entry 0: expected ") +
                HostPatterns::kExpected + ", got \"10.0.0.1/8\""},
           {{{}, {{1, 2}}}, "rule 1: expected at least one host"},
           {{{"a"}, {}}, "rule 1: expected ports from 1 to 65535"},
           {{{"a"}, {{0, 2}}}, "rule 1: expected ports from 1 to 65535"},
           {{{"a"}, {{1, 2}, {4, 3}}}, "rule 1: expected ports from 1"}}) {
    const absl::Status status = AllowList::Parse({good, bad}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(std::string(status.message()).starts_with(wanted)) << status;
  }
}

}  // namespace
}  // namespace spicegate
