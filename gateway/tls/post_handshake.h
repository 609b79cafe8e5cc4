// SPDX-License-Identifier: Apache-2.0
//
// Judges control records of an established connection whose records the kernel
// opens: there is no TLS library left to do it. RFC 8446, 4.6 and 6; RFC 5246,
// 7.2 and 7.4.
#ifndef SPICEGATE_GATEWAY_TLS_POST_HANDSHAKE_H_
#define SPICEGATE_GATEWAY_TLS_POST_HANDSHAKE_H_

#include <array>
#include <cstdint>
#include <span>

#include "gateway/base/counters.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

class PostHandshake {
 public:
  enum class Verdict : uint8_t {
    kGoOn,        // nothing that matters
    kEnd,         // close_notify
    kAlert,       // the peer gave up
    kRekey,       // it goes on under another key
    kUnexpected,  // what must not come here
  };

  // `leg` tells who the peer is: only a server sends tickets.
  PostHandshake(TlsLeg leg, TlsVersion version)
      : from_server_(leg == TlsLeg::kServer),
        tls13_(version == TlsVersion::kTls13) {}

  // The next record or piece of one, with its type. Messages may be spread over
  // records and records over pieces in any way.
  Verdict Feed(uint8_t type, std::span<const uint8_t> bytes);

 private:
  Verdict FeedAlert(std::span<const uint8_t> bytes);
  Verdict FeedHandshake(std::span<const uint8_t> bytes);
  Verdict BeginMessage();

  // A handshake message's type and three bytes of length.
  static constexpr uint8_t kHeaderLen = 4;

  std::array<uint8_t, kHeaderLen> header_{};
  uint32_t body_left_ = 0;
  uint8_t header_len_ = 0;
  // Alerts may come in pieces as well.
  uint8_t alert_level_ = 0;
  const bool from_server_;
  const bool tls13_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_POST_HANDSHAKE_H_
