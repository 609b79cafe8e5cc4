// SPDX-License-Identifier: Apache-2.0
//
// Bytes put back: they come first, whole and once, and then nothing tells the
// stream from the one below it.
#include "gateway/io/unread_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/base/task.h"
#include "gateway/io/leg.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// What the stream below was asked for.
struct Calls {
  std::string text;
  int num_alive = 0;
};

// Gives "inner", then the end; writes down everything else.
class ToldStream final : public Stream {
 public:
  ToldStream(Calls* calls, std::unique_ptr<Stream> next)
      : calls_(calls), next_(std::move(next)) {
    ++calls_->num_alive;
  }
  ~ToldStream() override { --calls_->num_alive; }

  ssize_t Read(std::span<uint8_t> out) override {
    const size_t len = std::min(out.size(), rest_.size());
    std::copy_n(rest_.begin(), len, out.begin());
    rest_.remove_prefix(len);
    return static_cast<ssize_t>(len);
  }
  ssize_t Write(std::span<const uint8_t> in) override {
    calls_->text += "write " + std::string(in.begin(), in.end()) + ",";
    return static_cast<ssize_t>(in.size());
  }
  bool CanSpliceIn() const override { return true; }
  bool CanSpliceOut() const override { return true; }
  ssize_t SpliceIn(const Pipe&, size_t max_bytes) override {
    calls_->text += "splice in " + std::to_string(max_bytes) + ",";
    return 1;
  }
  ssize_t SpliceOut(const Pipe&, size_t max_bytes) override {
    calls_->text += "splice out " + std::to_string(max_bytes) + ",";
    return 2;
  }
  bool ShortReadDrains() const override { return true; }
  int ShutdownWrite() override {
    calls_->text += "shutdown,";
    return -EAGAIN;
  }
  bool CloseIsShutdown() const override { return true; }
  std::unique_ptr<Stream> BeginRelaying(Socket*, WorkerCounters*) override {
    calls_->text += "begin,";
    return std::move(next_);
  }
  Ready ReadWait() const override { return Ready::kWritable; }
  Ready WriteWait() const override { return Ready::kReadable; }

 private:
  Calls* const calls_;
  std::unique_ptr<Stream> next_;
  std::string_view rest_ = "inner";
};

class UnreadStreamTest : public testing::Test {
 protected:
  StreamPtr Told(std::string_view bytes,
                 std::unique_ptr<Stream> next = nullptr) {
    return Unread(std::make_unique<ToldStream>(&calls_, std::move(next)),
                  Bytes(bytes));
  }

  std::unique_ptr<Stream> Next() {
    return std::make_unique<ToldStream>(&calls_, nullptr);
  }

  static std::string Read(Stream* stream, size_t max_bytes) {
    std::string out(max_bytes, '?');
    const ssize_t n =
        stream->Read({reinterpret_cast<uint8_t*>(out.data()), out.size()});
    EXPECT_GE(n, 0);
    out.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return out;
  }

  Calls calls_;
  WorkerCounters counters_;
};

TEST_F(UnreadStreamTest, WithoutBytesItIsTheInnerStream) {
  auto inner = std::make_unique<ToldStream>(&calls_, nullptr);
  const Stream* const same = inner.get();
  EXPECT_EQ(Unread(std::move(inner), {}).get(), same);
  EXPECT_EQ(calls_.num_alive, 0);
}

TEST_F(UnreadStreamTest, BytesComeFirstAndNeverTogetherWithOthers) {
  for (const size_t piece : {1, 2, 3, 4, 5, 100}) {
    const StreamPtr stream = Told("back");
    std::string all;
    while (all.size() < 4) {
      all += Read(stream.get(), piece);
    }
    EXPECT_EQ(all, "back");
    while (all.size() < 9) {
      all += Read(stream.get(), piece);
    }
    EXPECT_EQ(all, "backinner");
    EXPECT_EQ(Read(stream.get(), piece), "");
  }
}

// Whoever reads them must not conclude that a wait is due: TLS below may have
// bytes in hand that no socket announces.
TEST_F(UnreadStreamTest, AShortReadOfThemDrainsNothing) {
  const StreamPtr stream = Told("back");
  EXPECT_EQ(Read(stream.get(), 100), "back");
  EXPECT_FALSE(stream->ShortReadDrains());
  EXPECT_EQ(Read(stream.get(), 100), "inner");
  EXPECT_TRUE(stream->ShortReadDrains());
}

TEST_F(UnreadStreamTest, SplicesOnlyOnceTheyAreRead) {
  const StreamPtr stream = Told("back");
  const Pipe pipe;
  EXPECT_EQ(Read(stream.get(), 3), "bac");
  EXPECT_FALSE(stream->CanSpliceIn());
  EXPECT_EQ(stream->SpliceIn(pipe, 10), -EINVAL);
  EXPECT_TRUE(stream->CanSpliceOut());
  EXPECT_EQ(stream->SpliceOut(pipe, 20), 2);
  EXPECT_EQ(Read(stream.get(), 3), "k");
  EXPECT_TRUE(stream->CanSpliceIn());
  EXPECT_EQ(stream->SpliceIn(pipe, 30), 1);
  EXPECT_EQ(calls_.text, "splice out 20,splice in 30,");
}

TEST_F(UnreadStreamTest, AllElseIsTheInnerStreams) {
  const StreamPtr stream = Told("back");
  EXPECT_EQ(stream->Write(Bytes("out")), 3);
  EXPECT_EQ(stream->ShutdownWrite(), -EAGAIN);
  EXPECT_TRUE(stream->CloseIsShutdown());
  EXPECT_EQ(stream->ReadWait(), Ready::kWritable);
  EXPECT_EQ(stream->WriteWait(), Ready::kReadable);
  EXPECT_EQ(calls_.text, "write out,shutdown,");
}

TEST_F(UnreadStreamTest, OnceTheyAreReadTheSuccessorStandsAlone) {
  auto next = Next();
  Stream* const successor = next.get();
  StreamPtr stream = Told("back", std::move(next));
  EXPECT_EQ(Read(stream.get(), 4), "back");
  std::unique_ptr<Stream> after = stream->BeginRelaying(nullptr, &counters_);
  EXPECT_EQ(after.get(), successor);
  stream.reset();
  EXPECT_EQ(Read(after.get(), 100), "inner");
  EXPECT_EQ(calls_.num_alive, 1);
}

TEST_F(UnreadStreamTest, WithBytesLeftTheyComeBeforeTheSuccessors) {
  StreamPtr stream = Told("back", Next());
  EXPECT_EQ(Read(stream.get(), 1), "b");
  EXPECT_EQ(stream->BeginRelaying(nullptr, &counters_), nullptr);
  EXPECT_EQ(calls_.text, "begin,");
  EXPECT_EQ(calls_.num_alive, 1) << "the first stream has gone";
  EXPECT_EQ(Read(stream.get(), 100), "ack");
  EXPECT_EQ(Read(stream.get(), 100), "inner");
  stream.reset();
  EXPECT_EQ(calls_.num_alive, 0);
}

TEST_F(UnreadStreamTest, AnInnerStreamThatGoesOnStaysBelow) {
  const StreamPtr stream = Told("back");
  EXPECT_EQ(stream->BeginRelaying(nullptr, &counters_), nullptr);
  EXPECT_EQ(Read(stream.get(), 100), "back");
  EXPECT_EQ(Read(stream.get(), 100), "inner");
}

// A leg whose plain stream, which is part of the socket, has bytes before it.
class UnreadLegTest : public testing::Test {
 protected:
  UnreadLegTest() {
    auto connection = network_.Connection();
    leg_ = Leg::Plain(&driver_, connection.first);
    peer_ = std::move(connection.second);
    leg_.stream = Unread(std::move(leg_.stream), Bytes("back"));
  }
  ~UnreadLegTest() override { leg_.Release(Socket::End::kFin); }

  Task<> ReadInto(std::span<uint8_t> out) {
    result_ = co_await ReadExactly(&leg_, out);
  }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_{&network_};
  WorkerCounters counters_;
  Leg leg_;
  SimPeer peer_;
  std::optional<int> result_;
};

TEST_F(UnreadLegTest, BytesOfBothAreReadAsOneStream) {
  std::array<uint8_t, 8> out;
  Spawn(ReadInto(out));
  EXPECT_FALSE(result_.has_value());
  leg_.BeginRelaying(&counters_);
  EXPECT_EQ(peer_.WriteString(" and"), 4u);
  driver_.RunOnce(0);
  EXPECT_EQ(result_, 0);
  EXPECT_EQ(std::string(out.begin(), out.end()), "back and");
}

TEST_F(UnreadLegTest, BytesAreThereAfterThePeersReset) {
  peer_.Reset();
  std::array<uint8_t, 8> out;
  EXPECT_EQ(leg_.stream->Read(out), 4);
  EXPECT_EQ(leg_.stream->Read(out), -ECONNRESET);
}

TEST_F(UnreadLegTest, ReadBytesNeedNoWaitAndTheEndComesBehindThem) {
  peer_.ShutdownWrite();
  std::array<uint8_t, 4> out;
  Spawn(ReadInto(out));
  EXPECT_EQ(result_, 0);
  EXPECT_EQ(leg_.stream->Read(out), 0);
}

}  // namespace
}  // namespace spicegate
