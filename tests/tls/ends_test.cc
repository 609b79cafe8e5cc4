// SPDX-License-Identifier: Apache-2.0
//
// Alerts, messages of handshakes and ends of connections, from either peer once
// a channel is relayed.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/tls/record_fixture.h"

namespace spicegate {
namespace {

constexpr std::array<uint8_t, 2> kCloseNotify = {1, 0};
constexpr std::array<uint8_t, 2> kUserCanceled = {1, 90};
constexpr std::array<uint8_t, 2> kHandshakeFailure = {2, 40};
// Refused by BoringSSL beyond four in a row.
constexpr int kNumWarnings = 3;

class EndsTest : public RecordFixture {
 protected:
  std::string OrdinaryEnd() const { return Reason("closed"); }

  // Data and another record in one call, so that one read takes both.
  void SendBehindData(RecordType type, std::span<const uint8_t> plaintext) {
    std::vector<uint8_t> all = peer().Seal(RecordType::kData, Pattern(5000));
    const std::vector<uint8_t> more = peer().Seal(type, plaintext);
    all.insert(all.end(), more.begin(), more.end());
    peer().Send(all);
  }

  bool Heard(const std::array<uint8_t, 2>& alert) {
    return peer().alerts() == std::vector<uint8_t>(alert.begin(), alert.end());
  }
};

TEST_P(EndsTest, FatalAlert) {
  peer().SendRecord(RecordType::kAlert, kHandshakeFailure);
  ExpectEnds(Reason("tls_alert"));
}

TEST_P(EndsTest, FatalAlertBehindData) {
  SendBehindData(RecordType::kAlert, kHandshakeFailure);
  ExpectEnds(Reason("tls_alert"));
}

TEST_P(EndsTest, CloseNotifyThenFin) {
  SendBehindData(RecordType::kAlert, kCloseNotify);
  peer().Fin();
  ExpectHeard();
  ExpectEnds(OrdinaryEnd());
  EXPECT_EQ(peer().ReadToEnd(), PeerEnd::kFin);
  EXPECT_TRUE(Heard(kCloseNotify));
  EXPECT_EQ(NumTruncated(), 0);
}

// The direction has ended; the other one has not.
TEST_P(EndsTest, CloseNotifyWithoutFin) {
  SendBehindData(RecordType::kAlert, kCloseNotify);
  ExpectHeard();
  ExpectHonestReadsFin();
  ExpectAnswered();
  CloseHonest();
  ExpectClosed(OrdinaryEnd());
  EXPECT_EQ(peer().ReadToEnd(), PeerEnd::kFin);
  EXPECT_TRUE(Heard(kCloseNotify));
  EXPECT_EQ(NumTruncated(), 0);
}

TEST_P(EndsTest, FinWithoutCloseNotify) {
  SendData(5000);
  peer().Fin();
  ExpectHeard();
  ExpectEnds(OrdinaryEnd());
  EXPECT_EQ(peer().ReadToEnd(), PeerEnd::kFin);
  EXPECT_EQ(NumTruncated(), 1);
}

TEST_P(EndsTest, HalfARecordThenFin) {
  SendData(5000);
  const std::vector<uint8_t> record =
      peer().Seal(RecordType::kData, std::array<uint8_t, 100>{});
  peer().Send(std::span(record).first(50));
  peer().Fin();
  ExpectHeard();
  ExpectEnds(OrdinaryEnd());
  EXPECT_EQ(NumTruncated(), 1);
}

TEST_P(EndsTest, Reset) {
  ExpectAlive();
  peer().Reset();
  ExpectEnds(Reason("reset"));
  EXPECT_EQ(NumTruncated(), 0);
}

// The other side ends first: the peer gets all, a close_notify and FIN.
TEST_P(EndsTest, TheGatewaySaysCloseNotify) {
  ExpectAlive();
  honest()->ShutdownWrite();
  EXPECT_EQ(peer().ReadToEnd(), PeerEnd::kFin);
  EXPECT_TRUE(Heard(kCloseNotify));
  SendData(5000);
  ExpectHeard();
  peer().SendRecord(RecordType::kAlert, kCloseNotify);
  peer().Fin();
  ExpectEnds(side() == TlsSide::kClient ? "server_closed" : "client_closed");
  EXPECT_EQ(NumTruncated(), 0);
}

TEST_P(EndsTest, WarningsChangeNothing) {
  for (int i = 0; i < kNumWarnings; ++i) {
    peer().SendRecord(RecordType::kAlert, kUserCanceled);
    SendData(100);
  }
  ExpectHeard();
  ExpectAlive();
}

// In user space BoringSSL follows; the kernels here cannot.
TEST_P(EndsTest, KeyUpdate) {
  if (!is_tls13()) {
    return;  // TLS 1.2 has none.
  }
  SendBehindData(RecordType::kHandshake, KeyUpdateMessage(false));
  if (KernelReceives()) {
    ExpectEnds(Reason("tls_rekey"));
    peer().ReadToEnd();
    EXPECT_TRUE(Heard(kCloseNotify));
    return;
  }
  peer().UpdateSendingKeys();
  ExpectHeard();
  ExpectAlive();
  EXPECT_EQ(peer().num_key_updates(), 0u);
}

TEST_P(EndsTest, KeyUpdateThatAsksForOne) {
  if (!is_tls13()) {
    return;
  }
  peer().SendRecord(RecordType::kHandshake, KeyUpdateMessage(true));
  if (KernelReceives()) {
    ExpectEnds(Reason("tls_rekey"));
    return;
  }
  peer().UpdateSendingKeys();
  ExpectAlive();
  EXPECT_EQ(peer().num_key_updates(), 1u);
  ExpectAlive();
}

TEST_P(EndsTest, TicketsOfTheServerChangeNothing) {
  if (!is_tls13()) {
    return;  // TLS 1.2 sends them in the handshake.
  }
  const std::vector<uint8_t> ticket = NewSessionTicketMessage();
  std::vector<uint8_t> two = ticket;
  two.insert(two.end(), ticket.begin(), ticket.end());
  SendData(100);
  peer().SendRecord(RecordType::kHandshake, ticket);
  if (side() == TlsSide::kClient) {
    ExpectEnds(Reason("tls_record"));  // Viewers give none.
    return;
  }
  peer().SendRecord(RecordType::kHandshake, ticket);
  SendData(5000);
  peer().SendRecord(RecordType::kHandshake, two);
  SendData(100);
  ExpectHeard();
  peer().SendRecord(RecordType::kHandshake, ticket);
  ExpectAlive();
}

TEST_P(EndsTest, TicketInPiecesChangesNothing) {
  if (!is_tls13() || side() == TlsSide::kClient) {
    return;
  }
  const std::vector<uint8_t> ticket = NewSessionTicketMessage();
  const std::span<const uint8_t> bytes(ticket);
  peer().SendRecord(RecordType::kHandshake, bytes.first(2));
  peer().SendRecord(RecordType::kHandshake, bytes.subspan(2, 20));
  peer().SendRecord(RecordType::kHandshake, bytes.subspan(22));
  ExpectAlive();
}

// Nothing is in them, and a read that returns no byte is no end. They are not
// allowed, so that BoringSSL may take one of a TLS 1.2 client for the start of
// a handshake.
TEST_P(EndsTest, EmptyHandshakeRecordsChangeNothing) {
  if (!KernelReceives() && !is_tls13() && side() == TlsSide::kClient) {
    peer().SendRecord(RecordType::kHandshake, {});
    ExpectEnds(Reason("tls_record"));
    return;
  }
  SendData(100);
  for (int i = 0; i < 3; ++i) {
    peer().SendRecord(RecordType::kHandshake, {});
    SendData(100);
  }
  ExpectHeard();
  peer().SendRecord(RecordType::kHandshake, {});
  ExpectAlive();
}

// A second handshake within the first one is refused.
TEST_P(EndsTest, Renegotiation) {
  if (is_tls13()) {
    return;
  }
  const bool client = side() == TlsSide::kClient;
  // ClientHello with an absurd body, HelloRequest.
  const std::vector<uint8_t> message =
      client ? std::vector<uint8_t>{1, 0, 0, 2, 3, 3}
             : std::vector<uint8_t>{0, 0, 0, 0};
  peer().SendRecord(RecordType::kHandshake, message);
  ExpectEnds(Reason("tls_record"));
}

INSTANTIATE_TEST_SUITE_P(Peers, EndsTest, testing::ValuesIn(AllRecordCases()),
                         RecordCaseName);

}  // namespace
}  // namespace spicegate
