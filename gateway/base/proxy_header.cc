// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "gateway/base/address.h"
#include "gateway/base/crc32c.h"

namespace spicegate {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::string_view kLineStart = "PROXY ";
constexpr std::string_view kUnknown = "UNKNOWN";
constexpr size_t kShortestLine = 15;  // "PROXY UNKNOWN\r\n"
constexpr size_t kNumLineSpaces = 5;  // in a line with addresses

constexpr std::array<uint8_t, 12> kSignature = {
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};
constexpr size_t kFixedLen = 16;
constexpr uint8_t kLocalCommand = 0x20;
constexpr uint8_t kProxyCommand = 0x21;

// Family and protocol in one byte. Datagrams are none of a listener's.
constexpr uint8_t kUnspecified = 0x00;
constexpr uint8_t kTcp4 = 0x11;
constexpr uint8_t kTcp6 = 0x21;
constexpr uint8_t kUnixStream = 0x31;
constexpr size_t kUnixAddressesLen = 216;

constexpr size_t kTlvHeaderLen = 3;
constexpr uint8_t kTlvCrc32c = 0x03;
constexpr uint8_t kTlvUniqueId = 0x05;
constexpr uint8_t kTlvSsl = 0x20;
constexpr size_t kMaxUniqueIdLen = 128;
constexpr size_t kSslFixedLen = 5;

std::string_view Text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint16_t BigEndian16(Bytes bytes) {
  return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]);
}

// Both have as many bytes as the shorter one in common.
template <typename Whole>
bool BeginsLike(Bytes begun, const Whole& whole) {
  const size_t len = std::min(begun.size(), whole.size());
  return std::equal(
      begun.begin(), begun.begin() + static_cast<ptrdiff_t>(len), whole.begin(),
      [](uint8_t a, auto b) { return a == static_cast<uint8_t>(b); });
}

// ---- Version 1: a line.

// What a line still has at least if it is well-formed; nothing is lost by a
// wrong guess about one that is not.
size_t ShortestRest(std::string_view line) {
  if (line.ends_with('\r')) {
    return 1;
  }
  size_t len = 2;  // CR LF
  if (line.starts_with("PROXY TCP")) {
    const auto spaces =
        static_cast<size_t>(std::count(line.begin(), line.end(), ' '));
    // A space and a byte for every field that has not begun.
    len += 2 * (kNumLineSpaces - std::min(spaces, kNumLineSpaces));
    len += line.ends_with(' ') ? 1 : 0;
  }
  return std::max(len, kShortestLine - std::min(line.size(), kShortestLine));
}

std::optional<size_t> LineLack(std::string_view line) {
  const bool whole = line.ends_with("\r\n");
  const size_t end = line.find_first_of("\r\n");
  // Either alone, or bytes behind both: no such line.
  const bool broken =
      end < line.size() &&
      (line[end] != '\r' || end + (whole ? 2 : 1) != line.size());
  const size_t lack = whole ? 0 : ShortestRest(line);
  if (broken || line.size() + lack > kMaxProxyLineBytes) {
    return std::nullopt;
  }
  return lack;
}

// 0 to 65535 in the one way to write it.
std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || stopped != end ||
      (text.size() > 1 && text.front() == '0')) {
    return std::nullopt;
  }
  return port;
}

// The bytes of an address of `family` into `out`.
bool ParseAddress(int family, std::string_view text, void* out) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.size() >= terminated.size() ||
      text.find('\0') != std::string_view::npos) {
    return false;
  }
  std::copy(text.begin(), text.end(), terminated.begin());
  return inet_pton(family, terminated.data(), out) == 1;
}

ProxyHeader WithSource(ProxyHeaderOutcome outcome, int family,
                       const void* source, uint16_t port) {
  sockaddr_storage address{};
  if (family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    std::memcpy(&v4->sin_addr, source, sizeof(v4->sin_addr));
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    std::memcpy(&v6->sin6_addr, source, sizeof(v6->sin6_addr));
  }
  return {outcome, PeerAddressText(address)};
}

// "SOURCE DESTINATION SOURCEPORT DESTINATIONPORT".
std::optional<ProxyHeader> ParseLineAddresses(int family,
                                              std::string_view text) {
  std::array<std::string_view, 4> fields;
  for (size_t i = 0; i < fields.size(); ++i) {
    const size_t end = text.find(' ');
    fields[i] = text.substr(0, end);
    const bool last = i + 1 == fields.size();
    if (last != (end == std::string_view::npos)) {
      return std::nullopt;
    }
    text.remove_prefix(last ? text.size() : end + 1);
  }
  std::array<in6_addr, 2> addresses;
  const std::optional<uint16_t> port = ParsePort(fields[2]);
  if (!ParseAddress(family, fields[0], &addresses[0]) ||
      !ParseAddress(family, fields[1], &addresses[1]) || !port.has_value() ||
      !ParsePort(fields[3]).has_value()) {
    return std::nullopt;
  }
  return WithSource(ProxyHeaderOutcome::kVersion1, family, addresses.data(),
                    *port);
}

std::optional<ProxyHeader> ParseLine(std::string_view line) {
  line.remove_prefix(kLineStart.size());
  line.remove_suffix(2);
  // What follows UNKNOWN has no meaning to a receiver.
  if (line == kUnknown ||
      (line.starts_with(kUnknown) && line[kUnknown.size()] == ' ')) {
    return ProxyHeader{};
  }
  constexpr size_t kFamilyLen = 5;
  if (line.starts_with("TCP4 ")) {
    return ParseLineAddresses(AF_INET, line.substr(kFamilyLen));
  }
  if (line.starts_with("TCP6 ")) {
    return ParseLineAddresses(AF_INET6, line.substr(kFamilyLen));
  }
  return std::nullopt;
}

// ---- Version 2: a block.

std::optional<size_t> BlockLack(Bytes begun) {
  if (begun.size() > kSignature.size() &&
      begun[kSignature.size()] != kLocalCommand &&
      begun[kSignature.size()] != kProxyCommand) {
    return std::nullopt;
  }
  if (begun.size() < kFixedLen) {
    return kFixedLen - begun.size();
  }
  const size_t len = kFixedLen + BigEndian16(begun.subspan(kFixedLen - 2));
  if (len > kMaxProxyHeaderBytes || begun.size() > len) {
    return std::nullopt;
  }
  return len - begun.size();
}

struct Tlv {
  uint8_t type = 0;
  Bytes value;
};

// Takes the next one off `rest`, which is not empty.
std::optional<Tlv> TakeTlv(Bytes* rest) {
  if (rest->size() < kTlvHeaderLen) {
    return std::nullopt;
  }
  const size_t len = BigEndian16(rest->subspan(1));
  if (rest->size() - kTlvHeaderLen < len) {
    return std::nullopt;
  }
  const Tlv tlv = {rest->front(), rest->subspan(kTlvHeaderLen, len)};
  *rest = rest->subspan(kTlvHeaderLen + len);
  return tlv;
}

// `value` is that of the checksum inside `whole`, which counts as zeros.
bool ChecksumHolds(Bytes whole, Bytes value) {
  constexpr std::array<uint8_t, sizeof(uint32_t)> kZeros{};
  if (value.size() != kZeros.size()) {
    return false;
  }
  const auto at = static_cast<size_t>(value.data() - whole.data());
  const uint32_t before = Crc32c(kZeros, Crc32c(whole.first(at)));
  const uint32_t crc = Crc32c(whole.subspan(at + kZeros.size()), before);
  return crc ==
         (uint32_t{BigEndian16(value)} << 16 | BigEndian16(value.subspan(2)));
}

// What the balancer knows of the client's TLS: five bytes, then TLVs again.
bool SslIsSound(Bytes value) {
  if (value.size() < kSslFixedLen) {
    return false;
  }
  for (Bytes rest = value.subspan(kSslFixedLen); !rest.empty();) {
    if (!TakeTlv(&rest).has_value()) {
      return false;
    }
  }
  return true;
}

bool ExtensionsAreSound(Bytes whole, Bytes tlvs) {
  bool has_checksum = false;
  while (!tlvs.empty()) {
    const std::optional<Tlv> tlv = TakeTlv(&tlvs);
    if (!tlv.has_value()) {
      return false;
    }
    bool sound = true;
    if (tlv->type == kTlvCrc32c) {
      sound = !std::exchange(has_checksum, true) &&
              ChecksumHolds(whole, tlv->value);
    } else if (tlv->type == kTlvUniqueId) {
      sound = tlv->value.size() <= kMaxUniqueIdLen;
    } else if (tlv->type == kTlvSsl) {
      sound = SslIsSound(tlv->value);
    }
    if (!sound) {
      return false;
    }
  }
  return true;
}

// Source, destination, source port, destination port; then extensions.
std::optional<ProxyHeader> ParseBlockAddresses(int family, Bytes whole) {
  const size_t address_len =
      family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
  const Bytes body = whole.subspan(kFixedLen);
  const size_t port_at = 2 * address_len;
  const size_t addresses_len = port_at + 2 * sizeof(uint16_t);
  if (body.size() < addresses_len ||
      !ExtensionsAreSound(whole, body.subspan(addresses_len))) {
    return std::nullopt;
  }
  return WithSource(ProxyHeaderOutcome::kVersion2, family, body.data(),
                    BigEndian16(body.subspan(port_at)));
}

std::optional<ProxyHeader> ParseBlock(Bytes whole) {
  const Bytes body = whole.subspan(kFixedLen);
  if (whole[kSignature.size()] == kLocalCommand) {
    // What follows has no meaning.
    return ProxyHeader{ProxyHeaderOutcome::kLocal, "", /*local=*/true};
  }
  switch (whole[kSignature.size() + 1]) {
    case kUnspecified:
      return ProxyHeader{};  // how long its addresses are, nobody says
    case kTcp4:
      return ParseBlockAddresses(AF_INET, whole);
    case kTcp6:
      return ParseBlockAddresses(AF_INET6, whole);
    case kUnixStream:
      if (body.size() >= kUnixAddressesLen &&
          ExtensionsAreSound(whole, body.subspan(kUnixAddressesLen))) {
        return ProxyHeader{};
      }
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<size_t> ProxyHeaderLack(Bytes begun) {
  if (begun.empty()) {
    return kShortestLine;
  }
  if (BeginsLike(begun, kSignature)) {
    return BlockLack(begun);
  }
  if (BeginsLike(begun, kLineStart)) {
    return LineLack(Text(begun));
  }
  return std::nullopt;
}

std::optional<ProxyHeader> ParseProxyHeader(Bytes whole) {
  if (ProxyHeaderLack(whole) != size_t{0}) {
    return std::nullopt;
  }
  if (whole.front() == kSignature.front()) {
    return ParseBlock(whole);
  }
  return whole.size() < kShortestLine ? std::nullopt : ParseLine(Text(whole));
}

}  // namespace spicegate
