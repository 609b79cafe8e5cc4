// SPDX-License-Identifier: Apache-2.0
//
// How a migration's hand-over is noticed on a channel whose server nobody
// listens to. Framing a display from its first byte on would cost the flood
// its splices; its message boundaries are unknown. But MIGRATE is a message of
// known bytes behind which a server keeps silent until the client answers, so
// from the moment a seamless migration is announced the bytes are searched for
// it, and framed from there on.
//
// The search can be deceived by a guest that draws those bytes while its own
// client waits for the moment. What they win is FLUSH_MARK at the wrong time,
// which ends their own QEMU, the source: no more than its power button does.
// What is taken for MIGRATE_DATA has to come behind FLUSH_MARK, as the real one
// does.
#ifndef SPICEGATE_GATEWAY_RELAY_MIGRATION_WATCH_H_
#define SPICEGATE_GATEWAY_RELAY_MIGRATION_WATCH_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/relay/message_filter.h"
#include "gateway/relay/migration.h"
#include "gateway/relay/pump_filter.h"
#include "proto/channel.h"
#include "proto/data_header.h"

namespace spicegate {

// Passes everything. From server to client, on any channel but main, only as
// long as a seamless migration is pending.
class MigrationWatch final : public PumpFilter {
 public:
  // `migration` outlives it.
  MigrationWatch(Migration* migration, proto::ChannelKey key,
                 proto::HeaderKind kind);

  Step Next(std::span<const uint8_t> bytes) override;
  bool HasInsert() const override { return false; }

 private:
  // How many bytes can be looked at in one way: up to the end of a header or of
  // a body where messages are followed.
  size_t NumFollowed() const;
  // Both return how many bytes they have looked at: all, or up to a MIGRATE's
  // end.
  size_t LookAt(std::span<const uint8_t> bytes);
  size_t Search(std::span<const uint8_t> bytes);
  void Follow(std::span<const uint8_t> bytes);
  // What a header says of the bytes behind the match; false when they cannot
  // be messages.
  bool OnHeader(const proto::DataHeader& header);
  // The pattern: type and size, in full headers a sub_list of 0, then the
  // flags, of which three bytes are 0.
  bool Fits(uint8_t byte) const;
  size_t NumStillMatched() const;
  size_t flags_at() const { return kind_ == proto::HeaderKind::kMini ? 6 : 10; }
  size_t pattern_len() const { return flags_at() + sizeof(uint32_t); }

  Migration* const migration_;
  const proto::ChannelKey key_;
  const proto::HeaderKind kind_;
  proto::MessageFramer framer_;
  bool following_ = false;
  bool in_data_ = false;
  size_t num_matched_ = 0;  // bytes of the pattern that the end so far has
  uint8_t flags_ = 0;
};

// The same for a channel whose server's messages are framed anyway, because
// own ones are put between them. Passes everything.
class ServerFollower final : public MessageFilter {
 public:
  ServerFollower(proto::ChannelKey key, proto::HeaderKind kind)
      : MessageFilter(kind), key_(key) {}

  // Null: none is pending.
  void set_migration(Migration* migration) { migration_ = migration; }

 private:
  Judgement Judge(const proto::DataHeader& header,
                  std::span<const uint8_t> front) override;

  const proto::ChannelKey key_;
  Migration* migration_ = nullptr;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_MIGRATION_WATCH_H_
