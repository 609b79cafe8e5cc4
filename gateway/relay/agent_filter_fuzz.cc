// SPDX-License-Identifier: Apache-2.0
// What a policy lets through of the agent's conversation. Byte 0: bit 0 the
// side, the rest the policy.
//   Server: byte 1 is the length of pieces, then the stream. Cut or whole, the
//   same has to come out.
//   Client: steps, each a u8: 0xff the agent goes, 0xfe its going is noticed,
//   0xfd AGENT_START, else the length of a piece and the piece. Nothing that is
//   forbidden may reach a guest behind a model of spice-server.

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "gateway/relay/agent_filter.h"
#include "gateway/relay/agent_fixture.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Verdict = AgentFilter::Verdict;

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

Policy PolicyOf(uint8_t bits) {
  Policy policy;
  policy.read_only = (bits & 1) != 0;
  policy.clipboard_to_guest = (bits & 2) == 0;
  policy.clipboard_from_guest = (bits & 4) == 0;
  policy.file_transfer = (bits & 8) == 0;
  return policy;
}

bool IsForbidden(const Policy& policy, uint32_t type) {
  switch (type) {
    case proto::kAgentClipboard:
    case proto::kAgentClipboardGrab:
    case proto::kAgentClipboardRelease:
      return !policy.clipboard_to_guest;
    case proto::kAgentClipboardRequest:
      return !policy.clipboard_from_guest;
    case proto::kAgentFileXferStart:
    case proto::kAgentFileXferStatus:
    case proto::kAgentFileXferData:
      return !policy.file_transfer;
    case proto::kAgentMonitorsConfig:
      return policy.read_only;
    default:
      return false;
  }
}

Buffer RunServer(const Policy& policy, proto::Bytes stream, size_t step) {
  AgentFilter filter(policy);
  Buffer out;
  while (!stream.empty()) {
    const proto::Bytes piece = stream.first(std::min(step, stream.size()));
    stream = stream.subspan(piece.size());
    const Verdict verdict = filter.FromServer(piece);
    const proto::Bytes passed = verdict == Verdict::kPass ? piece
                                : verdict == Verdict::kReplace
                                    ? filter.replacement()
                                    : proto::Bytes();
    Require((verdict == Verdict::kDrop) == passed.empty());
    out.insert(out.end(), passed.begin(), passed.end());
  }
  return out;
}

bool IsWellFormed(proto::Bytes stream) {
  proto::AgentParser parser(proto::AgentParser::Rules::kFromServer);
  parser.StartPiece(static_cast<uint32_t>(stream.size()));
  for (;;) {
    const auto step = parser.Feed(stream);
    stream = stream.subspan(step.consumed);
    if (step.event == proto::AgentParser::Event::kNeedMore ||
        step.event == proto::AgentParser::Event::kViolation) {
      return !parser.violated();
    }
  }
}

void CheckServer(const Policy& policy, proto::Reader reader) {
  const size_t step = reader.U8() + size_t{1};
  const proto::Bytes stream = reader.Take(reader.remaining());
  const Buffer cut = RunServer(policy, stream, step);
  Require(cut.size() <= stream.size());
  Require(!IsWellFormed(stream) ||
          cut == RunServer(policy, stream, stream.size()));
}

void CheckClient(const Policy& policy, proto::Reader reader) {
  AgentFilter filter(policy);
  AgentServerModel server;
  while (reader.remaining() > 0) {
    const uint8_t what = reader.U8();
    if (what == 0xff) {
      server.AgentReset();
    } else if (what == 0xfe) {
      filter.AgentChanged();
    } else if (what == 0xfd) {
      filter.ClientStarted();
      server.AgentStart();
    } else {
      const proto::Bytes piece =
          reader.Take(std::min<size_t>(what, reader.remaining()));
      const Verdict verdict = filter.FromClient(piece);
      Require(verdict != Verdict::kReplace);
      if (verdict == Verdict::kPass) {
        server.Data(piece);
      }
    }
  }
  for (const uint32_t type : server.delivered()) {
    Require(!IsForbidden(policy, type));
  }
  Require(!server.guest_lost_sync());
}

}  // namespace
}  // namespace spicegate

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len < 2) {
    return 0;
  }
  const auto policy = spicegate::PolicyOf(data[0] >> 1);
  const spicegate::proto::Reader reader({data + 1, len - 1});
  if ((data[0] & 1) != 0) {
    spicegate::CheckClient(policy, reader);
  } else {
    spicegate::CheckServer(policy, reader);
  }
  return 0;
}
