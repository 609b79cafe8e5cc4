// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/secret.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace spicegate {
namespace {

class SecretFile : public ::testing::Test {
 protected:
  SecretFile() {
    path_ = ::testing::TempDir() + "/secret.XXXXXX";
    close(mkstemp(path_.data()));
  }
  ~SecretFile() override { std::remove(path_.c_str()); }

  absl::StatusOr<Secret> Read(const std::string& content) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;
    return ReadSecretFile(path_);
  }

  std::string path_;
};

TEST_F(SecretFile, IsOneLineWithoutItsEnd) {
  EXPECT_EQ(Read("sesame")->text(), "sesame");
  EXPECT_EQ(Read("sesame\n")->text(), "sesame");
  EXPECT_EQ(Read("sesame\r\n")->text(), "sesame");
  EXPECT_EQ(Read(" p w \n")->text(), " p w ");
  EXPECT_EQ(Read(std::string(kMaxSecretLen, 'a') + "\n")->text().size(),
            kMaxSecretLen);
}

TEST_F(SecretFile, IsNothingElse) {
  for (const std::string& content :
       {std::string(), std::string("\n"), std::string("a\nb"),
        std::string("a\n\n"), std::string("a\0b", 3), std::string("\ta"),
        std::string(kMaxSecretLen + 1, 'a'), std::string(100'000, 'a')}) {
    const auto secret = Read(content);
    EXPECT_FALSE(secret.ok()) << content.size();
    EXPECT_NE(secret.status().message().find(path_), std::string::npos);
  }
  EXPECT_FALSE(ReadSecretFile(path_ + ".absent").ok());
  EXPECT_FALSE(ReadSecretFile(::testing::TempDir()).ok());
}

TEST(Secret, IsWipedWhereItWas) {
  std::string text = "a long text that no small string holds in itself";
  const char* const where = text.data();
  const size_t len = text.size();
  WipeText(&text);
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(text.data(), where);
  text.resize(len);
  EXPECT_EQ(text, std::string(len, '\0'));
}

TEST(Secret, MovesWithoutACopy) {
  Secret first(std::string(100, 'a'));
  const char* const where = first.text().data();
  Secret second(std::move(first));
  EXPECT_EQ(second.text().data(), where);
  EXPECT_TRUE(first.empty());
  Secret third("other");
  third = std::move(second);
  EXPECT_EQ(third.text().data(), where);
  EXPECT_TRUE(second.empty());
}

}  // namespace
}  // namespace spicegate
