// SPDX-License-Identifier: Apache-2.0
#include "gateway/auth/vault.h"

#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghijklmnopqrstuvwxyz";

// A random byte a character. The four values above the last multiple of the
// alphabet's length are thrown away, so that every character is equally likely.
constexpr size_t kFairBytes = 256 / kAlphabet.size() * kAlphabet.size();

std::string RandomTicket() {
  std::string ticket;
  ticket.reserve(kTicketLen);
  while (ticket.size() < kTicketLen) {
    std::array<uint8_t, kTicketLen> random;
    RAND_bytes(random.data(), random.size());  // aborts rather than fails
    for (const uint8_t byte : random) {
      if (byte < kFairBytes && ticket.size() < kTicketLen) {
        ticket.push_back(kAlphabet[byte % kAlphabet.size()]);
      }
    }
    OPENSSL_cleanse(random.data(), random.size());
  }
  return ticket;
}

}  // namespace

bool operator==(const TicketDigest& a, const TicketDigest& b) {
  return CRYPTO_memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

TicketDigest TicketVault::DigestOf(std::string_view ticket) {
  TicketDigest digest;
  SHA256(reinterpret_cast<const uint8_t*>(ticket.data()), ticket.size(),
         digest.bytes.data());
  return digest;
}

absl::StatusOr<std::string> TicketVault::Issue(
    const std::string& console, const std::string& policy_name, int64_t now_ms,
    std::shared_ptr<const ConsoleTarget> target) {
  if (!TakePlace()) {
    Purge(now_ms);
    if (!TakePlace()) {
      return absl::ResourceExhaustedError("too many tickets are alive");
    }
  }
  std::string ticket = RandomTicket();
  const TicketDigest digest = DigestOf(ticket);
  Shard& shard = ShardOf(digest);
  {
    const std::lock_guard lock(shard.mutex);
    shard.tickets[digest] = {
        console, policy_name, std::move(target), now_ms + options_.first_use_ms,
        0,       false};
  }
  issued_total_.fetch_add(1, std::memory_order_relaxed);
  return ticket;
}

bool TicketVault::TakePlace() {
  int64_t num = num_tickets_.load(std::memory_order_relaxed);
  while (num < options_.max_tickets) {
    if (num_tickets_.compare_exchange_weak(num, num + 1,
                                           std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

TicketClaim TicketVault::Claim(const TicketDigest& digest, int64_t now_ms) {
  Shard& shard = ShardOf(digest);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.tickets.find(digest);
  if (found == shard.tickets.end() || found->second.ExpiredAt(now_ms)) {
    return TicketClaim();
  }
  ++found->second.num_claims;
  return TicketClaim(this, digest, found->second.console,
                     found->second.policy_name, found->second.target);
}

bool TicketVault::IsFresh(const TicketDigest& digest, int64_t now_ms) const {
  const Shard& shard = ShardOf(digest);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.tickets.find(digest);
  return found != shard.tickets.end() && !found->second.used &&
         !found->second.ExpiredAt(now_ms);
}

void TicketVault::MarkUsed(const TicketDigest& digest) {
  Shard& shard = ShardOf(digest);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.tickets.find(digest);
  CHECK(found != shard.tickets.end() && found->second.num_claims > 0);
  found->second.used = true;
}

void TicketVault::Release(const TicketDigest& digest) {
  Shard& shard = ShardOf(digest);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.tickets.find(digest);
  CHECK(found != shard.tickets.end() && found->second.num_claims > 0);
  if (--found->second.num_claims == 0 && found->second.used) {
    shard.tickets.erase(found);
    num_tickets_.fetch_sub(1, std::memory_order_relaxed);
  }
}

TicketClaim& TicketClaim::operator=(TicketClaim&& other) noexcept {
  Release();
  vault_ = std::exchange(other.vault_, nullptr);
  digest_ = other.digest_;
  console_ = std::move(other.console_);
  policy_name_ = std::move(other.policy_name_);
  target_ = std::move(other.target_);
  return *this;
}

TicketClaim TicketClaim::Unvaulted(const TicketDigest& digest,
                                   std::string console) {
  return TicketClaim(nullptr, digest, std::move(console), "", nullptr);
}

void TicketClaim::MarkUsed() {
  if (vault_ != nullptr) {
    vault_->MarkUsed(digest_);
  }
}

void TicketClaim::Release() {
  if (vault_ != nullptr) {
    std::exchange(vault_, nullptr)->Release(digest_);
  }
}

void TicketVault::Purge(int64_t now_ms) {
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    const size_t num_gone = absl::erase_if(
        shard.tickets,
        [&](const auto& entry) { return entry.second.ExpiredAt(now_ms); });
    num_tickets_.fetch_sub(static_cast<int64_t>(num_gone),
                           std::memory_order_relaxed);
  }
}

size_t TicketVault::size() const {
  return static_cast<size_t>(num_tickets_.load(std::memory_order_relaxed));
}

}  // namespace spicegate
