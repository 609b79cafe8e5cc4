// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/peer_identity.h"

#include <string>

#include "gateway/tls/test_certificate.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

using Subject = std::vector<std::pair<std::string, std::string>>;

TestCertificate WithSubject(const Subject& subject) {
  return MakeTestCertificate({.subject = subject}, nullptr);
}

TestCertificate WithSans(const std::string& sans,
                         const std::string& common_name = "cn.example") {
  return MakeTestCertificate(
      {.subject = {{"O", "Lab"}, {"CN", common_name}}, .sans = sans}, nullptr);
}

bool SubjectMatches(const std::string& text, const TestCertificate& cert) {
  const auto subject = PeerSubject::Parse(text);
  return subject.ok() && subject->Matches(cert.x509.get());
}

bool HostMatches(const std::string& host, const TestCertificate& cert) {
  return PeerHost(host).Matches(cert.x509.get());
}

// ---- host-subject: what spice-gtk accepts and refuses, row by row.

class HostSubject : public testing::Test {
 protected:
  const TestCertificate hv1_ =
      WithSubject({{"C", "AU"}, {"O", "Lab"}, {"CN", "hv1"}});
};

TEST_F(HostSubject, Same) {
  EXPECT_TRUE(SubjectMatches("C=AU,O=Lab,CN=hv1", hv1_));
}

TEST_F(HostSubject, SpacesBeforeKeys) {
  EXPECT_TRUE(SubjectMatches("C=AU, O=Lab, CN=hv1", hv1_));
  EXPECT_TRUE(SubjectMatches("  C=AU,   O=Lab,CN=hv1", hv1_));
}

TEST_F(HostSubject, UpperCaseValues) {
  EXPECT_TRUE(SubjectMatches("C=AU,O=LAB,CN=HV1", hv1_));
}

TEST_F(HostSubject, LongNames) {
  EXPECT_TRUE(SubjectMatches(
      "countryName=AU,organizationName=Lab,commonName=hv1", hv1_));
}

TEST_F(HostSubject, Reordered) {
  EXPECT_FALSE(SubjectMatches("CN=hv1,O=Lab,C=AU", hv1_));
}

TEST_F(HostSubject, Subset) {
  EXPECT_FALSE(SubjectMatches("CN=hv1", hv1_));
  EXPECT_FALSE(SubjectMatches("C=AU,O=Lab", hv1_));
}

TEST_F(HostSubject, LowerCaseKey) {
  EXPECT_FALSE(PeerSubject::Parse("c=AU,O=Lab,CN=hv1").ok());
}

TEST_F(HostSubject, SlashForm) {
  EXPECT_FALSE(PeerSubject::Parse("/C=AU/O=Lab/CN=hv1").ok());
}

TEST_F(HostSubject, SpaceBeforeTheComma) {
  // A country has two letters.
  EXPECT_FALSE(PeerSubject::Parse("C=AU ,O=Lab,CN=hv1").ok());
}

TEST_F(HostSubject, TrailingComma) {
  EXPECT_TRUE(SubjectMatches("C=AU,O=Lab,CN=hv1,", hv1_));
  EXPECT_TRUE(SubjectMatches("C=AU,O=Lab,CN=hv1, ", hv1_));
}

TEST_F(HostSubject, OtherValue) {
  EXPECT_FALSE(SubjectMatches("C=AU,O=Lab,CN=hv2", hv1_));
  EXPECT_FALSE(SubjectMatches("C=AU,O=Lab,CN=hv1,CN=hv1", hv1_));
  EXPECT_FALSE(SubjectMatches("C=AU,OU=Lab,CN=hv1", hv1_));
}

TEST_F(HostSubject, DottedOid) {
  EXPECT_TRUE(SubjectMatches("2.5.4.6=AU,2.5.4.10=Lab,2.5.4.3=hv1", hv1_));
}

TEST(HostSubjectSyntax, Escapes) {
  const TestCertificate odd =
      WithSubject({{"O", "Lab, Inc."}, {"CN", "back\\slash"}});
  EXPECT_TRUE(SubjectMatches("O=Lab\\, Inc.,CN=back\\\\slash", odd));
  EXPECT_FALSE(PeerSubject::Parse("O=Lab\\=x").ok());
  EXPECT_FALSE(PeerSubject::Parse("O=Lab\\").ok());
  EXPECT_FALSE(PeerSubject::Parse("\\O=Lab").ok());
}

TEST(HostSubjectSyntax, EqualSignInAValue) {
  EXPECT_TRUE(SubjectMatches("CN=a=b", WithSubject({{"CN", "a=b"}})));
}

TEST(HostSubjectSyntax, Utf8) {
  const TestCertificate cert = WithSubject({{"O", "B\xc3\xbcro"}});
  EXPECT_TRUE(SubjectMatches("O=B\xc3\xbcro", cert));
  EXPECT_FALSE(PeerSubject::Parse("O=B\xfc").ok());
}

TEST(HostSubjectSyntax, Malformed) {
  for (const char* text : {"", " ", ",", "CN", "CN=", "=x", "CN=x,,O=y",
                           "CN=x,O", "NoSuchName=x", "1.2.=x"}) {
    EXPECT_FALSE(PeerSubject::Parse(text).ok()) << text;
  }
  EXPECT_FALSE(PeerSubject::Parse(std::string_view("CN=a\0b", 6)).ok());
  EXPECT_FALSE(PeerSubject::Parse(std::string_view("CN=a\0", 5)).ok());
}

// ---- SubjectOf.

TEST(SubjectOf, IsWhatViewersWant) {
  EXPECT_EQ(
      SubjectOf(
          WithSubject({{"C", "AU"}, {"O", "Lab"}, {"CN", "hv1"}}).x509.get()),
      "C=AU,O=Lab,CN=hv1");
  const TestCertificate odd =
      WithSubject({{"O", "a,b\\c"}, {"CN", "x=y"}, {"emailAddress", "r@x.y"}});
  EXPECT_EQ(SubjectOf(odd.x509.get()),
            "O=a\\,b\\\\c,CN=x=y,emailAddress=r@x.y");
}

TEST(SubjectOf, IsEmptyWhenItCannotBeExpressed) {
  EXPECT_EQ(SubjectOf(WithSubject({{"O", "Lab"}, {"+CN", "hv1"}}).x509.get()),
            "");
  EXPECT_EQ(SubjectOf(WithSubject({}).x509.get()), "");
}

// ---- Host names.

TEST(HostNameMatches, Names) {
  EXPECT_TRUE(HostNameMatches("a.example", "a.example"));
  EXPECT_TRUE(HostNameMatches("A.Example", "a.eXAMPLE"));
  EXPECT_TRUE(HostNameMatches("*.example", "a.example"));
  EXPECT_TRUE(HostNameMatches("hv*.example", "hv12.example"));
  EXPECT_TRUE(HostNameMatches("h*1*.example", "hv12.example"));
  EXPECT_TRUE(HostNameMatches("*", "localhost"));
  EXPECT_TRUE(HostNameMatches("a.*.example", "a.b.example"));

  EXPECT_FALSE(HostNameMatches("a.example", "b.example"));
  EXPECT_FALSE(HostNameMatches("*.example", "a.b.example"));
  EXPECT_FALSE(HostNameMatches("*.example", "example"));
  EXPECT_FALSE(HostNameMatches("*", "a.example"));
  EXPECT_FALSE(HostNameMatches("hv*.example", "h1.example"));
  EXPECT_FALSE(HostNameMatches("a.example", "a.example.org"));
  EXPECT_FALSE(HostNameMatches("a.example.", "a.example"));
  EXPECT_FALSE(HostNameMatches("", "a"));
  EXPECT_FALSE(HostNameMatches("a", ""));
  EXPECT_FALSE(HostNameMatches("", ""));
  EXPECT_FALSE(
      HostNameMatches(std::string_view("a.example\0.org", 14), "a.example"));
}

TEST(HostNameMatches, ManyStarsCostNothing) {
  std::string pattern;
  for (int i = 0; i < 5000; ++i) {
    pattern += "*a";
  }
  EXPECT_FALSE(HostNameMatches(pattern + "b", std::string(5000, 'a')));
}

TEST(PeerHost, SansComeBeforeTheCommonName) {
  const TestCertificate cert =
      WithSans("DNS:a.example,DNS:*.b.example,IP:10.0.0.5,IP:fe80::1");
  EXPECT_TRUE(HostMatches("A.example", cert));
  EXPECT_TRUE(HostMatches("a.example.", cert));
  EXPECT_TRUE(HostMatches("x.b.example", cert));
  EXPECT_TRUE(HostMatches("10.0.0.5", cert));
  EXPECT_TRUE(HostMatches("fe80::1", cert));
  EXPECT_TRUE(HostMatches("fe80:0::0:1", cert));
  EXPECT_FALSE(HostMatches("cn.example", cert));
  EXPECT_FALSE(HostMatches("10.0.0.6", cert));
  EXPECT_FALSE(HostMatches("fe80::2", cert));
  EXPECT_FALSE(HostMatches("", cert));
}

TEST(PeerHost, ADnsSanDoesNotNameAnAddress) {
  EXPECT_FALSE(HostMatches("10.0.0.5", WithSans("DNS:10.0.0.5")));
  EXPECT_FALSE(HostMatches("10.0.0.5", WithSans("DNS:*.0.0.5")));
}

TEST(PeerHost, AnIpSanAloneHidesTheCommonName) {
  EXPECT_FALSE(HostMatches("cn.example", WithSans("IP:10.0.0.5")));
}

TEST(PeerHost, OtherSansDoNot) {
  EXPECT_TRUE(HostMatches("cn.example", WithSans("email:root@lab.example")));
  EXPECT_TRUE(HostMatches("cn.example", WithSans("")));
  EXPECT_TRUE(HostMatches("x.example", WithSans("", "*.example")));
  EXPECT_FALSE(HostMatches("other.example", WithSans("")));
}

TEST(PeerHost, AnAddressNeverMatchesACommonName) {
  EXPECT_FALSE(HostMatches("10.0.0.5", WithSans("", "10.0.0.5")));
}

TEST(PeerHost, EveryCommonNameCounts) {
  const TestCertificate cert =
      WithSubject({{"CN", "one.example"}, {"CN", "two.example"}});
  EXPECT_TRUE(HostMatches("one.example", cert));
  EXPECT_TRUE(HostMatches("two.example", cert));
  EXPECT_FALSE(HostMatches("cn", WithSubject({{"O", "cn"}})));
}

}  // namespace
}  // namespace spicegate
