// SPDX-License-Identifier: Apache-2.0
//
// With a QEMU that only seems to be one, and without workers: what those are
// told is server_connect_test.cc.
#include "gateway/console_access.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/base/clock.h"
#include "gateway/qmp/fake_qmp.h"

namespace spicegate {
namespace {

class ConsoleAccessTest : public testing::Test {
 protected:
  ConsoleAccessTest() {
    plain_.name = "plain";
    plain_.host = "192.0.2.1";
    plain_.port = 5900;
    plain_.ticket = "written down";
    vm_.name = "vm";
    vm_.title = "A desktop";
    vm_.qmp_path = qemu_.path();
    other_.name = "other";
    other_.qmp_path = other_qemu_.path();
    qemu_.host = "127.0.0.1";
    qemu_.port = 5907;
    qemu_.tls_port = 5908;
  }

  void SetConsoles() {
    access_.SetConsoles(std::make_shared<const ConsoleTable>(
        std::vector<Console>{plain_, vm_, other_}));
    RunUntil([this] {
      return qemu_.num_connections > 0 && other_qemu_.num_connections > 0;
    });
    qemu_.commands.clear();
  }

  // Turns the loop, as the control thread does, until `met`; bounded.
  template <typename Met>
  void RunUntil(Met met) {
    for (int i = 0; i < 10'000 && !met(); ++i) {
      std::vector<pollfd> fds;
      access_.qmp()->AddPollFds(&fds);
      poll(fds.data(), fds.size(), 1);
      access_.qmp()->HandlePollFds(fds, MonotonicMs());
      qemu_.Turn();
      other_qemu_.Turn();
    }
    EXPECT_TRUE(met());
  }

  absl::StatusOr<Console> Prepare(const Console& console,
                                  const std::string& continues = "") {
    const auto result =
        std::make_shared<std::optional<absl::StatusOr<Console>>>();
    access_.Prepare(console, continues,
                    [result](absl::StatusOr<Console> prepared) {
                      EXPECT_FALSE(result->has_value()) << "twice";
                      *result = std::move(prepared);
                    });
    RunUntil([&result] { return result->has_value(); });
    return **result;
  }

  absl::StatusOr<int64_t> Disconnect(const Console& console) {
    const auto result =
        std::make_shared<std::optional<absl::StatusOr<int64_t>>>();
    access_.Disconnect(console, [result](absl::StatusOr<int64_t> num) {
      EXPECT_FALSE(result->has_value()) << "twice";
      *result = num;
    });
    RunUntil([&result] { return result->has_value(); });
    return **result;
  }

  FakeQmp qemu_;
  FakeQmp other_qemu_;
  Console plain_;
  Console vm_;
  Console other_;
  SharedState shared_;
  ConsoleAccess access_{&shared_};
};

TEST_F(ConsoleAccessTest, AConsoleThatIsWrittenDownIsReady) {
  SetConsoles();
  const auto console = Prepare(plain_);
  ASSERT_TRUE(console.ok()) << console.status();
  EXPECT_EQ(console->host, "192.0.2.1");
  EXPECT_EQ(console->ticket, "written down");
}

TEST_F(ConsoleAccessTest, AServerOverQmpGetsAPassword) {
  SetConsoles();
  const auto console = Prepare(vm_);
  ASSERT_TRUE(console.ok()) << console.status();
  EXPECT_EQ(console->name, "vm");
  EXPECT_EQ(console->title, "A desktop");
  EXPECT_EQ(console->host, "127.0.0.1");
  EXPECT_EQ(console->port, 5907);
  EXPECT_EQ(console->tls_port, 5908);
  EXPECT_EQ(console->ticket, qemu_.password);
  EXPECT_EQ(console->ticket.size(), 40u);
}

TEST_F(ConsoleAccessTest, AServerThatRefusesIsNoConsole) {
  SetConsoles();
  qemu_.refuses = "set_password";
  EXPECT_EQ(Prepare(vm_).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ConsoleAccessTest, OneConsoleContinuesAnother) {
  SetConsoles();
  const auto source = Prepare(vm_);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto destination = Prepare(other_, "vm");
  ASSERT_TRUE(destination.ok()) << destination.status();
  EXPECT_EQ(destination->name, "other");
  EXPECT_EQ(destination->ticket, source->ticket);
  EXPECT_EQ(other_qemu_.password, source->ticket);
}

TEST_F(ConsoleAccessTest, OnlyQmpConsolesContinueOthers) {
  SetConsoles();
  EXPECT_EQ(Prepare(plain_, "vm").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ConsoleAccessTest, WhatNobodyServesIsOverAtOnce) {
  SetConsoles();
  const auto num = Disconnect(plain_);
  ASSERT_TRUE(num.ok()) << num.status();
  EXPECT_EQ(*num, 0);
  EXPECT_TRUE(qemu_.commands.empty());
}

TEST_F(ConsoleAccessTest, AServerOverQmpEndsTheRest) {
  SetConsoles();
  const auto num = Disconnect(vm_);
  ASSERT_TRUE(num.ok()) << num.status();
  ASSERT_FALSE(qemu_.commands.empty());
  bool told = false;
  for (const std::string& command : qemu_.commands) {
    told = told || command.find(" disconnect") != std::string::npos;
  }
  EXPECT_TRUE(told);
}

TEST_F(ConsoleAccessTest, AServerThatCannotBeToldIsAnError) {
  SetConsoles();
  qemu_.refuses = "set_password";
  EXPECT_EQ(Disconnect(vm_).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ConsoleAccessTest, AnAnswerThatNobodyWaitsForIsDropped) {
  SetConsoles();
  access_.On(Disconnected{/*id=*/7, /*num_sessions=*/1});
  // The worker is gone, but its server is armed all the same.
  AccessRequest request;
  request.question.console = "vm";
  access_.On(request);
  RunUntil([this] { return !qemu_.password.empty(); });
  access_.qmp()->Close();
}

TEST_F(ConsoleAccessTest, SocketsAreMarkedOnceThereIsAQmpConsole) {
  access_.SetConsoles(
      std::make_shared<const ConsoleTable>(std::vector<Console>{plain_}));
  EXPECT_FALSE(shared_.own_sockets.wanted());
  SetConsoles();
  EXPECT_TRUE(shared_.own_sockets.wanted());
}

}  // namespace
}  // namespace spicegate
