// SPDX-License-Identifier: Apache-2.0
//
// What a policy lets through of the agent's conversation, in both directions:
// clipboard, file transfer and, read-only, the size of monitors. Drops whole
// agent messages, as spice-server does when it disables the same features
// itself (reds.cpp, agent_msg_filter).
//
//   to guest off:   GRAB, CLIPBOARD, RELEASE from the client and REQUEST from
//                   the guest are dropped
//   from guest off: the same the other way round
//   both off:       ... and the agent's ANNOUNCE_CAPABILITIES loses its
//                   clipboard bits on the way to the client
//   file transfer:  START, STATUS, DATA either way; FILE_XFER_DISABLED is set
//
// Belongs to a main channel: its guard feeds one direction, its inspector the
// other.
#ifndef SPICEGATE_GATEWAY_RELAY_AGENT_FILTER_H_
#define SPICEGATE_GATEWAY_RELAY_AGENT_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/console/policy.h"
#include "proto/agent.h"

namespace spicegate {

class AgentFilter {
 public:
  enum class Verdict : uint8_t {
    kPass,
    kDrop,     // nothing of the piece goes on
    kReplace,  // replacement() goes on in its place; it is not empty
  };

  explicit AgentFilter(const Policy& policy) : policy_(policy) {}
  AgentFilter(const AgentFilter&) = delete;
  AgentFilter& operator=(const AgentFilter&) = delete;

  // The body of one AGENT_DATA, whole, at most kMaxAgentPieceLen.
  //
  // From the client the framing is spice-server's own, state for state: a piece
  // that makes it shut main down passes as it is, and nothing after it does.
  // What it would hand to the guest without having understood it is dropped.
  // Its framing outlives the agent: the rest of a message that has begun goes
  // on, and is discarded there, although the agent has changed.
  Verdict FromClient(std::span<const uint8_t> piece);
  // From the server a piece may begin and end anywhere. An agent header that is
  // cut is kept back until the rest of it is here, so that the piece before is
  // shorter and the one behind longer. A malformed piece is dropped with all
  // that follow until AgentChanged.
  Verdict FromServer(std::span<const uint8_t> piece);

  // The piece as it goes on after kReplace. Valid until the next call.
  std::span<const uint8_t> replacement() const { return replacement_; }
  // What the last piece lost, once for each agent message and at most once a
  // piece; none when it was the rest of a message dropped before, when it was
  // malformed, or when it was only changed.
  std::optional<PolicyDrop> dropped() const { return dropped_; }
  // After kDrop of a client's piece: the client has paid a token for it that
  // the server will not hand back. Not so between the agent's going and
  // AGENT_START: tokens are counted anew then, and one too many would let the
  // client overrun the server, which closes main.
  bool owes_token() const { return owes_token_; }

  // The agent came or went (main 107, 108, 115 from the server). Its
  // conversation begins anew, the client's half with AGENT_START.
  void AgentChanged();
  // AGENT_START from the client.
  void ClientStarted();
  // FLUSH_MARK from the client: a seamless migration takes the conversation
  // from here to its destination, so that nothing more may change it.
  void ClientLetGo() { let_go_ = true; }
  // This filter is the destination's. Goes on where `source`, the filter of the
  // source's main, has stopped. For a seamless migration only; all others
  // begin anew.
  void ContinueFrom(const AgentFilter& source);

 private:
  // Where the client's next piece stands, as the server sees it.
  struct ClientHalf {
    uint32_t remaining = 0;  // of the message under way
    bool dropping = false;   // the server knows nothing of that message
    bool restarted = false;  // AGENT_START came while it was being dropped
    bool broken = false;     // the server has shut main down
    bool started = false;    // AGENT_START came and the agent is the same
  };

  Verdict JudgeClient(std::span<const uint8_t> piece);
  Verdict BeginClientMessage(std::span<const uint8_t> piece);
  Verdict BreakClient();
  bool StartsMessage(std::span<const uint8_t> piece) const;

  bool FeedServer(std::span<const uint8_t> piece);
  void BeginServerMessage();
  void AppendServerBody(std::span<const uint8_t> body);
  void ChangeCapabilities(size_t body_offset, std::span<uint8_t> body) const;

  std::optional<PolicyDrop> Forbids(uint32_t type, bool from_client) const;

  const Policy policy_;
  ClientHalf client_;
  proto::AgentParser from_server_{proto::AgentParser::Rules::kFromServer};
  std::vector<uint8_t> replacement_;
  std::optional<PolicyDrop> dropped_;
  bool dropping_server_message_ = false;
  bool owes_token_ = false;
  bool let_go_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_AGENT_FILTER_H_
