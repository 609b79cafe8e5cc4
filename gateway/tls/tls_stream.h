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
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/io/stream.h"
#include "gateway/tls/boring.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/kernel_tls.h"
#include "gateway/tls/kernel_tls_stream.h"
#include "gateway/tls/key_use.h"
#include "gateway/tls/record_keys.h"
#include "gateway/tls/relayed_tls.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/tls_types.h"

struct bio_method_st;
struct bio_st;

namespace spicegate {

// Order of calls: Handshake until it is 0, then Read, Write and ShutdownWrite
// in any order. Before that Read and Write give -ENOTCONN. BeginRelaying hands
// the records of one or both directions to the kernel where `policy` and the
// connection's state allow it.
//
// Memory: what a call needs is the thread's scratch; BoringSSL's buffers and
// ours exist only while they hold bytes. An idle stream keeps its keys and a
// few KiB of state; one that is not being read or cannot write holds at most a
// relay buffer's worth of records besides.
//
// The last byte. Towards a viewer, once it is relayed to, what a Write takes
// ends with a record of one byte. spice-gtk waits for its socket while whole
// messages lie decrypted in its TLS library, because it asks the socket alone
// (spice-channel.c, spice_channel_iterate_read): of several messages in one
// record it sees the first, and the others when anything new comes, up to 15 s
// later. With a last record apart there is something to be read until it has
// seen all before it, wherever its messages end.
class TlsStream final : public Stream {
 public:
  // Records are sealed and opened in lots of this size.
  static constexpr size_t kBatchBytes = kPumpBufferBytes;

  // The viewer's leg. `policy` outlives the stream; without one everything
  // stays in user space. Null only when memory is out.
  static std::unique_ptr<TlsStream> Server(
      std::shared_ptr<const ServerTlsContext> context, StreamPtr lower,
      const OffloadPolicy* policy = nullptr);

  // The hypervisor's leg; resumes a session that the context remembers. Null
  // only when memory is out.
  static std::unique_ptr<TlsStream> Client(
      std::shared_ptr<const ClientTlsContext> context, StreamPtr lower,
      const OffloadPolicy* policy = nullptr);

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

  // As Stream has it. The end of the stream is 0 both with and without the
  // peer's close_notify: SPICE peers often just close. truncated() tells.
  ssize_t Read(std::span<uint8_t> out) override;

  // Takes whole records: what the peer may have read is what was reported.
  // After -EAGAIN the next call offers the same bytes, or more behind them, at
  // any address. -EPIPE after ShutdownWrite.
  ssize_t Write(std::span<const uint8_t> in) override;

  // Sends close_notify, then ends the lower stream's direction. Where a Write
  // was left unfinished, or the handshake, there is no close_notify: the peer
  // sees the truncation that it is. Reading goes on.
  int ShutdownWrite() override;

  std::unique_ptr<Stream> BeginRelaying(Socket* socket,
                                        WorkerCounters* counters) override;

  bool CanSpliceIn() const override;
  bool CanSpliceOut() const override;
  ssize_t SpliceIn(const Pipe& pipe, size_t max_bytes) override;
  ssize_t SpliceOut(const Pipe& pipe, size_t max_bytes) override;
  bool ShortReadDrains() const override;

  // Whether Read's 0 came without close_notify.
  bool truncated() const { return truncated_; }

  // Valid once Handshake returned 0.
  TlsVersion version() const { return VersionOf(ssl_.get()); }
  TlsSuite suite() const { return SuiteOf(ssl_.get()); }
  bool resumed() const;

 private:
  friend class TlsStreamTestPeer;

  // One call from outside: lends the stream the thread's scratch, and brings
  // what is left in it to where it belongs.
  class Call;

  TlsStream(ssl_ctx_st* context, StreamPtr lower, TlsLeg leg,
            const OffloadPolicy* policy);

  // BoringSSL's view of the lower stream.
  static const bio_method_st* BioMethod();
  static int BioRead(bio_st* bio, char* out, int len);
  static int BioWrite(bio_st* bio, const char* in, int len);
  bool AttachBio();

  ssize_t ReadLower(std::span<uint8_t> out);
  ssize_t FillInput();
  // Sends records; 0, -EAGAIN or -errno.
  int Flush();

  int FailHandshake(int ssl_error);
  // What SSL_read or SSL_write failed with; -EAGAIN or the stream's end.
  ssize_t FailedWith(int ssl_error);
  int Die(int error);
  int SendCloseNotify();

  ssize_t TakeEarly(std::span<uint8_t> out);
  ssize_t ReadRecords(std::span<uint8_t> out);
  size_t SealRecords(std::span<const uint8_t> in);
  size_t Seal(std::span<const uint8_t> in);
  // Plaintext of the records that the lower stream did not take whole.
  size_t UnsentPlaintext() const;
  bool RenewKey();
  // Decrypts what BoringSSL has in hand; false when a part of a record is left.
  bool DrainRecords();
  OffloadDirections HandOver(Socket* socket, OffloadDirections wanted);
  bool HandOverOne(Socket* socket, TlsDirection direction);
  bool Offloaded(OffloadDirections direction) const {
    return (offloaded_ & direction) != OffloadDirections::kNone;
  }

  // Keep alive what ssl_ points into. One of them is null.
  std::shared_ptr<const ServerTlsContext> server_context_;
  std::shared_ptr<const ClientTlsContext> client_context_;
  const StreamPtr lower_;
  const SslPtr ssl_;
  const OffloadPolicy* const policy_;

  // Ciphertext taken from below and not yet by BoringSSL, between calls.
  std::vector<uint8_t> unread_;
  // Ciphertext that the lower stream did not take yet.
  std::vector<uint8_t> unsent_;
  // Plaintext decrypted by BeginRelaying.
  std::vector<uint8_t> early_;
  // Bytes of the caller's whose records are in unsent_, the last record's
  // plaintext among them, and what a record adds.
  size_t unreported_ = 0;
  uint16_t last_record_len_ = 0;
  uint16_t record_overhead_ = 0;
  bool byte_apart_ = false;       // ... and one of a single byte behind it
  bool last_byte_apart_ = false;  // towards a client, once it is relayed to

  TlsVerdict verdict_;
  RelayedTls relayed_;
  std::unique_ptr<KernelTlsStream> kernel_;  // the direction that it has
  KeyUse key_use_;
  int lower_error_ = 0;  // -errno of the lower stream, for good
  int error_ = 0;        // -errno of this stream, for good
  const TlsLeg leg_;
  OffloadDirections offloaded_ = OffloadDirections::kNone;
  Ready handshake_wait_ = Ready::kReadable;
  // Not a byte beyond the record at hand is taken, so that the kernel can go
  // on right behind it.
  bool exact_;
  bool handshake_done_ = false;
  bool lower_drained_ = false;  // the last read below was a short one
  bool lower_eof_ = false;
  bool read_eof_ = false;
  bool truncated_ = false;
  bool shutdown_started_ = false;
  bool close_notify_sent_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TLS_STREAM_H_
