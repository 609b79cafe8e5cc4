// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/handshake.h"

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gateway/io/leg.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/tls/tls_stream_test_contexts.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

// One end: a leg whose stream is TLS over the plain one.
struct End {
  Leg leg;
  TlsStream* tls = nullptr;
  std::optional<int> result;

  void Start() { Spawn(Run()); }

 private:
  Task<void> Run() {
    result = co_await CompleteHandshake(tls, leg.socket.get());
  }
};

struct World {
  World(const SimOptions& options,
        std::shared_ptr<const ClientTlsContext> client_context)
      : network(options), driver(&network) {
    const auto [one, other] = network.SocketPair();
    client.leg = Leg::Plain(&driver, one);
    server.leg = Leg::Plain(&driver, other);
    Wrap(&client, TlsStream::Client(std::move(client_context),
                                    std::move(client.leg.stream)));
    Wrap(&server,
         TlsStream::Server(ServerContext(), std::move(server.leg.stream)));
  }
  ~World() {
    client.leg.Release(Socket::End::kFin);
    server.leg.Release(Socket::End::kFin);
    Turn(50);
    EXPECT_EQ(driver.OpsInFlight(), 0U);
    EXPECT_EQ(network.OpenSockets(), 0U);
  }

  static void Wrap(End* end, std::unique_ptr<TlsStream> stream) {
    end->tls = stream.get();
    end->leg.stream = std::move(stream);
  }

  void Turn(int num_turns) {
    for (int i = 0; i < num_turns; ++i) {
      driver.RunOnce(1);
    }
  }

  // Until both handshakes ended; one that fails closes, as its owner would.
  void Run() {
    for (int i = 0; i < 5000 && !(client.result && server.result); ++i) {
      driver.RunOnce(1);
      for (End* end : {&client, &server}) {
        if (end->result.value_or(0) != 0 && end->leg) {
          end->leg.Release(Socket::End::kFin);
        }
      }
    }
    ASSERT_TRUE(client.result && server.result);
  }

  SimNetwork network;
  SimDriver driver;
  End client;
  End server;
};

SimOptions Ragged(uint64_t seed) {
  SimOptions options;
  options.seed = seed;
  options.link_capacity_bytes = 400;  // less than a flight
  options.faults.partial_read = 0.5;
  options.faults.partial_write = 0.5;
  options.faults.spurious_ready = 0.1;
  options.faults.spurious_eagain = 0.2;
  options.faults.max_delay_turns = static_cast<unsigned>(seed % 4);
  return options;
}

TEST(CompleteHandshake, EndsWhateverTheNetworkDoes) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    World world(Ragged(seed), ClientContext());
    world.client.Start();
    world.server.Start();
    ASSERT_NO_FATAL_FAILURE(world.Run()) << seed;
    EXPECT_EQ(world.client.result, 0) << seed;
    EXPECT_EQ(world.server.result, 0) << seed;
  }
}

TEST(CompleteHandshake, FailsAsTheStreamDoes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    World world(Ragged(seed), ClientContext("CN=somebody else"));
    world.client.Start();
    world.server.Start();
    ASSERT_NO_FATAL_FAILURE(world.Run()) << seed;
    EXPECT_EQ(world.client.result, -EKEYREJECTED) << seed;
    EXPECT_NE(world.server.result, 0) << seed;
  }
}

TEST(CompleteHandshake, EndsWhenTheSocketsFail) {
  int num_failed = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SimOptions options = Ragged(seed);
    options.faults.recv_error = 0.03;
    options.faults.send_error = 0.03;
    World world(options, ClientContext());
    world.client.Start();
    world.server.Start();
    ASSERT_NO_FATAL_FAILURE(world.Run()) << seed;
    num_failed += world.client.result != 0 ? 1 : 0;
  }
  EXPECT_GT(num_failed, 5);
  EXPECT_LT(num_failed, 50);
}

TEST(CompleteHandshake, EndsWithAnInterrupt) {
  World world(SimOptions{}, ClientContext());
  world.client.Start();  // the server never answers
  world.Turn(10);
  ASSERT_FALSE(world.client.result);
  world.client.leg.socket->Interrupt(-ETIMEDOUT);
  world.Turn(10);
  EXPECT_EQ(world.client.result, -ETIMEDOUT);
  EXPECT_EQ(world.client.tls->failure(), TlsFailure::kNone);
}

TEST(TlsReasons, TellTheFailuresApart) {
  EXPECT_EQ(ServerTlsReason(TlsFailure::kProtocol), CloseReason::kServerTls);
  EXPECT_EQ(ServerTlsReason(TlsFailure::kChain), CloseReason::kServerTlsChain);
  EXPECT_EQ(ServerTlsReason(TlsFailure::kName), CloseReason::kServerTlsName);
  EXPECT_EQ(ServerTlsReason(TlsFailure::kSubject),
            CloseReason::kServerTlsSubject);
  EXPECT_EQ(ServerTlsReason(TlsFailure::kPeerGone), CloseReason::kServerGone);
  EXPECT_EQ(ClientTlsReason(TlsFailure::kProtocol), CloseReason::kClientTls);
  EXPECT_EQ(ClientTlsReason(TlsFailure::kPeerGone), CloseReason::kClientGone);
}

}  // namespace
}  // namespace spicegate
