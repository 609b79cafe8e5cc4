// SPDX-License-Identifier: Apache-2.0
#include "tests/tls/exchange.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::Direction;

constexpr uint64_t kToClientSeed = 11;
constexpr uint64_t kToServerSeed = 22;
constexpr size_t kPieceLen = 64 * 1024;
// Whole messages whose every byte shall be a write of its own.
constexpr size_t kSplitLen = 4096;
// Clients' small messages cost more to make and to check than bulk.
constexpr uint64_t kSmallShare = 32;
constexpr uint64_t kEndless = uint64_t{1} << 60;

bool CarriesDeviceData(ChannelType type) {
  return type == ChannelType::kPort || type == ChannelType::kUsbredir ||
         type == ChannelType::kWebdav;
}

// Four tasks and the first complaint of any.
struct Talk {
  explicit Talk(PeerLoop* l) : loop(l), join(l) {}

  void Fail(PeerStream* stream, const std::string& what) {
    if (error.empty()) {
      error = what;
    }
    stream->Close();  // Ends the other direction too.
  }

  PeerLoop* loop;
  PeerJoin join;
  std::string error;
};

PeerTask<int> WriteSplit(PeerStream* stream, std::span<const uint8_t> bytes) {
  int written = 0;
  for (size_t i = 0; i < bytes.size() && written == 0; ++i) {
    written = co_await stream->Write(bytes.subspan(i, 1));
  }
  co_return written;
}

PeerTask<void> WriteAll(Talk* talk, PeerStream* stream, TrafficWriter* writer,
                        size_t write_len, const char* name) {
  const bool split = write_len == 1;
  while (!writer->done()) {
    const auto bytes = writer->Next(split ? kSplitLen : write_len);
    const int written = split ? co_await WriteSplit(stream, bytes)
                              : co_await stream->Write(bytes);
    if (written != 0) {
      talk->Fail(stream,
                 std::string(name) + " writes: " + std::strerror(-written));
      break;
    }
  }
  talk->join.Done();
}

PeerTask<void> ReadAll(Talk* talk, PeerStream* stream, TrafficReader* reader,
                       const char* name) {
  std::vector<uint8_t> buffer(kPieceLen);
  while (!reader->done()) {
    const int64_t n = co_await stream->Read(buffer);
    if (n <= 0) {
      talk->Fail(stream, std::string(name) +
                             " reads: " + PeerEndName(EndOf(n)) + " after " +
                             std::to_string(reader->body_bytes()) + " bytes");
      break;
    }
    if (!reader->Feed(std::span(buffer).first(static_cast<size_t>(n)))) {
      talk->Fail(stream, std::string(name) + " reads: " + reader->error());
      break;
    }
  }
  talk->join.Done();
}

void IgnoreOthers(uint16_t, std::span<const uint8_t>) {}

}  // namespace

ExchangePlan BulkPlan(proto::ChannelKey key, uint64_t bytes) {
  ExchangePlan plan;
  plan.to_client = ShapeOf(key.type, Direction::kServerToClient);
  plan.to_server = ShapeOf(key.type, Direction::kClientToServer);
  plan.bytes.to_client_bytes = bytes;
  plan.bytes.to_server_bytes =
      CarriesDeviceData(key.type) ? bytes : bytes / kSmallShare;
  return plan;
}

ExchangePlan SingleBytesPlan(uint64_t num_messages) {
  ExchangePlan plan;
  plan.to_client = {proto::kMsgSpicevmcData, 1};
  plan.to_server = {proto::kMsgcSpicevmcData, 1};
  plan.bytes = {.to_client_bytes = num_messages,
                .to_server_bytes = num_messages};
  plan.write_len = 1;
  return plan;
}

PeerTask<std::string> Exchange(PeerStream* viewer, PeerStream* server,
                               const ExchangePlan* plan) {
  TrafficWriter to_server(kToServerSeed, plan->to_server,
                          plan->bytes.to_server_bytes);
  TrafficWriter to_client(kToClientSeed, plan->to_client,
                          plan->bytes.to_client_bytes);
  TrafficReader at_server(kToServerSeed, plan->to_server,
                          plan->bytes.to_server_bytes, IgnoreOthers);
  TrafficReader at_client(kToClientSeed, plan->to_client,
                          plan->bytes.to_client_bytes, IgnoreOthers);
  Talk talk(viewer->loop());
  for (int i = 0; i < 4; ++i) {
    talk.join.Add();
  }
  PeerLoop* loop = talk.loop;
  loop->Spawn(ReadAll(&talk, viewer, &at_client, "the viewer"));
  loop->Spawn(ReadAll(&talk, server, &at_server, "the server"));
  loop->Spawn(
      WriteAll(&talk, viewer, &to_server, plan->write_len, "the viewer"));
  loop->Spawn(
      WriteAll(&talk, server, &to_client, plan->write_len, "the server"));
  co_await talk.join.Wait();
  co_return talk.error;
}

PeerTask<std::string> PingPong(PeerStream* viewer, PeerStream* server,
                               uint64_t num_messages) {
  const ExchangePlan plan = SingleBytesPlan(num_messages);
  TrafficWriter writer(kToServerSeed, plan.to_server, num_messages);
  std::array<uint8_t, 1> byte;
  while (!writer.done()) {
    const auto message = writer.Next(1);
    for (size_t i = 0; i < message.size(); ++i) {
      const auto sent = message.subspan(i, 1);
      const int asked = co_await viewer->Write(sent);
      const int64_t heard = co_await server->Read(byte);
      if (asked != 0 || heard != 1 || byte[0] != sent[0]) {
        co_return "the server did not get byte " + std::to_string(i);
      }
      const int answered = co_await server->Write(byte);
      byte[0] = static_cast<uint8_t>(~byte[0]);
      const int64_t came = co_await viewer->Read(byte);
      if (answered != 0 || came != 1 || byte[0] != sent[0]) {
        co_return "the viewer did not get byte " + std::to_string(i);
      }
    }
  }
  co_return "";
}

TrafficWriter EndlessWriter(uint64_t seed, TrafficShape shape) {
  return TrafficWriter(seed, shape, kEndless);
}

TrafficReader EndlessReader(uint64_t seed, TrafficShape shape) {
  return TrafficReader(seed, shape, kEndless, IgnoreOthers);
}

PeerTask<void> WritePattern(PeerStream* stream, TrafficWriter* writer) {
  int written = 0;
  while (written == 0 && !writer->done()) {
    const std::span<const uint8_t> bytes = writer->Next(kPieceLen);
    written = co_await stream->Write(bytes);
  }
}

PeerTask<std::string> ReadPatternUntil(PeerStream* stream,
                                       TrafficReader* reader,
                                       uint64_t body_bytes) {
  std::vector<uint8_t> buffer(kPieceLen);
  while (reader->body_bytes() < body_bytes) {
    const int64_t n = co_await stream->Read(buffer);
    if (n <= 0) {
      co_return std::string(PeerEndName(EndOf(n))) + " after " +
          std::to_string(reader->body_bytes()) + " bytes";
    }
    if (!reader->Feed(std::span(buffer).first(static_cast<size_t>(n)))) {
      co_return reader->error();
    }
  }
  co_return "";
}

}  // namespace spicegate
