// SPDX-License-Identifier: Apache-2.0
#include "gateway/proxmox_members.h"

#include <gtest/gtest.h>

#include <string>

namespace spicegate {
namespace {

TEST(ProxmoxMembersTest, TakesNamesAndAddresses) {
  const auto members = ParseProxmoxMembers(R"({
    "nodename": "pve1", "version": 4,
    "cluster": {"name": "lab", "version": 2, "nodes": 3, "quorate": 1},
    "nodelist": {
      "pve1": {"id": 1, "online": 1, "ip": "192.0.2.1"},
      "PVE2": {"id": 2, "online": 0, "ip": "2001:db8::2"},
      "new":  {"id": 3, "online": 1}
    }})");
  ASSERT_TRUE(members.ok()) << members.status();
  const std::map<std::string, std::string> expected = {{"pve1", "192.0.2.1"},
                                                       {"pve2", "2001:db8::2"}};
  EXPECT_EQ(*members, expected);
}

TEST(ProxmoxMembersTest, ANodeAloneHasNoList) {
  const auto members =
      ParseProxmoxMembers("{\"nodename\": \"pve\", \"version\": 1}");
  ASSERT_TRUE(members.ok());
  EXPECT_TRUE(members->empty());
}

TEST(ProxmoxMembersTest, NamesAreNotDialledInstead) {
  for (const char* ip : {"\"pve2.example.org\"", "\"127.1\"", "7", "null"}) {
    const auto members = ParseProxmoxMembers(
        std::string("{\"nodelist\": {\"pve2\": {\"ip\": ") + ip + "}}}");
    ASSERT_TRUE(members.ok()) << ip;
    EXPECT_TRUE(members->empty()) << ip;
  }
}

TEST(ProxmoxMembersTest, RefusesWhatIsNoSuchFile) {
  for (const char* text : {"", "[]", "{", "{\"nodelist\": []}", "7"}) {
    EXPECT_FALSE(ParseProxmoxMembers(text).ok()) << text;
  }
}

}  // namespace
}  // namespace spicegate
