// SPDX-License-Identifier: Apache-2.0
#include "gateway/auth/vault.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace spicegate {
namespace {

constexpr int64_t kFirstUseMs = 60'000;

class TicketVaultTest : public testing::Test {
 protected:
  // Issues a ticket and returns its digest.
  TicketDigest Issue(int64_t now_ms, const std::string& console = "vm1") {
    const auto ticket = vault_.Issue(console, "", now_ms);
    EXPECT_TRUE(ticket.ok()) << ticket.status();
    return TicketVault::DigestOf(*ticket);
  }

  bool Valid(const TicketDigest& digest, int64_t now_ms) {
    return static_cast<bool>(vault_.Claim(digest, now_ms));
  }

  TicketVault vault_{{.first_use_ms = kFirstUseMs, .max_tickets = 5}};
};

TEST_F(TicketVaultTest, TicketsAreLongAndPlain) {
  std::set<std::string> seen;
  std::set<char> letters;
  TicketVault vault({.first_use_ms = kFirstUseMs, .max_tickets = 1000});
  for (int i = 0; i < 1000; ++i) {
    const auto ticket = vault.Issue("vm1", "", 0);
    ASSERT_TRUE(ticket.ok());
    EXPECT_EQ(ticket->size(), kTicketLen);
    EXPECT_TRUE(std::all_of(
        ticket->begin(), ticket->end(),
        [](unsigned char c) { return std::isdigit(c) || std::islower(c); }));
    seen.insert(*ticket);
    letters.insert(ticket->begin(), ticket->end());
  }
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_EQ(letters.size(), 36U);
  EXPECT_EQ(vault.issued_total(), 1000U);
  EXPECT_EQ(vault.size(), 1000U);
}

TEST_F(TicketVaultTest, AClaimHasWhatItsTicketWasIssuedWith) {
  int place = 0;
  std::shared_ptr<const ConsoleTarget> target(
      std::shared_ptr<void>(), reinterpret_cast<const ConsoleTarget*>(&place));
  const auto ticket = vault_.Issue("cloud.vm1", "", 0, target);
  ASSERT_TRUE(ticket.ok());
  TicketClaim claim = vault_.Claim(TicketVault::DigestOf(*ticket), 0);
  EXPECT_EQ(claim.target(), target);
  TicketClaim assigned;
  assigned = std::move(claim);
  EXPECT_EQ(assigned.target(), target);
  const TicketClaim moved(std::move(assigned));
  EXPECT_EQ(moved.target(), target);
}

TEST_F(TicketVaultTest, ATicketIsFreshUntilItsFirstUseOrItsEnd) {
  const TicketDigest digest = Issue(0);
  EXPECT_TRUE(vault_.IsFresh(digest, kFirstUseMs - 1));
  EXPECT_FALSE(vault_.IsFresh(digest, kFirstUseMs));
  TicketClaim claim = vault_.Claim(digest, 0);
  EXPECT_TRUE(vault_.IsFresh(digest, kFirstUseMs));  // held, not used
  claim.MarkUsed();
  EXPECT_FALSE(vault_.IsFresh(digest, 0));
  EXPECT_FALSE(vault_.IsFresh(TicketVault::DigestOf("unknown"), 0));
}

TEST_F(TicketVaultTest, AClaimKnowsConsoleAndPolicy) {
  const auto with = vault_.Issue("vm1", "visitor", 0);
  const auto without = vault_.Issue("vm2", "", 0);
  ASSERT_TRUE(with.ok() && without.ok());
  TicketClaim claim = vault_.Claim(TicketVault::DigestOf(*with), 0);
  EXPECT_EQ(claim.console(), "vm1");
  EXPECT_EQ(claim.policy_name(), "visitor");
  const TicketClaim moved = std::move(claim);
  EXPECT_EQ(moved.policy_name(), "visitor");
  TicketClaim assigned = vault_.Claim(TicketVault::DigestOf(*without), 0);
  EXPECT_EQ(assigned.console(), "vm2");
  EXPECT_EQ(assigned.policy_name(), "");
  EXPECT_EQ(assigned.target(), nullptr);
  // Every claim of a ticket, a reconnect's too.
  assigned = vault_.Claim(TicketVault::DigestOf(*with), 10 * kFirstUseMs);
  EXPECT_EQ(assigned.policy_name(), "visitor");
}

TEST_F(TicketVaultTest, EveryCharacterIsEquallyLikely) {
  TicketVault vault({.first_use_ms = kFirstUseMs, .max_tickets = 10'000});
  std::array<int, 128> counts{};
  constexpr int kTickets = 10'000;
  for (int i = 0; i < kTickets; ++i) {
    const auto ticket = vault.Issue("vm1", "", 0);
    ASSERT_TRUE(ticket.ok());
    for (const char c : *ticket) {
      ++counts[static_cast<size_t>(c)];
    }
  }
  // 13333 expected of each; ten standard deviations are 1140. A bias by modulo
  // 36 of a byte would give the first four characters 1562 more.
  for (const char c : std::string("0123459az78")) {
    EXPECT_NEAR(counts[static_cast<size_t>(c)], kTickets * 48 / 36, 1140) << c;
  }
}

TEST_F(TicketVaultTest, AClaimKnowsTheConsole) {
  const TicketDigest one = Issue(0, "vm1");
  const TicketDigest two = Issue(0, "vm2");
  EXPECT_EQ(vault_.Claim(one, 0).console(), "vm1");
  EXPECT_EQ(vault_.Claim(two, 0).console(), "vm2");
  EXPECT_EQ(vault_.Claim(one, 0).console(), "vm1") << "a claim is no use";
}

TEST_F(TicketVaultTest, UnknownAndMalformedTicketsAreNothing) {
  Issue(0);
  const std::string malformed[] = {"", "x", std::string(48, 'a'),
                                   std::string(86, '\xff'),
                                   std::string(100'000, 'x')};
  for (const std::string& ticket : malformed) {
    EXPECT_FALSE(Valid(TicketVault::DigestOf(ticket), 0));
  }
  EXPECT_FALSE(Valid(TicketDigest{}, 0));
}

TEST_F(TicketVaultTest, APrefixOrACaseChangeIsNothing) {
  std::string ticket = *vault_.Issue("vm1", "", 0);
  EXPECT_TRUE(Valid(TicketVault::DigestOf(ticket), 0));
  EXPECT_FALSE(Valid(TicketVault::DigestOf(ticket.substr(0, 47)), 0));
  EXPECT_FALSE(Valid(TicketVault::DigestOf(ticket + " "), 0));
  ticket[5] = ticket[5] == 'x' ? 'y' : 'x';
  EXPECT_FALSE(Valid(TicketVault::DigestOf(ticket), 0));
}

TEST_F(TicketVaultTest, ExpiresWithoutAFirstUse) {
  const TicketDigest digest = Issue(1000);
  EXPECT_TRUE(Valid(digest, 1000 + kFirstUseMs - 1));
  EXPECT_FALSE(Valid(digest, 1000 + kFirstUseMs));
  EXPECT_EQ(vault_.size(), 1U);
  vault_.Purge(1000 + kFirstUseMs - 1);
  EXPECT_EQ(vault_.size(), 1U);
  vault_.Purge(1000 + kFirstUseMs);
  EXPECT_EQ(vault_.size(), 0U);
}

TEST_F(TicketVaultTest, LivesAsLongAsItsSession) {
  const TicketDigest digest = Issue(0);
  TicketClaim session = vault_.Claim(digest, 0);
  session.MarkUsed();
  const int64_t much_later = 1'000 * kFirstUseMs;
  vault_.Purge(much_later);
  EXPECT_TRUE(Valid(digest, much_later)) << "a late channel";
  session.Release();
  EXPECT_FALSE(session);
  EXPECT_FALSE(Valid(digest, 1)) << "used up";
  EXPECT_EQ(vault_.size(), 0U);
}

TEST_F(TicketVaultTest, ItsLastClaimEndsIt) {
  const TicketDigest digest = Issue(0);
  TicketClaim session = vault_.Claim(digest, 0);
  session.MarkUsed();
  // A reconnect claims it while the old session is ending.
  TicketClaim reconnect = vault_.Claim(digest, 10 * kFirstUseMs);
  session = TicketClaim();
  EXPECT_TRUE(Valid(digest, 10 * kFirstUseMs));
  const TicketClaim moved = std::move(reconnect);
  EXPECT_TRUE(Valid(digest, 10 * kFirstUseMs));
  {
    const TicketClaim last = TicketClaim();
    EXPECT_FALSE(last);
  }
  EXPECT_EQ(vault_.size(), 1U);
}

TEST_F(TicketVaultTest, AFailedFirstUseLeavesItAsItWas) {
  const TicketDigest digest = Issue(0);
  vault_.Claim(digest, 0).Release();
  EXPECT_TRUE(Valid(digest, kFirstUseMs - 1));
  EXPECT_FALSE(Valid(digest, kFirstUseMs));
}

TEST_F(TicketVaultTest, AClaimOutlastsExpiryAndPurge) {
  const TicketDigest digest = Issue(0);
  TicketClaim claim = vault_.Claim(digest, kFirstUseMs - 1);
  ASSERT_TRUE(claim);
  vault_.Purge(2 * kFirstUseMs);
  claim.MarkUsed();
  EXPECT_TRUE(Valid(digest, 2 * kFirstUseMs));
}

TEST_F(TicketVaultTest, AClaimOnNoVaultHoldsNothing) {
  const TicketDigest digest = Issue(0);
  TicketClaim claim = TicketClaim::Unvaulted(digest, "10.0.0.5:5901");
  EXPECT_FALSE(claim);
  EXPECT_TRUE(claim.digest() == digest);
  EXPECT_EQ(claim.console(), "10.0.0.5:5901");
  EXPECT_EQ(claim.policy_name(), "");
  claim.MarkUsed();
  claim.Release();
  EXPECT_EQ(claim.console(), "10.0.0.5:5901");
  // The ticket of the same digest knows nothing of it.
  EXPECT_TRUE(Valid(digest, kFirstUseMs - 1));
  EXPECT_FALSE(Valid(digest, kFirstUseMs));
  TicketClaim moved = vault_.Claim(digest, 0);
  moved = std::move(claim);
  EXPECT_EQ(moved.console(), "10.0.0.5:5901");
}

TEST_F(TicketVaultTest, IsBounded) {
  std::vector<TicketDigest> digests;
  for (int i = 0; i < 5; ++i) {
    digests.push_back(Issue(i));
  }
  EXPECT_EQ(vault_.Issue("vm1", "", 10).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(vault_.issued_total(), 5U);
  TicketClaim in_use = vault_.Claim(digests[0], 0);
  in_use.MarkUsed();
  // The others have expired by now and make room; the one in use stays.
  EXPECT_TRUE(vault_.Issue("vm1", "", 10 * kFirstUseMs).ok());
  EXPECT_EQ(vault_.size(), 2U);
  EXPECT_TRUE(Valid(digests[0], 10 * kFirstUseMs));
}

TEST(TicketVaultThreads, CountsStayRight) {
  TicketVault vault({.first_use_ms = kFirstUseMs, .max_tickets = 64});
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::array<int, kThreads> num_issued{};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&vault, &issued = num_issued[t], t] {
      for (int i = 0; i < kRounds; ++i) {
        const auto ticket = vault.Issue(std::to_string(t), "", i);
        if (!ticket.ok()) {
          vault.Purge(i);
          continue;
        }
        ++issued;
        const TicketDigest digest = TicketVault::DigestOf(*ticket);
        if (i % 3 == 0) {
          continue;  // never used, until it is purged
        }
        TicketClaim claim = vault.Claim(digest, i);
        ASSERT_TRUE(claim && claim.console() == std::to_string(t));
        claim.MarkUsed();
        ASSERT_LE(vault.size(), 64U);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  uint64_t total = 0;
  for (const int issued : num_issued) {
    total += static_cast<uint64_t>(issued);
  }
  EXPECT_EQ(vault.issued_total(), total);
  vault.Purge(2 * kFirstUseMs);
  EXPECT_EQ(vault.size(), 0U);
}

}  // namespace
}  // namespace spicegate
