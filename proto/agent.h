// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_AGENT_H_
#define SPICEGATE_PROTO_AGENT_H_

// The agent protocol, carried on main in AGENT_DATA (client 107, server 109).
// The bodies of these messages, one after the other, form a byte stream of
// agent messages; one body is a *piece*. README.md, "Agent".

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "proto/caps.h"
#include "proto/wire.h"

namespace spicegate::proto {

inline constexpr size_t kAgentHeaderLen = 20;
inline constexpr uint32_t kAgentProtocol = 1;
// The longest piece; spice-server shuts main down for a longer one.
inline constexpr size_t kMaxAgentPieceLen = 2048;
// Tokens a client starts with, one per AGENT_DATA, and how many come back at a
// time in AGENT_TOKEN.
inline constexpr uint32_t kAgentInitialTokens = 10;
inline constexpr uint32_t kAgentTokenBatch = 5;

enum AgentType : uint32_t {
  kAgentMouseState = 1,  // From the server itself to the agent only.
  kAgentMonitorsConfig = 2,
  kAgentReply = 3,
  kAgentClipboard = 4,
  kAgentDisplayConfig = 5,
  kAgentAnnounceCapabilities = 6,
  kAgentClipboardGrab = 7,
  kAgentClipboardRequest = 8,
  kAgentClipboardRelease = 9,
  kAgentFileXferStart = 10,
  kAgentFileXferStatus = 11,
  kAgentFileXferData = 12,
  kAgentClientDisconnected = 13,
  kAgentMaxClipboard = 14,
  kAgentAudioVolumeSync = 15,
  kAgentGraphicsDeviceInfo = 16,
};

// "clipboard_grab", ...; "unknown" for other values. Static storage.
std::string_view AgentTypeName(uint32_t type);

enum AgentCap : uint32_t {
  kAgentCapMouseState = 0,
  kAgentCapMonitorsConfig = 1,
  kAgentCapReply = 2,
  kAgentCapClipboard = 3,
  kAgentCapDisplayConfig = 4,
  kAgentCapClipboardByDemand = 5,
  kAgentCapClipboardSelection = 6,
  kAgentCapSparseMonitorsConfig = 7,
  kAgentCapGuestLineEndLf = 8,
  kAgentCapGuestLineEndCrlf = 9,
  kAgentCapMaxClipboard = 10,
  kAgentCapAudioVolumeSync = 11,
  kAgentCapMonitorsConfigPosition = 12,
  kAgentCapFileXferDisabled = 13,
  kAgentCapFileXferDetailedErrors = 14,
  kAgentCapGraphicsDeviceInfo = 15,
  kAgentCapClipboardNoReleaseOnRegrab = 16,
  kAgentCapClipboardGrabSerial = 17,
};

struct AgentHeader {
  uint32_t protocol = kAgentProtocol;
  uint32_t type = 0;
  uint64_t opaque = 0;
  uint32_t size =
      0;  // Bytes of data behind the header, in however many pieces.

  bool operator==(const AgentHeader&) const = default;
};

// No value when `in` is shorter than kAgentHeaderLen.
std::optional<AgentHeader> ParseAgentHeader(Bytes in);
std::array<uint8_t, kAgentHeaderLen> EncodeAgentHeader(
    const AgentHeader& header);

// The data of ANNOUNCE_CAPABILITIES.
struct AgentCapabilities {
  bool request = false;  // The sender wants the other side's in return.
  CapsView caps;         // A view into the data.
};

// No value when `data` is shorter than the fixed four bytes.
std::optional<AgentCapabilities> ParseAgentCapabilities(Bytes data);

// Follows one direction of the agent's byte stream through pieces that may come
// in fragments of their own. Keeps a header at most.
//
//   on the data header of an AGENT_DATA: if (!parser.StartPiece(size)) refuse;
//   on its body: Feed() until kNeedMore, as with MessageFramer.
//
// From clients the rules of spice-server's filter apply, because it shuts main
// down for a breach: a message starts at the start of a piece, with its whole
// header in it; no piece runs past its message; no piece exceeds
// kMaxAgentPieceLen. From servers pieces may be cut anywhere. From either side
// the protocol field is 1.
class AgentParser {
 public:
  enum class Rules : uint8_t { kFromClient, kFromServer };
  enum class Event : uint8_t {
    kNeedMore,
    kHeader,  // header() is valid.
    kBody,
    kEnd,
    kViolation,  // Final until Reset().
  };

  struct Step {
    Event event = Event::kNeedMore;
    size_t consumed = 0;  // Bytes of `in` used by this step.
    Bytes body;           // With kBody: a view into `in`.
  };

  explicit AgentParser(Rules rules) : rules_(rules) {}

  // A piece of `len` bytes begins. False: a violation, known before the first
  // byte. A piece that begins before the one before has been fed whole is one.
  bool StartPiece(uint32_t len);

  // Takes one step through the bytes of the current piece. Call it again with
  // the rest until kNeedMore. Bytes beyond the piece are a violation.
  Step Feed(Bytes in);

  // Forgets everything: the agent has gone or come (server 107, 108, 115).
  void Reset();

  const AgentHeader& header() const { return header_; }
  // A header has been reported and its kEnd not yet.
  bool in_message() const { return in_message_; }
  uint32_t body_remaining() const { return body_remaining_; }
  uint32_t piece_remaining() const { return piece_remaining_; }
  bool violated() const { return violated_; }

 private:
  Step FeedHeader(Bytes in);
  Step FeedBody(Bytes in);
  Step Violation();
  bool HeaderAllowed() const;

  std::array<uint8_t, kAgentHeaderLen> buffer_{};
  AgentHeader header_;
  size_t have_ = 0;  // Bytes of buffer_ that are valid while not in a message.
  uint32_t body_remaining_ = 0;
  uint32_t piece_remaining_ = 0;
  Rules rules_;
  bool in_message_ = false;
  bool violated_ = false;
};

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_AGENT_H_
