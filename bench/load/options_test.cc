// SPDX-License-Identifier: Apache-2.0
#include "bench/load/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bench/load/scenario.h"

namespace spicegate {
namespace {

LoadOptions Good(const std::vector<std::string>& args) {
  const ParsedOptions parsed = ParseOptions(args);
  EXPECT_EQ(parsed.error, "");
  return parsed.options;
}

std::string Error(const std::vector<std::string>& args) {
  return ParseOptions(args).error;
}

TEST(Options, TakesEveryScenario) {
  for (const char* name : {"bulk", "pingpong", "mixed", "storm", "churn",
                           "idle", "session", "tunnels"}) {
    const LoadOptions options = Good({name, "--serve", "127.0.0.1:0"});
    EXPECT_STREQ(ScenarioName(options.scenario), name);
  }
}

TEST(Options, ValuesBehindBlankOrEquals) {
  const LoadOptions options =
      Good({"bulk", "--serve=127.0.0.1:5900", "--streams", "8",
            "--write-bytes=4096", "--direction", "c2s", "--tls", "--seconds",
            "0.5", "--watch-pid", "1", "--watch-pid=2", "--verify=full"});
  EXPECT_EQ(options.serve->ToString(), "127.0.0.1:5900");
  EXPECT_EQ(options.streams, 8);
  EXPECT_EQ(options.write_bytes, 4096);
  EXPECT_TRUE(options.upload);
  EXPECT_TRUE(options.tls);
  EXPECT_DOUBLE_EQ(options.seconds, 0.5);
  EXPECT_EQ(options.watch_pids, (std::vector<pid_t>{1, 2}));
  EXPECT_EQ(options.verify, Verify::kFull);
}

TEST(Options, DefaultsOfScenarios) {
  EXPECT_EQ(Good({"pingpong", "--serve", "127.0.0.1:0"}).rate, 0);
  EXPECT_EQ(Good({"mixed", "--serve", "127.0.0.1:0"}).rate, 60);
  EXPECT_EQ(Good({"mixed", "--serve", "127.0.0.1:0"}).sessions, 200);
  EXPECT_EQ(Good({"storm", "--serve", "127.0.0.1:0"}).channels, 10);
  EXPECT_EQ(Good({"idle", "--serve", "127.0.0.1:0"}).channels, 1'000);
}

TEST(Options, ChurnIsRawWhereverTheServerListens) {
  const LoadOptions options = Good({"churn", "--serve", "127.0.0.1:0"});
  EXPECT_TRUE(options.raw);
  EXPECT_FALSE(options.serve.has_value());
  EXPECT_TRUE(options.serve_raw.has_value());
}

TEST(Options, TunnelsAreRawAndTheBurstIsOfThem) {
  const LoadOptions options = Good({"tunnels", "--serve", "127.0.0.1:0"});
  EXPECT_TRUE(options.raw);
  EXPECT_EQ(options.channels, 2'000);
  EXPECT_EQ(options.burst, 600);
  EXPECT_EQ(Error({"tunnels", "--serve", "127.0.0.1:0", "--channels", "20"}),
            "--burst: more than --channels");
  EXPECT_NE(Error({"tunnels", "--serve", "127.0.0.1:0", "--burst", "0"}), "");
  EXPECT_EQ(Error({"tunnels", "--serve", "127.0.0.1:0", "--stalled", "2001"}),
            "--stalled: more than --channels");
}

TEST(Options, Mistakes) {
  EXPECT_NE(Error({}), "");
  EXPECT_NE(Error({"sleep"}), "");
  const auto with = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"bulk", "--serve", "127.0.0.1:0"});
    return Error(more);
  };
  EXPECT_EQ(with({"--colour"}), "--colour: unknown");
  EXPECT_EQ(with({"streams"}), "streams: unknown");
  EXPECT_EQ(with({"--streams"}), "--streams: needs a value");
  EXPECT_EQ(with({"--tls=yes"}), "--tls: takes no value");
  EXPECT_EQ(with({"--streams", "0"}),
            "--streams: expected a number from 1 to 10000");
  EXPECT_NE(with({"--streams", "8x"}), "");
  EXPECT_NE(with({"--seconds", "-1"}), "");
  EXPECT_NE(with({"--write-bytes", "8"}), "");
  EXPECT_EQ(with({"--direction", "up"}),
            "--direction: expected one of c2s, "
            "s2c");
  EXPECT_NE(with({"--target", "localhost:1"}), "");
  EXPECT_NE(with({"--watch-pid", "0"}), "");
}

TEST(Options, WhatTlsMayBe) {
  const TlsOptions any = Good({"churn", "--serve", "127.0.0.1:0"}).tls_options;
  EXPECT_EQ(any.version, 0);
  EXPECT_EQ(any.cipher, TlsCipher::kAny);
  EXPECT_FALSE(any.resume);
  const TlsOptions asked =
      Good({"churn", "--serve", "127.0.0.1:0", "--tls-version", "1.3",
            "--tls-suite=chacha20_poly1305", "--tls-resume"})
          .tls_options;
  EXPECT_EQ(asked.version, 0x0304);
  EXPECT_EQ(asked.cipher, TlsCipher::kChaCha20Poly1305);
  EXPECT_TRUE(asked.resume);
  EXPECT_EQ(Error({"churn", "--tls-version", "1.1"}),
            "--tls-version: expected 1.2 or 1.3");
  EXPECT_NE(Error({"churn", "--tls-suite", "aes128_cbc"}), "");
  EXPECT_NE(Error({"churn", "--tls-resume=1"}), "");
}

TEST(Options, EachRoleNeedsItsAddress) {
  EXPECT_NE(Error({"bulk"}), "");
  EXPECT_NE(Error({"bulk", "--role", "client"}), "");
  EXPECT_NE(Error({"bulk", "--role", "server"}), "");
  EXPECT_EQ(Error({"bulk", "--role", "client", "--target", "[::1]:5900"}), "");
  EXPECT_EQ(Error({"bulk", "--role", "server", "--serve", "unix:a"}), "");
}

TEST(Options, TooManyChannelsAreLowered) {
  LoadOptions options =
      Good({"idle", "--serve", "127.0.0.1:0", "--channels", "20000"});
  EXPECT_EQ(DescriptorsOf(options), 40'000);
  EXPECT_EQ(LowerTo(19'900, &options),
            R"("what":"channels","from":20000,"to":9950)");
  EXPECT_LE(DescriptorsOf(options), 19'900);
  EXPECT_EQ(LowerTo(19'900, &options), "");
}

TEST(Options, TooManyTunnelsAreLowered) {
  LoadOptions options = Good({"tunnels", "--serve", "127.0.0.1:0"});
  EXPECT_EQ(DescriptorsOf(options), 4'000);
  EXPECT_EQ(LowerTo(900, &options),
            R"("what":"channels","from":2000,"to":450)");
  EXPECT_EQ(options.burst, 450);
}

TEST(Address, RoundTrip) {
  for (const char* text : {"127.0.0.1:5900", "[::1]:0", "unix:/run/a.sock"}) {
    const auto address = ParseAddress(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->ToString(), text);
  }
  for (const char* text :
       {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:1x",
        "::1:5900", "[127.0.0.1]:1", "example:1", "unix:", ":1"}) {
    EXPECT_FALSE(ParseAddress(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace spicegate
