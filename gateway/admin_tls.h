// SPDX-License-Identifier: Apache-2.0
//
// HTTPS on the admin address: the files behind it, their reload, and the
// streams that are made of them.
#ifndef SPICEGATE_GATEWAY_ADMIN_TLS_H_
#define SPICEGATE_GATEWAY_ADMIN_TLS_H_

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
#include "gateway/tls/admin_tls_context.h"
#include "gateway/tls/server_certificate.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

// Reads what `config` names: the first mistake, or what an operator should know
// as further warnings. OK without admin.tls.
absl::Status CheckAdminTls(const AdminTlsConfig& config, int64_t now_unix_s,
                           std::vector<std::string>* warnings);

// Control thread only; outlives the streams.
class AdminTls {
 public:
  // Reads nothing yet.
  explicit AdminTls(AdminTlsConfig config);
  AdminTls(const AdminTls&) = delete;
  AdminTls& operator=(const AdminTls&) = delete;

  // The first reading; call it once, before Open. The error names the file.
  absl::Status Load(int64_t now_unix_s);

  // Reads the files again when one of them has changed. True: connections are
  // made from the new ones now. Files of no use are refused together, and
  // once; what was read before stays. Cheap when there is nothing to do; once
  // a second is fine. The log says what happened.
  bool Refresh(int64_t now_unix_s);

  // A connection's TLS over `fd` by the files as they are now; null when
  // memory is out. Refused clients are logged.
  std::unique_ptr<HttpStream> Open(int fd);

 private:
  struct Loaded {
    std::shared_ptr<const AdminTlsContext> context;
    std::shared_ptr<const ServerCertificate> certificate;
  };

  friend absl::Status CheckAdminTls(const AdminTlsConfig& config,
                                    int64_t now_unix_s,
                                    std::vector<std::string>* warnings);

  absl::StatusOr<Loaded> Read();
  std::vector<std::string> Warnings(const Loaded& loaded,
                                    int64_t now_unix_s) const;
  void Use(Loaded loaded, int64_t now_unix_s);
  void LogWarnings(int64_t now_unix_s);

  const AdminTlsConfig config_;
  WatchedFiles files_;
  Loaded loaded_;
  int64_t next_warnings_unix_s_ = INT64_MAX;
  TlsRefusals refusals_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_ADMIN_TLS_H_
