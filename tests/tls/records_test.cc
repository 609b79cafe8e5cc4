// SPDX-License-Identifier: Apache-2.0
//
// Records that are unusual and right, and records that are wrong, from either
// peer once a channel is relayed. The right ones change nothing; the wrong
// ones end the channel for the reason that says so.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "tests/tls/record_fixture.h"

namespace spicegate {
namespace {

// Refused by BoringSSL beyond 32 in a row.
constexpr int kNumEmptyRecords = 10;
constexpr size_t kNumTinyRecords = 1000;

class RecordsTest : public RecordFixture {};

TEST_P(RecordsTest, ZeroLengthDataChangesNothing) {
  SendData(100);
  peer().SendRecord(RecordType::kData, {});
  SendData(100);
  ExpectHeard();
  // One alone, with nothing behind it that could wake anybody.
  peer().SendRecord(RecordType::kData, {});
  ExpectAlive();
  std::vector<uint8_t> all;
  for (int i = 0; i < kNumEmptyRecords; ++i) {
    const std::vector<uint8_t> empty = peer().Seal(RecordType::kData, {});
    all.insert(all.end(), empty.begin(), empty.end());
  }
  const std::vector<uint8_t> data = peer().Seal(RecordType::kData, Pattern(1));
  all.insert(all.end(), data.begin(), data.end());
  peer().Send(all);
  ExpectHeard();
  ExpectAlive();
}

TEST_P(RecordsTest, PaddingIsDropped) {
  if (!is_tls13()) {
    return;  // TLS 1.2 has none with these suites.
  }
  for (const size_t padding_len : {1, 255, 4096, 16000}) {
    peer().SendRecord(RecordType::kData, Pattern(100), padding_len);
    ExpectHeard();
  }
  peer().SendRecord(RecordType::kData, {}, 500);
  ExpectAlive();
}

TEST_P(RecordsTest, RecordsInSingleBytesArrive) {
  peer().SendSingly(peer().Seal(RecordType::kData, Pattern(700)));
  ExpectHeard();
  ExpectAlive();
}

TEST_P(RecordsTest, RecordsOfSingleBytesArrive) {
  const std::vector<uint8_t> pattern = Pattern(kNumTinyRecords);
  std::vector<uint8_t> all;
  for (const uint8_t byte : pattern) {
    const std::vector<uint8_t> record =
        peer().Seal(RecordType::kData, std::array<uint8_t, 1>{byte});
    all.insert(all.end(), record.begin(), record.end());
  }
  peer().Send(all);
  ExpectHeard();
  ExpectAlive();
}

TEST_P(RecordsTest, LargestRecordsArrive) {
  // Longer than a record: what is left over begins the next one.
  const std::vector<uint8_t> pattern = Pattern(20 * kMaxRecordPlaintextLen);
  for (size_t at = 0; at < pattern.size(); at += kMaxRecordPlaintextLen) {
    const size_t len = std::min(kMaxRecordPlaintextLen, pattern.size() - at);
    peer().SendRecord(RecordType::kData, std::span(pattern).subspan(at, len));
  }
  ExpectHeard();
  ExpectAlive();
}

// The processor time of everything in this process: the gateway, and a test
// that does nothing meanwhile.
double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) +
           static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST_P(RecordsTest, HalfARecordCostsNothing) {
  const std::vector<uint8_t> record =
      peer().Seal(RecordType::kData, Pattern(2000));
  const std::span<const uint8_t> half = std::span(record).first(1000);
  peer().Send(half);
  // Not a wait for something: the time in which a gateway that spins, or whose
  // threads do, would use a whole CPU. A slow or busy machine makes the share
  // smaller, so that half a CPU is never reached by mistake.
  const auto start = std::chrono::steady_clock::now();
  const double before = CpuSeconds();
  usleep(1'000'000);
  const double used = CpuSeconds() - before;
  const std::chrono::duration<double> wall =
      std::chrono::steady_clock::now() - start;
  EXPECT_LT(used, wall.count() / 2);
  peer().Send(std::span(record).subspan(half.size()));
  ExpectHeard();
  ExpectAlive();
}

TEST_P(RecordsTest, ForgedRecordEndsTheChannel) {
  std::vector<uint8_t> forged = peer().Seal(RecordType::kData, Pattern(100));
  forged.back() ^= 1;
  peer().Send(forged);
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, ForgedRecordBehindDataEndsTheChannel) {
  std::vector<uint8_t> all = peer().Seal(RecordType::kData, Pattern(100));
  std::vector<uint8_t> forged = peer().Seal(RecordType::kData, Pattern(100));
  forged[kRecordHeaderLen + 10] ^= 0x80;
  all.insert(all.end(), forged.begin(), forged.end());
  peer().Send(all);
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, RepeatedRecordEndsTheChannel) {
  const std::vector<uint8_t> record =
      peer().Seal(RecordType::kData, Pattern(100));
  peer().Send(record);
  ExpectHeard();
  peer().Send(record);
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, OversizeLengthEndsTheChannel) {
  // In one call: the header alone may be enough for the end.
  std::vector<uint8_t> record = {23, 3, 3, 0x60, 0};
  record.resize(8192, 0x5a);
  peer().Send(record);
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, OversizePlaintextEndsTheChannel) {
  peer().SendRecord(RecordType::kData,
                    std::vector<uint8_t>(kMaxRecordPlaintextLen + 1, 0x5a));
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, ShortRecordEndsTheChannel) {
  // More behind it, because a kernel looks at a header of TLS 1.2 only when
  // the explicit nonce is there as well.
  peer().Send(std::array<uint8_t, 16>{23, 3, 3, 0, 3, 1, 2, 3, 23, 3, 3, 0, 3});
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, WrongVersionEndsTheChannel) {
  std::vector<uint8_t> record = peer().Seal(RecordType::kData, Pattern(100));
  record[1] = 2;
  peer().Send(record);
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, PlainTextEndsTheChannel) {
  const std::string text = "GET / HTTP/1.1\r\nHost: example.test\r\n\r\n";
  peer().Send(proto::AsBytes(text));
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, UnknownTypeEndsTheChannel) {
  peer().SendRecord(static_cast<RecordType>(99), Pattern(100));
  ExpectEnds(Reason("tls_record"));
}

TEST_P(RecordsTest, ChangeCipherSpecEndsTheChannel) {
  // TLS 1.3 allows it during the handshake only, in plain; TLS 1.2 in a
  // handshake that nobody has begun.
  if (is_tls13()) {
    peer().Send(std::array<uint8_t, 6>{20, 3, 3, 0, 1, 1});
  } else {
    peer().SendRecord(RecordType::kChangeCipherSpec, std::array<uint8_t, 1>{1});
  }
  ExpectEnds(Reason("tls_record"));
}

INSTANTIATE_TEST_SUITE_P(Peers, RecordsTest,
                         testing::ValuesIn(AllRecordCases()), RecordCaseName);

}  // namespace
}  // namespace spicegate
