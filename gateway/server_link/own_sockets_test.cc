// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/own_sockets.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/base/unique_fd.h"

namespace spicegate {
namespace {

constexpr int64_t kNowMs = 1'000'000;

OwnSockets::Place Place(const std::string& host, uint16_t port) {
  SocketAddress address;
  EXPECT_TRUE(NumericAddress(host, port, &address));
  return *OwnSockets::PlaceOf(address);
}

TEST(OwnSocketsTest, KnowsAPlaceUntilAWhileAfterItsEnd) {
  OwnSockets sockets;
  EXPECT_FALSE(sockets.Has("192.0.2.1", 40000, kNowMs));
  sockets.Add(Place("192.0.2.1", 40000));
  EXPECT_TRUE(sockets.Has("192.0.2.1", 40000, kNowMs));
  EXPECT_FALSE(sockets.Has("192.0.2.1", 40001, kNowMs));
  EXPECT_FALSE(sockets.Has("192.0.2.2", 40000, kNowMs));
  EXPECT_TRUE(sockets.Has("192.0.2.1", 40000, kNowMs + 3'600'000));
  sockets.Drop(Place("192.0.2.1", 40000), kNowMs);
  EXPECT_TRUE(sockets.Has("192.0.2.1", 40000, kNowMs + OwnSockets::kKeptMs));
  EXPECT_FALSE(
      sockets.Has("192.0.2.1", 40000, kNowMs + OwnSockets::kKeptMs + 1));
}

TEST(OwnSocketsTest, AnAddressIsTheSameHoweverItIsWritten) {
  OwnSockets sockets;
  sockets.Add(Place("192.0.2.1", 40000));
  sockets.Add(Place("2001:db8::1", 40000));
  EXPECT_TRUE(sockets.Has("::ffff:192.0.2.1", 40000, kNowMs));
  EXPECT_TRUE(sockets.Has("2001:DB8:0:0::1", 40000, kNowMs));
  for (const char* host :
       {"", "localhost", "192.0.2.1:40000", "[2001:db8::1]", "unix:/run/x"}) {
    EXPECT_FALSE(sockets.Has(host, 40000, kNowMs)) << host;
  }
}

TEST(OwnSocketsTest, APlaceThatIsUsedAgainIsOursAgain) {
  OwnSockets sockets;
  const auto place = Place("192.0.2.1", 40000);
  sockets.Add(place);
  sockets.Add(place);
  sockets.Drop(place, kNowMs);
  EXPECT_TRUE(sockets.Has("192.0.2.1", 40000, kNowMs + 60'000));
  sockets.Drop(place, kNowMs + 60'000);
  sockets.Add(place);
  EXPECT_TRUE(sockets.Has("192.0.2.1", 40000, kNowMs + 120'000));
}

TEST(OwnSocketsTest, ForgettingOthersForgetsNoneThatIsNeeded) {
  OwnSockets sockets;
  sockets.Add(Place("192.0.2.1", 1));  // stays
  for (uint16_t port = 2; port < 100; ++port) {
    const int64_t now_ms = kNowMs + port * 1000;
    sockets.Add(Place("192.0.2.1", port));
    sockets.Drop(Place("192.0.2.1", port), now_ms);
    EXPECT_TRUE(sockets.Has("192.0.2.1", port, now_ms));
    EXPECT_TRUE(sockets.Has("192.0.2.1", 1, now_ms));
  }
  // One too many is no harm.
  sockets.Drop(Place("192.0.2.1", 50), kNowMs + 200'000);
}

TEST(OwnSocketsTest, AUnixSocketHasNoPlace) {
  const absl::StatusOr<SocketAddress> address = UnixAddress("/run/x");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(OwnSockets::PlaceOf(*address), std::nullopt);
  EXPECT_EQ(OwnSockets::PlaceOf(SocketAddress{}), std::nullopt);
}

class OwnSocketMarkTest : public testing::Test {
 protected:
  OwnSocketMarkTest() {
    absl::StatusOr<UniqueFd> listener = ListenTcp("127.0.0.1", 0);
    EXPECT_TRUE(listener.ok()) << listener.status();
    const SocketAddress to = LocalAddress(listener->get());
    fd_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd_.get(), to.get(), to.len), 0);
    const SocketAddress local = LocalAddress(fd_.get());
    port_ =
        ntohs(reinterpret_cast<const sockaddr_in*>(&local.storage)->sin_port);
  }

  // Now, and not only because it has just been.
  bool Marked() {
    return sockets_.Has("127.0.0.1", port_,
                        MonotonicMs() + 2 * OwnSockets::kKeptMs);
  }

  OwnSockets sockets_;
  UniqueFd fd_;
  uint16_t port_ = 0;
};

TEST_F(OwnSocketMarkTest, MarksAsLongAsItLives) {
  sockets_.set_wanted();
  {
    const OwnSocketMark mark(&sockets_, fd_.get());
    EXPECT_TRUE(mark);
    EXPECT_TRUE(Marked());
  }
  EXPECT_FALSE(Marked());
  EXPECT_TRUE(sockets_.Has("127.0.0.1", port_, MonotonicMs()));
}

TEST_F(OwnSocketMarkTest, MovesWithWhoeverHasIt) {
  sockets_.set_wanted();
  OwnSocketMark first(&sockets_, fd_.get());
  OwnSocketMark second(std::move(first));
  EXPECT_FALSE(first);
  EXPECT_TRUE(second && Marked());
  OwnSocketMark third;
  third = std::move(second);
  EXPECT_FALSE(second);
  EXPECT_TRUE(third && Marked());
  third = OwnSocketMark();
  EXPECT_FALSE(Marked());
}

TEST_F(OwnSocketMarkTest, NothingIsMarkedThatNobodyAsksFor) {
  EXPECT_FALSE(OwnSocketMark(&sockets_, fd_.get()));
  EXPECT_FALSE(OwnSocketMark(nullptr, fd_.get()));
  sockets_.set_wanted();
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const UniqueFd ends[] = {UniqueFd(pair[0]), UniqueFd(pair[1])};
  EXPECT_FALSE(OwnSocketMark(&sockets_, ends[0].get()));
  EXPECT_FALSE(OwnSocketMark(&sockets_, -1));
}

}  // namespace
}  // namespace spicegate
