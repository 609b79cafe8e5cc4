// SPDX-License-Identifier: Apache-2.0
//
// What the HTTPS of the admin address and that of the portal have in common.
// Control thread only.
#ifndef SPICEGATE_GATEWAY_HTTP_TLS_H_
#define SPICEGATE_GATEWAY_HTTP_TLS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/log.h"
#include "gateway/console/watched_files.h"
#include "gateway/http/http_stream.h"
#include "gateway/tls/polled_tls.h"
#include "gateway/tls/server_certificate.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

// Of each file.
inline constexpr size_t kMaxHttpPemBytes = 1024 * 1024;

// Reads a certificate with its chain and its key, both of them whatever is
// wrong with the first, so that `files` watches both. InvalidArgument names the
// file.
absl::StatusOr<std::shared_ptr<const ServerCertificate>> ReadHttpCertificate(
    const std::string& certificate_path, const std::string& key_path,
    WatchedFiles* files);

// Lines about clients whose handshake failed. Anybody who reaches the address
// can cause one, so they are bounded; one says how many were left out.
class TlsRefusals {
 public:
  TlsRefusals(LogLevel level, const char* event, int64_t lines_per_second);

  // Whose connection `fd` is and what went wrong. Says nothing of those who
  // connect and leave, as balancers and scanners do.
  void Note(int fd, const TlsVerdict& verdict);

 private:
  const LogLevel level_;
  const char* const event_;
  const int64_t lines_per_second_;
  int64_t second_ = -1;
  int64_t lines_ = 0;
  int64_t left_out_ = 0;
};

// `tls` over `fd` for an HttpServer; null where `tls` is. `refusals` outlives
// the stream.
std::unique_ptr<HttpStream> MakeTlsHttpStream(std::unique_ptr<PolledTls> tls,
                                              int fd, TlsRefusals* refusals);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_TLS_H_
