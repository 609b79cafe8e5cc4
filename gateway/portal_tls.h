// SPDX-License-Identifier: Apache-2.0
//
// HTTPS of the portal: its certificate, which is its own or the listeners', and
// the streams that are made of it.
#ifndef SPICEGATE_GATEWAY_PORTAL_TLS_H_
#define SPICEGATE_GATEWAY_PORTAL_TLS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/console/watched_files.h"
#include "gateway/control/config.h"
#include "gateway/http/http_stream.h"
#include "gateway/http_tls.h"
#include "gateway/tls/server_certificate.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/ticket_keys.h"

namespace spicegate {

// Reads what portal.certificate and portal.key name: the first mistake, or what
// an operator should know as further warnings. OK where there is nothing to
// read.
absl::Status CheckPortalTls(const Config& config, int64_t now_unix_s,
                            std::vector<std::string>* warnings);

// Versions and suites are those of the section "tls"; no client is asked for a
// certificate. Sessions resume by tickets, under the listeners' keys or, with a
// certificate of the portal's own, under keys of this process. Control thread
// only; outlives the streams.
class PortalTls {
 public:
  using Context = std::shared_ptr<const ServerTlsContext>;

  // Reads nothing yet.
  explicit PortalTls(const Config& config);
  PortalTls(const PortalTls&) = delete;
  PortalTls& operator=(const PortalTls&) = delete;

  // The first reading; call it once, before Open. `listeners` is what
  // CertificateStore has loaded, here and below; it may be null where the
  // portal has files of its own. The error names the file.
  absl::Status Load(const Context& listeners, int64_t now_unix_s,
                    int64_t now_ms);

  // Connections are made from new files, or from what the listeners have now.
  // Files of no use are refused, and once; what was read before stays. Cheap
  // when there is nothing to do; once a second is fine. The log says what
  // happened.
  void Refresh(const Context& listeners, int64_t now_unix_s, int64_t now_ms);

  // A connection's TLS over `fd`; null when memory is out. Some of the clients
  // whose handshake fails are logged.
  std::unique_ptr<HttpStream> Open(int fd);

 private:
  struct Loaded {
    Context context;
    std::shared_ptr<const ServerCertificate> certificate;
  };

  friend absl::Status CheckPortalTls(const Config& config, int64_t now_unix_s,
                                     std::vector<std::string>* warnings);

  bool has_files() const { return !certificate_path_.empty(); }
  absl::StatusOr<Loaded> Read();
  absl::Status Follow(const Context& listeners);
  void RefreshFiles(int64_t now_unix_s);
  void Use(Loaded loaded, int64_t now_unix_s);
  void LogWarnings(int64_t now_unix_s);
  void RotateKeys(int64_t now_ms);

  const std::string certificate_path_;
  const std::string key_path_;
  // With files of the portal's own.
  const std::shared_ptr<TicketKeyring> ticket_keys_;
  const ServerTlsOptions options_;
  WatchedFiles files_;
  Context listeners_;  // what loaded_ is of, without files
  Loaded loaded_;      // the certificate: with files only
  int64_t next_warnings_unix_s_ = INT64_MAX;
  int64_t next_rotation_ms_ = 0;
  TlsRefusals refusals_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_TLS_H_
