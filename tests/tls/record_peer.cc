// SPDX-License-Identifier: Apache-2.0
#include "tests/tls/record_peer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

namespace spicegate {
namespace {

constexpr uint8_t kKeyUpdateType = 24;

PeerTask<int> WriteSingly(PeerStream* stream, std::span<const uint8_t> bytes) {
  int written = 0;
  for (size_t i = 0; i < bytes.size() && written == 0; ++i) {
    written = co_await stream->Write(bytes.subspan(i, 1));
  }
  co_return written;
}

}  // namespace

RecordPeer::RecordPeer(PeerStream* stream)
    : stream_(stream),
      raw_(stream->loop(), fcntl(stream->fd(), F_DUPFD_CLOEXEC, 0)),
      sending_(RecordCipher::ForSending(stream->ssl())),
      receiving_(RecordCipher::ForReceiving(stream->ssl())) {
  raw_.set_timeout_ms(60'000);
}

void RecordPeer::Send(std::span<const uint8_t> bytes) {
  EXPECT_EQ(raw_.loop()->Run(raw_.Write(bytes)), 0);
}

void RecordPeer::SendSingly(std::span<const uint8_t> bytes) {
  EXPECT_EQ(raw_.loop()->Run(WriteSingly(&raw_, bytes)), 0);
}

void RecordPeer::Fin() { shutdown(raw_.fd(), SHUT_WR); }

void RecordPeer::Reset() {
  // The socket resets when the last of its two descriptors is closed.
  stream_->Close();
  raw_.Reset();
}

PeerTask<std::optional<Record>> RecordPeer::ReadTask() {
  std::vector<uint8_t> record(kRecordHeaderLen);
  std::optional<Record> opened;
  int64_t n = co_await raw_.ReadFull(record);
  if (n == static_cast<int64_t>(record.size())) {
    record.resize(kRecordHeaderLen +
                  static_cast<size_t>(record[3] << 8 | record[4]));
    const auto body = std::span(record).subspan(kRecordHeaderLen);
    n = co_await raw_.ReadFull(body);
    if (n == static_cast<int64_t>(body.size())) {
      opened = receiving_.Open(record);
      EXPECT_TRUE(opened.has_value()) << "a record that does not open";
    }
  }
  if (opened.has_value()) {
    Note(*opened);
  } else {
    end_ = n >= 0 ? PeerEnd::kFin : EndOf(n);
  }
  co_return opened;
}

void RecordPeer::Note(const Record& record) {
  if (record.type == RecordType::kAlert) {
    alerts_.insert(alerts_.end(), record.plaintext.begin(),
                   record.plaintext.end());
  }
  if (record.type == RecordType::kHandshake && !record.plaintext.empty() &&
      record.plaintext[0] == kKeyUpdateType) {
    receiving_.UpdateKeys();
    ++num_key_updates_;
  }
}

PeerTask<std::string> RecordPeer::ReadPatternTask(TrafficReader* reader,
                                                  uint64_t body_bytes) {
  while (reader->body_bytes() < body_bytes) {
    const std::optional<Record> record = co_await ReadTask();
    if (!record.has_value()) {
      co_return std::string(PeerEndName(end_)) + " after " +
          std::to_string(reader->body_bytes()) + " bytes";
    }
    if (record->type == RecordType::kData && !reader->Feed(record->plaintext)) {
      co_return reader->error();
    }
  }
  co_return "";
}

std::string RecordPeer::ReadPatternUntil(TrafficReader* reader,
                                         uint64_t body_bytes) {
  return raw_.loop()->Run(ReadPatternTask(reader, body_bytes));
}

PeerTask<PeerEnd> RecordPeer::ReadToEndTask() {
  while (end_ == PeerEnd::kOpen) {
    co_await ReadTask();
  }
  co_return end_;
}

PeerEnd RecordPeer::ReadToEnd() { return raw_.loop()->Run(ReadToEndTask()); }

}  // namespace spicegate
