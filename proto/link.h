// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_LINK_H_
#define SPICEGATE_PROTO_LINK_H_

// The link stage: what opens every SPICE connection.
//
//   client -> server   link header, link message
//   server -> client   link header, link reply (capabilities, RSA key)
//   client -> server   [u32 auth mechanism], 128-byte ticket
//   server -> client   4-byte link result, then data messages
//
// Byte layouts are in README.md. Parsers take hostile input from either side
// and answer as spice-server (towards clients) and spice-gtk (towards servers)
// were measured to.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proto/caps.h"
#include "proto/channel.h"
#include "proto/wire.h"

namespace spicegate::proto {

inline constexpr size_t kLinkHeaderLen = 16;
inline constexpr size_t kLinkMessFixedLen = 18;
// What spice-server takes as header size of a link message, this included.
inline constexpr size_t kMaxLinkMessLen = 4096;
inline constexpr size_t kLinkReplyFixedLen = 178;
// Our own bound for the body of a link reply; real ones have 182 or 186 bytes.
inline constexpr size_t kMaxLinkReplyLen = 4096;
// Header and body of a reply that carries an error.
inline constexpr size_t kErrorReplyLen = kLinkHeaderLen + kLinkReplyFixedLen;
inline constexpr uint32_t kMaxCapsWords = 1024;

inline constexpr size_t kPubKeyLen = 162;  // DER, RSA-1024, e = 65537.
inline constexpr size_t kAuthMechanismLen = 4;
inline constexpr size_t kTicketLen = 128;  // One RSA-1024 block.
inline constexpr size_t kLinkResultLen = 4;
// OAEP with SHA-1 leaves this much of a block, the NUL included.
inline constexpr size_t kMaxTicketPlaintextLen = 86;
// What QEMU really keeps of a password, without the NUL.
inline constexpr size_t kMaxPasswordLen = 59;
// What spice-gtk is ready to send. Tickets for viewers stay within this.
inline constexpr size_t kMaxClientPasswordLen = 60;

inline constexpr std::array<uint8_t, 4> kLinkMagic = {'R', 'E', 'D', 'Q'};
inline constexpr uint32_t kLinkMajor = 2;
inline constexpr uint32_t kLinkMinor = 2;

// Codes of a link reply and of a link result. A peer may send any other value.
enum class LinkError : uint32_t {
  kOk = 0,
  kError = 1,
  kInvalidMagic = 2,
  kInvalidData = 3,
  kVersionMismatch = 4,
  kNeedSecured = 5,
  kNeedUnsecured = 6,
  kPermissionDenied = 7,
  kBadConnectionId = 8,
  kChannelNotAvailable = 9,
};

// "ok", "need_secured", ...; "unknown" for values outside the list.
std::string_view LinkErrorName(LinkError error);

// ---- Link header (16 bytes, both directions) ----

struct LinkHeader {
  std::array<uint8_t, 4> magic = kLinkMagic;
  uint32_t major = kLinkMajor;
  uint32_t minor = kLinkMinor;
  uint32_t size = 0;  // Bytes that follow the header.
};

LinkHeader ParseLinkHeader(std::span<const uint8_t, kLinkHeaderLen> in);
std::array<uint8_t, kLinkHeaderLen> EncodeLinkHeader(const LinkHeader& header);

// What spice-server does about a client's link header. All but kAccept and
// kCloseSilently are answered with the error reply of ErrorOf(), then closed.
enum class HeaderVerdict : uint8_t {
  kAccept,
  kInvalidMagic,
  kVersionMismatch,
  kInvalidData,
  kCloseSilently,  // Major version 0: closed without a byte.
};

HeaderVerdict JudgeLinkHeader(const LinkHeader& header);

// The error to answer a verdict with; kOk for kAccept and kCloseSilently.
LinkError ErrorOf(HeaderVerdict verdict);

// True as soon as `in`, the 1 to 16 bytes received so far, cannot become a link
// header. spice-server answers a wrong magic when it has 4 bytes and not
// before, so fewer than 4 are never wrong.
bool MagicPrefixWrong(Bytes in);

// True for a header a client accepts from a server: magic, major 2, and a size
// from kLinkReplyFixedLen to kMaxLinkReplyLen. The minor version is free.
bool IsReplyHeaderOk(const LinkHeader& header);

// ---- Link message (client -> server) ----

// A parsed link message. The capabilities are views into the parsed body.
struct LinkMess {
  uint32_t connection_id = 0;  // 0 opens a session (on main).
  uint8_t channel_type = 0;    // Raw: may be no ChannelType at all.
  uint8_t channel_id = 0;
  CapsView common_caps;
  CapsView channel_caps;

  ChannelKey key() const {
    return {static_cast<ChannelType>(channel_type), channel_id};
  }
};

// Parses the `size` bytes behind an accepted link header. No value means the
// answer LinkError::kInvalidData: too short, more than kMaxCapsWords words in a
// list, or words outside the body. As in spice-server the offset may be odd and
// is not looked at when there are no words. Type and ids are not judged.
std::optional<LinkMess> ParseLinkMess(Bytes body);

// What a link message is built from.
struct LinkMessFields {
  uint32_t connection_id = 0;
  ChannelKey channel = {};
  std::span<const uint32_t> common_caps = {};
  std::span<const uint32_t> channel_caps = {};
};

// Writes header and message into `out` and returns their length; 0 when `out`
// is too small or the message would exceed kMaxLinkMessLen.
size_t EncodeLinkMess(const LinkMessFields& fields, MutableBytes out);

// ---- Link reply (server -> client) ----

// A parsed link reply; views into the parsed body. Key and capabilities are
// only there when `error` is kOk.
struct LinkReply {
  LinkError error = LinkError::kOk;
  Bytes pub_key;  // kPubKeyLen bytes.
  CapsView common_caps;
  CapsView channel_caps;
};

enum class LinkReplyVerdict : uint8_t {
  kOk,
  kRefused,      // Well-formed, with an error code in it.
  kMalformed,    // Short, or capabilities outside the body.
  kKeyUnusable,  // Not RSA-1024 with e = 65537; all zero from a SASL server.
};

struct ParsedLinkReply {
  LinkReplyVerdict verdict = LinkReplyVerdict::kMalformed;
  LinkReply reply;  // Meaningful with kOk; `error` also with kRefused.
};

// Parses the bytes behind a link header that IsReplyHeaderOk() let pass.
ParsedLinkReply ParseLinkReply(Bytes body);

// Writes header and successful reply into `out` and returns their length; 0
// when `out` is too small or a list has more than kMaxCapsWords words.
size_t EncodeLinkReply(std::span<const uint8_t, kPubKeyLen> pub_key,
                       const ReplyCaps& caps, MutableBytes out);

// Header and reply that refuse a link, byte for byte as spice-server's.
std::array<uint8_t, kErrorReplyLen> EncodeLinkErrorReply(LinkError error);

// True when `key` is a DER SubjectPublicKeyInfo of a 1024-bit RSA key with
// e = 65537 laid out as spice-server lays it out: the only form viewers accept.
bool IsLinkKey(Bytes key);

// ---- Ticket and result ----

// How many bytes of auth mechanism come before the ticket: 4 when the client
// announced AUTH_SELECTION, 0 for legacy clients.
size_t AuthPrefixLen(CapsView client_common_caps);

std::array<uint8_t, kAuthMechanismLen> EncodeAuthMechanism(uint32_t mechanism);
uint32_t ParseAuthMechanism(std::span<const uint8_t, kAuthMechanismLen> in);

// The password in a decrypted ticket: everything before the first NUL, or all
// of it when there is none. A view into `plaintext`.
std::string_view PasswordOf(Bytes plaintext);

// Writes password and NUL, the plaintext of a ticket, and returns the length; 0
// when the password is longer than kMaxClientPasswordLen or holds a NUL.
size_t EncodeTicketPlaintext(std::string_view password,
                             std::span<uint8_t, kMaxTicketPlaintextLen> out);

std::array<uint8_t, kLinkResultLen> EncodeLinkResult(LinkError error);
LinkError ParseLinkResult(std::span<const uint8_t, kLinkResultLen> in);

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_LINK_H_
