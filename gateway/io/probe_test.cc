// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/probe.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "gateway/base/limits.h"

namespace spicegate {
namespace {

// Runs `probe` in a process of its own, with one hard limit lowered; returns
// what it printed.
std::string ProbeUnder(__rlimit_resource_t resource, rlim_t limit,
                       const IoNeeds& needs) {
  int fds[2];
  EXPECT_EQ(pipe(fds), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    const rlimit lowered{limit, limit};
    setrlimit(resource, &lowered);
    ProbeReport report;
    const std::string text(ProbeIo(needs, &report).ToString());
    const ssize_t n = write(fds[1], text.data(), text.size());
    _exit(n == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  close(fds[1]);
  std::string text(4096, '\0');
  const ssize_t n = read(fds[0], text.data(), text.size());
  close(fds[0]);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return text;
}

TEST(ProbeTest, FindsWhatTheGatewayNeeds) {
  ProbeReport report;
  const absl::Status status = ProbeIo({1, 100}, &report);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(report.features.ext_arg);
  EXPECT_TRUE(report.features.multishot_accept);
  EXPECT_EQ(report.max_links, 100);
  EXPECT_GE(report.nofile_needed, 200);
}

TEST(ProbeTest, NamesTheDescriptorsItNeeds) {
  const IoNeeds needs{1, 5000};
  const std::string text = ProbeUnder(RLIMIT_NOFILE, 300, needs);
  EXPECT_NE(text.find("RLIMIT_NOFILE is 300"), std::string::npos) << text;
  EXPECT_NE(text.find(std::to_string(DescriptorsNeeded(needs))),
            std::string::npos)
      << text;
}

TEST(ProbeTest, AnAutomaticNumberOfLinksFitsTheLimit) {
  const IoNeeds needs{2, 0};
  EXPECT_EQ(LinksThatFit(needs, -1), kMostAutomaticLinks);
  EXPECT_EQ(LinksThatFit(needs, 10'000'000), kMostAutomaticLinks);
  EXPECT_EQ(LinksThatFit(needs, 64), kFewestAutomaticLinks);
  const int64_t links = LinksThatFit(needs, 4096);
  const int64_t pipes = PipesThatFit({2, links}, 4096);
  EXPECT_GT(pipes, 0);
  EXPECT_LE(DescriptorsNeeded({2, links}) + 2 * 2 * pipes, 4096);
  EXPECT_GT(DescriptorsNeeded({2, links}) + 2 * 2 * (pipes + 1), 4096);
  // Other connections come out of what links would have.
  EXPECT_EQ(DescriptorsNeeded({2, links, 100}),
            DescriptorsNeeded({2, links}) + 100);
  EXPECT_LT(LinksThatFit({2, 0, 1000}, 4096), links);
}

TEST(ProbeTest, PipesGetWhatLinksLeave) {
  const int64_t most = static_cast<int64_t>(kMaxPipes);
  EXPECT_EQ(PipesThatFit({1, 100}, -1), most);
  EXPECT_EQ(PipesThatFit({1, 100}, 10'000'000), most);
  const int64_t needed = DescriptorsNeeded({4, 100});
  EXPECT_EQ(PipesThatFit({4, 100}, needed), 0);
  EXPECT_EQ(PipesThatFit({4, 100}, needed + 79), 9);
}

TEST(ProbeTest, TooFewDescriptorsForAnyUseIsRefused) {
  const std::string text = ProbeUnder(RLIMIT_NOFILE, 128, {1, 0});
  EXPECT_NE(text.find("RLIMIT_NOFILE is 128"), std::string::npos) << text;
}

TEST(ProbeTest, RingsOfManyWorkersAreCountedTwice) {
  EXPECT_EQ(LockedBytesNeeded({4, 0}), 4 * LockedBytesNeeded({1, 0}));
  EXPECT_GT(LockedBytesNeeded({1, 0}),
            2 * 16 * int64_t{kRingCompletionEntries});
}

}  // namespace
}  // namespace spicegate
