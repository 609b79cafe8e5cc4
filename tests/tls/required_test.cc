// SPDX-License-Identifier: Apache-2.0
//
// "offload": "required" starts where the kernel can make the records of every
// suite, and says in one line why not where it cannot.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <string>

#include "tests/peer/child_process.h"
#include "tests/tls/tls_world.h"

namespace spicegate {
namespace {

constexpr int64_t kPatienceMs = 60'000;
// EX_UNAVAILABLE.
constexpr int kUnavailable = 69;

class RequiredTest : public testing::Test {
 protected:
  RequiredTest() : directory_(MakeTestDir()) {
    std::filesystem::create_directory(directory_ + "/state");
  }
  ~RequiredTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::unique_ptr<ChildProcess> Start(const std::string& offload) {
    const std::string config = directory_ + "/config.json";
    WriteTestFile(config,
                  R"({"listeners":[{"address":"127.0.0.1:0","tls":true}],)"
                  R"("admin":{"address":"127.0.0.1:0"},"workers":1,)"
                  R"("state_dir":")" +
                      directory_ + R"(/state","tls":{"offload":")" + offload +
                      R"("}})");
    return std::make_unique<ChildProcess>(std::vector<std::string>{
        TestDataPath("gateway/spicegate"), "--config", config});
  }

  // Returns what it logged.
  std::string ExpectStarts(const std::string& offload) {
    const auto gateway = Start(offload);
    EXPECT_TRUE(gateway->ReadErrorsUntil(
        [](const std::string& log) {
          return log.find("\"event\":\"ready\"") != std::string::npos;
        },
        kPatienceMs))
        << gateway->errors();
    gateway->Signal(SIGTERM);
    EXPECT_EQ(gateway->WaitForExit(kPatienceMs), 0) << gateway->errors();
    return gateway->errors();
  }

  const std::string directory_;
};

TEST_F(RequiredTest, AutomaticAndOffAlwaysStart) {
  ExpectStarts("auto");
  ExpectStarts("off");
}

TEST_F(RequiredTest, RequiredNeedsTheKernel) {
  // A host may have it too; a guest must.
  const bool has_kernel_tls =
      ExpectStarts("auto").find(R"("kernel_tls":true,"missing":"")") !=
      std::string::npos;
  EXPECT_TRUE(has_kernel_tls || !ExpectsKernelTls());
  if (has_kernel_tls) {
    ExpectStarts("required");
    return;
  }
  const auto gateway = Start("required");
  const std::optional<int> status = gateway->WaitForExit(kPatienceMs);
  ASSERT_TRUE(status.has_value()) << gateway->errors();
  EXPECT_TRUE(WIFEXITED(*status));
  EXPECT_EQ(WEXITSTATUS(*status), kUnavailable) << gateway->errors();
  EXPECT_EQ(gateway->errors().find("\"event\":\"ready\""), std::string::npos);
  // The reason is one line that names the key.
  const std::string& said = gateway->errors();
  const size_t at = said.find("tls.offload");
  ASSERT_NE(at, std::string::npos) << said;
  EXPECT_EQ(said.find("tls.offload", said.find('\n', at)), std::string::npos)
      << said;
}

}  // namespace
}  // namespace spicegate
