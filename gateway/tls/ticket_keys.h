// SPDX-License-Identifier: Apache-2.0
//
// The keys that session tickets for viewers are encrypted with.
//
// A ticket on the wire: the key's name (16 bytes), a random nonce (24), then
// XChaCha20-Poly1305 over the session, with the name as associated data.
// Random nonces of that length need no bound on the tickets of one key, so
// that nodes may share keys without counting together.
#ifndef SPICEGATE_GATEWAY_TLS_TICKET_KEYS_H_
#define SPICEGATE_GATEWAY_TLS_TICKET_KEYS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace spicegate {

// How long a ticket may be used. Long enough for a viewer that reconnects,
// short enough that a stolen key opens little of TLS 1.2's past.
inline constexpr int64_t kTicketLifeS = 2 * 3600;

// Immutable and shared by every worker. The memory of the keys is wiped at
// the end.
class TicketKeys {
 public:
  static constexpr size_t kNameLen = 16;
  static constexpr size_t kSecretLen = 32;
  static constexpr size_t kNonceLen = 24;
  // What Seal adds.
  static constexpr size_t kOverheadLen = kNameLen + kNonceLen + 16;
  static constexpr size_t kMaxKeys = 16;

  // A file of keys: a line each, 48 random bytes in base64 (16 of name, 32 of
  // key), as `openssl rand -base64 48` prints them. The first encrypts, all
  // decrypt. Empty lines and lines that begin with # say nothing.
  // InvalidArgument names the line, never what it holds.
  static absl::StatusOr<std::shared_ptr<const TicketKeys>> Parse(
      const std::string& text);

  // A new random key that encrypts, and behind it the one that `old` (may be
  // null) encrypted with: as long as a key encrypts for kTicketLifeS, every
  // ticket can be decrypted until it is over, and no longer.
  static std::shared_ptr<const TicketKeys> Rotate(const TicketKeys* old);

  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // Encrypts `plain` into `out`, elsewhere, which has room for kOverheadLen
  // bytes more. The length, or nothing when there is no room.
  std::optional<size_t> Seal(std::span<const uint8_t> plain,
                             std::span<uint8_t> out) const;

  // Decrypts `sealed` into `out`, elsewhere, which is as long. The length, or
  // nothing for a ticket of an unknown key, a forged one, or too little room.
  std::optional<size_t> Open(std::span<const uint8_t> sealed,
                             std::span<uint8_t> out) const;

  size_t size() const { return keys_.size(); }

 private:
  struct Key {
    std::array<uint8_t, kNameLen> name;
    std::array<uint8_t, kSecretLen> secret;
  };

  TicketKeys() { keys_.reserve(kMaxKeys); }  // never moved, so never copied

  absl::Status AddLine(std::string_view line, size_t number);
  const Key* Find(std::span<const uint8_t> name) const;

  std::vector<Key> keys_;  // never empty once made; the first encrypts
};

// The keys in use, shared by every context that encrypts with them: connections
// keep the context that they began with, for days, and keys that were replaced
// must not live on with it. Any thread.
class TicketKeyring {
 public:
  // `keys` is never null, here and below.
  explicit TicketKeyring(std::shared_ptr<const TicketKeys> keys)
      : keys_(std::move(keys)) {}

  std::shared_ptr<const TicketKeys> keys() const {
    const std::lock_guard lock(mutex_);
    return keys_;
  }

  void Replace(std::shared_ptr<const TicketKeys> keys) {
    const std::lock_guard lock(mutex_);
    keys_ = std::move(keys);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const TicketKeys> keys_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TICKET_KEYS_H_
