// SPDX-License-Identifier: Apache-2.0
//
// What only the real kernel shows; the rest is driver_conformance_test.cc.
#include "gateway/io/uring_driver.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "gateway/io/driver.h"
#include "gateway/io/driver_conformance.h"

namespace spicegate {
namespace {

TEST(UringDriverTest, AcceptEndsWhenDescriptorsRunOut) {
  UringHost host{UringOptions{}};
  IoDriver& driver = *host.driver();
  sockaddr_in address{};
  const int listener = host.Listen(&address);
  const int client = driver.OpenSocket(AF_INET);
  Recorder connected;
  driver.Connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address),
                 &connected, 1);

  for (int turn = 0; turn < 100 && connected.events.empty(); ++turn) {
    driver.RunOnce(100);
  }
  ASSERT_EQ(connected.events.size(), 1u);

  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none_left = limit;
  // The lowest free number, and so the next to be given out.
  const int next = dup(client);
  close(next);
  none_left.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_left), 0);
  Recorder accepted;
  driver.Accept(listener, &accepted, 2);
  for (int turn = 0; turn < 100 && accepted.events.empty(); ++turn) {
    driver.RunOnce(100);
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_EQ(accepted.events.size(), 1u);
  EXPECT_EQ(accepted.events[0].result.value, -EMFILE);
  EXPECT_FALSE(accepted.events[0].result.more);
  EXPECT_EQ(driver.OpsInFlight(), 0u);
  driver.Close(client, false);
  driver.Close(listener, false);
}

}  // namespace
}  // namespace spicegate
