// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/console_dial.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gateway/server_link/dial_fixture.h"
#include "gateway/server_link/tls_for_tests.h"

namespace spicegate {
namespace {

constexpr int64_t kTimeMs = 2'000;

// A server that says all of itself.
ServerAccess Given() {
  ServerAccess access;
  access.result = ServerAccess::Result::kOk;
  access.host = "192.0.2.7";
  access.port = 5901;
  access.tls_port = 5902;
  access.ticket = "set over QMP";
  return access;
}

class ConsoleDialTest : public DialFixture {
 protected:
  ConsoleDialTest() {
    Change([](Console* console) {
      console->name = "vm";
      console->qmp_path = "/run/vm.qmp";
    });
  }

  template <typename F>
  void Change(F change) {
    Console console;
    if (target_.console != nullptr) {
      console = *target_.console;
    }
    change(&console);
    target_.console = std::make_shared<const Console>(console);
  }

  // As the target table has it.
  void UseCa(const std::string& subject) {
    Change([&subject](Console* console) {
      console->ca_pem = TestCa();
      console->host_subject = subject;
    });
    target_.tls = TestTls(subject);
  }

  // The desktop runs there now.
  void MoveTo(const std::string& host, uint16_t port, uint16_t tls_port) {
    target_.moved = true;
    Change([&](Console* console) {
      console->host = host;
      console->port = port;
      console->tls_port = tls_port;
    });
  }

  // Asks, and is answered with that.
  Failure Ask(const ServerAccess& access) {
    Start(AskForAccess(&target_, &access_, timers_.now_ms() + kTimeMs));
    EXPECT_FALSE(done_);
    access_.Deliver(asked_access_, access);
    Run();
    EXPECT_TRUE(done_);
    return failure_;
  }

  const Console& console() const { return *target_.console; }

  ConsoleTarget target_;
};

TEST_F(ConsoleDialTest, AServerWithoutACaIsLinkedPlain) {
  const std::shared_ptr<const Console> before = target_.console;
  EXPECT_EQ(Ask(Given()), std::nullopt);
  EXPECT_EQ(question_.console, "vm");
  EXPECT_EQ(question_.host, "");
  EXPECT_EQ(console().host, "192.0.2.7");
  EXPECT_EQ(console().port, 5901);
  EXPECT_EQ(console().tls_port, 0);
  EXPECT_EQ(console().ticket, "set over QMP");
  EXPECT_EQ(target_.tls, nullptr);
  // The table's own is shared by all workers.
  EXPECT_EQ(before->host, "");
  EXPECT_EQ(before->ticket, "");
}

TEST_F(ConsoleDialTest, AUnixSocketWillDo) {
  ServerAccess access = Given();
  access.port = access.tls_port = 0;
  access.unix_path = "/run/vm.spice";
  EXPECT_EQ(Ask(access), std::nullopt);
  EXPECT_EQ(console().unix_path, "/run/vm.spice");
}

TEST_F(ConsoleDialTest, AServerWithoutAPlainPortIsNothingWithoutACa) {
  ServerAccess access = Given();
  access.port = 0;
  EXPECT_EQ(Ask(access), CloseReason::kServerQmp);
}

TEST_F(ConsoleDialTest, ACaMeansTheTlsPort) {
  UseCa("");
  const auto before = target_.tls;
  EXPECT_EQ(Ask(Given()), std::nullopt);
  EXPECT_EQ(console().tls_port, 5902);
  ASSERT_NE(target_.tls, nullptr);
  EXPECT_NE(target_.tls, before) << "it proves itself by its own address";
}

TEST_F(ConsoleDialTest, ASubjectIsTheSameWhateverTheHost) {
  UseCa("CN=vm");
  const auto before = target_.tls;
  EXPECT_EQ(Ask(Given()), std::nullopt);
  EXPECT_EQ(console().tls_port, 5902);
  EXPECT_EQ(target_.tls, before) << "its TLS sessions would be lost";
}

TEST_F(ConsoleDialTest, ACaAndNoTlsPortIsNoWayIn) {
  for (const char* subject : {"", "CN=vm"}) {
    UseCa(subject);
    ServerAccess access = Given();
    access.tls_port = 0;
    EXPECT_EQ(Ask(access), CloseReason::kServerQmp) << subject;
  }
}

TEST_F(ConsoleDialTest, AServerThatCannotBeVerifiedIsNotDialled) {
  UseCa("");
  ServerAccess access = Given();
  access.host = "";
  EXPECT_EQ(Ask(access), CloseReason::kServerQmp);
}

TEST_F(ConsoleDialTest, NoAnswerIsAFailure) {
  EXPECT_EQ(Ask({}), CloseReason::kServerQmp);
  Start(AskForAccess(&target_, &access_, timers_.now_ms() + kTimeMs));
  RunFor(kTimeMs - 1);
  EXPECT_FALSE(done_);
  RunFor(1);
  EXPECT_EQ(failure_, CloseReason::kServerQmp);
  Start(AskForAccess(&target_, &access_, timers_.now_ms() + kTimeMs));
  access_.CancelAll();
  EXPECT_EQ(failure_, CloseReason::kServerQmp);
  Start(AskForAccess(&target_, nullptr, timers_.now_ms() + kTimeMs));
  EXPECT_EQ(failure_, CloseReason::kServerQmp);
}

TEST_F(ConsoleDialTest, AConsolesOwnServerIsNeverUnknown) {
  ServerAccess access;
  access.result = ServerAccess::Result::kUnknown;
  access.ticket = "set over QMP";
  EXPECT_EQ(Ask(access), CloseReason::kServerQmp);
  UseCa("CN=vm");
  EXPECT_EQ(Ask(access), CloseReason::kServerQmp);
}

TEST_F(ConsoleDialTest, AMovedDesktopIsAskedForByItsPlace) {
  MoveTo("192.0.2.9", 5910, 5911);
  EXPECT_EQ(Ask(Given()), std::nullopt);
  EXPECT_EQ(question_.console, "vm");
  EXPECT_EQ(question_.host, "192.0.2.9");
  EXPECT_EQ(question_.port, 5910);
  // It stays where the source has said; the password is its new server's.
  EXPECT_EQ(console().host, "192.0.2.9");
  EXPECT_EQ(console().port, 5910);
  EXPECT_EQ(console().ticket, "set over QMP");
}

TEST_F(ConsoleDialTest, AMovedDesktopWithACaIsFoundByItsTlsPort) {
  UseCa("");
  MoveTo("192.0.2.9", 5910, 5911);
  const auto before = target_.tls;
  EXPECT_EQ(Ask(Given()), std::nullopt);
  EXPECT_EQ(question_.port, 5911);
  EXPECT_EQ(target_.tls, before);
}

TEST_F(ConsoleDialTest, APlaceThatIsNotOursHasTheSourcesPassword) {
  MoveTo("192.0.2.9", 5910, 0);
  ServerAccess access;
  access.result = ServerAccess::Result::kUnknown;
  access.ticket = "the source's";
  EXPECT_EQ(Ask(access), std::nullopt);
  EXPECT_EQ(console().host, "192.0.2.9");
  EXPECT_EQ(console().ticket, "the source's");
}

TEST_F(ConsoleDialTest, UnlessItsPasswordIsWrittenDown) {
  MoveTo("192.0.2.9", 5910, 0);
  Change([](Console* console) {
    console->destination_ticket = "written down";
    console->ticket = "written down";
  });
  ServerAccess access;
  access.result = ServerAccess::Result::kUnknown;
  access.ticket = "the source's";
  EXPECT_EQ(Ask(access), std::nullopt);
  EXPECT_EQ(console().ticket, "written down");
  // What has been set is newer than what is written.
  EXPECT_EQ(Ask(Given()), std::nullopt);
  EXPECT_EQ(console().ticket, "set over QMP");
}

TEST_F(ConsoleDialTest, AFailureLeavesAMovedDesktopAlone) {
  MoveTo("192.0.2.9", 5910, 0);
  EXPECT_EQ(Ask({}), CloseReason::kServerQmp);
}

class DialConsoleTest : public ConsoleDialTest {
 protected:
  void Dial(uint16_t port, uint16_t tls_port) {
    Change([&](Console* console) {
      console->host = "127.0.0.1";
      console->port = port;
      console->tls_port = tls_port;
    });
    Start(DialConsole(&dialer_, &target_, timers_.now_ms() + kTimeMs));
  }

  Dialer dialer_{context_, &leg_};
};

TEST_F(DialConsoleTest, TheTlsPortWhereThereIsTls) {
  UseCa("CN=vm");
  Dial(1, kListeningPort);
  EXPECT_EQ(failure_, std::nullopt);
  EXPECT_TRUE(network_.AcceptPeer(listener_).open());
}

TEST_F(DialConsoleTest, ElseThePlainPort) {
  Dial(kListeningPort, 1);
  EXPECT_EQ(failure_, std::nullopt);
  EXPECT_TRUE(network_.AcceptPeer(listener_).open());
}

TEST_F(DialConsoleTest, AUnixSocketBeforeAll) {
  Change([](Console* console) { console->unix_path = "/run/no-such.sock"; });
  Dial(kListeningPort, kListeningPort);
  EXPECT_EQ(failure_, CloseReason::kServerConnect);
  EXPECT_FALSE(network_.AcceptPeer(listener_).open());
}

TEST_F(DialConsoleTest, AndNothingThatMayNotBeDialled) {
  target_.may_dial = std::make_shared<const AddressFilter>(
      [](const SocketAddress&) { return false; });
  Dial(kListeningPort, 0);
  EXPECT_EQ(failure_, CloseReason::kConnectForbidden);
  EXPECT_FALSE(network_.AcceptPeer(listener_).open());
}

}  // namespace
}  // namespace spicegate
