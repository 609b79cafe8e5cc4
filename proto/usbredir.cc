// SPDX-License-Identifier: Apache-2.0
#include "proto/usbredir.h"

#include <algorithm>

namespace spicegate::proto {
namespace {

constexpr uint32_t Bit(UsbredirCap cap) { return 1u << cap; }

bool IsIn(uint8_t endpoint) { return (endpoint & 0x80) != 0; }

}  // namespace

void UsbredirChecker::SetServerCaps(uint32_t caps) {
  if (!server_caps_.has_value()) {
    server_caps_ = caps;
  }
}

bool UsbredirChecker::ServerHas(UsbredirCap cap) const {
  return (server_caps_.value_or(0) & Bit(cap)) != 0;
}

bool UsbredirChecker::Both(UsbredirCap cap) const {
  return ServerHas(cap) && (client_caps_ & Bit(cap)) != 0;
}

size_t UsbredirChecker::header_len() const {
  return hello_seen_ && Both(kUsbredirCap64BitIds) ? kUsbredirLongHeaderLen
                                                   : kUsbredirShortHeaderLen;
}

bool UsbredirChecker::Feed(Bytes in) {
  while (!in.empty() && !violated_) {
    if (rest_ != 0) {
      const size_t len = std::min<size_t>(rest_, in.size());
      rest_ -= static_cast<uint32_t>(len);
      in = in.subspan(len);
    } else if (hello_seen_ && !server_caps_.has_value()) {
      violated_ = true;  // nobody can know how to say it
    } else {
      in = in.subspan(Take(in));
    }
  }
  return !violated_;
}

// Takes what is missing of the front, and looks at it when it is whole.
// Returns how much it took.
size_t UsbredirChecker::Take(Bytes in) {
  const size_t need = header_len() + (header_seen_ ? seen_len_ : 0);
  const size_t len = std::min(need - have_, in.size());
  std::copy_n(in.begin(), len, front_.begin() + have_);
  have_ += static_cast<uint32_t>(len);
  if (have_ == need) {
    violated_ = !OnFront();
  }
  return len;
}

bool UsbredirChecker::OnFront() {
  if (!header_seen_) {
    if (!OnHeader()) {
      return false;
    }
    header_seen_ = true;
    if (seen_len_ != 0) {
      return true;
    }
  }
  if (!IsGoodBody()) {
    return false;
  }
  rest_ = len_ - seen_len_;
  have_ = 0;
  header_seen_ = false;
  if (type_ == kUsbredirHello) {
    OnHello();  // last: it changes what a header is
  }
  return true;
}

bool UsbredirChecker::OnHeader() {
  type_ = LoadU32(front_.data());
  len_ = LoadU32(front_.data() + 4);
  if ((type_ == kUsbredirHello) == hello_seen_) {
    return false;  // the first packet, and no other
  }
  const std::optional<Layout> layout = LayoutOf(type_);
  if (!layout.has_value() || len_ < layout->len || len_ > max_packet_len_ ||
      (len_ > layout->len && !layout->data)) {
    return false;
  }
  seen_len_ = std::min(layout->seen_len, len_);
  return true;
}

std::optional<UsbredirChecker::Layout> UsbredirChecker::LayoutOf(
    uint32_t type) const {
  switch (type) {
    case kUsbredirHello:
      return Layout{kUsbredirVersionLen, kUsbredirVersionLen + 4, true};
    case kUsbredirDeviceConnect:
      return Layout{Both(kUsbredirCapConnectDeviceVersion) ? 10u : 8u};
    case kUsbredirDeviceDisconnect:
      return Layout{};
    case kUsbredirInterfaceInfo:
      return Layout{132, 4};
    case kUsbredirEpInfo:
      if (Both(kUsbredirCapBulkStreams)) {
        return Layout{288};
      }
      return Layout{Both(kUsbredirCapEpInfoMaxPacketSize) ? 160u : 96u};
    case kUsbredirConfigurationStatus:
    case kUsbredirIsoStreamStatus:
      return Layout{2};
    case kUsbredirInterruptReceivingStatus:
      return Layout{2, 2};
    case kUsbredirAltSettingStatus:
      return Layout{3};
    case kUsbredirBulkStreamsStatus:
      return Layout{9};
    case kUsbredirBulkReceivingStatus:
      return Layout{6, 6};
    case kUsbredirControlPacket:
      return Layout{10, 10, true};
    case kUsbredirBulkPacket: {
      const uint32_t len = Both(kUsbredirCap32BitBulkLength) ? 10 : 8;
      return Layout{len, len, true};
    }
    case kUsbredirIsoPacket:
    case kUsbredirInterruptPacket:
      return Layout{4, 4, true};
    case kUsbredirBufferedBulkPacket:
      return Layout{10, 10, true};
  }
  return std::nullopt;
}

// Looks at what is seen of a packet behind its header.
bool UsbredirChecker::IsGoodBody() const {
  const uint8_t* const body = this->body();
  switch (type_) {
    case kUsbredirHello:
      return len_ <= kMaxUsbredirHelloLen;
    case kUsbredirInterfaceInfo:
      return LoadU32(body) <= 32;
    case kUsbredirInterruptReceivingStatus:
      return IsIn(body[1]);
    case kUsbredirBulkReceivingStatus:
      return ServerHas(kUsbredirCapBulkReceiving) && IsIn(body[4]);
    case kUsbredirControlPacket:
      return IsGoodTransfer(body[0], LoadU16(body + 8), 10, false);
    case kUsbredirBulkPacket: {
      const bool wide = Both(kUsbredirCap32BitBulkLength);
      const uint32_t high = wide ? LoadU16(body + 8) : 0;
      return IsGoodTransfer(body[0], high << 16 | LoadU16(body + 2),
                            wide ? 10 : 8, false);
    }
    case kUsbredirIsoPacket:
      return IsGoodTransfer(body[0], LoadU16(body + 2), 4, true);
    case kUsbredirInterruptPacket:
      return IsGoodTransfer(body[0], LoadU16(body + 2), 4, false);
    case kUsbredirBufferedBulkPacket:
      return ServerHas(kUsbredirCapBulkReceiving) &&
             IsGoodTransfer(body[8], LoadU32(body + 4), 10, true);
  }
  return true;
}

// Data comes from IN endpoints alone, and as much as is claimed. For the others
// the claim says how much the device has taken.
bool UsbredirChecker::IsGoodTransfer(uint8_t endpoint, uint32_t claimed_len,
                                     uint32_t header_len, bool in_only) const {
  const uint32_t data_len = len_ - header_len;
  return IsIn(endpoint) ? data_len == claimed_len
                        : !in_only && data_len == 0 &&
                              claimed_len <= kMaxUsbredirTransferLen;
}

void UsbredirChecker::OnHello() {
  hello_seen_ = true;
  client_caps_ = len_ >= kMaxSeenLen
                     ? LoadU32(front_.data() + kUsbredirShortHeaderLen +
                               kUsbredirVersionLen)
                     : 0;
  // Streams say how many they are behind the packet sizes.
  if ((client_caps_ & Bit(kUsbredirCapEpInfoMaxPacketSize)) == 0) {
    client_caps_ &= ~Bit(kUsbredirCapBulkStreams);
  }
}

bool UsbredirHelloReader::Feed(Bytes in) {
  const size_t len = std::min(kLen - have_, in.size());
  std::copy_n(in.begin(), len, bytes_.begin() + have_);
  have_ += len;
  if (have_ < kLen) {
    return false;
  }
  if (LoadU32(bytes_.data()) == kUsbredirHello &&
      LoadU32(bytes_.data() + 4) == kUsbredirVersionLen + 4) {
    caps_ = LoadU32(bytes_.data() + kLen - 4);
  }
  return true;
}

}  // namespace spicegate::proto
