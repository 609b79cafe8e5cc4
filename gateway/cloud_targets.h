// SPDX-License-Identifier: Apache-2.0
//
// How the desktops of clouds are dialled: a cloud's answer, with what the
// configuration says of its hypervisors, becomes what a link needs. Control
// thread only: CA files are read here.
#ifndef SPICEGATE_GATEWAY_CLOUD_TARGETS_H_
#define SPICEGATE_GATEWAY_CLOUD_TARGETS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/cloud/cloud_service.h"
#include "gateway/console/console.h"
#include "gateway/console/policy.h"
#include "gateway/console/watched_files.h"
#include "gateway/server_link/link_context.h"
#include "gateway/tls/client_context.h"

namespace spicegate {

class CloudTargets {
 public:
  // `policies` outlives the object and has those that `clouds` name. Reads
  // nothing yet.
  CloudTargets(const std::vector<CloudConfig>& clouds,
               const PolicySet* policies);
  CloudTargets(const CloudTargets&) = delete;
  CloudTargets& operator=(const CloudTargets&) = delete;

  // Reads the CA files. InvalidArgument names the first bad one, or a subject
  // that is none.
  absl::Status Load();

  // Reads those again that have changed; a bad one is refused, once, and what
  // was read before stays. Cheap when there is nothing to do; once a second is
  // fine. The log says what happened.
  void Refresh();

  // Where a desktop of `cloud`, one of ours, is and how its server proves
  // itself: by TLS wherever there is a CA and a TLS port. The console's name is
  // CLOUD.ID. FailedPrecondition when the configuration does not allow to dial
  // it so; the message is for people and names no address.
  absl::StatusOr<std::shared_ptr<const ConsoleTarget>> Make(
      const std::string& cloud, const CloudConsole& found);

 private:
  using TlsContext = std::shared_ptr<const ClientTlsContext>;

  struct Cloud {
    const CloudConfig config;
    WatchedFiles files;
    std::string ca_pem;  // empty: none
    TlsContext anchors;  // null: none
    // By server; desktops of one share its TLS sessions while one is open.
    std::map<std::string, std::weak_ptr<const ClientTlsContext>> servers;
  };

  // Trusts `pem`, read from the cloud's file, or says why not.
  static absl::Status Use(const absl::StatusOr<std::string>& pem, Cloud* cloud);
  absl::StatusOr<TlsContext> TlsFor(Cloud* cloud, const CloudConsole& found);
  // By the CA or the subject that a broker gave.
  static absl::StatusOr<TlsContext> OwnTls(const Cloud& cloud,
                                           const CloudConsole& found);
  absl::StatusOr<TlsContext> SharedTls(Cloud* cloud, const std::string& host);

  const PolicySet* const policies_;
  std::map<std::string, Cloud> clouds_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_TARGETS_H_
