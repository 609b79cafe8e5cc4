// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/http_text.h"

#include <gtest/gtest.h>

#include <string>

namespace spicegate {
namespace {

TEST(HttpToken, IsLettersDigitsAndSomeSigns) {
  for (const char* text : {"GET", "x-auth-token", "a", "!#$%&'*+-.^_`|~09"}) {
    EXPECT_TRUE(IsHttpToken(text)) << text;
  }
  for (const char* text : {"", " ", "a b", "a:", "a;b", "\"a\"", "a/b", "(a)",
                           "a\n", "\x7f", "\xe4"}) {
    EXPECT_FALSE(IsHttpToken(text)) << text;
  }
  EXPECT_FALSE(IsHttpToken(std::string_view("a\0b", 3)));
}

TEST(HttpTrimmed, LosesBlanksAndTabsAlone) {
  EXPECT_EQ(HttpTrimmed(" \ta b\t "), "a b");
  EXPECT_EQ(HttpTrimmed("a"), "a");
  EXPECT_EQ(HttpTrimmed(" \t"), "");
  EXPECT_EQ(HttpTrimmed(""), "");
  EXPECT_EQ(HttpTrimmed("\ra\n"), "\ra\n");
}

}  // namespace
}  // namespace spicegate
