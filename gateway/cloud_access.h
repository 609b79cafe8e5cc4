// SPDX-License-Identifier: Apache-2.0
//
// From a cloud's console token to a ticket of ours: what the portal asks of the
// gateway. Control thread only.
#ifndef SPICEGATE_GATEWAY_CLOUD_ACCESS_H_
#define SPICEGATE_GATEWAY_CLOUD_ACCESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/auth/vault.h"
#include "gateway/base/clock.h"
#include "gateway/cloud/cloud_service.h"
#include "gateway/cloud_targets.h"
#include "gateway/control/admin_services.h"
#include "gateway/control/config.h"
#include "gateway/portal/portal_services.h"

namespace spicegate {

// Two requests for a file with one token get one ticket when they are no
// further apart: a browser asks twice at times, and so does who clicks twice.
inline constexpr int64_t kSameTicketMs = 5'000;

// Tickets of one token that wait for their first use. Who has the link may open
// it on several machines, but not fill the vault with it.
inline constexpr size_t kMaxFreshTickets = 16;

class CloudAccess final : public PortalServices {
 public:
  // What the object uses; all of it outlives the object.
  struct Needs {
    const Config* config = nullptr;
    TicketVault* vault = nullptr;
    // As CloudService's.
    std::function<bool(const std::string& cloud, const std::string& token)>
        is_token;
    std::function<void(const std::string& cloud, const std::string& token,
                       CloudService::Done done)>
        resolve;
    // Writes the connection file for a ticket. Secret.
    std::function<std::string(const IssuedTicket& ticket)> make_file;
    // New sessions are welcome.
    std::function<bool()> ready;
    std::function<int64_t()> now_ms = MonotonicMs;  // the vault's clock
  };

  explicit CloudAccess(Needs needs);
  CloudAccess(const CloudAccess&) = delete;
  CloudAccess& operator=(const CloudAccess&) = delete;

  // The CA files of the clouds' servers.
  absl::Status Load() { return targets_.Load(); }
  void Refresh();

  // Whether a console of that name is one of a cloud's.
  bool Owns(std::string_view console) const;

  // PortalServices.
  bool IsToken(const std::string& cloud, const std::string& token) override;
  void Open(const PortalRequest& request, PortalDone done) override;
  bool Ready() override { return needs_.ready(); }

 private:
  // A ticket that another request may get too. Secret.
  struct Recent {
    PortalDesktop desktop;
    TicketDigest ticket;
    int64_t issued_ms = 0;
  };

  absl::StatusOr<PortalDesktop> Answer(const PortalRequest& request,
                                       const CloudConsole& found);
  absl::StatusOr<PortalDesktop> Issue(const PortalRequest& request,
                                      const CloudConsole& found,
                                      std::shared_ptr<const ConsoleTarget> to);
  PortalDesktop DesktopOf(const Console& console, std::string ticket) const;
  const Recent* FindRecent(const TicketDigest& key, int64_t now_ms) const;
  // Those of `tickets` that nobody has used yet stay.
  void DropUsed(std::vector<TicketDigest>* tickets, int64_t now_ms) const;

  const Needs needs_;
  CloudTargets targets_;
  // By the digest of cloud, token and source.
  absl::flat_hash_map<TicketDigest, Recent> recent_;
  // By the digest of cloud and token: tickets that were fresh a moment ago.
  absl::flat_hash_map<TicketDigest, std::vector<TicketDigest>> fresh_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_ACCESS_H_
