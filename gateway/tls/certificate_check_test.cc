// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/certificate_check.h"

#include <gmock/gmock.h>

#include <ctime>
#include <string>
#include <vector>

#include "gateway/tls/server_context_test_client.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Warnings = std::vector<std::string>;

constexpr int64_t kYearS = 365 * 86'400;

int64_t Now() { return std::time(nullptr); }

TestCertificate MakeCa(const std::string& name,
                       const TestCertificate* issuer = nullptr) {
  return MakeTestCertificate(
      {.subject = {{"CN", name}}, .is_ca = true, .valid_for_s = kYearS},
      issuer);
}

TestCertificateSpec LeafSpec() {
  return {.subject = {{"O", "Lab"}, {"CN", "gate"}},
          .sans = "DNS:gate.example,DNS:*.lab.example,IP:192.0.2.1",
          .valid_for_s = kYearS};
}

// A certificate with its chain.
std::shared_ptr<const ServerTlsContext> ContextWith(
    const TestCertificate& leaf,
    const std::vector<const TestCertificate*>& chain,
    const std::string& label = "gate.pem, gate.key") {
  std::string pem = leaf.pem();
  for (const TestCertificate* certificate : chain) {
    pem += certificate->pem();
  }
  const auto parsed = ServerCertificate::Parse(pem, leaf.key_pem(), label);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *ServerTlsContext::Create({*parsed}, {});
}

Warnings WarningsOf(const ServerTlsContext& context,
                    const ViewerExpectations& viewers = {},
                    int64_t now_unix_s = Now()) {
  return CheckCertificates(context, viewers, now_unix_s).warnings;
}

class CertificateCheckTest : public testing::Test {
 protected:
  const TestCertificate root_ = MakeCa("root");
  const TestCertificate middle_ = MakeCa("middle", &root_);
  const TestCertificate leaf_ = MakeTestCertificate(LeafSpec(), &middle_);
};

TEST_F(CertificateCheckTest, SaysNothingAboutAGoodOne) {
  const auto public_ca = ContextWith(leaf_, {&middle_});
  EXPECT_THAT(WarningsOf(*public_ca, {"gate.example", "", ""}), IsEmpty());
  EXPECT_THAT(WarningsOf(*public_ca, {"GATE.example", "", root_.pem()}),
              IsEmpty());
  EXPECT_THAT(WarningsOf(*public_ca, {"a.lab.example", "", root_.pem()}),
              IsEmpty());
  EXPECT_THAT(WarningsOf(*public_ca, {"192.0.2.1", "", root_.pem()}),
              IsEmpty());
  EXPECT_THAT(
      WarningsOf(*public_ca, {"elsewhere", "O=Lab,CN=gate", root_.pem()}),
      IsEmpty());
  EXPECT_THAT(WarningsOf(*ContextWith(leaf_, {&middle_, &root_})), IsEmpty());
  const TestCertificate own = MakeTestCertificate(LeafSpec(), nullptr);
  EXPECT_THAT(
      WarningsOf(*ContextWith(own, {}), {"gate.example", "", own.pem()}),
      IsEmpty());
}

TEST_F(CertificateCheckTest, LooksAtTheDates) {
  const auto context = ContextWith(leaf_, {&middle_});
  const int64_t end = context->not_after_unix_s();
  EXPECT_THAT(WarningsOf(*context, {}, end - kExpiryWarningS - 60), IsEmpty());
  EXPECT_THAT(WarningsOf(*context, {}, end - kExpiryWarningS + 60),
              testing::Contains(
                  AllOf(StartsWith("gate.pem, gate.key: "),
                        HasSubstr("the certificate expires in 13 days"))));
  EXPECT_THAT(WarningsOf(*context, {}, end + 60),
              testing::Contains(HasSubstr("the certificate expired on ")));
  EXPECT_THAT(WarningsOf(*context, {}, end + 60),
              testing::Contains(
                  HasSubstr("certificate 2 of the chain (CN=middle) expired")));
  EXPECT_THAT(
      WarningsOf(*context, {}, Now() - 2 * 86'400),
      testing::Contains(HasSubstr("the certificate is not valid before ")));
}

TEST_F(CertificateCheckTest, LooksAtTheOrderOfTheChain) {
  EXPECT_THAT(
      WarningsOf(*ContextWith(leaf_, {&root_, &middle_})),
      ElementsAre(
          HasSubstr("certificate 2 (CN=root) did not sign certificate 1 "
                    "(O=Lab,CN=gate): the chain is out of order"),
          HasSubstr("certificate 3 (CN=middle) did not sign certificate 2")));
  EXPECT_THAT(WarningsOf(*ContextWith(leaf_, {&root_})),
              ElementsAre(HasSubstr("lacks one between them")));
  // The same name, another key.
  const TestCertificate impostor = MakeCa("middle", &root_);
  EXPECT_THAT(WarningsOf(*ContextWith(leaf_, {&impostor})),
              ElementsAre(HasSubstr("did not sign certificate 1")));
}

TEST_F(CertificateCheckTest, LooksForTheIssuer) {
  EXPECT_THAT(WarningsOf(*ContextWith(leaf_, {})),
              ElementsAre(HasSubstr("viewers must know the issuer already")));
  EXPECT_THAT(WarningsOf(*ContextWith(leaf_, {}), {"", "", root_.pem()}),
              ElementsAre(HasSubstr("does not lead to the CA that .vv files "
                                    "give viewers")));
  EXPECT_THAT(WarningsOf(*ContextWith(leaf_, {&middle_}),
                         {"", "", MakeCa("root").pem()}),
              ElementsAre(HasSubstr("does not lead to the CA")));
  // An expired one has its own warning, once.
  const auto context = ContextWith(leaf_, {&middle_});
  for (const std::string& warning : WarningsOf(
           *context, {"", "", root_.pem()}, context->not_after_unix_s() + 60)) {
    EXPECT_THAT(warning, testing::Not(HasSubstr("does not lead")));
  }
}

TEST_F(CertificateCheckTest, LooksAtTheNamesThatViewersUse) {
  const auto context = ContextWith(leaf_, {&middle_});
  EXPECT_THAT(WarningsOf(*context, {"other.example", "", ""}),
              ElementsAre(HasSubstr("viewers connect to other.example, which "
                                    "is not among the names")));
  EXPECT_THAT(WarningsOf(*context, {"192.0.2.2", "", ""}),
              ElementsAre(HasSubstr("the address 192.0.2.2, which is not among "
                                    "the iPAddress names")));
  EXPECT_THAT(WarningsOf(*context, {"gate.example", "CN=gate", ""}),
              ElementsAre(HasSubstr("the subject is O=Lab,CN=gate, not "
                                    "public.host_subject CN=gate")));
  EXPECT_THAT(WarningsOf(*context, {"gate.example", "CN", ""}),
              ElementsAre(HasSubstr("public.host_subject cannot be matched")));
}

TEST_F(CertificateCheckTest, ViewersNeedOnlyWhatTheyAreShown) {
  const TestCertificate other = MakeTestCertificate(
      {.sans = "DNS:other.example", .valid_for_s = kYearS}, nullptr);
  const TestCertificate own = MakeTestCertificate(LeafSpec(), nullptr);
  const auto context = *ServerTlsContext::Create(
      {Parsed(other, "other"), Parsed(own, "own")}, {});
  EXPECT_THAT(WarningsOf(*context, {"gate.example", "", own.pem()}), IsEmpty());
  EXPECT_THAT(WarningsOf(*context, {"elsewhere", "", other.pem()}),
              ElementsAre(StartsWith("other: viewers connect to elsewhere")));
}

TEST_F(CertificateCheckTest, LooksAtTheUse) {
  TestCertificateSpec spec = LeafSpec();
  spec.extended_usage = "clientAuth";
  const TestCertificate client = MakeTestCertificate(spec, &middle_);
  EXPECT_THAT(WarningsOf(*ContextWith(client, {&middle_})),
              ElementsAre(HasSubstr("other uses than a server")));
}

TEST_F(CertificateCheckTest, NotesThatAProxyNeedsAnAddress) {
  TestCertificateSpec spec = LeafSpec();
  spec.sans = "DNS:gate.example";
  const TestCertificate named = MakeTestCertificate(spec, &middle_);
  const auto notes = [&](const TestCertificate& leaf, const std::string& host) {
    return CheckCertificates(*ContextWith(leaf, {&middle_}), {host, "", ""},
                             Now())
        .notes;
  };
  EXPECT_THAT(notes(named, "gate.example"),
              ElementsAre(HasSubstr("no iPAddress among the certificate's "
                                    "names")));
  EXPECT_THAT(notes(leaf_, "gate.example"), IsEmpty());
}

TEST_F(CertificateCheckTest, WarnsWhereThereIsAProxyWithoutItsAddress) {
  TestCertificateSpec spec = LeafSpec();
  spec.sans = "DNS:gate.example";
  const TestCertificate named = MakeTestCertificate(spec, &middle_);
  const auto find = [&](const TestCertificate& leaf, const std::string& proxy) {
    return CheckCertificates(*ContextWith(leaf, {&middle_}),
                             {"gate.example", "", "", proxy}, Now());
  };
  EXPECT_THAT(find(named, "gate.example").warnings,
              ElementsAre(HasSubstr("no iPAddress among the certificate's "
                                    "names")));
  EXPECT_THAT(find(named, "gate.example").notes, IsEmpty());
  EXPECT_THAT(find(leaf_, "gate.example").warnings, IsEmpty());
  EXPECT_THAT(find(leaf_, "192.0.2.1").warnings, IsEmpty());
  EXPECT_THAT(find(leaf_, "192.0.2.2").warnings,
              ElementsAre(HasSubstr("the address 192.0.2.2, which is not among "
                                    "the iPAddress names")));
}

}  // namespace
}  // namespace spicegate
