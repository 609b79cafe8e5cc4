// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kNow = 1'800'000'000;

class CloudCheckTest : public testing::Test {
 protected:
  CloudCheckTest() {
    char name[] = "/tmp/cloud_check.XXXXXX";
    directory_ = mkdtemp(name);
    const auto made = MakeSelfSigned({"gate.example"}, kNow);
    Write("ca.pem", made->certificate_pem, 0644);
    Write("key.pem", made->key_pem, 0600);
    Write("secret", "hunter2\n", 0600);
    CloudConfig cloud;
    cloud.name = "prod";
    cloud.keystone.url = "https://keystone.example.org:5000";
    cloud.keystone.ca_path = Path("ca.pem");
    cloud.keystone.secret_path = Path("secret");
    cloud.servers.ca_path = Path("ca.pem");
    cloud.servers.host_subject = "O=Example,CN={host}";
    config_.clouds = {cloud};
    config_.portal.enabled = true;
    config_.portal.address = {"", 13002};
  }

  ~CloudCheckTest() override {
    for (const char* file : {"ca.pem", "key.pem", "secret", "other"}) {
      unlink(Path(file).c_str());
    }
    rmdir(directory_.c_str());
  }

  std::string Path(const std::string& name) const {
    return directory_ + "/" + name;
  }

  void Write(const std::string& name, const std::string& text, mode_t mode) {
    std::ofstream(Path(name)) << text;
    chmod(Path(name).c_str(), mode);
  }

  CloudConfig& cloud() { return config_.clouds.front(); }
  absl::Status Check() { return CheckClouds(config_, kNow, &findings_); }

  std::string ErrorOf() {
    const absl::Status status = Check();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  }

  std::string directory_;
  Config config_;
  CertificateFindings findings_;
};

TEST_F(CloudCheckTest, HasNoComplaint) {
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_THAT(findings_.warnings, IsEmpty());
  EXPECT_THAT(findings_.notes, IsEmpty());
  EXPECT_EQ(CheckClouds(Config(), kNow, &findings_), absl::OkStatus());
}

TEST_F(CloudCheckTest, ReadsSecrets) {
  cloud().keystone.secret_path = Path("other");
  EXPECT_THAT(ErrorOf(), HasSubstr(Path("other")));
  for (const char* text : {"", "\n", "two\nlines\n", "\x01"}) {
    Write("other", text, 0600);
    EXPECT_THAT(ErrorOf(), HasSubstr(Path("other") + ": expected one line"));
  }
  cloud().kind = CloudKind::kHttp;
  cloud().broker.url = "https://broker.example.org";
  EXPECT_EQ(Check(), absl::OkStatus());
  cloud().broker.secret_path = Path("other");
  EXPECT_THAT(ErrorOf(), HasSubstr(Path("other") + ": expected one line"));
}

TEST_F(CloudCheckTest, WarnsOfOpenSecrets) {
  for (const mode_t mode : {0644, 0602, 0620}) {
    findings_ = {};
    Write("secret", "hunter2", mode);
    EXPECT_EQ(Check(), absl::OkStatus());
    EXPECT_THAT(findings_.warnings,
                ElementsAre(HasSubstr(Path("secret") + ": has a secret")))
        << mode;
  }
  findings_ = {};
  Write("secret", "hunter2", 0440);
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_THAT(findings_.warnings, IsEmpty());
}

TEST_F(CloudCheckTest, ReadsEveryCa) {
  Write("other", "no certificate", 0644);
  std::string* const paths[] = {&cloud().keystone.ca_path,
                                &cloud().compute.ca_path,
                                &cloud().servers.ca_path};
  for (std::string* path : paths) {
    const std::string before = *path;
    *path = Path("other");
    EXPECT_THAT(ErrorOf(), HasSubstr(Path("other")));
    *path = Path("missing");
    EXPECT_THAT(ErrorOf(), HasSubstr(Path("missing")));
    *path = before;
  }
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(CloudCheckTest, TriesSubjects) {
  cloud().servers.host_subject = "NOSUCHKEY=a,CN={host}";
  EXPECT_THAT(ErrorOf(), HasSubstr("servers.host_subject of cloud prod: "));
  // A broker may bring the CA.
  cloud().kind = CloudKind::kHttp;
  cloud().servers.ca_path.clear();
  EXPECT_THAT(ErrorOf(), HasSubstr("servers.host_subject of cloud prod: "));
}

TEST_F(CloudCheckTest, ReadsThePortalsCertificate) {
  config_.portal.certificate_path = Path("ca.pem");
  config_.portal.key_path = Path("key.pem");
  EXPECT_EQ(Check(), absl::OkStatus());
  config_.portal.key_path = Path("ca.pem");
  EXPECT_THAT(ErrorOf(), HasSubstr(Path("ca.pem")));
  config_.portal.key_path = Path("missing");
  EXPECT_THAT(ErrorOf(), HasSubstr(Path("missing")));
  config_.portal.key_path = Path("key.pem");
  EXPECT_EQ(CheckClouds(config_, kNow + 30LL * 365 * 86'400, &findings_),
            absl::OkStatus());
  EXPECT_THAT(findings_.warnings, ElementsAre(HasSubstr("expired")));
}

TEST_F(CloudCheckTest, NotesWhatGoesInTheClear) {
  cloud().servers = {};
  cloud().keystone.url = "http://keystone.example.org:5000";
  cloud().compute.endpoint = "http://127.0.0.1:8774/v2.1";
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_THAT(findings_.notes,
              ElementsAre(HasSubstr("cloud prod: keystone.url is http"),
                          HasSubstr("cloud prod has no servers.ca_file")));
  EXPECT_THAT(findings_.warnings, IsEmpty());
}

}  // namespace
}  // namespace spicegate
