// SPDX-License-Identifier: Apache-2.0
#include "gateway/auth/proxmox_ticket.h"

#include <gtest/gtest.h>

#include <string>

#include "gateway/auth/proxmox_fixture.h"

namespace spicegate {
namespace {

constexpr char kSecret[] = "labsecret";
// Signed by Proxmox's own code with kSecret.
constexpr char kSeen[] =
    "pvespiceproxy:6b023028:100:localhost:61501::"
    "34eaeae96285fa17907752e4c106e241c9877b2f";
constexpr int64_t kSeenS = 0x6b023028;

class ProxmoxTicketTest : public testing::Test {
 protected:
  ProxmoxVerdict Verify(const std::string& host, int64_t wall_s = kSeenS) {
    ticket_ = ProxmoxTicket();
    return key_->Verify(host, wall_s, &ticket_);
  }

  // A ticket of our own cluster with `text` in place of all before "::".
  ProxmoxVerdict VerifySigned(const std::string& text) {
    return Verify(SignProxmoxText(text, kSecret));
  }

  ProxmoxTicket ticket_;
  const std::shared_ptr<const ProxmoxKey> key_ =
      ProxmoxKey::FromSecret(kSecret);
};

TEST(ProxmoxSecret, IsWhatProxmoxMakesOfItsFile) {
  EXPECT_EQ(ProxmoxSecret("abc"),
            "4mNgd1BnKaj2Gv8kQTMuQOhEqK1ESJ79gCEOptH1EIg");
  EXPECT_EQ(ProxmoxSecret("abc").size(), 43U);
  EXPECT_NE(ProxmoxSecret("abc\n"), ProxmoxSecret("abc"));
  EXPECT_NE(ProxmoxSecret(std::string("a\0bc", 4)), ProxmoxSecret("a"));
  EXPECT_NE(ProxmoxSecret(std::string(1700, 'k') + "\n"),
            ProxmoxSecret(std::string(1700, 'k')));
}

TEST_F(ProxmoxTicketTest, TakesWhatProxmoxSigned) {
  ASSERT_EQ(Verify(kSeen), ProxmoxVerdict::kOk);
  EXPECT_EQ(ticket_.issued_s, kSeenS);
  EXPECT_EQ(ticket_.vmid, "100");
  EXPECT_EQ(ticket_.node, "localhost");
  EXPECT_EQ(ticket_.port, 61501);
}

TEST_F(ProxmoxTicketTest, TakesTheKeyFilesSecret) {
  const auto key = ProxmoxKey::FromFileContent("abc");
  ASSERT_TRUE(key.ok());
  const std::string host =
      "pvespiceproxy:6b023028:100:localhost:61501::"
      "d028a50bcf5749e0cd1b0f31f2ee12dcc6c2d78a";
  EXPECT_EQ((*key)->Verify(host, kSeenS, &ticket_), ProxmoxVerdict::kOk);
  EXPECT_EQ((*key)->Verify(kSeen, kSeenS, &ticket_), ProxmoxVerdict::kForged);
  const auto other = ProxmoxKey::FromFileContent("abc\n");
  ASSERT_TRUE(other.ok());
  EXPECT_EQ((*other)->Verify(host, kSeenS, &ticket_), ProxmoxVerdict::kForged);
}

TEST_F(ProxmoxTicketTest, KeyFilesHaveAnyBytesButNotNone) {
  // HMAC fills a key up with zeros: the last two are the same as none.
  for (const std::string& content :
       {std::string(), std::string(1, '\0'), std::string(64, '\0')}) {
    EXPECT_EQ(ProxmoxKey::FromFileContent(content).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  for (const std::string& content :
       {std::string("\n"), std::string("\0\1", 2), std::string(9999, '\xff')}) {
    const auto key = ProxmoxKey::FromFileContent(content);
    ASSERT_TRUE(key.ok());
    const std::string host =
        MakeProxmoxTicket(ProxmoxSecret(content), kSeenS, "100", "pve1", 61000);
    EXPECT_EQ((*key)->Verify(host, kSeenS, &ticket_), ProxmoxVerdict::kOk);
    EXPECT_EQ(Verify(host), ProxmoxVerdict::kForged);
  }
}

TEST_F(ProxmoxTicketTest, TakesTheFormWithoutPort) {
  const std::string host =
      MakeProxmoxTicket(kSecret, kSeenS, "999999999", "pve-2", std::nullopt);
  ASSERT_EQ(Verify(host), ProxmoxVerdict::kOk);
  EXPECT_EQ(ticket_.vmid, "999999999");
  EXPECT_EQ(ticket_.node, "pve-2");
  EXPECT_FALSE(ticket_.port.has_value());
}

TEST_F(ProxmoxTicketTest, TheWindowIsOpenAtBothEnds) {
  EXPECT_EQ(Verify(kSeen, kSeenS + 39), ProxmoxVerdict::kOk);
  EXPECT_EQ(Verify(kSeen, kSeenS + 40), ProxmoxVerdict::kTooOld);
  EXPECT_EQ(Verify(kSeen, kSeenS - 19), ProxmoxVerdict::kOk);
  EXPECT_EQ(Verify(kSeen, kSeenS - 20), ProxmoxVerdict::kTooEarly);
  EXPECT_EQ(Verify(kSeen, 0), ProxmoxVerdict::kTooEarly);
  EXPECT_EQ(Verify(kSeen, int64_t{1} << 40), ProxmoxVerdict::kTooOld);
  // What it says is known by then, for the log.
  EXPECT_EQ(ticket_.vmid, "100");
}

TEST_F(ProxmoxTicketTest, TimesBeyond2038AreNoNegativeOnes) {
  const int64_t late = 0xffffff00;
  const std::string host = MakeProxmoxTicket(kSecret, late, "1", "a", 61000);
  EXPECT_EQ(Verify(host, late), ProxmoxVerdict::kOk);
  EXPECT_EQ(Verify(host, 0), ProxmoxVerdict::kTooEarly);
}

// Each character in turn becomes another one of its kind.
TEST_F(ProxmoxTicketTest, AnyChangeIsNoticed) {
  const std::string seen(kSeen);
  for (size_t i = 0; i < seen.size(); ++i) {
    std::string changed = seen;
    changed[i] = seen[i] == '1' ? '2' : '1';
    const ProxmoxVerdict verdict = Verify(changed);
    EXPECT_TRUE(verdict == ProxmoxVerdict::kForged ||
                verdict == ProxmoxVerdict::kMalformed)
        << i;
  }
  const size_t signature_at = seen.find("::") + 2;
  for (size_t i = signature_at; i < seen.size(); ++i) {
    std::string changed = seen;
    changed[i] = seen[i] == '0' ? '1' : '0';
    EXPECT_EQ(Verify(changed), ProxmoxVerdict::kForged) << i;
  }
}

// With a secret one wants, but without the port that was signed.
TEST_F(ProxmoxTicketTest, APartIsNotTheWhole) {
  const std::string seen(kSeen);
  for (size_t len = 0; len < seen.size(); ++len) {
    EXPECT_EQ(Verify(seen.substr(0, len)), ProxmoxVerdict::kMalformed) << len;
  }
  EXPECT_EQ(Verify(seen + "0"), ProxmoxVerdict::kMalformed);
  EXPECT_EQ(Verify(seen + ":61501"), ProxmoxVerdict::kMalformed);
  EXPECT_EQ(Verify(" " + seen), ProxmoxVerdict::kMalformed);
  EXPECT_EQ(Verify("pvespiceproxy:6b023028:100:localhost::"
                   "34eaeae96285fa17907752e4c106e241c9877b2f"),
            ProxmoxVerdict::kForged);
}

TEST_F(ProxmoxTicketTest, UpperCaseIsMalformed) {
  for (const char* host : {"PVESPICEPROXY:6b023028:100:localhost:61501::"
                           "34eaeae96285fa17907752e4c106e241c9877b2f",
                           "pvespiceproxy:6B023028:100:localhost:61501::"
                           "34eaeae96285fa17907752e4c106e241c9877b2f",
                           "pvespiceproxy:6b023028:100:localhost:61501::"
                           "34EAEAE96285FA17907752E4C106E241C9877B2F"}) {
    EXPECT_EQ(Verify(host), ProxmoxVerdict::kMalformed) << host;
  }
  EXPECT_EQ(VerifySigned("pvespiceproxy:6b023028:100:Localhost:61501"),
            ProxmoxVerdict::kMalformed);
}

// Signed by the cluster, and still nothing that Proxmox writes.
TEST_F(ProxmoxTicketTest, FormsAreStrict) {
  const std::string start = "pvespiceproxy:6b023028:";
  for (const std::string& rest :
       {std::string("100:pve1:61000"), std::string("1:a:1"),
        std::string("100:pve1:65535"), std::string("100:3par"),
        "100:" + std::string(63, 'n')}) {
    EXPECT_EQ(VerifySigned(start + rest), ProxmoxVerdict::kOk) << rest;
  }
  for (const std::string& rest : {std::string(""),
                                  std::string("100"),
                                  std::string(":pve1:61000"),
                                  std::string("100:"),
                                  std::string("1000000000:pve1"),
                                  std::string("1a:pve1"),
                                  std::string("-1:pve1"),
                                  std::string("100:pve1:"),
                                  std::string("100:pve1:0"),
                                  std::string("100:pve1:061000"),
                                  std::string("100:pve1:65536"),
                                  std::string("100:pve1:+61000"),
                                  std::string("100:pve1:61000 "),
                                  std::string("100:pve1:61000:1"),
                                  std::string("100:-pve"),
                                  std::string("100:pve-"),
                                  std::string("100:pve.example"),
                                  std::string("100:pve_1"),
                                  std::string("100:pve\r\nx"),
                                  std::string("100:pve\0", 8),
                                  std::string("100:p\xc3\xa4"),
                                  "100:" + std::string(64, 'n')}) {
    EXPECT_EQ(VerifySigned(start + rest), ProxmoxVerdict::kMalformed) << rest;
  }
  for (const char* text : {"pvespiceproxy", "pvespiceproxy:", ":", ""}) {
    EXPECT_EQ(VerifySigned(text), ProxmoxVerdict::kMalformed) << text;
  }
  EXPECT_EQ(VerifySigned("pvespiceproxy:6b02302:100:pve1"),
            ProxmoxVerdict::kMalformed);
  EXPECT_EQ(VerifySigned("pvespiceproxy:6b0230280:100:pve1"),
            ProxmoxVerdict::kMalformed);
  EXPECT_EQ(VerifySigned("pvespiceproxy:6b02302g:100:pve1"),
            ProxmoxVerdict::kMalformed);
  EXPECT_EQ(VerifySigned("pvevncproxy:6b023028:100:pve1"),
            ProxmoxVerdict::kMalformed);
}

TEST(LooksLikeProxmoxTicket, ByItsBeginning) {
  EXPECT_TRUE(LooksLikeProxmoxTicket(kSeen));
  EXPECT_TRUE(LooksLikeProxmoxTicket("pvespiceproxy:"));
  EXPECT_FALSE(LooksLikeProxmoxTicket("pvespiceproxy"));
  EXPECT_FALSE(LooksLikeProxmoxTicket("pvespiceproxy.example.org"));
  EXPECT_FALSE(LooksLikeProxmoxTicket(""));
}

}  // namespace
}  // namespace spicegate
