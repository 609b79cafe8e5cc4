// SPDX-License-Identifier: Apache-2.0
//
// The part of TlsStream that gives its records to the kernel.
#include <openssl/ssl.h>

#include <algorithm>
#include <utility>

#include "gateway/io/socket.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {

std::unique_ptr<Stream> TlsStream::BeginRelaying(Socket* socket,
                                                 WorkerCounters* counters) {
  const OffloadDirections wanted = policy_ != nullptr
                                       ? policy_->For(leg_, version(), suite())
                                       : OffloadDirections::kNone;
  const int64_t tcp_bytes_taken =
      wanted != OffloadDirections::kNone
          ? socket->driver()->TcpBytesTaken(socket->fd())
          : 0;
  last_byte_apart_ = leg_ == TlsLeg::kClient;
  const OffloadDirections given = HandOver(socket, wanted);
  RelayedTls relayed(counters, leg_, version(), suite(), given);
  exact_ = false;
  if (given == OffloadDirections::kNone) {
    relayed_ = std::move(relayed);
    return nullptr;
  }
  const bool whole = given == OffloadDirections::kBoth;
  const KernelTlsStream::Options options{
      leg_,
      version(),
      suite(),
      (given & OffloadDirections::kSend) != OffloadDirections::kNone,
      tcp_bytes_taken,
      SSL_get_write_sequence(ssl_.get())};
  auto kernel = std::make_unique<KernelTlsStream>(
      socket, options, std::move(relayed),
      whole ? std::exchange(early_, {}) : std::vector<uint8_t>());
  if (whole) {
    return kernel;
  }
  kernel_ = std::move(kernel);
  offloaded_ = given;
  return nullptr;
}

OffloadDirections TlsStream::HandOver(Socket* socket,
                                      OffloadDirections wanted) {
  OffloadDirections given = OffloadDirections::kNone;
  const auto wants = [wanted](OffloadDirections one) {
    return (wanted & one) != OffloadDirections::kNone;
  };
  // A connection that is ending already keeps what it has.
  if (wanted == OffloadDirections::kNone || error_ != 0 || read_eof_ ||
      shutdown_started_ || socket->driver()->StartTls(socket->fd()) != 0) {
    return given;
  }
  // In TLS 1.3 no record yet means a new key whose announcement BoringSSL has
  // not sent: the link has been written under every other one.
  const bool announced =
      version() != TlsVersion::kTls13 || SSL_get_write_sequence(ssl_.get()) > 0;
  if (wants(OffloadDirections::kSend) && unsent_.empty() && announced &&
      HandOverOne(socket, TlsDirection::kSend)) {
    given = given | OffloadDirections::kSend;
  }
  if (wants(OffloadDirections::kReceive) && DrainRecords() &&
      HandOverOne(socket, TlsDirection::kReceive)) {
    given = given | OffloadDirections::kReceive;
  }
  return given;
}

bool TlsStream::HandOverOne(Socket* socket, TlsDirection direction) {
  KernelTlsKey key;
  return ExportKernelTlsKey(ssl_.get(), direction, &key) &&
         socket->driver()->SetTlsKey(socket->fd(), direction, key.view()) == 0;
}

bool TlsStream::DrainRecords() {
  // No read from below: these bytes are BoringSSL's already.
  for (int left = SSL_pending(ssl_.get()); left > 0;
       left = SSL_pending(ssl_.get())) {
    const size_t before = early_.size();
    early_.resize(before + static_cast<size_t>(left));
    const int n = SSL_read(ssl_.get(), early_.data() + before, left);
    early_.resize(before + static_cast<size_t>(std::max(n, 0)));
    if (n <= 0) {
      return false;
    }
  }
  return SSL_has_pending(ssl_.get()) == 0 && unread_.empty();
}

bool TlsStream::CanSpliceIn() const {
  return Offloaded(OffloadDirections::kReceive) && early_.empty() &&
         kernel_->CanSpliceIn();
}

bool TlsStream::CanSpliceOut() const {
  return Offloaded(OffloadDirections::kSend);
}

ssize_t TlsStream::SpliceIn(const Pipe& pipe, size_t max_bytes) {
  return kernel_->SpliceIn(pipe, max_bytes);
}

ssize_t TlsStream::SpliceOut(const Pipe& pipe, size_t max_bytes) {
  return kernel_->SpliceOut(pipe, max_bytes);
}

}  // namespace spicegate
