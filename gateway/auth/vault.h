// SPDX-License-Identifier: Apache-2.0
//
// The tickets that the gateway issued, in memory. Life of a ticket:
//
//   Issue ----> fresh ----BeginUse----> in use ----last EndUse----> gone
//                 |                     (late channels, hot-plugged
//                 |                      channels and reconnects look
//                 +--first_use_ms        here; no expiry)
//                    over: expired --Purge--> gone
//
// A session begins one use when it is made and ends it when it is over. Expiry
// counts only until the first use. Between Look and BeginUse a ticket may go;
// BeginUse then says so.
#ifndef SPICEGATE_GATEWAY_AUTH_VAULT_H_
#define SPICEGATE_GATEWAY_AUTH_VAULT_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace spicegate {

struct ConsoleTarget;  // gateway/server_link/link_context.h

inline constexpr size_t kTicketLen = 48;  // log2(36^48) = 248 bits

// SHA-256 of a ticket: what is stored, compared and used as a session's name.
// Not a secret worth stealing: it cannot be turned back. Never logged whole.
struct TicketDigest {
  std::array<uint8_t, 32> bytes{};

  // Takes the same time wherever they differ.
  friend bool operator==(const TicketDigest& a, const TicketDigest& b);

  template <typename H>
  friend H AbslHashValue(H hash, const TicketDigest& digest) {
    return H::combine_contiguous(std::move(hash), digest.bytes.data(),
                                 digest.bytes.size());
  }
};

class TicketVault;

// A valid ticket, held: as long as a claim on it exists the ticket stays valid,
// for whoever presents it. Moves with the link and the session it is held for.
class TicketClaim {
 public:
  TicketClaim() = default;
  // Of whoever was let in without a ticket of any vault: it has a name for a
  // session and the console it is for, and holds nothing. False like a claim
  // that was not given; MarkUsed and Release have nothing to do.
  static TicketClaim Unvaulted(const TicketDigest& digest, std::string console);

  TicketClaim(TicketClaim&& other) noexcept
      : vault_(std::exchange(other.vault_, nullptr)),
        digest_(other.digest_),
        console_(std::move(other.console_)),
        policy_name_(std::move(other.policy_name_)),
        target_(std::move(other.target_)) {}
  TicketClaim& operator=(TicketClaim&& other) noexcept;
  ~TicketClaim() { Release(); }

  // A session of this ticket has begun: from now on the ticket ends with its
  // last claim. Until then a released ticket can be used again, in its time.
  // Harmless when there is none.
  void MarkUsed();

  // Gives the claim up early. Harmless when there is none.
  void Release();

  explicit operator bool() const { return vault_ != nullptr; }
  const TicketDigest& digest() const { return digest_; }
  // What the ticket allows.
  const std::string& console() const { return console_; }
  // What it was issued with; empty: no policy of its own.
  const std::string& policy_name() const { return policy_name_; }
  // What it was issued with: where its console is, when no table has it; else
  // null.
  const std::shared_ptr<const ConsoleTarget>& target() const { return target_; }

 private:
  friend class TicketVault;

  TicketClaim(TicketVault* vault, const TicketDigest& digest,
              std::string console, std::string policy_name,
              std::shared_ptr<const ConsoleTarget> target)
      : vault_(vault),
        digest_(digest),
        console_(std::move(console)),
        policy_name_(std::move(policy_name)),
        target_(std::move(target)) {}

  TicketVault* vault_ = nullptr;
  TicketDigest digest_;
  std::string console_;
  std::string policy_name_;
  std::shared_ptr<const ConsoleTarget> target_;
};

// Any thread, any function. A worker holds a shard's lock for one lookup.
// All times are milliseconds of one clock, by choice of the caller.
class TicketVault {
 public:
  struct Options {
    int64_t first_use_ms = 60'000;
    int64_t max_tickets = 100'000;
  };

  explicit TicketVault(const Options& options) : options_(options) {}
  TicketVault(const TicketVault&) = delete;
  TicketVault& operator=(const TicketVault&) = delete;

  // A new ticket of kTicketLen characters of [0-9a-z], which only the caller
  // knows from then on: viewers write host names in lower case, and a ticket
  // may be one. `policy_name` and `target` are kept with it and mean nothing
  // here; empty and null: none. ResourceExhausted when max_tickets are alive,
  // after expired ones were purged.
  absl::StatusOr<std::string> Issue(
      const std::string& console, const std::string& policy_name,
      int64_t now_ms, std::shared_ptr<const ConsoleTarget> target = nullptr);

  // Of any bytes, of any length: what a client sent is never judged by its
  // look.
  static TicketDigest DigestOf(std::string_view ticket);

  // A claim on a ticket that is fresh and not expired, or claimed already.
  // Unknown, expired and malformed tickets are one thing: no claim. The vault
  // outlives its claims.
  TicketClaim Claim(const TicketDigest& digest, int64_t now_ms);

  // Whether a ticket waits for its first use still.
  bool IsFresh(const TicketDigest& digest, int64_t now_ms) const;

  // Removes what expired. Call it every few seconds, off the workers.
  void Purge(int64_t now_ms);

  // Tickets alive: fresh, in use, or expired and not yet purged.
  size_t size() const;

  // Tickets issued since the start.
  uint64_t issued_total() const {
    return issued_total_.load(std::memory_order_relaxed);
  }

 private:
  struct Ticket {
    std::string console;
    std::string policy_name;
    std::shared_ptr<const ConsoleTarget> target;
    int64_t expires_ms = 0;
    int64_t num_claims = 0;
    bool used = false;

    bool ExpiredAt(int64_t now_ms) const {
      return num_claims == 0 && now_ms >= expires_ms;
    }
  };
  struct Shard {
    mutable std::mutex mutex;
    absl::flat_hash_map<TicketDigest, Ticket> tickets;
  };
  static constexpr size_t kNumShards = 16;

  const Shard& ShardOf(const TicketDigest& digest) const {
    return shards_[digest.bytes[0] % kNumShards];
  }
  Shard& ShardOf(const TicketDigest& digest) {
    return shards_[digest.bytes[0] % kNumShards];
  }
  bool TakePlace();

  friend class TicketClaim;
  void MarkUsed(const TicketDigest& digest);
  void Release(const TicketDigest& digest);

  const Options options_;
  std::array<Shard, kNumShards> shards_;
  std::atomic<int64_t> num_tickets_{0};
  std::atomic<uint64_t> issued_total_{0};
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_AUTH_VAULT_H_
