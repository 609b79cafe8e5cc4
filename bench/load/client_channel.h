// SPDX-License-Identifier: Apache-2.0
//
// One channel of a viewer: connect, [HTTP CONNECT], [TLS], link, and what a
// scenario wants on it.
#ifndef SPICEGATE_BENCH_LOAD_CLIENT_CHANNEL_H_
#define SPICEGATE_BENCH_LOAD_CLIENT_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "bench/load/address.h"
#include "bench/load/command.h"
#include "bench/load/connection.h"
#include "bench/load/ping_pong.h"
#include "bench/load/tls.h"
#include "proto/channel.h"

namespace spicegate {

class ClientChannel;

// Who opens channels. A channel that ended is retired by its owner.
class ChannelOwner {
 public:
  // It can be used. A main channel has its session_id().
  virtual void OnOpen(ClientChannel* channel) = 0;
  // The answer to Probe().
  virtual void OnProbed(ClientChannel* channel) { (void)channel; }
  // The answer to a ping of StartPings().
  virtual void OnRoundTrip(ClientChannel* channel) { (void)channel; }
  // All bytes of both directions have arrived as they were sent.
  virtual void OnFinished(ClientChannel* channel) { (void)channel; }
  // The connection is over, for a reason other than Close().
  virtual void OnBroken(ClientChannel* channel, const std::string& why) = 0;

 protected:
  ~ChannelOwner() = default;
};

// Where channels go and how. Outlives them.
struct ClientOptions {
  Address target;
  std::unique_ptr<TlsContext> tls;  // Null: plain.
  std::string connect;              // HOST:PORT of an HTTP CONNECT, or "".
  bool raw = false;                 // No link.
};

// What a channel is opened with.
struct ChannelRequest {
  proto::ChannelKey key;
  uint32_t session_id = 0;    // 0 for main.
  const std::string* ticket;  // Outlives the link.
  uint32_t spread = 0;        // The client's own address, see ConnectTo().
  int64_t due_ns = 0;         // Set-up counts from here; 0: from now.
};

class ClientChannel final : public Connection {
 public:
  // Connects `channel`'s socket; null with *error when there is none. Start()
  // it afterwards.
  static std::unique_ptr<ClientChannel> Connect(Shared* shared,
                                                const ClientOptions* options,
                                                ChannelOwner* owner,
                                                const ChannelRequest& request,
                                                std::string* error);

  proto::ChannelKey key() const { return request_.key; }
  uint32_t session_id() const { return session_id_; }
  // From connect to usable.
  int64_t setup_ns() const { return opened_ns_ - begun_ns_; }
  int64_t begun_ns() const { return begun_ns_; }

  // ---- Once it is open.

  // One message each way.
  void Probe();
  // The server sends, this side checks.
  void StartDownload(FloodPlan plan);
  // The other way round.
  void StartUpload(FloodPlan plan);
  // Messages of `message_len` bytes that the server sends back: with a period
  // from `first_ns` on, without one each as soon as the last has come back.
  void StartPings(uint32_t message_len, uint16_t seed, int64_t period_ns,
                  int64_t first_ns);
  // Acknowledges messages as viewers do on displays.
  void AcknowledgeMessages();
  // Ends everything on this channel; OnFinished() tells.
  void Finish();
  bool finished() const { return state_ == State::kFinished; }

 private:
  enum class State : uint8_t {
    kConnecting,
    kTunnel,  // HTTP CONNECT is not answered yet.
    kReply,
    kResult,
    kGreeting,  // The first message of main and display.
    kOpen,
    kFinishing,
    kFinished,
  };

  ClientChannel(Shared* shared, const ClientOptions* options,
                ChannelOwner* owner, const ChannelRequest& request, int fd,
                int64_t begun_ns);

  void OnConnected() override;
  bool OnLinkBytes(proto::Bytes bytes) override;
  bool OnMessage(uint16_t type, proto::Bytes body) override;
  void OnFloodBoundary() override;
  void OnFloodMessage() override;
  void OnEnd(int error) override;
  void OnDue(int64_t now_ns) override;

  void StartLink();
  bool TakeTunnel();
  bool TakeReply();
  bool TakeResult();
  bool SendTicket(proto::Bytes public_key);
  bool OnPing(proto::Bytes body);
  bool OnFinishAnswer(const Command& answer);
  bool OnGreeting(uint16_t type, proto::Bytes body);
  void Opened();
  void SendCommand(const Command& command);
  void SendPing(int64_t due_ns);

  const ClientOptions* const options_;
  ChannelOwner* const owner_;
  const ChannelRequest request_;
  State state_ = State::kConnecting;
  bool acknowledging_ = false;
  uint32_t session_id_;
  uint32_t num_unacknowledged_ = 0;
  const int64_t begun_ns_;
  int64_t opened_ns_ = 0;
  std::string link_bytes_;
  std::string error_;  // What went wrong, if the cause is known.
  std::unique_ptr<PingPong> pings_;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_CLIENT_CHANNEL_H_
