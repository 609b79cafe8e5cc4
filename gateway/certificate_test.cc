// SPDX-License-Identifier: Apache-2.0
#include "gateway/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "gateway/base/clock.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kHourMs = 3'600'000;
// What `openssl rand -base64 48` prints.
constexpr char kTicketKey[] =
    "1F3Qv0O9mQ2c6bH0y3pXk3m3k2lN4Yt8wYt0yq7mJ8lq3n5r7s9uAvCxEzG1I3K5\n";
constexpr char kNewerTicketKey[] =
    "7d5Wc1aB9sD8fG7hJ6kL5zX4cV3bN2mQ1wE2rT3yU4iO5pA6sD7fG8hJ9kL0zX1c\n";

int64_t NowUnixS() { return WallClockMs() / 1000; }

class CertificateStoreTest : public testing::Test {
 protected:
  CertificateStoreTest() {
    std::string pattern = testing::TempDir() + "/certificates.XXXXXX";
    dir_ = mkdtemp(pattern.data());
    config_.state_dir = dir_;
  }
  ~CertificateStoreTest() override { std::filesystem::remove_all(dir_); }

  // Replaces a file the way renewals do.
  std::string WriteFile(const std::string& name, const std::string& text) {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
    return path;
  }

  static struct SelfSigned Pair(const std::string& name) {
    return *MakeSelfSigned({name}, NowUnixS());
  }

  // Writes a pair NAME.pem and NAME.key and puts it into the configuration.
  struct SelfSigned AddPair(const std::string& name) {
    const struct SelfSigned pair = Pair(name);
    config_.tls.certificates.push_back(
        {WriteFile(name + ".pem", pair.certificate_pem),
         WriteFile(name + ".key", pair.key_pem)});
    return pair;
  }

  absl::Status Load(const std::string& viewer_host = "gw.example") {
    store_.emplace(config_);
    return store_->Load({"gw.example"}, viewer_host, NowUnixS(), 0);
  }

  bool Refresh(int64_t now_ms = 1000) {
    return store_->Refresh(NowUnixS(), now_ms);
  }

  std::string Shown() const { return store_->context()->certificate_pem(); }

  std::string dir_;
  Config config_;
  std::optional<CertificateStore> store_;
};

// ---- Self-signed.

TEST_F(CertificateStoreTest, ASelfSignedOneIsKeptInTheStateDirectory) {
  ASSERT_TRUE(Load().ok());
  const std::string first = store_->ca_for_viewers();
  EXPECT_NE(first, "");
  EXPECT_EQ(first, Shown());
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(store_->ca_for_viewers(), first);
  EXPECT_FALSE(Refresh());
}

TEST_F(CertificateStoreTest, ANamedStateDirectoryMustBeWritable) {
  config_.state_dir = WriteFile("not-a-directory", "") + "/state";
  EXPECT_THAT(std::string(Load().message()), HasSubstr(config_.state_dir));
}

TEST_F(CertificateStoreTest, ASelfSignedOneIsRenewedWhileRunning) {
  ASSERT_TRUE(Load().ok());
  const std::string first = Shown();
  const int64_t due = store_->values().expiry_unix_s - kSelfSignedRenewalS;
  EXPECT_FALSE(store_->Refresh(due - 1, 1000));
  EXPECT_EQ(Shown(), first);
  EXPECT_TRUE(store_->Refresh(due, 2000));
  EXPECT_NE(Shown(), first);
  EXPECT_EQ(store_->ca_for_viewers(), Shown());
  EXPECT_EQ(store_->values().reloads, 1);
  EXPECT_FALSE(store_->Refresh(due, 3000));
}

TEST_F(CertificateStoreTest, AFailedRenewalIsTriedOnceAnHour) {
  ASSERT_TRUE(Load().ok());
  const std::string first = Shown();
  const int64_t due = store_->values().expiry_unix_s - kSelfSignedRenewalS;
  WriteFile("self-signed.pem", "broken");
  EXPECT_FALSE(store_->Refresh(due, 1000));
  EXPECT_FALSE(store_->Refresh(due + 60, 2000));
  EXPECT_EQ(store_->values().reload_failures, 1);
  EXPECT_EQ(Shown(), first);
  std::filesystem::remove(dir_ + "/self-signed.pem");
  EXPECT_TRUE(store_->Refresh(due + 3600, 3000));
  EXPECT_FALSE(store_->values().refused);
}

TEST_F(CertificateStoreTest, ANewPublicCaLeavesTheSelfSignedOne) {
  config_.public_address.ca_path =
      WriteFile("ca.pem", Pair("ca").certificate_pem);
  ASSERT_TRUE(Load().ok());
  const std::string first = Shown();
  const std::string other = Pair("other").certificate_pem;
  WriteFile("ca.pem", other);
  EXPECT_TRUE(Refresh());
  EXPECT_EQ(store_->ca_for_viewers(), other);
  EXPECT_EQ(Shown(), first);
}

// ---- Files.

TEST_F(CertificateStoreTest, ConfiguredFilesMustBelongTogether) {
  const struct SelfSigned one = AddPair("one");
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(store_->ca_for_viewers(), one.certificate_pem);
  AddPair("two");
  config_.tls.certificates[0].key = config_.tls.certificates[1].key;
  const absl::Status status = Load();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(dir_ + "/one.pem, " + dir_ + "/two.key: the key"));
}

TEST_F(CertificateStoreTest, AMissingFileIsNamed) {
  AddPair("one");
  std::filesystem::remove(dir_ + "/one.key");
  const absl::Status status = Load();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(dir_ + "/one.key"));
}

TEST_F(CertificateStoreTest, ViewersGetTheCaOfWhatTheyAreShown) {
  const struct SelfSigned one = AddPair("one.example");
  const struct SelfSigned two = AddPair("two.example");
  ASSERT_TRUE(Load("two.example").ok());
  EXPECT_EQ(store_->ca_for_viewers(), two.certificate_pem);
  ASSERT_TRUE(Load("192.0.2.1").ok());
  EXPECT_EQ(store_->ca_for_viewers(), one.certificate_pem);
}

TEST_F(CertificateStoreTest, APublicCaIsGivenToViewers) {
  const std::string ca = Pair("ca").certificate_pem;
  config_.public_address.ca_path = WriteFile("ca.pem", ca);
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(store_->ca_for_viewers(), ca);
  EXPECT_TRUE(CheckCertificateFiles(config_, "gw").ok());
  WriteFile("ca.pem", "not PEM");
  EXPECT_EQ(CheckCertificateFiles(config_, "gw").status().code(),
            absl::StatusCode::kInvalidArgument);
  std::filesystem::remove(dir_ + "/ca.pem");
  EXPECT_EQ(CheckCertificateFiles(config_, "gw").status().code(),
            absl::StatusCode::kInvalidArgument);
}

// ---- Reloads.

TEST_F(CertificateStoreTest, ARenewedPairIsTakenOver) {
  AddPair("one");
  ASSERT_TRUE(Load().ok());
  EXPECT_FALSE(Refresh());
  const auto before = store_->context();
  const auto ticket_keys = store_->ticket_keys();
  const struct SelfSigned renewed = Pair("one");
  WriteFile("one.pem", renewed.certificate_pem);
  WriteFile("one.key", renewed.key_pem);
  EXPECT_TRUE(Refresh());
  EXPECT_EQ(Shown(), renewed.certificate_pem);
  EXPECT_EQ(store_->ca_for_viewers(), renewed.certificate_pem);
  EXPECT_EQ(store_->values().reloads, 1);
  EXPECT_FALSE(Refresh());
  // A stream that began before keeps its own.
  EXPECT_NE(before->certificate_pem(), renewed.certificate_pem);
  EXPECT_EQ(store_->ticket_keys(), ticket_keys);
}

TEST_F(CertificateStoreTest, ATouchedFileIsNoChange) {
  const struct SelfSigned one = AddPair("one");
  ASSERT_TRUE(Load().ok());
  WriteFile("one.pem", one.certificate_pem);
  EXPECT_FALSE(Refresh());
  EXPECT_EQ(store_->values().reloads, 0);
}

TEST_F(CertificateStoreTest, HalfARenewalIsRefusedUntilTheKeyFollows) {
  const struct SelfSigned one = AddPair("one");
  ASSERT_TRUE(Load().ok());
  const struct SelfSigned renewed = Pair("one");
  WriteFile("one.pem", renewed.certificate_pem);
  EXPECT_FALSE(Refresh());
  EXPECT_FALSE(Refresh());
  EXPECT_EQ(Shown(), one.certificate_pem);
  EXPECT_TRUE(store_->values().refused);
  EXPECT_EQ(store_->values().reload_failures, 1);  // counted once
  WriteFile("one.key", renewed.key_pem);
  EXPECT_TRUE(Refresh());
  EXPECT_EQ(Shown(), renewed.certificate_pem);
  EXPECT_FALSE(store_->values().refused);
  EXPECT_EQ(store_->values().reloads, 1);
}

TEST_F(CertificateStoreTest, OneBrokenPairRefusesTheWholeSet) {
  const struct SelfSigned one = AddPair("one.example");
  const struct SelfSigned two = AddPair("two.example");
  ASSERT_TRUE(Load().ok());
  const struct SelfSigned renewed = Pair("one.example");
  WriteFile("one.example.pem", renewed.certificate_pem);
  WriteFile("one.example.key", renewed.key_pem);
  WriteFile("two.example.pem", "garbage");
  EXPECT_FALSE(Refresh());
  EXPECT_EQ(Shown(), one.certificate_pem);
  EXPECT_EQ(store_->context()->certificates().size(), 2U);
  // Its own file and every other one are watched all the same.
  WriteFile("two.example.pem", two.certificate_pem);
  EXPECT_TRUE(Refresh());
  EXPECT_EQ(Shown(), renewed.certificate_pem);
}

TEST_F(CertificateStoreTest, AFileThatVanishesOrCannotBeReadIsRefused) {
  const struct SelfSigned one = AddPair("one");
  ASSERT_TRUE(Load().ok());
  std::filesystem::remove(dir_ + "/one.key");
  EXPECT_FALSE(Refresh());
  EXPECT_TRUE(store_->values().refused);
  std::filesystem::create_directory(dir_ + "/one.key");
  EXPECT_FALSE(Refresh());
  EXPECT_EQ(store_->values().reload_failures, 2);
  std::filesystem::remove(dir_ + "/one.key");
  WriteFile("one.key", one.key_pem);
  EXPECT_TRUE(Refresh());
  EXPECT_FALSE(store_->values().refused);
  EXPECT_EQ(Shown(), one.certificate_pem);
}

TEST_F(CertificateStoreTest, AThousandReloadsLeaveNothingBehind) {
  AddPair("one");
  ASSERT_TRUE(Load().ok());
  const struct SelfSigned pairs[] = {Pair("one"), Pair("one")};
  size_t in_use_at_100 = 0;
  for (int i = 0; i < 1000; ++i) {
    const struct SelfSigned& pair = pairs[i % 2];
    const bool broken = i % 10 == 9;
    WriteFile("one.pem", pair.certificate_pem);
    WriteFile("one.key", broken ? "broken" : pair.key_pem);
    ASSERT_EQ(Refresh(), !broken) << i;
    if (i == 100) {
      in_use_at_100 = mallinfo2().uordblks;
    }
  }
  EXPECT_EQ(store_->values().reloads, 900);
  EXPECT_EQ(store_->values().reload_failures, 100);
  // Not a thing per reload; allocators with other books say 0.
  EXPECT_LT(mallinfo2().uordblks, in_use_at_100 + 900 * 16);
}

// ---- Ticket keys.

TEST_F(CertificateStoreTest, WithoutAFileTicketKeysRotate) {
  AddPair("one");
  ASSERT_TRUE(Load().ok());
  const auto context = store_->context();
  const std::weak_ptr<const TicketKeys> first = store_->ticket_keys();
  EXPECT_EQ(store_->ticket_keys()->size(), 1U);
  Refresh(kTicketLifeS * 1000 - 1);
  EXPECT_EQ(store_->ticket_keys(), first.lock());
  Refresh(kTicketLifeS * 1000);
  EXPECT_TRUE(first.expired()) << "nobody may keep keys that were replaced";
  const auto second = store_->ticket_keys();
  EXPECT_EQ(second->size(), 2U);
  Refresh(kTicketLifeS * 1000 + kHourMs);
  EXPECT_EQ(store_->ticket_keys(), second);
  EXPECT_EQ(store_->context(), context);
  EXPECT_EQ(store_->values().reloads, 0);
}

TEST_F(CertificateStoreTest, TicketKeysOfAFileFollowIt) {
  AddPair("one");
  config_.tls.ticket_keys_path = WriteFile("tickets", kTicketKey);
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(store_->ticket_keys()->size(), 1U);
  const auto first = store_->ticket_keys();
  Refresh(kTicketLifeS * 1000 * 10);
  EXPECT_EQ(store_->ticket_keys(), first);  // they never rotate by themselves
  WriteFile("tickets", std::string(kNewerTicketKey) + kTicketKey);
  Refresh();
  EXPECT_EQ(store_->ticket_keys()->size(), 2U);
  EXPECT_EQ(store_->values().ticket_key_reloads, 1);
  WriteFile("tickets", "broken");
  EXPECT_FALSE(Refresh());
  EXPECT_FALSE(Refresh());
  EXPECT_EQ(store_->ticket_keys()->size(), 2U);
  EXPECT_EQ(store_->values().ticket_key_reload_failures, 1);
  EXPECT_TRUE(store_->values().ticket_keys_refused);
  EXPECT_FALSE(store_->values().refused);
  WriteFile("tickets", kNewerTicketKey);
  Refresh();
  EXPECT_FALSE(store_->values().ticket_keys_refused);
}

TEST_F(CertificateStoreTest, NewTicketKeysAreTakenBesideBrokenCertificates) {
  const struct SelfSigned one = AddPair("one");
  config_.tls.ticket_keys_path = WriteFile("tickets", kTicketKey);
  ASSERT_TRUE(Load().ok());
  WriteFile("tickets", std::string(kNewerTicketKey) + kTicketKey);
  WriteFile("one.pem", "broken");
  Refresh();
  EXPECT_EQ(store_->ticket_keys()->size(), 2U);
  EXPECT_EQ(Shown(), one.certificate_pem);
  EXPECT_TRUE(store_->values().refused);
}

TEST_F(CertificateStoreTest, BadTicketKeysAreAMistake) {
  AddPair("one");
  config_.tls.ticket_keys_path = WriteFile("tickets", "c2VjcmV0\n");
  const std::string wanted =
      dir_ + "/tickets: line 1: expected 48 bytes in base64";
  EXPECT_EQ(Load().message(), wanted);
  EXPECT_EQ(CheckCertificateFiles(config_, "gw").status().message(), wanted);
  config_.tls.ticket_keys_path += ".missing";
  EXPECT_EQ(Load().code(), absl::StatusCode::kInvalidArgument);
}

// ---- --check-config.

TEST_F(CertificateStoreTest, TheCheckTellsWhatViewersWillFind) {
  AddPair("gate.example");
  const auto good = CheckCertificateFiles(config_, "gate.example");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(good->warnings, IsEmpty());
  EXPECT_THAT(good->notes, Contains(HasSubstr("no iPAddress")));
  const auto other = CheckCertificateFiles(config_, "other.example");
  ASSERT_TRUE(other.ok());
  EXPECT_THAT(other->warnings,
              Contains(HasSubstr(dir_ + "/gate.example.pem, " + dir_ +
                                 "/gate.example.key: viewers connect to "
                                 "other.example")));
  config_.public_address.host_subject = "CN=gate.example";
  EXPECT_THAT(CheckCertificateFiles(config_, "other.example")->warnings,
              IsEmpty());
}

TEST_F(CertificateStoreTest, TheCheckKnowsWhetherThereIsAnHttpsProxy) {
  AddPair("gate.example");
  config_.listeners.push_back(
      {.address = {"", 3128}, .protocol = ListenerProtocol::kConnect});
  EXPECT_THAT(CheckCertificateFiles(config_, "gate.example")->warnings,
              IsEmpty());
  config_.listeners.back().tls = true;
  EXPECT_THAT(CheckCertificateFiles(config_, "gate.example")->warnings,
              Contains(HasSubstr("no iPAddress")));
  config_.public_address.connect.host = "192.0.2.9";
  EXPECT_THAT(CheckCertificateFiles(config_, "gate.example")->warnings,
              Contains(HasSubstr("at the address 192.0.2.9")));
}

TEST_F(CertificateStoreTest, TheCheckMakesNothing) {
  config_.state_dir = dir_ + "/state";
  EXPECT_TRUE(CheckCertificateFiles(config_, "gw").ok());
  EXPECT_FALSE(std::filesystem::exists(config_.state_dir));
}

}  // namespace
}  // namespace spicegate
