// SPDX-License-Identifier: Apache-2.0
#include "tests/relay/relay_rig.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/unique_fd.h"
#include "gateway/io/listen.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/test_certificate.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {
namespace {

// Far more than any test needs; one that gets here hangs. Without a byte moved
// a turn takes a millisecond.
constexpr int kMaxTurns = 1'000'000;
constexpr int kMaxStillTurns = 10'000;
// Turns of a millisecond without a byte: then nothing is under way.
constexpr int kStillTurns = 20;
constexpr size_t kMaxChannels = 64;

std::unique_ptr<UringDriver> MakeDriver() {
  // As main() has it: splice(2) has no flag against it.
  CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
  auto driver = UringDriver::Create();
  if (!driver.ok()) {
    ADD_FAILURE() << driver.status();
    std::abort();
  }
  return *std::move(driver);
}

void SetBuffers(int fd, int bytes) {
  if (bytes != 0) {
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) == 0);
  }
}

std::pair<UniqueFd, UniqueFd> TcpPair(int buffer_bytes) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t len = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SetBuffers(listener.get(), buffer_bytes);  // before the window is agreed on
  CHECK(bind(listener.get(), generic, len) == 0);
  CHECK(listen(listener.get(), 1) == 0);
  CHECK(getsockname(listener.get(), generic, &len) == 0);
  UniqueFd connected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SetBuffers(connected.get(), buffer_bytes);
  CHECK(connect(connected.get(), generic, len) == 0);
  UniqueFd accepted(
      accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  CHECK(accepted.valid());
  CHECK(fcntl(connected.get(), F_SETFL, O_NONBLOCK) == 0);
  return {std::move(connected), std::move(accepted)};
}

std::pair<UniqueFd, UniqueFd> UnixPair(int buffer_bytes) {
  int fds[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) == 0);
  SetBuffers(fds[0], buffer_bytes);
  SetBuffers(fds[1], buffer_bytes);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

const TestCertificate& Certificate() {
  static const TestCertificate certificate = MakeTestCertificate(
      {.subject = {{"CN", "relay"}}, .sans = "DNS:relay.test", .is_ca = true},
      nullptr);
  return certificate;
}

// Both handshakes, in turn; each needs the other's messages.
void ShakeHands(TlsStream* server, TlsStream* client) {
  for (int turn = 0; turn < 100'000; ++turn) {
    const int at_client = client->Handshake();
    const int at_server = server->Handshake();
    CHECK(at_client == 0 || at_client == -EAGAIN);
    CHECK(at_server == 0 || at_server == -EAGAIN);
    if (at_client == 0 && at_server == 0) {
      return;
    }
    poll(nullptr, 0, turn < 100 ? 0 : 1);
  }
  CHECK(false);  // the handshake hangs
}

}  // namespace

RelayRig::RelayRig(const RigOptions& options)
    : options_(options),
      real_(MakeDriver()),
      driver_(real_.get()),
      timers_(driver_.NowMs()),
      buffers_(&counters_.relay_buffer_bytes),
      pipes_(&driver_, &counters_, options.pool),
      context_{&timers_,
               &limits_,
               {&buffers_, options.pipes ? &pipes_ : nullptr, &counters_}},
      channels_(kMaxChannels) {}

RelayRig::~RelayRig() {
  for (const Handle handle : channels_.Handles()) {
    channels_.Get(handle)->Close(CloseReason::kShutdown);
  }
  driver_.FailTransfers(0, 0);
  lines_.clear();
  EXPECT_TRUE(RunUntil(
      [this] { return channels_.size() == 0 && driver_.OpsInFlight() == 0; }));
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
  EXPECT_EQ(counters_.pipes_in_use.value(), 0);
  EXPECT_EQ(timers_.size(), 0u);
}

std::pair<Leg, Leg> RelayRig::Join(bool tcp) {
  auto [ours, theirs] = tcp ? TcpPair(options_.socket_buffer_bytes)
                            : UnixPair(options_.socket_buffer_bytes);
  TuneSocket(ours.get());
  TuneSocket(theirs.get());
  return {Leg::Plain(&driver_, ours.Release()),
          Leg::Plain(real_.get(), theirs.Release())};
}

std::pair<Leg, Leg> RelayRig::JoinTls() {
  auto [ours, theirs] = Join(/*tcp=*/true);
  auto server_context = ServerTlsContext::Create(
      Certificate().pem(), Certificate().key_pem(), TlsVersion::kTls12);
  auto client_context =
      ClientTlsContext::Create(Certificate().pem(), "CN=relay", "");
  CHECK(server_context.ok() && client_context.ok());
  auto server = TlsStream::Server(*server_context, std::move(ours.stream));
  auto client = TlsStream::Client(*client_context, std::move(theirs.stream));
  ShakeHands(server.get(), client.get());
  ours.stream = std::move(server);
  theirs.stream = std::move(client);
  return {std::move(ours), std::move(theirs)};
}

Line* RelayRig::Connect(Wire wire) {
  auto [client_leg, client] =
      wire == Wire::kTls ? JoinTls() : Join(wire != Wire::kUnix);
  auto [server_leg, server] = Join(wire == Wire::kTcp || wire == Wire::kTls);
  const uint64_t seed = lines_.size() * 2 + 1;
  lines_.push_back(std::make_unique<Line>(
      Line{RelayPeer(std::move(client), seed, seed + 1),
           RelayPeer(std::move(server), seed + 1, seed)}));
  Line* const line = lines_.back().get();
  line->channel = channels_.Emplace(
      &context_, static_cast<ChannelOwner*>(this),
      proto::ChannelKey{options_.type, 0}, proto::HeaderKind::kMini,
      std::move(client_leg), std::move(server_leg));
  channels_.Get(line->channel)->Start(line->channel, Handle{});
  return line;
}

void RelayRig::Turn(int64_t timeout_ms) {
  // A worker's turn, in a worker's order.
  driver_.Wait(yielded_.empty() ? timeout_ms : 0);
  timers_.Advance(driver_.NowMs());
  driver_.Dispatch();
  for (const Handle handle : std::exchange(yielded_, {})) {
    if (Channel* channel = channels_.Get(handle)) {
      channel->RunAgain();
    }
  }
  for (const Handle handle : std::exchange(ended_, {})) {
    channels_.Erase(handle);
  }
  CheckMemory();
}

void RelayRig::CheckMemory() {
  // Two pumps a channel, each with a buffer or a pipe.
  const int64_t pumps = static_cast<int64_t>(2 * channels_.size());
  const int64_t buffers = counters_.relay_buffer_bytes.value() /
                          static_cast<int64_t>(sizeof(RelayBuffer));
  const int64_t pipes = counters_.pipes_in_use.value();
  EXPECT_LE(buffers + pipes, pumps);
  EXPECT_GE(buffers, 0);
  EXPECT_GE(pipes, 0);
  EXPECT_LE(driver_.open_pipes(), options_.pool.max_pipes);
}

uint64_t RelayRig::NumMoved() const {
  uint64_t moved = 0;
  for (const auto& line : lines_) {
    moved += line->client.said() + line->client.heard() + line->server.said() +
             line->server.heard();
  }
  return moved + static_cast<uint64_t>(copied() + spliced());
}

bool RelayRig::RunUntil(const std::function<bool()>& step) {
  int still = 0;
  for (int turn = 0; turn < kMaxTurns && still < kMaxStillTurns; ++turn) {
    const uint64_t before = NumMoved();
    if (step()) {
      return true;
    }
    // Whoever has moved bytes may be able to move more at once.
    still = NumMoved() == before ? still + 1 : 0;
    Turn(still > 0 ? 1 : 0);
  }
  return false;
}

void RelayRig::RunUntilStill(const std::function<void()>& step) {
  int still = 0;
  EXPECT_TRUE(RunUntil([&, last = NumMoved()]() mutable {
    step();
    still = NumMoved() == last ? still + 1 : 0;
    last = NumMoved();
    return still == kStillTurns;
  }));
}

int64_t RelayRig::to_client() const {
  return counters_.bytes_server_to_client[static_cast<size_t>(options_.type)]
      .value();
}

int64_t RelayRig::to_server() const {
  return counters_.bytes_client_to_server[static_cast<size_t>(options_.type)]
      .value();
}

Line* RelayRig::LineOf(const Channel* channel) {
  const auto found = std::find_if(
      lines_.begin(), lines_.end(),
      [&](const auto& line) { return line->channel == channel->handle(); });
  return found == lines_.end() ? nullptr : found->get();
}

void RelayRig::OnChannelClosing(Channel* channel, CloseReason reason) {
  if (Line* line = LineOf(channel)) {
    ++line->num_closing;
    line->reason = reason;
  }
}

void RelayRig::OnChannelEnded(Channel* channel) {
  ended_.push_back(channel->handle());
  if (Line* line = LineOf(channel)) {
    EXPECT_FALSE(line->ended);
    EXPECT_EQ(line->num_closing, 1);
    line->ended = true;
    line->bytes_to_client = static_cast<uint64_t>(channel->bytes_to_client());
    line->bytes_to_server = static_cast<uint64_t>(channel->bytes_to_server());
  }
}

void RelayRig::OnChannelYielded(Channel* channel) {
  yielded_.push_back(channel->handle());
}

}  // namespace spicegate
