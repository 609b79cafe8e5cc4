// SPDX-License-Identifier: Apache-2.0
#include "proto/common_channel.h"

namespace spicegate::proto {

std::optional<uint32_t> ParseMigrate(Bytes body) {
  Reader reader(body);
  const uint32_t flags = reader.U32();
  return reader.ok() ? std::optional(flags) : std::nullopt;
}

std::optional<SetAck> ParseSetAck(Bytes body) {
  Reader reader(body);
  SetAck set_ack;
  set_ack.generation = reader.U32();
  set_ack.window = reader.U32();
  return reader.ok() ? std::optional(set_ack) : std::nullopt;
}

std::array<uint8_t, kSetAckLen> EncodeSetAck(const SetAck& set_ack) {
  std::array<uint8_t, kSetAckLen> out;
  StoreU32(out.data(), set_ack.generation);
  StoreU32(out.data() + 4, set_ack.window);
  return out;
}

std::optional<Ping> ParsePing(Bytes body) {
  Reader reader(body);
  Ping ping;
  ping.id = reader.U32();
  ping.timestamp = reader.U64();
  return reader.ok() ? std::optional(ping) : std::nullopt;
}

std::array<uint8_t, kPingLen> EncodePing(const Ping& ping) {
  std::array<uint8_t, kPingLen> out;
  StoreU32(out.data(), ping.id);
  StoreU64(out.data() + 4, ping.timestamp);
  return out;
}

std::optional<Disconnecting> ParseDisconnecting(Bytes body) {
  Reader reader(body);
  Disconnecting disconnecting;
  disconnecting.time = reader.U64();
  disconnecting.reason = reader.U32();
  return reader.ok() ? std::optional(disconnecting) : std::nullopt;
}

std::array<uint8_t, kDisconnectingLen> EncodeDisconnecting(
    const Disconnecting& disconnecting) {
  std::array<uint8_t, kDisconnectingLen> out;
  StoreU64(out.data(), disconnecting.time);
  StoreU32(out.data() + 8, disconnecting.reason);
  return out;
}

std::optional<Notify> ParseNotify(Bytes body) {
  Reader reader(body);
  Notify notify;
  notify.time = reader.U64();
  notify.severity = reader.U32();
  notify.visibility = reader.U32();
  notify.what = reader.U32();
  notify.message = AsText(reader.Take(reader.U32()));
  return reader.ok() ? std::optional(notify) : std::nullopt;
}

size_t EncodeNotify(const Notify& notify, MutableBytes out) {
  Writer writer(out);
  writer.U64(notify.time);
  writer.U32(notify.severity);
  writer.U32(notify.visibility);
  writer.U32(notify.what);
  writer.U32(static_cast<uint32_t>(notify.message.size()));
  writer.Put(AsBytes(notify.message));
  writer.U8(0);
  return writer.ok() ? writer.length() : 0;
}

}  // namespace spicegate::proto
