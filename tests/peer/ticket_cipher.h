// SPDX-License-Identifier: Apache-2.0
//
// RSA of the SPICE ticket: RSAES-OAEP with SHA-1, 1024-bit keys.
#ifndef SPICEGATE_TESTS_PEER_TICKET_CIPHER_H_
#define SPICEGATE_TESTS_PEER_TICKET_CIPHER_H_

#include <openssl/rsa.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "proto/link.h"

namespace spicegate {

using PeerTicket = std::array<uint8_t, proto::kTicketLen>;

// A server's key. One is enough for a process: spice-server makes one per link,
// and no client looks.
class PeerTicketKey {
 public:
  PeerTicketKey();

  std::span<const uint8_t, proto::kPubKeyLen> public_der() const {
    return public_der_;
  }
  // The plaintext; nothing when `ticket` does not decrypt.
  std::optional<std::vector<uint8_t>> Decrypt(
      std::span<const uint8_t> ticket) const;

 private:
  bssl::UniquePtr<RSA> rsa_;
  std::array<uint8_t, proto::kPubKeyLen> public_der_;
};

// Encrypts `plaintext` (at most 86 bytes, possibly none) for the key in a link
// reply. Nothing when `public_der` is no RSA-1024 key.
std::optional<PeerTicket> EncryptTicket(std::span<const uint8_t> public_der,
                                        std::span<const uint8_t> plaintext);

// Password and NUL, what an honest client encrypts.
std::vector<uint8_t> PeerTicketPlaintext(std::string_view password);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_TICKET_CIPHER_H_
