// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/post_handshake.h"

#include <algorithm>

#include "gateway/io/tls_socket.h"

namespace spicegate {
namespace {

constexpr uint8_t kAlertLevelWarning = 1;
constexpr uint8_t kAlertLevelFatal = 2;
constexpr uint8_t kAlertCloseNotify = 0;
constexpr uint8_t kAlertUserCanceled = 90;

constexpr uint8_t kMessageNewSessionTicket = 4;
constexpr uint8_t kMessageKeyUpdate = 24;

}  // namespace

PostHandshake::Verdict PostHandshake::Feed(uint8_t type,
                                           std::span<const uint8_t> bytes) {
  if (type == kTlsRecordAlert) {
    return FeedAlert(bytes);
  }
  return type == kTlsRecordHandshake ? FeedHandshake(bytes)
                                     : Verdict::kUnexpected;
}

PostHandshake::Verdict PostHandshake::FeedAlert(
    std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) {
    if (alert_level_ == 0) {
      if (byte != kAlertLevelWarning && byte != kAlertLevelFatal) {
        return Verdict::kUnexpected;
      }
      alert_level_ = byte;
      continue;
    }
    const bool warning = alert_level_ == kAlertLevelWarning;
    alert_level_ = 0;
    if (warning && byte == kAlertCloseNotify) {
      return Verdict::kEnd;
    }
    // TLS 1.3 has no warnings but these two (6.1); what its level says of any
    // other does not count.
    if (!warning || (tls13_ && byte != kAlertUserCanceled)) {
      return Verdict::kAlert;
    }
  }
  return Verdict::kGoOn;
}

PostHandshake::Verdict PostHandshake::FeedHandshake(
    std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (body_left_ > 0) {
      const size_t n = std::min<size_t>(body_left_, bytes.size());
      body_left_ -= static_cast<uint32_t>(n);
      bytes = bytes.subspan(n);
      continue;
    }
    header_[header_len_++] = bytes.front();
    bytes = bytes.subspan(1);
    if (header_len_ == kHeaderLen) {
      const Verdict verdict = BeginMessage();
      if (verdict != Verdict::kGoOn) {
        return verdict;
      }
    }
  }
  return Verdict::kGoOn;
}

PostHandshake::Verdict PostHandshake::BeginMessage() {
  header_len_ = 0;
  body_left_ = uint32_t{header_[1]} << 16 | uint32_t{header_[2]} << 8 |
               uint32_t{header_[3]};
  if (tls13_ && header_[0] == kMessageKeyUpdate) {
    return Verdict::kRekey;
  }
  // Of TLS 1.2 only renegotiation is left, which is refused.
  const bool ticket =
      tls13_ && from_server_ && header_[0] == kMessageNewSessionTicket;
  return ticket ? Verdict::kGoOn : Verdict::kUnexpected;
}

}  // namespace spicegate
