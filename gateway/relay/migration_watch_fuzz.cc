// SPDX-License-Identifier: Apache-2.0
// What a server says while a migration is pending. Byte 0: bit 0 the kind of
// headers, bit 1 the follower instead of the search; byte 1 is the length of
// pieces, the rest the stream. It passes unchanged; cut or whole, the same is
// learned, and the search learns what a search without states would.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "gateway/relay/filter_runner.h"
#include "gateway/relay/migration_watch.h"
#include "proto/common_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::HeaderKind;
using Bytes = std::span<const uint8_t>;

constexpr proto::ChannelKey kKey = {proto::ChannelType::kDisplay, 0};

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

// What can be seen of a migration.
struct Learned {
  explicit Learned(Migration* migration)
      : data_len(migration->ExpectedDataLen(kKey)) {
    flush = migration->AllowFlushMark(kKey);
  }

  bool operator==(const Learned&) const = default;

  std::optional<uint32_t> data_len;
  bool flush = false;
};

void Feed(PumpFilter* filter, Bytes stream, size_t step) {
  FilterRunner runner(filter);
  for (Bytes rest = stream; !rest.empty();) {
    const Bytes piece = rest.first(std::min(step, rest.size()));
    rest = rest.subspan(piece.size());
    runner.Feed(piece);
  }
  Require(runner.then() == PumpFilter::Then::kGoOn);
  const bool kept_back_only = runner.out().size() <= stream.size();
  Require(kept_back_only &&
          std::equal(runner.out().begin(), runner.out().end(), stream.begin()));
}

// Where the next MIGRATE from `from` on ends; the stream's length + 1: none.
size_t NextMatchEnd(HeaderKind kind, Bytes stream, size_t from) {
  const size_t flags_at = kind == HeaderKind::kMini ? 6 : 10;
  constexpr std::array<uint8_t, 10> kFront = {1, 0, 4};
  constexpr std::array<uint8_t, 3> kZeros = {};
  for (size_t at = from; at + flags_at + 4 <= stream.size(); ++at) {
    const Bytes here = stream.subspan(at);
    if (std::equal(here.begin(), here.begin() + flags_at, kFront.begin()) &&
        here[flags_at] <= 3 &&
        std::ranges::equal(here.subspan(flags_at + 1, 3), kZeros)) {
      return at + flags_at + 4;
    }
  }
  return stream.size() + 1;
}

bool IsPlausible(const proto::DataHeader& header) {
  return header.type != proto::kMsgMigrate && header.size < (64u << 20) &&
         proto::IsKnownMessage(kKey.type, proto::Direction::kServerToClient,
                               header.type);
}

// Follows messages from `at` on, up to the next match. Returns where to search
// on: at `at` unless data was captured.
size_t FollowNaively(HeaderKind kind, Bytes stream, size_t at,
                     Migration* migration) {
  const size_t next_match = NextMatchEnd(kind, stream, at);
  const size_t header_len = proto::DataHeaderLen(kind);
  for (size_t pos = at; pos + header_len <= stream.size();) {
    const auto header = *proto::ParseDataHeader(kind, stream.subspan(pos));
    pos += header_len;
    if (next_match <= pos) {
      return at;
    }
    const size_t left = stream.size() - pos;
    if (header.type == proto::kMsgMigrateData) {
      if (!migration->HasFlushPassed(kKey) ||
          !migration->OnSourceDataBegins(kKey, header.size)) {
        return at;
      }
      const size_t len = std::min<size_t>(header.size, left);
      migration->OnSourceData(kKey, stream.subspan(pos, len));
      return FollowNaively(kind, stream, pos + len, migration);
    }
    if (!IsPlausible(header) || header.size > left ||
        next_match <= pos + header.size) {
      return at;
    }
    pos += header.size;
  }
  return at;
}

Learned SearchNaively(HeaderKind kind, Bytes stream, Migration* migration) {
  const size_t flags_from_end = 4;
  size_t at = 0;
  for (;;) {
    at = NextMatchEnd(kind, stream, at);
    if (at > stream.size()) {
      return Learned(migration);
    }
    migration->OnSourceMigrate(kKey, stream[at - flags_from_end]);
    at = FollowNaively(kind, stream, at, migration);
  }
}

// A pending migration whose client has linked and, perhaps, sent FLUSH_MARK:
// behind that data shows.
struct Pending : Migration {
  explicit Pending(bool flushed) : Migration(MigrationKind::kSeamless) {
    OnClientLinked();
    if (flushed) {
      OnSourceMigrate(kKey, proto::kMigrateNeedFlush);
      AllowFlushMark(kKey);
    }
  }
};

Learned Search(HeaderKind kind, Bytes stream, size_t step, bool flushed) {
  Pending migration(flushed);
  MigrationWatch watch(&migration, kKey, kind);
  Feed(&watch, stream, step);
  return Learned(&migration);
}

Learned Follow(HeaderKind kind, Bytes stream, size_t step) {
  Pending migration(/*flushed=*/false);
  ServerFollower follower(kKey, kind);
  follower.set_migration(&migration);
  Feed(&follower, stream, step);
  return Learned(&migration);
}

void Check(uint8_t bits, size_t step, Bytes stream) {
  const HeaderKind kind =
      (bits & 1) != 0 ? HeaderKind::kFull : HeaderKind::kMini;
  if ((bits & 2) != 0) {
    Require(Follow(kind, stream, stream.size()) == Follow(kind, stream, step));
    return;
  }
  const bool flushed = (bits & 4) == 0;
  const Learned whole = Search(kind, stream, stream.size(), flushed);
  Require(whole == Search(kind, stream, step, flushed));
  Pending migration(flushed);
  Require(whole == SearchNaively(kind, stream, &migration));
}

}  // namespace
}  // namespace spicegate

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len >= 3) {
    spicegate::Check(data[0], data[1] + size_t{1}, {data + 2, len - 2});
  }
  return 0;
}
