// SPDX-License-Identifier: Apache-2.0
//
// The guard: what a client may say to a server, and when. Messages that no
// viewer sends kill, hang or fatten QEMU (docs/security.md lists them); each is
// judged by its header, and where a claim inside the body matters by that,
// before any of it goes on. Bodies are never kept whole.
//
// Policies are enforced here as well, whatever the mode.
//
// Belongs to its channel, on the home worker.
#ifndef SPICEGATE_GATEWAY_RELAY_GUARD_H_
#define SPICEGATE_GATEWAY_RELAY_GUARD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "gateway/base/counters.h"
#include "gateway/console/policy.h"
#include "gateway/relay/agent_filter.h"
#include "gateway/relay/guard_rules.h"
#include "gateway/relay/message_filter.h"
#include "gateway/relay/migration.h"
#include "gateway/relay/usbredir_guard.h"
#include "proto/channel.h"
#include "proto/data_header.h"

namespace spicegate {

// The channel, as its guard sees it. Called from inside Next.
class GuardHost {
 public:
  // The message with `header` breaks `rule`. Once for each such message.
  virtual void OnGuardRefusal(GuardRule rule,
                              const proto::DataHeader& header) = 0;
  virtual void OnPolicyDrop(PolicyDrop drop) = 0;
  // An AGENT_DATA of the client's was dropped: its token is to be paid back.
  virtual void OnAgentDataDropped() = 0;
  // The fourth motion or position message was dropped: the client waits for
  // an acknowledgement.
  virtual void OnMotionDropped() = 0;
  // A display's INIT passed. What follows is held until ReleaseAfterInit.
  virtual void OnDisplayInit() = 0;
  // Main, of a migration's source: the client told what became of its links
  // to the destination (MIGRATE_CONNECTED, ..._ERROR, ..._SEAMLESS).
  virtual void OnMigrationReply(uint16_t type) = 0;
  // Main, of a migration's destination: the client takes over there.
  virtual void OnDestinationTaken() = 0;

 protected:
  ~GuardHost() = default;
};

// What a guard is told of its channel. Borrowed things outlive it.
struct GuardContext {
  GuardHost* host = nullptr;
  proto::ChannelKey key = {};
  proto::HeaderKind header_kind = proto::HeaderKind::kMini;
  GuardMode mode = GuardMode::kEnforce;
  Policy policy = {};
  // Main with a policy that restricts the agent; else null.
  AgentFilter* agent = nullptr;
  // Null: no migration yet, this is the session's server.
  Migration* migration = nullptr;
  // The channel leads to the destination of `migration`, not to its source.
  bool destination = false;
};

class Guard final : public MessageFilter {
 public:
  explicit Guard(const GuardContext& context);

  // Whether a channel needs a guard at all: main always does.
  static bool IsNeeded(proto::ChannelType type, GuardMode mode,
                       const Policy& policy);

  // The session's migration, from now on. Null: it is over, and this is its
  // server; what the destination of a seamless one still waits for
  // (MIGRATE_DATA) is refused from then on. `destination` as in GuardContext.
  void set_migration(Migration* migration, bool destination);

  // A display: the server's first message was seen. The pump is then to be
  // unheld.
  void ReleaseAfterInit() { hold_after_init_ = false; }

  // The guard has to see what the server says first (usbredir).
  bool awaits_hello() const { return usb_ != nullptr && usb_->awaits_hello(); }
  // What the server says, before its client can have it. False when no more of
  // it is needed; the client's pump is then to be unheld.
  bool FromServer(std::span<const uint8_t> bytes) {
    return usb_->FromServer(bytes);
  }

 private:
  Judgement Judge(const proto::DataHeader& header,
                  std::span<const uint8_t> front) override;
  bool OnBody(std::span<const uint8_t> piece) override;

  size_t FrontNeeded(const proto::DataHeader& header,
                     const MessageRule* rule) const;
  std::optional<GuardRule> BrokenRule(const proto::DataHeader& header,
                                      std::span<const uint8_t> front,
                                      const MessageRule* rule);
  std::optional<GuardRule> BrokenState(const proto::DataHeader& header,
                                       std::span<const uint8_t> front);
  bool IsWaiting() const;
  bool IsAheadOfInit(uint16_t type) const;
  bool IsUsbData(uint16_t type) const;
  void Follow(uint16_t type);
  void FollowSource(uint16_t type);
  void FollowDestination(uint16_t type);
  Verdict ApplyPolicy(const proto::DataHeader& header,
                      std::span<const uint8_t> front);
  Verdict JudgeAgentData(std::span<const uint8_t> piece);
  void DropInput(uint16_t type);

  GuardHost* const host_;
  AgentFilter* const agent_;
  Migration* migration_ = nullptr;
  const proto::ChannelKey key_;
  const GuardMode mode_;
  const bool read_only_;
  std::unique_ptr<UsbredirGuard> usb_;  // usbredir, unless the guard is off
  bool destination_ = false;
  bool seamless_ = false;  // the migration that led here
  // A destination's display, whose client has sent neither INIT nor
  // MIGRATE_DATA: INIT may come, after a semi-seamless migration even when that
  // is over by then.
  bool awaits_init_ = false;
  bool hold_after_init_ = false;
  // MIGRATE_DATA went on, whatever the rules thought of it.
  bool data_passed_ = false;
  uint8_t motions_dropped_ = 0;  // since the last acknowledgement
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_GUARD_H_
