// SPDX-License-Identifier: Apache-2.0
// Bodies on main from a hostile server. Byte 0 is the message id; the rest is
// the body. Whatever parses is encoded and parsed again and has to be the same.

#include <array>
#include <cstdlib>

#include "proto/main_channel.h"
#include "proto/messages.h"

namespace spicegate::proto {
namespace {

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

void CheckInit(Bytes body) {
  const auto init = ParseMainInit(body);
  Require(init.has_value() == (body.size() >= kMainInitLen));
  Require(!init || ParseMainInit(EncodeMainInit(*init)) == init);
}

void CheckChannelsList(Bytes body) {
  const auto list = ChannelsListView::Parse(body);
  if (!list) {
    return;
  }
  Require(4 + 2 * list->size() <= body.size());
  for (size_t i = 0; i < list->size(); ++i) {
    Require(list->Contains((*list)[i]));
    if (i == 64) {
      break;  // Contains() is linear.
    }
  }
}

void CheckDstInfo(DstInfoKind kind, Bytes body) {
  const auto info = ParseDstInfo(kind, body);
  if (!info) {
    return;
  }
  Require(info->port != 0xFFFF && info->sport != 0xFFFF);
  Require(!info->host.empty());
  std::array<uint8_t, kMaxDstInfoLen> out;
  const size_t len = EncodeDstInfo(kind, *info, out);
  Require(len != 0 && ParseDstInfo(kind, Bytes(out).first(len)) == info);
}

void CheckText(Bytes body) {
  std::array<uint8_t, 4096> out;
  if (const auto name = ParseMainName(body)) {
    const size_t len = EncodeMainName(*name, out);
    Require(len == 0 || ParseMainName(Bytes(out).first(len)) == name);
  }
  if (const auto notify = ParseNotify(body)) {
    const size_t len = EncodeNotify(*notify, out);
    Require(len == 0 ||
            ParseNotify(Bytes(out).first(len))->message == notify->message);
  }
}

void CheckBody(uint8_t type, Bytes body) {
  switch (type) {
    case kMsgMainInit:
      CheckInit(body);
      break;
    case kMsgMainChannelsList:
      CheckChannelsList(body);
      break;
    case kMsgMainMigrateBegin:
    case kMsgMainMigrateSwitchHost:
    case kMsgMainMigrateBeginSeamless:
      CheckDstInfo(*DstInfoKindOf(type), body);
      break;
    default:
      CheckText(body);
      Require(ParseMainUuid(body).has_value() == (body.size() >= kUuidLen));
      break;
  }
}

}  // namespace
}  // namespace spicegate::proto

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len != 0) {
    spicegate::proto::CheckBody(data[0], {data + 1, len - 1});
  }
  return 0;
}
