// SPDX-License-Identifier: Apache-2.0
//
// The certificates and ticket keys of the TLS listeners: where they come from
// and when they change. Control thread only: everything here reads files.
#ifndef SPICEGATE_GATEWAY_CERTIFICATE_H_
#define SPICEGATE_GATEWAY_CERTIFICATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/console/watched_files.h"
#include "gateway/control/config.h"
#include "gateway/control/metrics.h"
#include "gateway/tls/certificate_check.h"
#include "gateway/tls/server_context.h"

namespace spicegate {

// Reads the files that CertificateStore would, and makes none: the first
// mistake, or what an operator should know. `viewer_host` is where .vv files
// send viewers.
absl::StatusOr<CertificateFindings> CheckCertificateFiles(
    const Config& config, const std::string& viewer_host);

// Everything is replaced together or not at all: a broken file, or a
// certificate whose key has not been written yet, leaves what was in use, and
// is looked at again once it changes. Logs what it does.
class CertificateStore {
 public:
  // Reads nothing yet.
  explicit CertificateStore(const Config& config);
  CertificateStore(const CertificateStore&) = delete;
  CertificateStore& operator=(const CertificateStore&) = delete;

  // The first reading, before the workers start. Without configured
  // certificates a self-signed one for `names` (the first is its CN; localhost
  // and its addresses are added), kept in the state directory; when that was
  // not configured and cannot be written, it lives in memory and a warning
  // says so. InvalidArgument names the file.
  absl::Status Load(const std::vector<std::string>& names,
                    const std::string& viewer_host, int64_t now_unix_s,
                    int64_t now_ms);

  // Takes over files that changed, makes a self-signed certificate anew before
  // it expires, and rotates ticket keys that come from no file. True: context()
  // is another one; new ticket keys reach the one in use. Cheap when there is
  // nothing to do; once a second is fine.
  bool Refresh(int64_t now_unix_s, int64_t now_ms);

  // Null before Load.
  const std::shared_ptr<const ServerTlsContext>& context() const {
    return context_;
  }

  // Those that encrypt now; never null after Load.
  std::shared_ptr<const TicketKeys> ticket_keys() const {
    return ticket_keys_->keys();
  }

  // What .vv files carry as `ca`; empty when viewers' own trust store is to
  // decide.
  const std::string& ca_for_viewers() const { return ca_for_viewers_; }

  // Of the reloads so far, and of what is in use.
  CertificateValues values() const;

 private:
  friend absl::StatusOr<CertificateFindings> CheckCertificateFiles(
      const Config& config, const std::string& viewer_host);

  // What the files say, before anything of it is used.
  struct Loaded {
    ServerCertificates certificates;
    std::string public_ca;  // of public.ca_file; empty without
  };

  absl::StatusOr<Loaded> Read(int64_t now_unix_s);
  absl::StatusOr<ServerCertificates> ReadPairs();
  absl::StatusOr<ServerCertificates> SelfSigned(int64_t now_unix_s);
  absl::StatusOr<std::string> ReadPublicCa();
  absl::StatusOr<std::shared_ptr<const TicketKeys>> ReadTicketKeys();

  absl::Status Use(Loaded loaded);
  bool RefreshCertificates(int64_t now_unix_s);
  void RefreshTicketKeys(int64_t now_ms);
  void RotateTicketKeys(int64_t now_ms);
  void ReloadTicketKeys();
  void Refuse(const absl::Status& status);
  void RefuseTicketKeys(const absl::Status& status);
  bool RenewalIsDue(int64_t now_unix_s) const;
  CertificateFindings Check(int64_t now_unix_s) const;
  void LogLoaded(int64_t now_unix_s) const;
  void LogWarnings(int64_t now_unix_s);

  const TlsConfig tls_;
  const std::string public_ca_path_;
  const std::string state_dir_;
  const std::string host_subject_;
  const bool is_https_proxy_;       // some listener is
  const std::string connect_host_;  // of public.connect; may be empty
  std::vector<std::string> names_;
  std::string viewer_host_;

  WatchedFiles files_;
  WatchedFiles ticket_files_;
  std::shared_ptr<TicketKeyring> ticket_keys_;  // null before Load
  std::shared_ptr<const ServerTlsContext> context_;
  std::string ca_for_viewers_;
  CertificateValues values_;
  int64_t next_renewal_unix_s_ = 0;  // of a self-signed certificate
  int64_t next_warnings_unix_s_ = 0;
  int64_t next_rotation_ms_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CERTIFICATE_H_
