// SPDX-License-Identifier: Apache-2.0
//
// The files behind the admin address: their mistakes, and their reload.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gateway/admin_tls.h"
#include "gateway/admin_tls_fixture.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using AdminTlsFilesTest = AdminTlsFixture;

TEST_F(AdminTlsFilesTest, NewFilesAreForNewConnections) {
  Listen();
  EXPECT_FALSE(tls_->Refresh(kNowUnixS));
  const ClientPtr idle = MakeTls({.certificate = &client_});
  EXPECT_THAT(Get(idle.get()), HasSubstr("live"));
  const ClientPtr fresh = MakeTls({.certificate = &client_});
  Run(fresh.get(), [&] { return fresh->handshake_done(); });
  Turn();

  const TestCertificate new_ca = MakeCa("new CA");
  const TestCertificate new_client =
      MakeTestCertificate({.subject = {{"CN", "prometheus"}}}, &new_ca);
  WritePair(MakeTestCertificate({.subject = {{"CN", "renewed"}}}, nullptr));
  WriteFile(config_.client_ca_path, new_ca.pem());
  ASSERT_TRUE(tls_->Refresh(kNowUnixS));
  admin_.RetireConnections(now_ms_);

  // Who was let in before has had its answer, or gets one.
  Run(idle.get(), [] { return false; });
  EXPECT_TRUE(idle->closed()) << idle->error();
  EXPECT_THAT(Get(fresh.get()), HasSubstr("Connection: close"));
  EXPECT_EQ(ShownName({.certificate = &new_client}), "renewed");
  EXPECT_THAT(GetOnce({.certificate = &new_client}), HasSubstr("live"));
  EXPECT_EQ(GetOnce({.certificate = &client_}), "TLSV1_ALERT_UNKNOWN_CA");
  EXPECT_FALSE(tls_->Refresh(kNowUnixS));
}

TEST_F(AdminTlsFilesTest, BadFilesAreRefusedAndTheOldOnesKept) {
  Listen();
  const TestCertificate other =
      MakeTestCertificate({.subject = {{"CN", "other"}}}, nullptr);
  for (const std::string& path :
       {config_.certificate_path, config_.key_path, config_.client_ca_path}) {
    WriteFile(path, path == config_.client_ca_path ? "" : other.key_pem());
    EXPECT_FALSE(tls_->Refresh(kNowUnixS));
    EXPECT_THAT(GetOnce({.certificate = &client_}), HasSubstr("live"));
    std::filesystem::remove(path);
    EXPECT_FALSE(tls_->Refresh(kNowUnixS));
    EXPECT_EQ(ShownName({.certificate = &client_}), "gate");
    WritePair(server_);
    WriteFile(config_.client_ca_path, ca_.pem());
    EXPECT_TRUE(tls_->Refresh(kNowUnixS));
    EXPECT_THAT(GetOnce({.certificate = &client_}), HasSubstr("live"));
  }
}

TEST_F(AdminTlsFilesTest, ErrorsNameTheFile) {
  std::vector<std::string> warnings;
  const auto error = [&] {
    const absl::Status status = AdminTls(config_).Load(kNowUnixS);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(CheckAdminTls(config_, kNowUnixS, &warnings), status);
    return std::string(status.message());
  };
  EXPECT_TRUE(CheckAdminTls({}, kNowUnixS, &warnings).ok());
  WriteFile(config_.client_ca_path, "no certificate");
  EXPECT_EQ(error(), config_.client_ca_path + ": no PEM certificate");
  WriteFile(config_.key_path, client_.key_pem());
  EXPECT_EQ(error(), config_.certificate_path + ", " + config_.key_path +
                         ": the key does not belong to the first certificate");
  std::filesystem::remove(config_.key_path);
  EXPECT_THAT(error(), HasSubstr(config_.key_path));
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(AdminTlsFilesTest, ExpiredCertificatesAreWarnedAboutAndUsed) {
  constexpr int64_t kMonthS = 30 * 86'400;
  std::vector<std::string> warnings;
  EXPECT_TRUE(CheckAdminTls(config_, kNowUnixS + kMonthS, &warnings).ok());
  EXPECT_THAT(
      warnings,
      ElementsAre(HasSubstr(config_.key_path + ": the certificate expired on"),
                  config_.client_ca_path +
                      ": every CA has expired, no client is let in"));
  EXPECT_TRUE(AdminTls(config_).Load(kNowUnixS + kMonthS).ok());
}

}  // namespace
}  // namespace spicegate
