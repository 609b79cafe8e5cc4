// SPDX-License-Identifier: Apache-2.0
//
// Main, from server to client: where migration and the agent live. A guest may
// own its QEMU, so every size is a claim until it was checked against what the
// type may have; what breaks that ends this session and no other.
//
// Belongs to its channel, on the home worker.
#ifndef SPICEGATE_GATEWAY_RELAY_MAIN_INSPECTOR_H_
#define SPICEGATE_GATEWAY_RELAY_MAIN_INSPECTOR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "gateway/base/counters.h"
#include "gateway/console/policy.h"
#include "gateway/relay/agent_filter.h"
#include "gateway/relay/message_filter.h"
#include "gateway/relay/migration.h"
#include "proto/data_header.h"
#include "proto/main_channel.h"

namespace spicegate {

// Where clients reach the gateway, as a migration message tells them.
struct PublicPlace {
  std::string host;
  uint16_t port = 0;         // plain; 0: none
  uint16_t tls_port = 0;     // 0: none
  std::string cert_subject;  // empty: they verify by `host`
};

// The channel, as its inspector sees it. Called from inside Next, before the
// client gets the message.
class InspectorHost {
 public:
  virtual void OnMainInit(uint32_t session_id) = 0;
  // MIGRATE_BEGIN, BEGIN_SEAMLESS or SWITCH_HOST. Returns what the client is
  // to read in its place; views that live until the next call.
  virtual proto::DstInfo OnMigrateTo(MigrationKind kind,
                                     const proto::DstInfo& to) = 0;
  virtual void OnMigrateCancel() = 0;
  // Other steps are told to the migration itself (set_migration).
  virtual void OnPolicyDrop(PolicyDrop drop) = 0;
  // The message with `header` is none that a server sends.
  virtual void OnServerRefusal(const proto::DataHeader& header) = 0;

 protected:
  ~InspectorHost() = default;
};

class MainInspector final : public MessageFilter {
 public:
  // `agent` is null without a policy that restricts the agent. All outlive it.
  MainInspector(InspectorHost* host, proto::HeaderKind kind,
                const Policy& policy, AgentFilter* agent)
      : MessageFilter(kind), host_(host), policy_(policy), agent_(agent) {}

  // As Guard's. Told: MIGRATE, MIGRATE_DATA and MIGRATE_END of a source,
  // DST_SEAMLESS_ACK and NACK of a destination.
  void set_migration(Migration* migration, bool destination) {
    migration_ = migration;
    destination_ = destination;
  }

  // Gives the client `num` tokens back (AGENT_TOKEN). The pump is then to be
  // run. Several at once become one message where they can.
  void PayBack(uint32_t num);

 private:
  Judgement Judge(const proto::DataHeader& header,
                  std::span<const uint8_t> front) override;
  Judgement Refuse(const proto::DataHeader& header);
  // What a message that is none of those below means for the session.
  void Note(const proto::DataHeader& header, std::span<const uint8_t> front);
  void NoteMigration(uint16_t type, std::span<const uint8_t> front);

  Judgement OnMigrateTo(const proto::DataHeader& header,
                        std::span<const uint8_t> body);
  Judgement OnMigrateData(const proto::DataHeader& header,
                          std::span<const uint8_t> body);
  Judgement OnChannelsList(const proto::DataHeader& header,
                           std::span<const uint8_t> body);
  Judgement OnAgentData(const proto::DataHeader& header,
                        std::span<const uint8_t> body);
  Judgement ReplaceBody(const proto::DataHeader& header,
                        std::span<const uint8_t> body);
  bool IsSource() const { return migration_ != nullptr && !destination_; }
  // How much of a body of `size` bytes Judge wants to see.
  size_t Wanted(uint16_t type, uint32_t size) const;

  InspectorHost* const host_;
  const Policy policy_;
  AgentFilter* const agent_;
  Migration* migration_ = nullptr;
  bool destination_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_MAIN_INSPECTOR_H_
