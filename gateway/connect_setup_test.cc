// SPDX-License-Identifier: Apache-2.0
#include "gateway/connect_setup.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gateway/auth/proxmox_fixture.h"
#include "gateway/base/check.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr int64_t kNowS = 1'800'000'000;

std::string NewKey() { return MakeSelfSigned({"key"}, kNowS)->key_pem; }

class ConnectSetupTest : public testing::Test {
 protected:
  ConnectSetupTest() {
    char dir[] = "/tmp/spicegate-connect-setup.XXXXXX";
    CHECK(mkdtemp(dir) != nullptr);
    dir_ = dir;
    config_.proxmox.enabled = true;
    config_.proxmox.key_path = dir_ + "/pve-www.key";
    config_.proxmox.members_path = dir_ + "/members";
    Write(config_.proxmox.key_path, key_);
  }
  ~ConnectSetupTest() override { std::filesystem::remove_all(dir_); }

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
  }

  // A ticket that is signed with that key's file is taken.
  bool Takes(const std::string& key) const {
    const std::string ticket =
        MakeProxmoxTicket(ProxmoxSecret(key), kNowS, "100", "pve1", 61000);
    ProxmoxTicket parsed;
    return setup_.settings()->proxmox_key->Verify(ticket, kNowS, &parsed) ==
           ProxmoxVerdict::kOk;
  }

  std::string dir_;
  const std::string key_ = NewKey();
  Config config_;
  ConnectSetup setup_{config_, "pve1.example.test"};
};

TEST_F(ConnectSetupTest, TheKeyIsTheFilesContent) {
  EXPECT_EQ(setup_.settings(), nullptr);
  EXPECT_FALSE(setup_.Refresh());
  ASSERT_TRUE(setup_.Load({3128}).ok());
  EXPECT_TRUE(Takes(key_));
  EXPECT_FALSE(Takes(NewKey()));
  EXPECT_FALSE(setup_.Refresh());
}

TEST_F(ConnectSetupTest, AChangedKeyTakesThePlaceOfTheOldOne) {
  ASSERT_TRUE(setup_.Load({3128}).ok());
  const auto before = setup_.settings();
  const std::string changed = NewKey();
  Write(config_.proxmox.key_path, changed);
  EXPECT_TRUE(setup_.Refresh());
  EXPECT_TRUE(Takes(changed));
  EXPECT_FALSE(Takes(key_));
  EXPECT_NE(setup_.settings(), before);
  EXPECT_FALSE(setup_.Refresh());
}

TEST_F(ConnectSetupTest, ATouchedKeyIsNoOther) {
  ASSERT_TRUE(setup_.Load({3128}).ok());
  const auto before = setup_.settings();
  Write(config_.proxmox.key_path, key_);
  EXPECT_FALSE(setup_.Refresh());
  EXPECT_EQ(setup_.settings(), before);
}

TEST_F(ConnectSetupTest, ABrokenKeyLeavesTheOldOne) {
  ASSERT_TRUE(setup_.Load({3128}).ok());
  Write(config_.proxmox.key_path, "");
  testing::internal::CaptureStderr();
  EXPECT_FALSE(setup_.Refresh());
  EXPECT_FALSE(setup_.Refresh());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(Takes(key_));
  const size_t first = log.find("proxmox_key_refused");
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(log.find("proxmox_key_refused", first + 1), std::string::npos)
      << "once is enough";
  std::filesystem::remove(config_.proxmox.key_path);
  EXPECT_FALSE(setup_.Refresh());
  EXPECT_TRUE(Takes(key_));
  Write(config_.proxmox.key_path, key_);
  setup_.Refresh();
  EXPECT_TRUE(Takes(key_));
}

TEST_F(ConnectSetupTest, ABrokenKeyAtTheStartIsNamed) {
  Write(config_.proxmox.key_path, "");
  const absl::Status status = setup_.Load({3128});
  ASSERT_FALSE(status.ok());
  EXPECT_NE(std::string(status.message()).find(config_.proxmox.key_path),
            std::string::npos)
      << status;
  std::filesystem::remove(config_.proxmox.key_path);
  EXPECT_NE(
      std::string(setup_.Load({3128}).message()).find(config_.proxmox.key_path),
      std::string::npos);
}

TEST_F(ConnectSetupTest, WithoutProxmoxThereIsNoKey) {
  config_.proxmox.enabled = false;
  std::filesystem::remove(config_.proxmox.key_path);
  ASSERT_TRUE(setup_.Load({3128}).ok());
  EXPECT_EQ(setup_.settings()->proxmox_key, nullptr);
  EXPECT_FALSE(setup_.Refresh());
}

TEST_F(ConnectSetupTest, SettingsAreTheConfigurations) {
  config_.connect.tickets = false;
  config_.connect.tunnels = false;
  config_.connect.login = true;
  config_.connect.allow = *AllowList::Parse({{{"hv1"}, {{5900, 5999}}}});
  config_.proxmox.nodes = {{"pve2", "10.0.0.2"}};
  config_.proxmox.proxy_port = 3129;
  config_.proxmox.first_port = 100;
  config_.proxmox.last_port = 200;
  ASSERT_TRUE(setup_.Load({3128}).ok());
  const ConnectSettings& settings = *setup_.settings();
  EXPECT_FALSE(settings.tickets || settings.tunnels);
  EXPECT_TRUE(settings.login);
  EXPECT_EQ(settings.allow.Judge("hv1", 5900), AllowList::Verdict::kAllowed);
  EXPECT_EQ(settings.node, "pve1") << "the machine's, up to its first dot";
  EXPECT_EQ(settings.nodes.at("pve2"), "10.0.0.2");
  EXPECT_EQ(settings.proxy_port, 3129);
  EXPECT_EQ(settings.first_port, 100);
  EXPECT_EQ(settings.last_port, 200);
}

TEST_F(ConnectSetupTest, TheNodeCanBeNamed) {
  config_.proxmox.node = "other";
  ASSERT_TRUE(setup_.Load({3128}).ok());
  EXPECT_EQ(setup_.settings()->node, "other");
}

TEST_F(ConnectSetupTest, TheClustersAddressesAreLookedAtAgain) {
  const auto members = [](const std::string& ip) {
    return R"({"nodename": "pve1", "nodelist": {"pve2": {"ip": ")" + ip +
           R"("}}})";
  };
  ASSERT_TRUE(setup_.Load({3128}).ok());
  EXPECT_TRUE(setup_.settings()->addresses.empty());
  Write(config_.proxmox.members_path, members("192.0.2.2"));
  EXPECT_TRUE(setup_.Refresh());
  EXPECT_EQ(setup_.settings()->addresses.at("pve2"), "192.0.2.2");
  EXPECT_TRUE(Takes(key_)) << "the key is what it was";
  EXPECT_FALSE(setup_.Refresh());
  for (const char* half : {"", "{\"nodename\": \"pve1\", \"nodel"}) {
    Write(config_.proxmox.members_path, half);
    EXPECT_FALSE(setup_.Refresh());
    EXPECT_EQ(setup_.settings()->addresses.at("pve2"), "192.0.2.2");
  }
}

TEST_F(ConnectSetupTest, OwnPlacesHaveThePorts) {
  ASSERT_TRUE(setup_.Load({3128, 5930}).ok());
  SocketAddress address;
  ASSERT_TRUE(NumericAddress("127.0.0.1", 5930, &address));
  EXPECT_TRUE(setup_.own_places()->Has(address));
  ASSERT_TRUE(NumericAddress("127.0.0.1", 5931, &address));
  EXPECT_FALSE(setup_.own_places()->Has(address));
}

}  // namespace
}  // namespace spicegate
