// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/target_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr int64_t kNowUnixS = 1'800'000'000;

Console PlainConsole() {
  Console console;
  console.name = "plain";
  console.host = "10.0.0.1";
  console.port = 5900;
  return console;
}

Console TlsConsole() {
  Console console;
  console.name = "tls";
  console.host = "vm.example.org";
  console.tls_port = 5901;
  console.ca_pem = MakeSelfSigned({"ca"}, kNowUnixS)->certificate_pem;
  return console;
}

auto Build(std::vector<Console> consoles) {
  return TargetTable::Build(
      std::make_shared<const ConsoleTable>(std::move(consoles)));
}

TEST(TargetTableTest, OnlyConsolesWithATlsPortHaveTls) {
  const auto table = Build({PlainConsole(), TlsConsole()});
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->Find("plain")->tls, nullptr);
  EXPECT_NE((*table)->Find("tls")->tls, nullptr);
  EXPECT_EQ((*table)->Find("tls")->console->host, "vm.example.org");
  EXPECT_FALSE((*table)->Find("other").has_value());
}

TEST(TargetTableTest, AServerOverQmpHasTlsWhereTheConsoleHasACa) {
  Console plain;
  plain.name = "plain";
  plain.qmp_path = "/run/plain.qmp";
  Console tls;
  tls.name = "tls";
  tls.qmp_path = "/run/tls.qmp";
  tls.ca_pem = TlsConsole().ca_pem;
  const auto table = Build({plain, tls});
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->Find("plain")->tls, nullptr);
  EXPECT_TRUE((*table)->Find("plain")->by_qmp());
  EXPECT_NE((*table)->Find("tls")->tls, nullptr);
  EXPECT_FALSE((*table)->Find("tls")->moved);
  tls.host_subject = "no such thing";
  EXPECT_FALSE(Build({tls}).ok());
}

TEST(TargetTableTest, WhatDidNotChangeKeepsItsTlsSessions) {
  const Console console = TlsConsole();
  const auto first = Build({console});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = [&first](const Console& changed) {
    const auto table = TargetTable::Build(
        std::make_shared<const ConsoleTable>(std::vector<Console>{changed}),
        first->get());
    EXPECT_TRUE(table.ok()) << table.status();
    return (*table)->Find("tls")->tls == (*first)->Find("tls")->tls;
  };
  EXPECT_TRUE(again(console));
  Console other = console;
  other.ticket = "new";
  EXPECT_TRUE(again(other));
  other.host = "elsewhere.example.org";
  EXPECT_FALSE(again(other));
  other = console;
  other.ca_pem = TlsConsole().ca_pem;  // another key
  EXPECT_FALSE(again(other));
  other = console;
  other.host_subject = "CN=vm";
  EXPECT_FALSE(again(other));
  other = console;
  other.tls_port = 5902;
  EXPECT_FALSE(again(other));
}

TEST(TargetTableTest, ABadSubjectNamesItsConsole) {
  Console console = TlsConsole();
  console.host_subject = "no such thing";
  const auto table = Build({PlainConsole(), console});
  ASSERT_FALSE(table.ok());
  EXPECT_NE(std::string(table.status().message()).find("console \"tls\""),
            std::string::npos);
}

}  // namespace
}  // namespace spicegate
