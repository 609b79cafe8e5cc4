// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/resolver.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/base/clock.h"
#include "gateway/base/task.h"
#include "gateway/server_link/name_lookup.h"

namespace spicegate {
namespace {

Addresses ResolveNow(Resolver* resolver, const std::string& host) {
  std::promise<Addresses> answer;
  resolver->Resolve(host, 5900, MonotonicMs() + 60'000,
                    [&answer](Addresses addresses) {
                      answer.set_value(std::move(addresses));
                    });
  return answer.get_future().get();
}

TEST(ResolverTest, FindsLocalhost) {
  Resolver resolver;
  const Addresses addresses = ResolveNow(&resolver, "localhost");
  ASSERT_FALSE(addresses.empty());
  for (const SocketAddress& address : addresses) {
    const std::string text = AddressText(address);
    EXPECT_TRUE(text == "127.0.0.1:5900" || text == "[::1]:5900") << text;
  }
}

TEST(ResolverTest, AnInvalidNameHasNoAddress) {
  Resolver resolver;
  EXPECT_TRUE(ResolveNow(&resolver, "no such name.invalid").empty());
}

TEST(ResolverTest, AfterStopNobodyIsCalledFromAThread) {
  Resolver resolver;
  resolver.Stop();
  bool called = false;
  resolver.Resolve("localhost", 1, MonotonicMs() + 60'000,
                   [&called](Addresses addresses) {
                     called = true;
                     EXPECT_TRUE(addresses.empty());
                   });
  // At once, by the caller itself.
  EXPECT_TRUE(called);
}

TEST(ResolverTest, AStaleRequestIsNotLookedUp) {
  Resolver resolver(/*num_threads=*/1);
  std::promise<Addresses> answer;
  resolver.Resolve("localhost", 5900, MonotonicMs() - 1,
                   [&answer](Addresses addresses) {
                     answer.set_value(std::move(addresses));
                   });
  EXPECT_TRUE(answer.get_future().get().empty());
}

TEST(ResolverTest, EverybodyWhoAsksIsAnswered) {
  Resolver resolver(/*num_threads=*/2);
  constexpr int kAskers = 100;
  std::vector<std::promise<Addresses>> answers(kAskers);
  for (std::promise<Addresses>& answer : answers) {
    resolver.Resolve("localhost", 5900, MonotonicMs() + 60'000,
                     [&answer](Addresses addresses) {
                       answer.set_value(std::move(addresses));
                     });
  }
  for (std::promise<Addresses>& answer : answers) {
    EXPECT_FALSE(answer.get_future().get().empty());
  }
}

class NameLookupTest : public testing::Test {
 protected:
  Task<void> LookUp(std::string host) {
    const HostPort place{std::move(host), 5900};
    answer_ = co_await lookup_.Put(place, /*deadline_ms=*/1000);
  }

  TimerWheel timers_{0};
  Handle asked_;
  std::string asked_host_;
  NameLookup lookup_{&timers_,
                     [this](Handle handle, const HostPort& place, int64_t) {
                       asked_ = handle;
                       asked_host_ = place.host;
                     }};
  std::optional<Addresses> answer_;
};

TEST_F(NameLookupTest, DeliversTheAnswer) {
  Spawn(LookUp("vm.example"));
  EXPECT_EQ(asked_host_, "vm.example");
  EXPECT_FALSE(answer_.has_value());
  lookup_.Deliver(asked_, Addresses(2));
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ(answer_->size(), 2u);
  EXPECT_EQ(timers_.size(), 0u);
}

TEST_F(NameLookupTest, EndsAtItsDeadlineAndDropsALateAnswer) {
  Spawn(LookUp("vm.example"));
  timers_.Advance(999);
  EXPECT_FALSE(answer_.has_value());
  timers_.Advance(1000);
  ASSERT_TRUE(answer_.has_value());
  EXPECT_TRUE(answer_->empty());
  lookup_.Deliver(asked_, Addresses(1));
  EXPECT_TRUE(answer_->empty());
}

TEST_F(NameLookupTest, CancelAllEndsEveryWait) {
  Spawn(LookUp("vm.example"));
  lookup_.CancelAll();
  ASSERT_TRUE(answer_.has_value());
  EXPECT_TRUE(answer_->empty());
}

}  // namespace
}  // namespace spicegate
