// SPDX-License-Identifier: Apache-2.0
//
// TLS records made in user space over another Stream. What kernel TLS cannot
// or may not do stays here; both are a Stream to everybody else.
#ifndef SPICEGATE_GATEWAY_TLS_TLS_STREAM_H_
#define SPICEGATE_GATEWAY_TLS_TLS_STREAM_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "gateway/base/counters.h"
#include "gateway/io/stream.h"
#include "gateway/tls/boring.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/tls_types.h"

struct bio_method_st;
struct bio_st;

namespace spicegate {

// Order of calls: Handshake until it is 0, then Read, Write and ShutdownWrite
// in any order. Before that Read and Write give -ENOTCONN.
//
// Memory: BoringSSL's buffers and ours exist only while they hold bytes; an
// idle stream keeps its keys and a few KiB of state. A stream that is not
// being read holds at most kReadAheadBytes and one record.
class TlsStream final : public Stream {
 public:
  // Once the handshake is over, so much is taken from below at once: two of
  // the largest records. During the handshake not a byte beyond the record at
  // hand is taken, so that kernel TLS can go on from there.
  static constexpr size_t kReadAheadBytes = 33 * 1024;

  // The viewer's leg. Null only when memory is out.
  static std::unique_ptr<TlsStream> Server(
      std::shared_ptr<const ServerTlsContext> context, StreamPtr lower);

  // The hypervisor's leg. Null only when memory is out.
  static std::unique_ptr<TlsStream> Client(
      std::shared_ptr<const ClientTlsContext> context, StreamPtr lower);

  ~TlsStream() override;

  // 0 when done (again and again), -EAGAIN: call again when HandshakeWait()
  // holds, or another -errno, for good: -EPROTO, -EKEYREJECTED (the peer's
  // certificate), -ENODATA (the peer ended), or the lower stream's. failure()
  // then says which kind it was. The peer was sent an alert if it could be.
  int Handshake();
  Ready HandshakeWait() const { return handshake_wait_; }

  // Of the handshake; kProtocol also when a record was broken later.
  TlsFailure failure() const { return verdict_.failure; }

  // BoringSSL's words for the failure, for logs; never bytes of the peer's.
  // Empty while there is none.
  const std::string& failure_detail() const { return verdict_.detail; }

  // As Stream has it, at most one record (16 KiB) a call. The end of the
  // stream is 0 both with and without the peer's close_notify: SPICE peers
  // often just close. truncated() tells.
  ssize_t Read(std::span<uint8_t> out) override;

  // At most one record a call. After -EAGAIN the next call offers the same
  // bytes, or more behind them, at any address. -EPIPE after ShutdownWrite.
  ssize_t Write(std::span<const uint8_t> in) override;

  // Sends close_notify, then ends the lower stream's direction. Where a Write
  // was left unfinished, or the handshake, there is no close_notify: the peer
  // sees the truncation that it is. Reading goes on.
  int ShutdownWrite() override;

  // A read may have to write first and the other way round: BoringSSL answers
  // post-handshake messages by itself.
  Ready ReadWait() const override { return read_wait_; }
  Ready WriteWait() const override { return write_wait_; }

  // Whether Read's 0 came without close_notify.
  bool truncated() const { return truncated_; }

  // Valid once Handshake returned 0.
  TlsVersion version() const;
  TlsSuite suite() const;

 private:
  friend class TlsStreamTestPeer;

  TlsStream(ssl_ctx_st* context, StreamPtr lower);

  // BoringSSL's view of the lower stream.
  static const bio_method_st* BioMethod();
  static int BioRead(bio_st* bio, char* out, int len);
  static int BioWrite(bio_st* bio, const char* in, int len);
  bool AttachBio();

  ssize_t ReadLower(std::span<uint8_t> out);
  ssize_t FillReadAhead();
  ssize_t TakeReadAhead(std::span<uint8_t> out);

  int FailHandshake(int ssl_error);
  // What SSL_read or SSL_write failed with; sets *wait for -EAGAIN.
  int FailedWith(int ssl_error, Ready* wait);
  int Die(int error);
  int SendCloseNotify();

  // Keep alive what ssl_ points into. One of them is null.
  std::shared_ptr<const ServerTlsContext> server_context_;
  std::shared_ptr<const ClientTlsContext> client_context_;
  const StreamPtr lower_;
  const SslPtr ssl_;

  // Ciphertext taken from below and not yet by BoringSSL.
  std::unique_ptr<uint8_t[]> read_ahead_;
  size_t read_ahead_begin_ = 0;
  size_t read_ahead_end_ = 0;

  TlsVerdict verdict_;
  int lower_error_ = 0;  // -errno of the lower stream, for good
  int error_ = 0;        // -errno of this stream, for good
  Ready handshake_wait_ = Ready::kReadable;
  Ready read_wait_ = Ready::kReadable;
  Ready write_wait_ = Ready::kWritable;
  bool handshake_done_ = false;
  bool lower_eof_ = false;
  bool read_eof_ = false;
  bool truncated_ = false;
  bool write_unfinished_ = false;  // BoringSSL holds part of a record
  bool shutdown_started_ = false;
  bool close_notify_sent_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TLS_STREAM_H_
