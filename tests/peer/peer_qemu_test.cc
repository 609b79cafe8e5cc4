// SPDX-License-Identifier: Apache-2.0
//
// The test peers against the real thing: our client opens every channel of a
// real QEMU, and a real viewer is content with our server.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "proto/messages.h"
#include "tests/peer/child_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/qemu_process.h"
#include "tests/peer/session_client.h"
#include "tests/peer/spice_client.h"
#include "tests/peer/synthetic_server.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

bool MaySkip() { return std::getenv("SPICEGATE_CI") == nullptr; }

// Opens one channel behind main, as a viewer does.
void OpenSecondary(PeerLoop* loop, const PeerEndpoint& endpoint, ChannelKey key,
                   uint32_t session_id,
                   std::vector<std::unique_ptr<SpiceClient>>* opened) {
  auto client = std::make_unique<SpiceClient>(loop, endpoint);
  const LinkOutcome outcome = client->Link(
      {.channel = key, .connection_id = session_id, .password = "secret"});
  ASSERT_TRUE(outcome.open) << proto::ChannelName(key.type);
  if (key.type == ChannelType::kDisplay) {
    ASSERT_EQ(loop->Run(SendDisplayInit(client.get())), 0);
    // QEMU's display is only safe to leave once it has said something.
    ASSERT_TRUE(client->Read().has_value());
  }
  opened->push_back(std::move(client));
}

void OpenEverything(PeerLoop* loop, const PeerEndpoint& endpoint) {
  SpiceClient main(loop, endpoint);
  ASSERT_TRUE(main.Link({.password = "secret"}).open);
  const auto greeting = loop->Run(GreetMain(&main));
  ASSERT_TRUE(greeting.has_value());
  EXPECT_NE(greeting->init.session_id, 0u);
  EXPECT_GE(greeting->channels.size(), 7u);
  std::vector<std::unique_ptr<SpiceClient>> opened;
  for (const ChannelKey key : greeting->channels) {
    OpenSecondary(loop, endpoint, key, greeting->init.session_id, &opened);
  }
  EXPECT_EQ(opened.size(), greeting->channels.size());
}

TEST(PeerQemuTest, ClientOpensEveryChannel) {
  if (!QemuProcess::Available() && MaySkip()) {
    GTEST_SKIP() << "no QEMU";
  }
  QemuProcess qemu({.every_device = true});
  PeerLoop loop;
  OpenEverything(&loop, {.address = {.port = qemu.port()}});
  const PeerTlsContext tls = PeerTlsContext::Client();
  OpenEverything(&loop, {.address = {.port = qemu.tls_port()}, .tls = &tls});
  EXPECT_TRUE(qemu.process()->running());
}

TEST(PeerQemuTest, ViewerIsContentWithOurServer) {
  if (std::system("command -v spicy-stats >/dev/null") != 0 && MaySkip()) {
    GTEST_SKIP() << "no spicy-stats";
  }
  SyntheticServerOptions options;
  options.consoles = {{"secret", 1}};
  options.channels = EveryChannel();
  PeerThread thread;
  SyntheticServer server(thread.loop(), options);
  PeerAddress address;
  thread.Call([&] { address = server.Listen({}); });
  const std::string home = MakeTestDir();
  setenv("HOME", home.c_str(), 1);
  setenv("XDG_RUNTIME_DIR", home.c_str(), 1);
  ChildProcess viewer({"spicy-stats", "-h", "127.0.0.1", "-p",
                       std::to_string(address.port), "-w", "secret"});
  const uint64_t wanted = 1 + EveryChannel().size();
  viewer.ReadErrorsUntil(
      [&](const std::string&) {
        return server.Totals().num_channels_opened == wanted;
      },
      20'000);
  EXPECT_EQ(server.Totals().num_channels_opened, wanted) << viewer.errors();
  // The viewer sends its INIT and gets SET_ACK; then main goes.
  viewer.ReadErrorsUntil(
      [&](const std::string&) {
        return server.Totals().Of(ChannelType::kDisplay).to_client > 0;
      },
      20'000);
  thread.Call([&] { server.CloseAll(); });
  EXPECT_TRUE(viewer.WaitForExit(20'000).has_value()) << viewer.errors();
  EXPECT_EQ(server.Totals().num_would_have_crashed, 0u);
  EXPECT_EQ(server.Totals().num_pattern_errors, 0u)
      << server.Totals().first_error;
  thread.Stop();
  std::system(("rm -rf '" + home + "'").c_str());
}

}  // namespace
}  // namespace spicegate
