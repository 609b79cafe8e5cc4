// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/migration_watch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "gateway/base/limits.h"
#include "proto/common_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

// Of a body that a server claims behind a match: more than any real message,
// so that a match that was none shows.
constexpr uint32_t kMaxPlausibleSize = 64 * 1024 * 1024;

constexpr uint8_t kMaxFlags =
    proto::kMigrateNeedFlush | proto::kMigrateNeedDataTransfer;

// MIGRATE up to its flags; a full header's sub_list of 0 behind its size.
constexpr std::array<uint8_t, 10> kTypeAndSize = {1, 0, 4, 0, 0, 0, 0, 0, 0, 0};

}  // namespace

MigrationWatch::MigrationWatch(Migration* migration, proto::ChannelKey key,
                               proto::HeaderKind kind)
    : migration_(migration), key_(key), kind_(kind), framer_(kind) {}

PumpFilter::Step MigrationWatch::Next(std::span<const uint8_t> bytes) {
  std::span<const uint8_t> left = bytes;
  while (!left.empty()) {
    const std::span<const uint8_t> piece =
        left.first(std::min(left.size(), NumFollowed()));
    if (in_data_) {
      Follow(piece);
      left = left.subspan(piece.size());
    } else {
      left = left.subspan(LookAt(piece));
    }
  }
  Step step;
  step.pass = bytes.size();
  return step;
}

size_t MigrationWatch::NumFollowed() const {
  if (!following_) {
    return std::numeric_limits<size_t>::max();
  }
  return framer_.in_message() ? framer_.body_remaining()
                              : framer_.header_remaining();
}

// What is followed is searched as well: the match before it may have been none.
size_t MigrationWatch::LookAt(std::span<const uint8_t> bytes) {
  const size_t len = Search(bytes);
  if (num_matched_ == pattern_len()) {
    num_matched_ = 0;
    following_ = true;
    framer_ = proto::MessageFramer(kind_);
    migration_->OnSourceMigrate(key_, flags_);
  } else if (following_) {
    Follow(bytes);
  }
  return len;
}

size_t MigrationWatch::Search(std::span<const uint8_t> bytes) {
  size_t i = 0;
  while (i < bytes.size() && num_matched_ < pattern_len()) {
    if (num_matched_ == 0) {
      const void* first =
          std::memchr(bytes.data() + i, kTypeAndSize[0], bytes.size() - i);
      if (first == nullptr) {
        return bytes.size();
      }
      i = static_cast<size_t>(static_cast<const uint8_t*>(first) -
                              bytes.data());
    }
    if (!Fits(bytes[i])) {
      num_matched_ = NumStillMatched();  // smaller: the byte is tried again
      continue;
    }
    if (num_matched_ == flags_at()) {
      flags_ = bytes[i];
    }
    ++num_matched_;
    ++i;
  }
  return i;
}

bool MigrationWatch::Fits(uint8_t byte) const {
  if (num_matched_ < flags_at()) {
    return byte == kTypeAndSize[num_matched_];
  }
  return num_matched_ == flags_at() ? byte <= kMaxFlags : byte == 0;
}

size_t MigrationWatch::NumStillMatched() const {
  // Only the flags can look like the pattern's front, 1 and 0.
  const size_t behind =
      num_matched_ > flags_at() ? num_matched_ - flags_at() : 0;
  return flags_ == kTypeAndSize[0] && behind <= 2 ? behind : 0;
}

void MigrationWatch::Follow(std::span<const uint8_t> bytes) {
  using Event = proto::MessageFramer::Event;
  for (;;) {
    const proto::MessageFramer::Step step = framer_.Feed(bytes);
    bytes = bytes.subspan(step.consumed);
    switch (step.event) {
      case Event::kNeedMore:
        return;
      case Event::kHeader:
        if (!OnHeader(framer_.header())) {
          following_ = false;
          return;
        }
        break;
      case Event::kBody:
        if (in_data_) {
          migration_->OnSourceData(key_, step.body);
        }
        break;
      case Event::kEnd:
        in_data_ = false;
        break;
    }
  }
}

bool MigrationWatch::OnHeader(const proto::DataHeader& header) {
  if (header.type == proto::kMsgMigrateData) {
    in_data_ = migration_->HasFlushPassed(key_) &&
               migration_->OnSourceDataBegins(key_, header.size);
    num_matched_ = in_data_ ? 0 : num_matched_;  // data is not searched
    return in_data_;
  }
  return header.type != proto::kMsgMigrate && header.size < kMaxPlausibleSize &&
         proto::IsKnownMessage(key_.type, proto::Direction::kServerToClient,
                               header.type);
}

ServerFollower::Judgement ServerFollower::Judge(
    const proto::DataHeader& header, std::span<const uint8_t> front) {
  if (migration_ == nullptr) {
    return {};
  }
  const bool is_data = header.type == proto::kMsgMigrateData;
  if (is_data ? header.size > kMaxMigrationDataBytes
              : header.type != proto::kMsgMigrate || header.size != 4) {
    return {};
  }
  if (front.size() < header.size) {
    return {Verdict::kNeed, header.size};
  }
  if (!is_data) {
    migration_->OnSourceMigrate(key_, proto::ParseMigrate(front).value_or(0));
  } else if (migration_->OnSourceDataBegins(key_, header.size)) {
    migration_->OnSourceData(key_, front);
  }
  return {};
}

}  // namespace spicegate
