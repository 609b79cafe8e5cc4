// SPDX-License-Identifier: Apache-2.0
//
// A connection of a test peer: TCP or unix, plain or TLS.
#ifndef SPICEGATE_TESTS_PEER_PEER_STREAM_H_
#define SPICEGATE_TESTS_PEER_PEER_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_task.h"
#include "tests/peer/peer_tls.h"

namespace spicegate {

// Where to connect or to listen. Port 0 lets the kernel choose.
struct PeerAddress {
  uint16_t port = 0;           // On 127.0.0.1.
  std::string unix_path = {};  // Instead of the port.
};

// How the other side stands, as far as can be told without waiting.
enum class PeerEnd : uint8_t {
  kOpen,
  kFin,      // An orderly end; over TLS with or without close_notify.
  kReset,    // RST, or a TLS failure.
  kTimeout,  // Nothing came within the stream's timeout.
};

const char* PeerEndName(PeerEnd end);

// The end that a result of PeerStream::Read() tells.
PeerEnd EndOf(int64_t read_result);

// Loop's thread only. At most one reader and one writer wait at a time. Each
// operation fails with -ETIMEDOUT when timeout_ms passes without progress.
class PeerStream {
 public:
  // Owns `fd` from now on.
  PeerStream(PeerLoop* loop, int fd);
  ~PeerStream();
  PeerStream(const PeerStream&) = delete;
  PeerStream& operator=(const PeerStream&) = delete;

  // Connects; nullptr with *error set to -errno when that fails.
  static PeerTask<std::unique_ptr<PeerStream>> Connect(PeerLoop* loop,
                                                       PeerAddress address,
                                                       int* error);

  // TLS over this connection, from now on. `server_name` may be empty. 0 or
  // -errno (-EPROTO for a TLS failure).
  PeerTask<int> TlsConnect(const PeerTlsContext* context,
                           std::string server_name);
  PeerTask<int> TlsAccept(const PeerTlsContext* context);

  // Bytes read (> 0), 0 at the peer's end, or -errno.
  PeerTask<int64_t> Read(std::span<uint8_t> out);
  // Fills `out`; fewer bytes when the peer ended first, or -errno.
  PeerTask<int64_t> ReadFull(std::span<uint8_t> out);
  // 0 or -errno.
  PeerTask<int> Write(std::span<const uint8_t> in);
  // Waits until something can be read or the peer has ended: 0 or -errno.
  PeerTask<int> WaitReadable();

  // Looks without waiting and without consuming. kOpen also when bytes lie
  // ready; *has_bytes tells.
  PeerEnd Peek(bool* has_bytes);

  // FIN, behind a close_notify over TLS. Reading goes on.
  void ShutdownWrite();
  // Closes with RST.
  void Reset();
  // Closes. Waiting operations return -ECANCELED.
  void Close();

  bool closed() const { return fd_ < 0; }
  int fd() const { return fd_; }
  PeerLoop* loop() const { return loop_; }
  void set_timeout_ms(int64_t timeout_ms) { timeout_ms_ = timeout_ms; }
  // Application bytes that went through.
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t bytes_written() const { return bytes_written_; }
  // "TLSv1.3" and such; empty when plain.
  std::string tls_version() const;
  // For tests that make records by hand; null when plain.
  SSL* ssl() const { return tls_.get(); }

 private:
  PeerClock::time_point Deadline() const {
    return PeerClock::now() + std::chrono::milliseconds(timeout_ms_);
  }
  // One attempt: > 0 bytes, 0 end, -EAGAIN with *want_write set, or -errno.
  int64_t TryRead(std::span<uint8_t> out, bool* want_write);
  int64_t TryWrite(std::span<const uint8_t> in, bool* want_read);
  int64_t TlsResult(int result, bool* want_other, int own_want);
  PeerTask<int> Handshake();

  PeerLoop* loop_;
  int fd_;
  int64_t timeout_ms_ = 30'000;
  uint64_t bytes_read_ = 0;
  uint64_t bytes_written_ = 0;
  PeerSlots slots_;
  PeerTlsSession tls_;
};

// Reads everything until the end of the stream, at most `limit` bytes, into
// `out`.
PeerTask<PeerEnd> ReadToEnd(PeerStream* stream, std::vector<uint8_t>* out,
                            size_t limit = 1 << 20);

// A listening socket.
class PeerListener {
 public:
  // Listens at once; aborts the test when that fails.
  PeerListener(PeerLoop* loop, const PeerAddress& address);
  ~PeerListener();
  PeerListener(const PeerListener&) = delete;
  PeerListener& operator=(const PeerListener&) = delete;

  // The next connection; nullptr once the listener is closed.
  PeerTask<std::unique_ptr<PeerStream>> Accept();
  void Close();

  // What a client connects to.
  const PeerAddress& address() const { return address_; }

 private:
  PeerLoop* loop_;
  PeerAddress address_;
  int fd_;
  PeerSlots slots_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_PEER_STREAM_H_
