// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud_targets.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

std::string MakeCa(const char* name) {
  return MakeSelfSigned({name}, 1'800'000'000)->certificate_pem;
}

class CloudTargetsTest : public testing::Test {
 protected:
  CloudTargetsTest() : ca_path_(testing::TempDir() + "servers.pem") {
    WriteCa(MakeCa("ca"));
    cloud_.name = "prod";
    cloud_.servers.ca_path = ca_path_;
    found_.id = "1234";
    found_.host = "10.0.0.7";
    found_.port = 5900;
    found_.tls_port = 5901;
  }

  // Another file each time, as a careful writer does.
  void WriteCa(const std::string& pem) {
    const std::string fresh = ca_path_ + ".new";
    std::ofstream(fresh) << pem;
    std::filesystem::rename(fresh, ca_path_);
  }

  absl::Status Load() {
    targets_ = std::make_unique<CloudTargets>(std::vector{cloud_}, &policies_);
    return targets_->Load();
  }

  std::shared_ptr<const ConsoleTarget> Make() {
    auto made = targets_->Make("prod", found_);
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *made : nullptr;
  }

  absl::Status Refused() { return targets_->Make("prod", found_).status(); }

  const std::string ca_path_;
  PolicySet policies_;
  CloudConfig cloud_;
  CloudConsole found_;
  std::unique_ptr<CloudTargets> targets_;
};

TEST_F(CloudTargetsTest, ADesktopIsDialledByTls) {
  cloud_.servers.host_subject = "O=Lab,CN={host}";
  ASSERT_TRUE(Load().ok());
  const auto target = Make();
  ASSERT_NE(target->tls, nullptr);
  EXPECT_EQ(target->console->name, "prod.1234");
  EXPECT_EQ(target->console->host, "10.0.0.7");
  EXPECT_EQ(target->console->tls_port, 5901);
  EXPECT_EQ(target->console->host_subject, "O=Lab,CN=10.0.0.7");
  EXPECT_EQ(target->console->ticket, "");
  EXPECT_FALSE(target->by_qmp());
  EXPECT_FALSE(target->moved);
}

TEST_F(CloudTargetsTest, DesktopsOfAServerShareItsTlsSessions) {
  ASSERT_TRUE(Load().ok());
  const auto one = Make();
  found_.id = "5678";
  const auto two = Make();
  EXPECT_EQ(one->tls, two->tls);
  found_.host = "10.0.0.8";
  EXPECT_NE(Make()->tls, one->tls);
}

TEST_F(CloudTargetsTest, WithoutACaOrATlsPortItIsThePlainOne) {
  ASSERT_TRUE(Load().ok());
  found_.tls_port = 0;
  EXPECT_EQ(Make()->tls, nullptr);
  EXPECT_EQ(Make()->console->port, 5900);
  EXPECT_EQ(Make()->console->tls_port, 0);
  found_.tls_port = 5901;
  cloud_.servers.ca_path.clear();
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Make()->tls, nullptr);
  EXPECT_EQ(Make()->console->tls_port, 0);
  found_.port = 0;
  EXPECT_TRUE(absl::IsFailedPrecondition(Refused()));
}

TEST_F(CloudTargetsTest, NeverThePlainOneWhereTlsIsRequired) {
  cloud_.servers.require_secure = true;
  ASSERT_TRUE(Load().ok());
  EXPECT_NE(Make()->tls, nullptr);
  found_.tls_port = 0;
  EXPECT_TRUE(absl::IsFailedPrecondition(Refused()));
  EXPECT_EQ(Refused().ToString().find("10.0.0.7"), std::string::npos);
}

TEST_F(CloudTargetsTest, ABrokersOwnAnchorsAndSubjectComeFirst) {
  cloud_.servers.host_subject = "CN={host}";
  ASSERT_TRUE(Load().ok());
  found_.host_subject = "CN=this one";
  EXPECT_EQ(Make()->console->host_subject, "CN=this one");
  found_.ca_pem = MakeCa("other");
  found_.ticket = "password";
  const auto target = Make();
  EXPECT_EQ(target->console->ca_pem, found_.ca_pem);
  EXPECT_EQ(target->console->ticket, "password");
  cloud_.servers.ca_path.clear();
  ASSERT_TRUE(Load().ok());
  EXPECT_NE(Make()->tls, nullptr);
  found_.ca_pem = "no certificate";
  EXPECT_TRUE(absl::IsFailedPrecondition(Refused()));
  found_.ca_pem = MakeCa("other");
  found_.host_subject = "no subject";
  EXPECT_TRUE(absl::IsFailedPrecondition(Refused()));
}

TEST_F(CloudTargetsTest, AHostThatNoSubjectCanHaveIsRefused) {
  cloud_.servers.host_subject = "O=Lab,CN={host}";
  ASSERT_TRUE(Load().ok());
  found_.host = std::string(60, 'a') + "." + std::string(60, 'b');
  testing::internal::CaptureStderr();
  EXPECT_TRUE(absl::IsFailedPrecondition(Refused()));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("cloud_console_refused"), std::string::npos);
  EXPECT_EQ(Refused().ToString().find("host-subject"), std::string::npos);
}

TEST_F(CloudTargetsTest, TitleAndPolicyComeFromTheCloud) {
  policies_["kiosk"].refused_channels = 4;
  cloud_.policy_name = "kiosk";
  cloud_.guard = GuardMode::kCount;
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Make()->console->DisplayTitle(), "prod.1234");
  EXPECT_EQ(Make()->console->policy_name, "kiosk");
  EXPECT_EQ(Make()->console->policy.refused_channels, 4U);
  EXPECT_EQ(Make()->console->guard, GuardMode::kCount);
  cloud_.title = "A desktop";
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Make()->console->DisplayTitle(), "A desktop");
  found_.title = "My desktop";
  EXPECT_EQ(Make()->console->DisplayTitle(), "My desktop");
}

TEST_F(CloudTargetsTest, LoadSaysWhatIsWrong) {
  WriteCa("no certificate");
  EXPECT_NE(Load().ToString().find(ca_path_), std::string::npos);
  WriteCa(MakeCa("ca"));
  cloud_.servers.host_subject = "no subject {host}";
  EXPECT_TRUE(absl::IsInvalidArgument(Load()));
  cloud_.servers.host_subject.clear();
  cloud_.servers.ca_path += ".absent";
  EXPECT_TRUE(absl::IsInvalidArgument(Load()));
}

TEST_F(CloudTargetsTest, ANewCaIsTakenAndABrokenOneIsNot) {
  ASSERT_TRUE(Load().ok());
  const auto before = Make();
  targets_->Refresh();
  EXPECT_EQ(Make()->tls, before->tls);
  WriteCa("broken");
  targets_->Refresh();
  EXPECT_EQ(Make()->tls, before->tls);
  const std::string second = MakeCa("second");
  WriteCa(second);
  targets_->Refresh();
  EXPECT_NE(Make()->tls, before->tls);
  EXPECT_EQ(Make()->console->ca_pem, second);
}

}  // namespace
}  // namespace spicegate
