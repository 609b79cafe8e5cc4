// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_TLS_POLLED_TLS_H_
#define SPICEGATE_GATEWAY_TLS_POLLED_TLS_H_

#include <sys/types.h>

#include <memory>
#include <span>
#include <string_view>

#include "gateway/tls/boring.h"
#include "gateway/tls/tls_types.h"

struct bio_method_st;
struct bio_st;

namespace spicegate {

// TLS over one non-blocking socket that is polled, with nothing of the data
// path: no driver, no kernel TLS. Control thread only.
//
// Not one byte beyond the record at hand is read, so that poll(2) tells when
// there is more: a Read that is offered a whole record's room (16 KiB) leaves
// nothing behind.
class PolledTls {
 public:
  // The server's side, by `ssl_context`, which `owner` keeps alive. `fd`
  // outlives the connection. Null only when memory is out. The app data of the
  // SSL is its TlsVerdict, for hooks of the context's.
  static std::unique_ptr<PolledTls> Accept(std::shared_ptr<const void> owner,
                                           ssl_ctx_st* ssl_context, int fd);

  PolledTls(const PolledTls&) = delete;
  PolledTls& operator=(const PolledTls&) = delete;

  // 0 when done, -EAGAIN: call again when the socket is writable if
  // wants_write(), else readable; or another -errno, for good. The peer was
  // sent an alert if it could be, and verdict() says what was wrong.
  int Handshake();
  bool wants_write() const { return wants_write_; }

  // Of a failed handshake. The detail is our library's words, never the
  // peer's.
  const TlsVerdict& verdict() const { return verdict_; }

  // After the handshake. Bytes (> 0), 0 after the peer's close_notify,
  // -EAGAIN: when readable, or another -errno, for good: -ENODATA for an end
  // without close_notify.
  ssize_t Read(std::span<char> out);

  // After the handshake. Bytes taken (> 0), at most a record; -EAGAIN: the
  // same bytes again when writable; or another -errno, for good.
  ssize_t Write(std::string_view in);

  // After the handshake, between two writes: sends close_notify. 0, -EAGAIN:
  // again when writable, or another -errno.
  int EndWrite();

 private:
  PolledTls(std::shared_ptr<const void> owner, ssl_ctx_st* ssl_context, int fd);

  // BoringSSL's own kind for sockets raises SIGPIPE.
  static const bio_method_st* BioMethod();
  static int BioRead(bio_st* bio, char* out, int len);
  static int BioWrite(bio_st* bio, const char* in, int len);
  bool AttachBio();

  int Fail(int result);

  const std::shared_ptr<const void> owner_;  // of what ssl_ is made from
  const int fd_;
  const SslPtr ssl_;
  TlsVerdict verdict_;
  int socket_error_ = 0;  // errno
  bool ended_ = false;    // the peer's direction, below TLS
  bool wants_write_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_POLLED_TLS_H_
