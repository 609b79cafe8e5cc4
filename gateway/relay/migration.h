// SPDX-License-Identifier: Apache-2.0
//
// One migration of one session, as far as messages go: what has been said on
// the source's and the destination's channels, and so what may be said next.
// Knows no sockets and no clock.
//
//   kLinking --------> kLinked ---------> kHandedOver -----> kTaken
//     the client         it told the        the source has     the client goes
//     links to the       source how it      let go: MIGRATE,   on at the
//     destination        went (102, 111)    or MIGRATE_END     destination
//
// A migration that is cancelled, fails or is replaced by another one is just
// dropped by its session. Wire format and order: proto/README.md, "Migration",
// and spice-server's main-channel-client.cpp and red-channel-client.cpp.
//
// Shared by the channels of a session, on its home worker.
#ifndef SPICEGATE_GATEWAY_RELAY_MIGRATION_H_
#define SPICEGATE_GATEWAY_RELAY_MIGRATION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/relay/usbredir_guard.h"
#include "proto/channel.h"

namespace spicegate {

class Migration {
 public:
  enum class Phase : uint8_t { kLinking, kLinked, kHandedOver, kTaken };

  // Not kSwitchHost: that is a new session's affair.
  explicit Migration(MigrationKind kind) : kind_(kind) {}
  Migration(const Migration&) = delete;
  Migration& operator=(const Migration&) = delete;

  MigrationKind kind() const { return kind_; }
  Phase phase() const { return phase_; }
  // The servers' state goes along. Not any more when the destination refused
  // and the source then ended it by MIGRATE_END: all begins anew there.
  bool is_seamless() const {
    return kind_ == MigrationKind::kSeamless && !source_ended_;
  }

  // ---- From the source's server ----

  // MIGRATE on a channel, with its flags (kMigrateNeed... in proto). On main it
  // is the hand-over of a seamless migration, once the client has linked. May
  // come again; the last one's flags count, until its data begins.
  void OnSourceMigrate(proto::ChannelKey key, uint32_t flags);
  // MIGRATE_DATA follows: a body of that length. False: more than
  // kMaxMigrationDataBytes, or not announced by flags, or a second one.
  bool OnSourceDataBegins(proto::ChannelKey key, uint32_t len);
  void OnSourceData(proto::ChannelKey key, std::span<const uint8_t> piece);
  // MIGRATE_END: the hand-over of a semi-seamless one, and of one that should
  // have been seamless but that the destination has refused (NACK).
  void OnSourceEnd();

  // ---- From the destination's server, on main ----

  void OnSeamlessAnswer(bool acknowledged);

  // ---- From the client. True: it may be said now, and has been noted ----

  // To the source's main, after its links to the destination: 102 or 111.
  void OnClientLinked();
  // FLUSH_MARK to the source: once, and only where MIGRATE asked for it.
  bool AllowFlushMark(proto::ChannelKey key);
  bool HasFlushPassed(proto::ChannelKey key) const;
  // DST_DO_SEAMLESS to the destination's main: once, of a seamless migration,
  // while linking.
  bool AllowDoSeamless();
  // MIGRATE_END to the destination's main: once, after the source's, unless
  // DST_DO_SEAMLESS went there and was not refused.
  bool AllowMigrateEnd();
  // MIGRATE_DATA to the destination: once, and exactly what the source sent.
  bool AllowData(proto::ChannelKey key, std::span<const uint8_t> body);
  // The length that MIGRATE_DATA to the destination must have, if it may come.
  std::optional<uint32_t> ExpectedDataLen(proto::ChannelKey key) const;
  // Anything else to the destination: the channel has been handed over, and its
  // data, where it has some, has been passed.
  bool MayTalk(proto::ChannelKey key) const;

  // What a channel's usbredir stream passes from guard to guard. Closed here,
  // as soon as the source lets go. May outlive the migration.
  std::shared_ptr<UsbredirHandover> UsbHandover(proto::ChannelKey key);

 private:
  // What the source has said on one channel.
  struct Handover {
    uint32_t flags = 0;
    bool flush_passed = false;
    bool data_begun = false;
    bool data_passed = false;
    uint32_t data_len = 0;
    std::vector<uint8_t> data;
  };

  const Handover* Find(proto::ChannelKey key) const;
  Handover* Find(proto::ChannelKey key);

  const MigrationKind kind_;
  Phase phase_ = Phase::kLinking;
  bool source_ended_ = false;  // by MIGRATE_END, so not seamlessly
  bool do_seamless_passed_ = false;
  bool end_passed_ = false;
  std::optional<bool> seamless_answer_;
  std::map<std::pair<uint8_t, uint8_t>, Handover> handovers_;
  std::map<uint8_t, std::shared_ptr<UsbredirHandover>> usb_handovers_;  // by id
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_MIGRATION_H_
