// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/self_signed.h"

#include <dirent.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gateway/tls/pem.h"
#include "gateway/tls/tls_stream_test_peer.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

const std::vector<std::string> kNames = {"gate.example", "localhost",
                                         "127.0.0.1", "::1"};

int64_t Now() { return std::time(nullptr); }

class SelfSignedTest : public testing::Test {
 protected:
  SelfSignedTest() {
    std::string pattern = testing::TempDir() + "/self_signed.XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  ~SelfSignedTest() override {
    for (const std::string& name : Files()) {
      unlink((dir_ + "/" + name).c_str());
    }
    rmdir(dir_.c_str());
  }

  std::string path() const { return dir_ + "/" + kSelfSignedFile; }

  std::set<std::string> Files() const {
    std::set<std::string> names;
    DIR* const dir = opendir(dir_.c_str());
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] != '.') {
        names.insert(entry->d_name);
      }
    }
    closedir(dir);
    return names;
  }

  std::string Content() const {
    std::stringstream text;
    text << std::ifstream(path()).rdbuf();
    return text.str();
  }

  absl::StatusOr<SelfSigned> Load(
      const std::vector<std::string>& names = kNames, int64_t later_s = 0) {
    return LoadOrCreateSelfSigned(dir_, names, Now() + later_s);
  }

  std::string dir_;
};

TEST_F(SelfSignedTest, IsItsOwnAnchorForEveryName) {
  const auto made = MakeSelfSigned(kNames, Now());
  ASSERT_TRUE(made.ok()) << made.status();
  const auto server = ServerTlsContext::Create(
      made->certificate_pem, made->key_pem, TlsVersion::kTls12);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE((*server)->is_self_signed());
  EXPECT_EQ((*server)->subject(), "CN=gate.example");
  EXPECT_GT((*server)->not_after_unix_s(), Now() + 9 * 365 * 86'400LL);
  for (const std::string& name : kNames) {
    const auto client =
        ClientTlsContext::Create(made->certificate_pem, "", name);
    ASSERT_TRUE(client.ok());
    TlsPair pair(*client, *server);
    ASSERT_TRUE(pair.RunHandshakes());
    EXPECT_EQ(pair.client_result, 0) << name << pair.client->failure_detail();
  }
}

TEST_F(SelfSignedTest, CannotSignOthers) {
  const auto made = MakeSelfSigned(kNames, Now());
  const auto certificates = ParseCertificates(made->certificate_pem);
  ASSERT_TRUE(certificates.ok());
  EXPECT_FALSE(X509_get_extension_flags(certificates->front().get()) &
               EXFLAG_CA);
}

TEST_F(SelfSignedTest, EveryOneIsAnother) {
  const auto one = MakeSelfSigned(kNames, Now());
  const auto two = MakeSelfSigned(kNames, Now());
  EXPECT_NE(one->key_pem, two->key_pem);
  const auto serial = [](const SelfSigned& pair) {
    const auto certs = ParseCertificates(pair.certificate_pem);
    const ASN1_INTEGER* number = X509_get0_serialNumber(certs->front().get());
    EXPECT_EQ(ASN1_STRING_length(number), 16);
    return std::string(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(number)), 16);
  };
  EXPECT_NE(serial(*one), serial(*two));
}

TEST_F(SelfSignedTest, RefusesWhatIsNoName) {
  for (const char* name : {"", "a b", "a,DNS:b", "*.example", "ex\nample"}) {
    EXPECT_FALSE(MakeSelfSigned({name}, Now()).ok()) << name;
  }
  EXPECT_FALSE(MakeSelfSigned({}, Now()).ok());
  EXPECT_FALSE(MakeSelfSigned({std::string(254, 'a')}, Now()).ok());
  EXPECT_TRUE(MakeSelfSigned({std::string(100, 'a') + ".example"}, Now()).ok());
}

TEST_F(SelfSignedTest, IsKept) {
  const auto first = Load();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(Files(), std::set<std::string>{kSelfSignedFile});
  struct stat status;
  ASSERT_EQ(stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  const auto second = Load();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->certificate_pem, first->certificate_pem);
  EXPECT_EQ(second->key_pem, first->key_pem);
  const auto fewer = Load({"localhost"});
  EXPECT_EQ(fewer->certificate_pem, first->certificate_pem);
}

TEST_F(SelfSignedTest, IsMadeAnewBeforeItExpires) {
  const auto first = Load();
  const int64_t life_s = 10 * 365 * 86'400LL;
  const auto in_time = Load(kNames, life_s - kSelfSignedRenewalS - 3600);
  EXPECT_EQ(in_time->certificate_pem, first->certificate_pem);
  const auto late = Load(kNames, life_s - kSelfSignedRenewalS + 3600);
  ASSERT_TRUE(late.ok());
  EXPECT_NE(late->certificate_pem, first->certificate_pem);
  EXPECT_EQ(Content(), late->key_pem + late->certificate_pem);
}

TEST_F(SelfSignedTest, IsMadeAnewForANewName) {
  const auto first = Load();
  const auto other = Load({"new.example"});
  ASSERT_TRUE(other.ok());
  EXPECT_NE(other->certificate_pem, first->certificate_pem);
  EXPECT_EQ(Content(), other->key_pem + other->certificate_pem);
  EXPECT_EQ(Files(), std::set<std::string>{kSelfSignedFile});
}

TEST_F(SelfSignedTest, ACorruptFileIsAnErrorAndStays) {
  const auto made = MakeSelfSigned(kNames, Now());
  const auto other = MakeSelfSigned(kNames, Now());
  const std::string corrupt[] = {
      "",
      "garbage",
      made->key_pem,
      made->certificate_pem,
      made->key_pem + other->certificate_pem,
      made->key_pem + made->certificate_pem.substr(0, 200),
      std::string(100'000, 'x')};
  for (const std::string& content : corrupt) {
    std::ofstream(path()) << content;
    const auto loaded = Load();
    ASSERT_FALSE(loaded.ok()) << content;
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(std::string(loaded.status().message()).find(path()),
              std::string::npos);
    EXPECT_EQ(Content(), content);
  }
}

TEST_F(SelfSignedTest, ADirectoryThatIsNotThereIsAnError) {
  const auto loaded = LoadOrCreateSelfSigned(dir_ + "/none", kNames, Now());
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SelfSignedTest, LivesInMemoryWithoutADirectory) {
  ASSERT_TRUE(LoadOrCreateSelfSigned("", kNames, Now()).ok());
  EXPECT_EQ(Files(), std::set<std::string>());
}

}  // namespace
}  // namespace spicegate
