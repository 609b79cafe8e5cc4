// SPDX-License-Identifier: Apache-2.0
//
// The RSA keys of the SPICE link: ours, that viewers encrypt their ticket to,
// and a server's, that we encrypt the console's ticket to (proto/README.md,
// "Ticket and result"). RSA-1024, e = 65537, RSAES-OAEP with SHA-1: the
// protocol knows nothing else.
#ifndef SPICEGATE_GATEWAY_AUTH_LINK_KEY_H_
#define SPICEGATE_GATEWAY_AUTH_LINK_KEY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

struct rsa_st;

namespace spicegate {

inline constexpr size_t kLinkPublicKeyLen = 162;      // DER, always
inline constexpr size_t kEncryptedTicketLen = 128;    // one RSA block
inline constexpr size_t kMaxTicketPlaintextLen = 86;  // 128 - 42 for OAEP

// A password as it was decrypted. Wiped when it goes; moved, never copied.
class TicketPlaintext {
 public:
  TicketPlaintext() = default;
  TicketPlaintext(TicketPlaintext&& other) noexcept;
  TicketPlaintext& operator=(TicketPlaintext&&) = delete;
  ~TicketPlaintext();

  // Up to the first NUL. Empty both for an empty password and for a
  // ciphertext that did not decrypt: both are refused alike.
  std::string_view view() const { return {bytes_.data(), len_}; }

 private:
  friend class LinkKey;

  void Wipe();

  std::array<char, kEncryptedTicketLen> bytes_{};
  size_t len_ = 0;
};

// Immutable and shared; any number of threads may decrypt with one at once.
// A link keeps the key it sent until its ticket is here, so that replacing the
// process's key disturbs nobody.
class LinkKey {
 public:
  // Takes about 6 ms, up to 30: never on a worker. Null only when memory or
  // randomness is out.
  static std::shared_ptr<const LinkKey> Generate();

  ~LinkKey();
  LinkKey(const LinkKey&) = delete;
  LinkKey& operator=(const LinkKey&) = delete;

  // SubjectPublicKeyInfo, for the link reply.
  std::span<const uint8_t, kLinkPublicKeyLen> public_key_der() const {
    return public_key_der_;
  }

  // Any 128 bytes. About 65 us, whatever they are.
  TicketPlaintext Decrypt(
      std::span<const uint8_t, kEncryptedTicketLen> ciphertext) const;

 private:
  explicit LinkKey(rsa_st* key) : key_(key) {}

  rsa_st* const key_;
  std::array<uint8_t, kLinkPublicKeyLen> public_key_der_{};
};

// Encrypts `password` and a NUL to the key of a server's link reply, whose
// bytes may be anything. An empty password is encrypted like any other. False,
// with `out` untouched, when the key is not a 1024-bit RSA key (all zeros:
// the server wants SASL) or the password is longer than 85 bytes or has a NUL.
bool EncryptTicket(std::span<const uint8_t> public_key_der,
                   std::string_view password,
                   std::span<uint8_t, kEncryptedTicketLen> out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_AUTH_LINK_KEY_H_
