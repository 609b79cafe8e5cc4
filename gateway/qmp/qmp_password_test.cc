// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_password.h"

#include <gtest/gtest.h>

#include <map>
#include <new>
#include <set>
#include <string>
#include <string_view>

namespace spicegate {
namespace {

TEST(QmpPassword, IsOfLettersAndDigitsAndNeverTwiceTheSame) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const QmpPassword password = QmpPassword::Random();
    EXPECT_EQ(password.text().size(), kQmpPasswordLen);
    for (const char c : password.text()) {
      EXPECT_TRUE((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                  (c >= 'a' && c <= 'z'))
          << c;
    }
    EXPECT_TRUE(seen.insert(password.text()).second);
  }
}

TEST(QmpPassword, EveryCharacterIsAboutAsLikelyAsAnother) {
  std::map<char, int> counts;
  constexpr int kPasswords = 6200;
  for (int i = 0; i < kPasswords; ++i) {
    const QmpPassword password = QmpPassword::Random();
    for (const char c : password.text()) {
      ++counts[c];
    }
  }
  // 4000 of each; a remainder of 256 by 62 would make eight of them a quarter
  // more frequent. Ten standard deviations are 630.
  EXPECT_EQ(counts.size(), 62u);
  for (const auto& [c, count] : counts) {
    EXPECT_NEAR(count, 4000, 630) << c;
  }
}

TEST(QmpPassword, IsWipedWhenItGoes) {
  alignas(QmpPassword) unsigned char place[sizeof(QmpPassword)];
  // Short enough to be kept inside the object, where it can be looked at.
  auto* const password = new (place) QmpPassword("secret");
  const std::string_view before(reinterpret_cast<char*>(place), sizeof(place));
  EXPECT_NE(before.find("secret"), std::string_view::npos);
  password->~QmpPassword();
  const std::string_view after(reinterpret_cast<char*>(place), sizeof(place));
  EXPECT_EQ(after.find("secret"), std::string_view::npos);
}

TEST(QmpPassword, IsComparedAndCopiedAsAText) {
  const QmpPassword a("one");
  QmpPassword b = a;
  EXPECT_EQ(a, b);
  b = QmpPassword("two");
  EXPECT_FALSE(a == b);
  b = QmpPassword();
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(a.text(), "one");
}

}  // namespace
}  // namespace spicegate
