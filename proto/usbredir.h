// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_USBREDIR_H_
#define SPICEGATE_PROTO_USBREDIR_H_

// The usbredir protocol, carried on usbredir channels in DATA (101, both ways).
// The bodies of these messages, one after the other, form a byte stream of
// packets; a packet may begin and end anywhere in a message. README.md,
// "usbredir". The rules are those of usbredirparser.c and usbredirproto.h,
// usbredir 0.13.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "proto/wire.h"

namespace spicegate::proto {

// What a client, which has the device, says. Other types are the server's, or
// nobody's.
enum UsbredirType : uint32_t {
  kUsbredirHello = 0,
  kUsbredirDeviceConnect = 1,
  kUsbredirDeviceDisconnect = 2,
  kUsbredirInterfaceInfo = 4,
  kUsbredirEpInfo = 5,
  kUsbredirConfigurationStatus = 8,
  kUsbredirAltSettingStatus = 11,
  kUsbredirIsoStreamStatus = 14,
  kUsbredirInterruptReceivingStatus = 17,
  kUsbredirBulkStreamsStatus = 20,
  // Either side's as far as the parser goes, but QEMU has nobody to take it and
  // calls through a null pointer. Viewers never send it.
  kUsbredirFilterFilter = 23,
  kUsbredirBulkReceivingStatus = 27,
  kUsbredirControlPacket = 100,
  kUsbredirBulkPacket = 101,
  kUsbredirIsoPacket = 102,
  kUsbredirInterruptPacket = 103,
  kUsbredirBufferedBulkPacket = 104,
};

// Bits of the word of capabilities at the end of a hello.
enum UsbredirCap : uint32_t {
  kUsbredirCapBulkStreams = 0,
  kUsbredirCapConnectDeviceVersion = 1,
  kUsbredirCapFilter = 2,
  kUsbredirCapDeviceDisconnectAck = 3,
  kUsbredirCapEpInfoMaxPacketSize = 4,
  kUsbredirCap64BitIds = 5,
  kUsbredirCap32BitBulkLength = 6,
  kUsbredirCapBulkReceiving = 7,
};

// u32 type, u32 length of what follows the header, and an id of 32 bits; of 64
// once both sides have said kUsbredirCap64BitIds.
inline constexpr size_t kUsbredirShortHeaderLen = 12;
inline constexpr size_t kUsbredirLongHeaderLen = 16;
// A hello: this many bytes of version, then words of capabilities, of which
// only the first has a meaning.
inline constexpr size_t kUsbredirVersionLen = 64;
inline constexpr size_t kMaxUsbredirHelloLen = kUsbredirVersionLen + 4 * 16;
// The longest transfer that the parser believes in.
inline constexpr uint32_t kMaxUsbredirTransferLen = 128 * 1024 * 1024;

// Follows a client's stream from its first byte on, and finds the packet that
// QEMU's parser would not take: behind one QEMU 7.2 aborts. What it refuses
// beyond that no viewer does either: anything ahead of the hello, a second one,
// a packet before the server's hello (whose capabilities decide how long a
// header is), and packets that are too long to be worth their memory.
//
// Holds the front of a packet. A copy goes on where the original is.
class UsbredirChecker {
 public:
  // Packets up to this many bytes behind their header are good.
  explicit UsbredirChecker(uint32_t max_packet_len)
      : max_packet_len_(max_packet_len) {}

  // What the server's hello said. To be told before the server's client can
  // have seen it. Later ones are ignored, as its client's parser does.
  void SetServerCaps(uint32_t caps);

  // The next bytes, in pieces of any length. False once one of them ended the
  // front of a bad packet; final.
  bool Feed(Bytes in);

  bool violated() const { return violated_; }
  bool has_server_caps() const { return server_caps_.has_value(); }
  bool hello_passed() const { return hello_seen_ && !in_packet(); }
  // Some of a packet has come, and not all of it.
  bool in_packet() const { return have_ != 0 || rest_ != 0; }

 private:
  // What is looked at of a packet: its header, and as much as this of what
  // follows.
  static constexpr size_t kMaxSeenLen = kUsbredirVersionLen + 4;

  // Of a type: how long its own header is, how much of that is looked at, and
  // whether data may follow.
  struct Layout {
    uint32_t len = 0;
    uint32_t seen_len = 0;
    bool data = false;
  };

  bool Both(UsbredirCap cap) const;
  bool ServerHas(UsbredirCap cap) const;
  size_t header_len() const;
  const uint8_t* body() const { return front_.data() + header_len(); }

  size_t Take(Bytes in);
  bool OnFront();
  bool OnHeader();
  void OnHello();
  std::optional<Layout> LayoutOf(uint32_t type) const;
  bool IsGoodBody() const;
  bool IsGoodTransfer(uint8_t endpoint, uint32_t claimed_len,
                      uint32_t header_len, bool in_only) const;

  uint32_t max_packet_len_;
  uint32_t client_caps_ = 0;
  std::optional<uint32_t> server_caps_;
  uint32_t type_ = 0;
  uint32_t len_ = 0;       // behind the header
  uint32_t seen_len_ = 0;  // of that, what is looked at
  uint32_t rest_ = 0;      // of that, what is still to come, unseen
  uint32_t have_ = 0;      // bytes of front_
  bool header_seen_ = false;
  bool hello_seen_ = false;
  bool violated_ = false;
  std::array<uint8_t, kUsbredirLongHeaderLen + kMaxSeenLen> front_{};
};

// Reads the capabilities out of the hello with which a server's stream begins.
class UsbredirHelloReader {
 public:
  // The next bytes. True when no more are needed: caps() is there, or the
  // stream began with something else and there is none.
  bool Feed(Bytes in);

  std::optional<uint32_t> caps() const { return caps_; }

 private:
  static constexpr size_t kLen =
      kUsbredirShortHeaderLen + kUsbredirVersionLen + 4;

  std::array<uint8_t, kLen> bytes_{};
  size_t have_ = 0;
  std::optional<uint32_t> caps_;
};

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_USBREDIR_H_
