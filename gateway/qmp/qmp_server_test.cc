// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_server.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace spicegate {
namespace {

QmpSpice Spice(const std::string& host, uint16_t port = 5900,
               uint16_t tls_port = 0) {
  QmpSpice spice;
  spice.enabled = true;
  spice.auth = "spice";
  spice.host = host;
  spice.port = port;
  spice.tls_port = tls_port;
  return spice;
}

absl::StatusCode CodeOf(const QmpSpice& spice) {
  return ServerOf(spice).status().code();
}

TEST(QmpServer, IsDialledWhereItListens) {
  for (const auto& [host, dialled] :
       {std::pair<const char*, const char*>{"127.0.0.1", "127.0.0.1"},
        {"*", "127.0.0.1"},
        {"0.0.0.0", "127.0.0.1"},
        {"", "127.0.0.1"},
        {"::", "::1"},
        {"::1", "::1"},
        {"192.0.2.1", "192.0.2.1"},
        {"hv1.example.org", "hv1.example.org"}}) {
    EXPECT_EQ(ServerOf(Spice(host))->host, dialled);
  }
  EXPECT_EQ(ServerOf(Spice("*", 1, 2))->port, 1);
  EXPECT_EQ(ServerOf(Spice("*", 1, 2))->tls_port, 2);
}

TEST(QmpServer, OnAUnixSocketHasThatAndNothingElse) {
  QmpSpice spice = Spice("");
  spice.unix_path = "/run/vm1.spice";
  const auto server = ServerOf(spice);
  EXPECT_EQ(server->unix_path, "/run/vm1.spice");
  EXPECT_EQ(server->host, "");
  EXPECT_EQ(server->port, 0);
}

TEST(QmpServer, ThatIsOpenToAllOrToNobodyIsNone) {
  const auto kNone = absl::StatusCode::kFailedPrecondition;
  QmpSpice disabled = Spice("*");
  disabled.enabled = false;
  EXPECT_EQ(CodeOf(disabled), kNone);
  QmpSpice open = Spice("*");
  open.auth = "none";
  EXPECT_EQ(CodeOf(open), kNone);
  open.auth = "";
  EXPECT_EQ(CodeOf(open), kNone);
  EXPECT_EQ(CodeOf(Spice("*", 0, 0)), kNone);
  EXPECT_TRUE(ServerOf(Spice("*", 0, 5901)).ok());
}

TEST(QmpServer, ListensAtEveryNameOfThisHost) {
  for (const char* host :
       {"127.0.0.1", "*", "0.0.0.0", "::", "::1", "localhost", "127.0.0.2"}) {
    const QmpServer server = *ServerOf(Spice(host, 5900, 5901));
    for (const char* named : {"127.0.0.1", "localhost", "LOCALHOST", "::1",
                              "0:0::1", "127.8.9.1"}) {
      EXPECT_TRUE(ListensAt(server, named, 5900)) << host << " " << named;
      EXPECT_TRUE(ListensAt(server, named, 5901)) << host << " " << named;
      EXPECT_FALSE(ListensAt(server, named, 5902)) << host << " " << named;
    }
    EXPECT_FALSE(ListensAt(server, "192.0.2.1", 5900)) << host;
    EXPECT_FALSE(ListensAt(server, "hv1.example.org", 5900)) << host;
  }
}

TEST(QmpServer, ListensAtItsNameInAnyCase) {
  const QmpServer server = *ServerOf(Spice("hv1.Example.org"));
  EXPECT_TRUE(ListensAt(server, "HV1.example.org", 5900));
  EXPECT_FALSE(ListensAt(server, "hv1", 5900));
  EXPECT_FALSE(ListensAt(server, "127.0.0.1", 5900));
  EXPECT_TRUE(
      ListensAt(*ServerOf(Spice("2001:db8::7")), "2001:DB8:0::7", 5900));
  EXPECT_FALSE(ListensAt(*ServerOf(Spice("192.0.2.1")), "192.0.2.2", 5900));
}

TEST(QmpServer, APortThatIsNotThereIsNowhere) {
  EXPECT_FALSE(ListensAt(*ServerOf(Spice("*", 5900, 0)), "127.0.0.1", 0));
  QmpSpice spice = Spice("");
  spice.unix_path = "/run/vm1.spice";
  EXPECT_FALSE(ListensAt(*ServerOf(spice), "", 0));
}

}  // namespace
}  // namespace spicegate
