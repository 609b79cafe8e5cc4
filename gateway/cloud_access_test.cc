// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud_access.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/server_link/link_context.h"

namespace spicegate {
namespace {

class CloudAccessTest : public testing::Test {
 protected:
  CloudAccessTest() {
    CloudConfig cloud;
    cloud.name = "prod";
    config_.clouds = {cloud};
    config_.policies["kiosk"] = {};
    found_.id = "1234";
    found_.host = "10.0.0.7";
    found_.port = 5900;
    CloudAccess::Needs needs;
    needs.config = &config_;
    needs.vault = &vault_;
    needs.is_token = [](const std::string&, const std::string& token) {
      return token != "junk";
    };
    needs.resolve = [this](const std::string& cloud_name,
                           const std::string& token, CloudService::Done done) {
      EXPECT_EQ(cloud_name, "prod");
      asked_.push_back(token);
      if (hold_) {
        held_.push_back(std::move(done));
      } else {
        done(answer_());
      }
    };
    needs.make_file = [](const IssuedTicket& ticket) {
      return ticket.console.name + "/" + ticket.ticket;
    };
    needs.ready = [this] { return ready_; };
    needs.now_ms = [this] { return now_ms_; };
    access_ = std::make_unique<CloudAccess>(std::move(needs));
    EXPECT_TRUE(access_->Load().ok());
  }

  absl::StatusOr<PortalDesktop> Open(const std::string& token, bool issue,
                                     const std::string& source = "192.0.2.1") {
    absl::StatusOr<PortalDesktop> result = absl::UnknownError("no answer");
    access_->Open({"prod", token, source, issue},
                  [&result](const absl::StatusOr<PortalDesktop>& desktop) {
                    result = desktop;
                  });
    return result;
  }

  static std::string TicketOf(const absl::StatusOr<PortalDesktop>& desktop) {
    EXPECT_TRUE(desktop.ok()) << desktop.status();
    return desktop.ok() ? desktop->vv.substr(desktop->vv.find('/') + 1) : "";
  }

  TicketClaim ClaimOf(const std::string& ticket) {
    return vault_.Claim(TicketVault::DigestOf(ticket), now_ms_);
  }

  Config config_;
  TicketVault vault_{{.first_use_ms = 60'000, .max_tickets = 20}};
  CloudConsole found_;
  std::function<absl::StatusOr<CloudConsole>()> answer_ = [this] {
    return absl::StatusOr<CloudConsole>(found_);
  };
  bool hold_ = false;
  std::vector<CloudService::Done> held_;
  std::vector<std::string> asked_;
  bool ready_ = true;
  int64_t now_ms_ = 1'000'000;
  std::unique_ptr<CloudAccess> access_;
};

TEST_F(CloudAccessTest, ATicketKnowsWhereItsDesktopIs) {
  const auto desktop = Open("token", true);
  ASSERT_TRUE(desktop.ok()) << desktop.status();
  EXPECT_EQ(desktop->name, "prod.1234");
  EXPECT_EQ(desktop->title, "prod.1234");
  EXPECT_EQ(desktop->expires_s, config_.tickets.first_use_s);
  const TicketClaim claim = ClaimOf(TicketOf(desktop));
  ASSERT_TRUE(static_cast<bool>(claim));
  EXPECT_EQ(claim.console(), "prod.1234");
  ASSERT_NE(claim.target(), nullptr);
  EXPECT_EQ(claim.target()->console->host, "10.0.0.7");
}

TEST_F(CloudAccessTest, ALookMakesNoTicketButAFileAsLong) {
  const auto look = Open("token", false);
  EXPECT_EQ(vault_.size(), 0U);
  const auto file = Open("token", true);
  EXPECT_EQ(vault_.size(), 1U);
  EXPECT_EQ(look->vv.size(), file->vv.size());
  EXPECT_NE(look->vv, file->vv);
  EXPECT_FALSE(static_cast<bool>(ClaimOf(TicketOf(look))));
}

TEST_F(CloudAccessTest, WhoAsksTwiceGetsOneTicket) {
  const std::string first = TicketOf(Open("token", true));
  now_ms_ += 4'000;
  const auto again = Open("token", true);
  EXPECT_EQ(TicketOf(again), first);
  EXPECT_EQ(again->expires_s, config_.tickets.first_use_s - 4);
  // For another user, another token, or later it is another one.
  EXPECT_NE(TicketOf(Open("token", true, "192.0.2.2")), first);
  EXPECT_NE(TicketOf(Open("other", true)), first);
}

TEST_F(CloudAccessTest, ASecondTicketComesLaterOrBehindTheFirstUse) {
  const std::string first = TicketOf(Open("token", true));
  now_ms_ += kSameTicketMs;
  const std::string second = TicketOf(Open("token", true));
  EXPECT_NE(second, first);
  TicketClaim claim = ClaimOf(second);
  claim.MarkUsed();
  EXPECT_NE(TicketOf(Open("token", true)), second);
}

TEST_F(CloudAccessTest, TwoThatWaitTogetherGetOneTicket) {
  hold_ = true;
  std::vector<std::string> tickets;
  for (int i = 0; i < 2; ++i) {
    access_->Open({"prod", "token", "192.0.2.1", true},
                  [&tickets](const absl::StatusOr<PortalDesktop>& desktop) {
                    tickets.push_back(TicketOf(desktop));
                  });
  }
  ASSERT_EQ(held_.size(), 2U);
  EXPECT_TRUE(tickets.empty());
  for (const CloudService::Done& done : held_) {
    done(found_);
  }
  ASSERT_EQ(tickets.size(), 2U);
  EXPECT_EQ(tickets[0], tickets[1]);
  EXPECT_EQ(vault_.size(), 1U);
}

TEST_F(CloudAccessTest, ErrorsOfTheCloudArePassedOn) {
  answer_ = [] { return absl::NotFoundError("no such token"); };
  EXPECT_TRUE(absl::IsNotFound(Open("token", true).status()));
  EXPECT_TRUE(absl::IsNotFound(Open("token", false).status()));
  EXPECT_EQ(vault_.size(), 0U);
}

TEST_F(CloudAccessTest, TicketsRunOut) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(Open("token" + std::to_string(i), true).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(Open("one more", true).status()));
  EXPECT_TRUE(Open("one more", false).ok());
}

TEST_F(CloudAccessTest, OneLinkDoesNotFillTheVault) {
  std::vector<std::string> tickets;
  for (size_t i = 0; i < kMaxFreshTickets; ++i) {
    tickets.push_back(
        TicketOf(Open("token", true, "192.0.2." + std::to_string(i))));
  }
  EXPECT_TRUE(
      absl::IsResourceExhausted(Open("token", true, "198.51.100.1").status()));
  EXPECT_TRUE(Open("other", true, "198.51.100.1").ok());
  EXPECT_TRUE(Open("token", false, "198.51.100.1").ok());
  // One that is used leaves its place, and so do those whose time is over.
  TicketClaim claim = ClaimOf(tickets.back());
  claim.MarkUsed();
  EXPECT_TRUE(Open("token", true, "198.51.100.1").ok());
  EXPECT_FALSE(Open("token", true, "198.51.100.2").ok());
  now_ms_ += 60'000;
  access_->Refresh();
  EXPECT_TRUE(Open("token", true, "198.51.100.2").ok());
}

TEST_F(CloudAccessTest, ANetworkOfIpv6IsOneSource) {
  const std::string ticket = TicketOf(Open("token", true, "2001:db8::1"));
  EXPECT_EQ(TicketOf(Open("token", true, "2001:db8::2:2")), ticket);
  EXPECT_NE(TicketOf(Open("token", true, "2001:db8:0:1::1")), ticket);
}

TEST_F(CloudAccessTest, APolicyOfABrokerIsTheTickets) {
  found_.policy_name = "kiosk";
  EXPECT_EQ(ClaimOf(TicketOf(Open("token", true))).policy_name(), "kiosk");
  found_.policy_name = "unknown";
  EXPECT_TRUE(absl::IsPermissionDenied(Open("other", true).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(Open("other", false).status()));
}

TEST_F(CloudAccessTest, ConsolesOfCloudsAreKnownByTheirNames) {
  EXPECT_TRUE(access_->Owns("prod.1234"));
  EXPECT_FALSE(access_->Owns("prod"));
  EXPECT_FALSE(access_->Owns("other.1234"));
  EXPECT_FALSE(access_->Owns(""));
  EXPECT_TRUE(access_->IsToken("prod", "token"));
  EXPECT_FALSE(access_->IsToken("prod", "junk"));
  EXPECT_TRUE(access_->Ready());
  ready_ = false;
  EXPECT_FALSE(access_->Ready());
}

TEST_F(CloudAccessTest, TicketsThatNobodyGetsAgainAreForgotten) {
  const std::string first = TicketOf(Open("token", true));
  access_->Refresh();
  EXPECT_EQ(TicketOf(Open("token", true)), first);
  now_ms_ += kSameTicketMs;
  access_->Refresh();
  EXPECT_NE(TicketOf(Open("token", true)), first);
}

}  // namespace
}  // namespace spicegate
