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
