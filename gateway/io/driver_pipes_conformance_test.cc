// SPDX-License-Identifier: Apache-2.0
//
// What driver.h promises about pipes, asked of every implementation: splice(2)
// on TCP and unix sockets, and the simulator.
#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/io/driver.h"
#include "gateway/io/driver_conformance.h"

namespace spicegate {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kAll = size_t{1} << 20;  // more than a call ever moves here

const Implementation kPipeImplementations[] = {
    {"uring_tcp", [] { return std::make_unique<UringHost>(UringOptions{}); }},
    {"uring_unix",
     [] { return std::make_unique<UringHost>(UringOptions{}, AF_UNIX); }},
    {"sim", [] { return MakeSim(1, 0); }},
    {"sim_delayed", [] { return MakeSim(2, 8); }},
};

size_t CountDescriptors() {
  DIR* const folder = opendir("/proc/self/fd");
  EXPECT_NE(folder, nullptr);
  size_t count = 0;
  while (readdir(folder) != nullptr) {
    ++count;
  }
  closedir(folder);
  return count;
}

// Bytes in which each position looks different.
std::string Pattern(size_t len) {
  std::string text(len, '\0');
  uint32_t state = 1;
  for (char& c : text) {
    state = state * 1'664'525 + 1'013'904'223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

class PipeTest : public DriverTest {
 protected:
  static void SetUpTestSuite() {
    // splice(2) has no flag against it; the product ignores it too.
    ASSERT_NE(signal(SIGPIPE, SIG_IGN), SIG_ERR);
  }

  bool is_unix() const {
    return std::string_view(GetParam().name) == "uring_unix";
  }

  Pipe OpenPipe(size_t size_bytes) {
    Pipe pipe;
    EXPECT_EQ(driver().OpenPipe(size_bytes, &pipe), 0);
    EXPECT_TRUE(pipe.open());
    EXPECT_EQ(pipe.capacity_bytes, size_bytes);
    return pipe;
  }

  // Sends one segment and takes it into the pipe as soon as it is there.
  ssize_t PassSegment(int from, int to, const Pipe& pipe,
                      std::string_view text) {
    EXPECT_EQ(SendText(from, text), static_cast<ssize_t>(text.size()));
    return SpliceInSoon(to, pipe);
  }

  ssize_t SpliceInSoon(int fd, const Pipe& pipe, size_t max_bytes = kAll) {
    Recorder recorder;
    driver().Poll(fd, Ready::kReadable, &recorder, 1);
    EXPECT_TRUE(RunUntilEvents(recorder, 1));
    return driver().SpliceIn(fd, pipe, max_bytes);
  }

  // Fills all slots of `pipe` with one byte each: `count` of them.
  void FillWithBytes(int from, int to, const Pipe& pipe, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(PassSegment(from, to, pipe, "x"), 1);
    }
  }

  // What a pipe holds, by way of a connection of its own.
  std::string Contents(const Pipe& pipe, size_t len) {
    const auto connection = host_->Connection();
    EXPECT_EQ(driver().SpliceOut(pipe, connection.first, len),
              static_cast<ssize_t>(len));
    const std::string text = RecvText(connection.second, len);
    CloseBoth(connection);
    return text;
  }
};

TEST_P(PipeTest, EveryByteComesOutUnchangedAndInOrder) {
  constexpr size_t kNumBytes = 3'000'001;
  const std::string text = Pattern(kNumBytes);
  const auto [sender, in] = host_->Connection();
  const auto [out, receiver] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  size_t sent = 0;
  size_t held = 0;
  bool moved = true;
  std::string received;
  std::array<uint8_t, 50'000> piece;
  const auto step = [&, from = sender, to = receiver, in_fd = in,
                     out_fd = out] {
    const ssize_t s =
        sent == text.size()
            ? -EAGAIN
            : SendText(from, std::string_view(text).substr(sent, 77'777));
    sent += s > 0 ? static_cast<size_t>(s) : 0;
    const ssize_t i = driver().SpliceIn(in_fd, pipe, 60'000);
    held += i > 0 ? static_cast<size_t>(i) : 0;
    const ssize_t o =
        held == 0 ? -EAGAIN : driver().SpliceOut(pipe, out_fd, held);
    held -= o > 0 ? static_cast<size_t>(o) : 0;
    const ssize_t r = driver().Recv(to, piece);
    received.append(piece.begin(), piece.begin() + std::max<ssize_t>(r, 0));
    moved = s > 0 || i > 0 || o > 0 || r > 0;
    return received.size() >= text.size();
  };
  bool done = false;
  // A turn without progress: the kernel has bytes under way.
  ASSERT_TRUE(RunUntil([&] {
    do {
      done = step();
    } while (moved && !done);
    return done;
  }));
  EXPECT_TRUE(received == text);
  EXPECT_EQ(held, 0u);
  driver().ClosePipe(&pipe);
  CloseBoth({sender, in});
  CloseBoth({out, receiver});
}

TEST_P(PipeTest, AnEmptySocketSaysEagain) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), -EAGAIN);
  EXPECT_EQ(PassSegment(b, a, pipe, "now"), 3);
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), -EAGAIN);
  EXPECT_EQ(Contents(pipe, 3), "now");
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, TakesNoMoreThanAskedFor) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(SendText(b, "abcdef"), 6);
  EXPECT_EQ(SpliceInSoon(a, pipe, 4), 4);
  const auto [c, d] = host_->Connection();
  EXPECT_EQ(driver().SpliceOut(pipe, c, 1), 1);
  EXPECT_EQ(RecvText(d, 1), "a");
  EXPECT_EQ(Contents(pipe, 3), "bcd");
  EXPECT_EQ(RecvText(a, 2), "ef");
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
  CloseBoth({c, d});
}

TEST_P(PipeTest, TheEndOfTheStreamIsZeroBehindTheData) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(SendText(b, "last words"), 10);
  EXPECT_EQ(driver().ShutdownWrite(b), 0);
  EXPECT_EQ(SpliceInSoon(a, pipe), 10);
  EXPECT_EQ(SpliceInSoon(a, pipe), 0);
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), 0);
  // The other direction goes on.
  EXPECT_EQ(driver().SpliceOut(pipe, a, 10), 10);
  EXPECT_EQ(RecvText(b, 10), "last words");
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, AFewBytesFillAPipe) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(4 * kPageBytes);
  FillWithBytes(b, a, pipe, 4);
  EXPECT_EQ(PassSegment(b, a, pipe, "y"), -EAGAIN);
  EXPECT_EQ(Contents(pipe, 1), "x");
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), 1);
  EXPECT_EQ(Contents(pipe, 4), "xxxy");
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, PartOfASegmentKeepsItsSlot) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(2 * kPageBytes);
  EXPECT_EQ(PassSegment(b, a, pipe, "ab"), 2);
  EXPECT_EQ(PassSegment(b, a, pipe, "cd"), 2);
  EXPECT_EQ(PassSegment(b, a, pipe, "ef"), -EAGAIN);
  EXPECT_EQ(Contents(pipe, 1), "a");
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), -EAGAIN);
  EXPECT_EQ(Contents(pipe, 1), "b");
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), 2);
  EXPECT_EQ(Contents(pipe, 4), "cdef");
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, BulkFillsAPipeAndTheRestWaits) {
  const auto [a, b] = host_->Connection();
  const size_t sent = Fill(b);
  ASSERT_GT(sent, 16 * kPageBytes / 2);
  Pipe pipe = OpenPipe(2 * kPageBytes);
  size_t held = 0;
  for (ssize_t n = SpliceInSoon(a, pipe); n > 0;
       n = driver().SpliceIn(a, pipe, kAll)) {
    held += static_cast<size_t>(n);
  }
  EXPECT_GT(held, 0u);
  EXPECT_LT(held, sent);
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), -EAGAIN);
  EXPECT_EQ(Contents(pipe, held), std::string(held, 'f'));
  EXPECT_EQ(RecvText(a, sent - held), std::string(sent - held, 'f'));
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, AFullPipeHidesTheEndOfTheStream) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(2 * kPageBytes);
  FillWithBytes(b, a, pipe, 2);
  EXPECT_EQ(driver().ShutdownWrite(b), 0);
  EXPECT_EQ(SpliceInSoon(a, pipe), -EAGAIN);
  EXPECT_EQ(Contents(pipe, 2), "xx");
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), 0);
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, AFullPipeHidesAReset) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(2 * kPageBytes);
  FillWithBytes(b, a, pipe, 2);
  EXPECT_EQ(SendText(a, "unread"), 6);  // closing a unix socket resets so
  driver().Close(b, /*reset=*/true);
  EXPECT_EQ(SpliceInSoon(a, pipe), -EAGAIN);
  EXPECT_EQ(Contents(pipe, 2), "xx");
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), -ECONNRESET);
  EXPECT_EQ(driver().SpliceIn(a, pipe, kAll), 0);
  driver().ClosePipe(&pipe);
  driver().Close(a, false);
}

TEST_P(PipeTest, AFullSocketSaysEagainAndThePipeKeepsItsBytes) {
  const auto [a, b] = host_->Connection();
  const auto [out, receiver] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(PassSegment(b, a, pipe, "behind"), 6);
  const size_t filled = Fill(out);
  EXPECT_EQ(driver().SpliceOut(pipe, out, 6), -EAGAIN);
  EXPECT_EQ(driver().SpliceOut(pipe, out, 6), -EAGAIN);
  EXPECT_EQ(RecvText(receiver, filled), std::string(filled, 'f'));
  ssize_t n = -EAGAIN;
  ASSERT_TRUE(RunUntil([&, to = out] {
    n = driver().SpliceOut(pipe, to, 6);
    return n != -EAGAIN;
  }));
  EXPECT_EQ(n, 6);
  EXPECT_EQ(RecvText(receiver, 6), "behind");
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
  CloseBoth({out, receiver});
}

TEST_P(PipeTest, ABrokenConnectionTakesNothingAndKillsNobody) {
  const auto [a, b] = host_->Connection();
  const auto [out, receiver] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(PassSegment(b, a, pipe, "kept"), 4);
  Recorder recorder;
  driver().Poll(out, Ready::kReadable, &recorder, 1);
  driver().Close(receiver, /*reset=*/true);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(driver().SpliceOut(pipe, out, 4), is_unix() ? -EPIPE : -ECONNRESET);
  EXPECT_EQ(driver().SpliceOut(pipe, out, 4), -EPIPE);
  EXPECT_EQ(Contents(pipe, 4), "kept");
  driver().ClosePipe(&pipe);
  driver().Close(out, false);
  CloseBoth({a, b});
}

TEST_P(PipeTest, NothingGoesOutBehindOurFin) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(PassSegment(b, a, pipe, "late"), 4);
  EXPECT_EQ(driver().ShutdownWrite(a), 0);
  EXPECT_EQ(driver().SpliceOut(pipe, a, 4), -EPIPE);
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, RecvAndSpliceTakeTurnsOnOneSocket) {
  const std::string text = Pattern(40'000);
  const auto [sender, in] = host_->Connection();
  const auto [out, receiver] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(SendText(sender, text), static_cast<ssize_t>(text.size()));
  size_t passed = 0;
  for (size_t turn = 0; passed < text.size(); ++turn) {
    const size_t len = std::min(text.size() - passed, 700 + turn * 13);
    if (turn % 3 == 0) {
      const std::string piece = RecvText(in, len);
      ASSERT_EQ(SendText(out, piece), static_cast<ssize_t>(len));
      passed += len;
      continue;
    }
    const ssize_t n = SpliceInSoon(in, pipe, len);
    ASSERT_GT(n, 0);
    ASSERT_EQ(driver().SpliceOut(pipe, out, static_cast<size_t>(n)), n);
    passed += static_cast<size_t>(n);
  }
  EXPECT_TRUE(RecvText(receiver, text.size()) == text);
  driver().ClosePipe(&pipe);
  CloseBoth({sender, in});
  CloseBoth({out, receiver});
}

TEST_P(PipeTest, ASocketThatIsNotConnectedGivesAndTakesNothing) {
  const auto [a, b] = host_->Connection();
  Pipe pipe = OpenPipe(16 * kPageBytes);
  EXPECT_EQ(PassSegment(b, a, pipe, "x"), 1);
  const int fd = driver().OpenSocket(AF_INET);
  EXPECT_EQ(driver().SpliceIn(fd, pipe, kAll), -ENOTCONN);
  EXPECT_EQ(driver().SpliceOut(pipe, fd, 1), -EPIPE);
  driver().Close(fd, false);
  driver().ClosePipe(&pipe);
  CloseBoth({a, b});
}

TEST_P(PipeTest, ClosingLosesWhatIsInsideAndLeaksNothing) {
  const auto [a, b] = host_->Connection();
  const size_t before = CountDescriptors();
  for (int round = 0; round < 100; ++round) {
    Pipe pipe = OpenPipe(16 * kPageBytes);
    EXPECT_EQ(PassSegment(b, a, pipe, "dropped"), 7);
    driver().ClosePipe(&pipe);
    EXPECT_FALSE(pipe.open());
    EXPECT_EQ(pipe.capacity_bytes, 0u);
  }
  EXPECT_EQ(CountDescriptors(), before);
  EXPECT_EQ(SendText(b, "alive"), 5);
  EXPECT_EQ(RecvText(a, 5), "alive");
  CloseBoth({a, b});
}

TEST_P(PipeTest, CapacityIsAPowerOfTwoOfPages) {
  for (const size_t kib : {4, 64, 256, 1024}) {
    Pipe pipe = OpenPipe(kib * 1024);
    driver().ClosePipe(&pipe);
  }
  Pipe pipe;
  ASSERT_EQ(driver().OpenPipe(5 * kPageBytes + 1, &pipe), 0);
  EXPECT_EQ(pipe.capacity_bytes, 8 * kPageBytes);
  driver().ClosePipe(&pipe);
}

INSTANTIATE_TEST_SUITE_P(
    Drivers, PipeTest, testing::ValuesIn(kPipeImplementations),
    [](const testing::TestParamInfo<Implementation>& info) {
      return info.param.name;
    });

}  // namespace
}  // namespace spicegate
