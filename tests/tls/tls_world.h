// SPDX-License-Identifier: Apache-2.0
//
// A gateway between peers that a test moves by hand: a viewer's end and a
// hypervisor's end for each channel, plain or TLS of any suite on either leg.
// One gateway serves all tests of a program that want it configured alike.
//
// The same programs run where the kernel makes TLS records and where it does
// not. What to expect is told by SPICEGATE_EXPECT_OFFLOAD, "both" or "none".
#ifndef SPICEGATE_TESTS_TLS_TLS_WORLD_H_
#define SPICEGATE_TESTS_TLS_TLS_WORLD_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "proto/channel.h"
#include "tests/peer/gateway_fixture.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/peer_tls.h"
#include "tests/peer/spice_client.h"
#include "tests/peer/synthetic_server.h"
#include "tests/tls/openssl_peer.h"

namespace spicegate {

// Whether records are the kernel's here.
bool ExpectsKernelTls();

// A number from the environment, for machines on which everything is slow.
uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise);

// The suites that kernel TLS knows.
enum class TlsSuiteName : uint8_t { kAes128Gcm, kAes256Gcm, kChaCha20 };

// How one leg speaks.
struct LegKind {
  uint16_t version = 0;  // TLS1_2_VERSION or TLS1_3_VERSION; 0: plain.
  TlsSuiteName suite = TlsSuiteName::kAes128Gcm;
  // The peer is the openssl program. BoringSSL cannot be told its TLS 1.3
  // suite: there `suite` is what the two sides of it like best.
  bool openssl = false;

  bool is_tls() const { return version != 0; }
  // For names of tests: "Plain", "Tls12Aes256Gcm", ...
  std::string name() const;
};

inline constexpr LegKind kPlainLeg = {};
inline constexpr LegKind kTls12Leg = {.version = TLS1_2_VERSION};
inline constexpr LegKind kTls13Leg = {.version = TLS1_3_VERSION};

// The leg a test is about.
enum class TlsSide { kClient, kServer };
const char* SideName(TlsSide side);  // As in metrics.

struct WorldOptions {
  bool splice = true;
  // "both", "send", "receive" or "none", as in the configuration.
  std::string client_offload = "both";
  std::string server_offload = "both";
  // The gateway is a process instead of a part of this one.
  bool own_process = false;

  bool operator<(const WorldOptions& other) const;
};

class TlsWorld {
 public:
  // Made when first asked for; all end with the program's tests.
  static TlsWorld& For(const WorldOptions& options);
  ~TlsWorld();

  PeerLoop* loop() { return &loop_; }
  Gateway& gateway() { return *gateway_; }
  const WorldOptions& options() const { return options_; }

  // Where the viewer of such a leg connects, and the console whose server
  // speaks like that.
  PeerEndpoint ViewerEndpoint(const LegKind& kind);
  std::string ConsoleFor(const LegKind& kind);

  // The server's end of a channel that a viewer has opened. Fails the test
  // and returns null when there is none in time.
  std::unique_ptr<OpenedChannel> TakeOpened(proto::ChannelKey key);
  // Sent behind the link result of channels other than main from now on.
  void set_behind_result(std::vector<uint8_t> bytes) {
    behind_result_ = std::move(bytes);
  }

  // spicegate_channels_closed_total.
  double NumClosed(const std::string& reason);
  // spicegate_relay_bytes_total.
  double NumSpliced();
  // Relayed connections of a leg, by what becomes of their records; `suite`
  // narrows it to that version and cipher.
  double NumRelayed(TlsSide side, const std::string& offload,
                    const LegKind* suite = nullptr);
  // What the records of a leg should be.
  std::string ExpectedOffload(TlsSide side) const;
  // What the openssl programs have said, for messages of failed tests.
  std::string Complaints();
  // Waits until no channel is open, so that tests do not meet.
  void WaitUntilIdle();

 private:
  explicit TlsWorld(const WorldOptions& options);

  void ListenOn(const std::string& console, const PeerTlsContext* context,
                GatewayOptions* gateway);
  void StartServers(GatewayOptions* gateway);

  const WorldOptions options_;
  const std::string directory_;
  const PeerPki pki_ = MakePeerPki();
  std::vector<uint8_t> behind_result_;
  // Of viewers and servers, in the order of kBoringLegs.
  std::vector<PeerTlsContext> viewer_contexts_;
  std::vector<PeerTlsContext> server_contexts_;
  PeerLoop loop_;
  std::unique_ptr<SyntheticServer> server_;
  std::unique_ptr<OpensslViewer> openssl_viewer_;
  std::unique_ptr<OpensslServer> openssl_server_;
  std::deque<OpenedChannel> opened_;
  std::unique_ptr<Gateway> gateway_;
};

// Both ends of a channel.
struct ChannelEnds {
  proto::ChannelKey key;
  std::unique_ptr<SpiceClient> client;
  std::unique_ptr<PeerStream> server;

  PeerStream* viewer() const { return client->stream(); }
};

// A viewer's session with a console, from its main channel on. Its end closes
// everything and waits until the gateway has none of it.
class TlsSession {
 public:
  TlsSession(TlsWorld* world, const LegKind& viewer, const LegKind& server);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Main, past its INIT.
  ChannelEnds& main() { return main_; }
  // Ends main, and so the session. Where several are open, all have to be
  // closed before the first one goes.
  void Close();

  // Opens a channel and passes the first message of the server: both legs are
  // relayed then. Fails the test and returns null when it cannot be opened.
  std::unique_ptr<ChannelEnds> Open(proto::ChannelKey key);
  // The link alone, with something special about it.
  std::unique_ptr<ChannelEnds> OpenSilently(proto::ChannelKey key,
                                            LinkBugs bugs = {});

  // Passes the server's first message on a channel opened silently.
  bool GreetFromServer(ChannelEnds* ends);

  // Checks where the records of both legs are made; `num_channels` with main.
  void ExpectOffload(double num_channels);

 private:
  void ExpectSide(TlsSide side, const LegKind& kind, double num_channels);

  TlsWorld* const world_;
  const LegKind viewer_kind_;
  const LegKind server_kind_;
  std::string ticket_;
  uint32_t session_id_ = 0;
  ChannelEnds main_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_TLS_TLS_WORLD_H_
