// SPDX-License-Identifier: Apache-2.0
//
// A non-blocking connection, plain or TLS, that counts its bytes.
#ifndef SPICEGATE_BENCH_LOAD_STREAM_H_
#define SPICEGATE_BENCH_LOAD_STREAM_H_

#include <openssl/ssl.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "bench/load/tls.h"
#include "proto/wire.h"

namespace spicegate {

class Stream {
 public:
  // Takes `fd` over; -1 for none.
  explicit Stream(int fd) : fd_(fd) {}
  ~Stream() { Close(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // TLS from the next byte on; the handshake runs inside Recv and Send. False
  // when BoringSSL fails.
  bool StartTls(const TlsContext& context);

  // Bytes received (> 0), 0 at the peer's end, or -errno; -EAGAIN when there is
  // nothing more for now. Fewer than asked for means the same.
  ssize_t Recv(proto::MutableBytes out);
  // Bytes taken (> 0) or -errno; only while nothing is pending.
  ssize_t Send(proto::Bytes in);
  // Takes all of `in`; what the socket does not take now is pending. 0 or
  // -errno.
  int Queue(proto::Bytes in);
  // Sends what is pending, as far as the socket takes it: 0 or -errno.
  int Flush();

  bool has_pending() const { return !pending_.empty() || sealed_len_ > 0; }
  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void Close();

  // Handed over to Queue() or taken by Send(); received. Without TLS's share.
  uint64_t num_sent() const { return num_sent_; }
  uint64_t num_received() const { return num_received_; }

 private:
  ssize_t Write(proto::Bytes in);
  ssize_t WriteTls(proto::Bytes in);
  ssize_t RecvTls(proto::MutableBytes out);
  ssize_t TlsError(int result);

  int fd_;
  bssl::UniquePtr<SSL> ssl_;
  // Of what was taken, so much waits as a record that BoringSSL holds.
  size_t sealed_len_ = 0;
  std::string pending_;
  uint64_t num_sent_ = 0;
  uint64_t num_received_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_STREAM_H_
