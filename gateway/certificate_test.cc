// SPDX-License-Identifier: Apache-2.0
#include "gateway/certificate.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr int64_t kNowUnixS = 1'800'000'000;

std::string TestDir(const std::string& name) {
  const std::string dir = std::string(getenv("TEST_TMPDIR")) + "/" + name;
  std::filesystem::create_directories(dir);
  return dir;
}

std::string WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
  return path;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST(CertificateTest, ASelfSignedOneIsKeptInTheStateDirectory) {
  Config config;
  config.state_dir = TestDir("kept");
  const auto first = LoadOrMakeCertificate(config, {"gw.example.org"});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = LoadOrMakeCertificate(config, {"gw.example.org"});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->ca_for_viewers, second->ca_for_viewers);
  EXPECT_NE(first->ca_for_viewers, "");
}

TEST(CertificateTest, ANamedStateDirectoryMustBeWritable) {
  Config config;
  config.state_dir =
      WriteFile(TestDir("file") + "/not-a-directory", "") + "/state";
  const auto certificate = LoadOrMakeCertificate(config, {"gw"});
  ASSERT_FALSE(certificate.ok());
  EXPECT_NE(std::string(certificate.status().message()).find(config.state_dir),
            std::string::npos);
}

TEST(CertificateTest, ConfiguredFilesMustBelongTogether) {
  const std::string dir = TestDir("pair");
  const auto one = MakeSelfSigned({"one"}, kNowUnixS);
  const auto two = MakeSelfSigned({"two"}, kNowUnixS);
  Config config;
  config.tls.certificate_path =
      WriteFile(dir + "/one.pem", one->certificate_pem);
  config.tls.key_path = WriteFile(dir + "/one.key", one->key_pem);
  const auto good = LoadOrMakeCertificate(config, {});
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(good->ca_for_viewers, one->certificate_pem);

  config.tls.key_path = WriteFile(dir + "/two.key", two->key_pem);
  const auto bad = LoadOrMakeCertificate(config, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(std::string(bad.status().message()).find("one.pem"),
            std::string::npos);
}

TEST(CertificateTest, AMissingFileIsNamed) {
  Config config;
  config.tls.certificate_path = TestDir("missing") + "/none.pem";
  config.tls.key_path = config.tls.certificate_path;
  const auto certificate = LoadOrMakeCertificate(config, {});
  ASSERT_FALSE(certificate.ok());
  EXPECT_NE(std::string(certificate.status().message()).find("none.pem"),
            std::string::npos);
}

TEST(CertificateTest, APublicCaIsGivenToViewers) {
  Config config;
  config.state_dir = TestDir("public");
  config.public_address.ca_path =
      WriteFile(config.state_dir + "/ca.pem",
                MakeSelfSigned({"ca"}, kNowUnixS)->certificate_pem);
  const auto certificate = LoadOrMakeCertificate(config, {"gw"});
  ASSERT_TRUE(certificate.ok()) << certificate.status();
  EXPECT_EQ(certificate->ca_for_viewers,
            ReadText(config.public_address.ca_path));
  EXPECT_TRUE(CheckCertificateFiles(config).ok());
}

TEST(CertificateTest, ABadPublicCaIsFoundByTheCheckToo) {
  Config config;
  config.state_dir = TestDir("bad-public");
  config.public_address.ca_path =
      WriteFile(config.state_dir + "/ca.pem", "not PEM");
  EXPECT_FALSE(CheckCertificateFiles(config).ok());
  config.public_address.ca_path += ".missing";
  const absl::Status missing = CheckCertificateFiles(config);
  EXPECT_EQ(missing.code(), absl::StatusCode::kInvalidArgument) << missing;
}

}  // namespace
}  // namespace spicegate
