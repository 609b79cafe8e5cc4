// SPDX-License-Identifier: Apache-2.0
//
// A relayed channel with a RecordPeer on one leg and a plain, honest peer on
// the other: what the tests of unusual records have in common.
#ifndef SPICEGATE_TESTS_TLS_RECORD_FIXTURE_H_
#define SPICEGATE_TESTS_TLS_RECORD_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/peer/traffic.h"
#include "tests/tls/record_peer.h"
#include "tests/tls/tls_world.h"

namespace spicegate {

// Whose records are made by hand, and of which version.
struct RecordCase {
  TlsSide side;
  uint16_t version;
};

std::vector<RecordCase> AllRecordCases();
std::string RecordCaseName(const testing::TestParamInfo<RecordCase>& tested);

class RecordFixture : public testing::TestWithParam<RecordCase> {
 protected:
  void SetUp() override;
  void TearDown() override;

  bool is_tls13() const { return GetParam().version == TLS1_3_VERSION; }
  TlsSide side() const { return GetParam().side; }
  // "client_tls_record" and such.
  std::string Reason(const std::string& word) const {
    return SideName(side()) + ("_" + word);
  }
  // Whether the kernel opens the records that peer() makes.
  bool KernelReceives() const;

  RecordPeer& peer() { return *peer_; }
  PeerStream* honest() { return honest_; }
  // Lets go of both ends.
  void CloseHonest() { honest_->Close(); }

  // More of the pattern that peer() says: whole messages, at least `len`
  // bytes of them.
  std::vector<uint8_t> Pattern(size_t len);
  // ... in one record.
  void SendData(size_t len) {
    peer().SendRecord(RecordType::kData, Pattern(len));
  }
  // The honest side has heard all that the pattern has said.
  void ExpectHeard();
  // Data of the honest side arrives at peer().
  void ExpectAnswered();
  // Data goes both ways.
  void ExpectAlive();
  // The honest side reads the end of the peer's direction.
  void ExpectHonestReadsFin();

  // The channel ends, seen from the honest side too, and for this reason.
  void ExpectEnds(const std::string& reason);
  void ExpectClosed(const std::string& reason);
  // spicegate_tls_truncated_total of this leg since the start of the test.
  double NumTruncated();

 private:
  TlsWorld* world_ = nullptr;
  std::unique_ptr<TlsSession> session_;
  std::unique_ptr<ChannelEnds> ends_;
  std::unique_ptr<RecordPeer> peer_;
  PeerStream* honest_ = nullptr;
  std::unique_ptr<TrafficWriter> says_;
  std::unique_ptr<TrafficReader> heard_;
  std::unique_ptr<TrafficWriter> answers_;
  std::unique_ptr<TrafficReader> read_;
  double truncated_before_ = 0;
  GatewayMetrics before_{""};
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_TLS_RECORD_FIXTURE_H_
