// SPDX-License-Identifier: Apache-2.0
//
// TLS whose records the kernel makes: plain reads and writes on the socket,
// which can be spliced. What is left of TLS are its control records.
#ifndef SPICEGATE_GATEWAY_TLS_KERNEL_TLS_STREAM_H_
#define SPICEGATE_GATEWAY_TLS_KERNEL_TLS_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gateway/io/socket.h"
#include "gateway/io/stream.h"
#include "gateway/tls/key_use.h"
#include "gateway/tls/post_handshake.h"
#include "gateway/tls/relayed_tls.h"

namespace spicegate {

// The whole of a connection, or the one direction of it that the kernel has
// (TlsStream then has the other, and calls only what belongs to this one).
class KernelTlsStream final : public Stream {
 public:
  struct Options {
    TlsLeg leg = TlsLeg::kClient;
    TlsVersion version = TlsVersion::kTls13;
    TlsSuite suite = TlsSuite::kOther;
    bool sends = true;  // the kernel has the sending key
    // When it got that key: what TCP had taken, and the next record's number.
    int64_t tcp_bytes_taken = 0;
    uint64_t sequence = 0;
  };

  // `socket` has its keys and outlives the stream. `early` was decrypted before
  // the kernel had its key, and is read first.
  KernelTlsStream(Socket* socket, const Options& options, RelayedTls relayed,
                  std::vector<uint8_t> early);

  ssize_t Read(std::span<uint8_t> out) override;
  ssize_t Write(std::span<const uint8_t> in) override;
  int ShutdownWrite() override;

  bool CanSpliceIn() const override { return early_ == nullptr; }
  bool CanSpliceOut() const override { return true; }
  ssize_t SpliceIn(const Pipe& pipe, size_t max_bytes) override;
  // At most one record a call.
  ssize_t SpliceOut(const Pipe& pipe, size_t max_bytes) override;

  // The kernel joins the records that are there.
  bool ShortReadDrains() const override { return early_ == nullptr; }

  RelayedTls* relayed() { return &relayed_; }

  // Tells the peer, if it can be told without waiting.
  void SendFatalAlert(uint8_t description);

 private:
  struct Early {
    std::vector<uint8_t> bytes;
    size_t begin = 0;
  };

  // What a receiving call returned, beside bytes: goes on (0), or what Read is
  // to return.
  struct Outcome {
    bool over = false;
    ssize_t result = 0;
  };

  IoDriver* driver() const { return socket_->driver(); }
  size_t TakeEarly(std::span<uint8_t> out);
  Outcome NothingYet(bool* asked);
  Outcome TakeControl();
  Outcome End(bool clean);
  Outcome Die(int error);
  ssize_t Sent(ssize_t n);
  // How much of what is to be sent goes now (tls_stream.h, "The last byte").
  size_t AtOnce(size_t num_bytes) const;
  bool EverythingIsWithTcp();
  void SendAlert(uint8_t level, uint8_t description);

  Socket* const socket_;
  std::unique_ptr<Early> early_;
  RelayedTls relayed_;
  KeyUse key_use_;
  // What TCP has taken is this, and the plaintext sent, and for each record
  // since the connection's first what a record adds.
  int64_t tcp_base_ = 0;
  int64_t plaintext_sent_ = 0;
  // When it was looked for the last record there, first and last in a row
  // without anything new.
  int64_t taken_at_last_look_ = 0;
  int64_t looking_since_ms_ = 0;
  int64_t looked_ms_ = 0;
  PostHandshake post_handshake_;
  int16_t error_ = 0;  // -errno, for good
  const uint8_t record_overhead_;
  const uint8_t key_len_;
  const bool limited_key_;
  const bool sends_;
  const bool last_byte_apart_;
  bool read_eof_ = false;
  bool shutdown_started_ = false;
  bool close_notify_sent_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_KERNEL_TLS_STREAM_H_
