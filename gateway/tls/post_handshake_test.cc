// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/post_handshake.h"

#include <gtest/gtest.h>

#include <string>

#include "gateway/io/tls_socket.h"

namespace spicegate {
namespace {

using std::string_literals::operator""s;
using Verdict = PostHandshake::Verdict;

Verdict Feed(PostHandshake* state, uint8_t type, const std::string& bytes) {
  return state->Feed(
      type, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

Verdict Judge(TlsLeg leg, TlsVersion version, uint8_t type,
              const std::string& bytes) {
  PostHandshake state(leg, version);
  return Feed(&state, type, bytes);
}

TEST(PostHandshake, Alerts) {
  const auto judge = [](TlsVersion version, const std::string& bytes) {
    return Judge(TlsLeg::kClient, version, kTlsRecordAlert, bytes);
  };
  for (const TlsVersion version : {TlsVersion::kTls12, TlsVersion::kTls13}) {
    EXPECT_EQ(judge(version, "\x01\0"s), Verdict::kEnd);
    EXPECT_EQ(judge(version, "\x02\x28"), Verdict::kAlert);
    EXPECT_EQ(judge(version, "\x02\0"s), Verdict::kAlert);
    EXPECT_EQ(judge(version, "\x01\x5a"), Verdict::kGoOn) << "user_canceled";
    EXPECT_EQ(judge(version, "\x01\x5a\x01\0"s), Verdict::kEnd);
    EXPECT_EQ(judge(version, "\x03\0"s), Verdict::kUnexpected);
    EXPECT_EQ(judge(version, ""), Verdict::kGoOn);
  }
  EXPECT_EQ(judge(TlsVersion::kTls12, "\x01\x64"), Verdict::kGoOn);
  EXPECT_EQ(judge(TlsVersion::kTls13, "\x01\x64"), Verdict::kAlert);
}

TEST(PostHandshake, AnAlertInTwoPieces) {
  PostHandshake state(TlsLeg::kClient, TlsVersion::kTls12);
  EXPECT_EQ(Feed(&state, kTlsRecordAlert, "\x01"), Verdict::kGoOn);
  EXPECT_EQ(Feed(&state, kTlsRecordAlert, "\0"s), Verdict::kEnd);
}

TEST(PostHandshake, TicketsComeFromServersOfTls13Only) {
  const std::string ticket = "\x04\0\0\x02xy"s;
  EXPECT_EQ(Judge(TlsLeg::kServer, TlsVersion::kTls13, kTlsRecordHandshake,
                  ticket + ticket),
            Verdict::kGoOn);
  EXPECT_EQ(
      Judge(TlsLeg::kClient, TlsVersion::kTls13, kTlsRecordHandshake, ticket),
      Verdict::kUnexpected);
  EXPECT_EQ(
      Judge(TlsLeg::kServer, TlsVersion::kTls12, kTlsRecordHandshake, ticket),
      Verdict::kUnexpected);
}

TEST(PostHandshake, AKeyUpdateBehindATicketInPiecesOfAnySize) {
  const std::string bytes = "\x04\0\0\x03\x18\x18\x18\x18\0\0\x01\0"s;
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    PostHandshake state(TlsLeg::kServer, TlsVersion::kTls13);
    const Verdict first =
        Feed(&state, kTlsRecordHandshake, bytes.substr(0, cut));
    const Verdict second = Feed(&state, kTlsRecordHandshake, bytes.substr(cut));
    EXPECT_TRUE(first == Verdict::kRekey || second == Verdict::kRekey) << cut;
    EXPECT_TRUE(cut > 10 || first == Verdict::kGoOn) << cut;
  }
}

TEST(PostHandshake, RenegotiationAndUnknownTypesAreRefused) {
  for (const TlsLeg leg : {TlsLeg::kClient, TlsLeg::kServer}) {
    EXPECT_EQ(
        Judge(leg, TlsVersion::kTls12, kTlsRecordHandshake, "\x01\0\0\0"s),
        Verdict::kUnexpected);
    EXPECT_EQ(Judge(leg, TlsVersion::kTls12, kTlsRecordHandshake, "\0\0\0\0"s),
              Verdict::kUnexpected);
    EXPECT_EQ(Judge(leg, TlsVersion::kTls13, 20, "\x01"), Verdict::kUnexpected);
  }
}

}  // namespace
}  // namespace spicegate
