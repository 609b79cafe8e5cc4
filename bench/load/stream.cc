// SPDX-License-Identifier: Apache-2.0
#include "bench/load/stream.h"

#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

namespace spicegate {

bool Stream::StartTls(const TlsContext& context) {
  ssl_ = context.NewSession(fd_);
  return ssl_ != nullptr;
}

ssize_t Stream::TlsError(int result) {
  const int saved = errno;
  const int error = SSL_get_error(ssl_.get(), result);
  ERR_clear_error();
  switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_SYSCALL:
      // No errno is an end of the connection without a close_notify.
      return saved == 0 ? 0 : -saved;
    default:
      return -EPROTO;
  }
}

// Fills `out` from as many records as are there.
ssize_t Stream::RecvTls(proto::MutableBytes out) {
  size_t have = 0;
  while (have < out.size()) {
    errno = 0;
    const int n = SSL_read(
        ssl_.get(), out.data() + have,
        static_cast<int>(std::min<size_t>(out.size() - have, INT_MAX)));
    if (n <= 0) {
      const ssize_t error = TlsError(n);
      return have > 0 ? static_cast<ssize_t>(have) : error;
    }
    have += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(have);
}

ssize_t Stream::Recv(proto::MutableBytes out) {
  ssize_t n;
  if (ssl_ != nullptr) {
    n = RecvTls(out);
  } else {
    n = recv(fd_, out.data(), out.size(), 0);
    n = n < 0 ? -errno : n;
  }
  num_received_ += n > 0 ? static_cast<uint64_t>(n) : 0;
  return n;
}

ssize_t Stream::Write(proto::Bytes in) {
  if (ssl_ == nullptr) {
    const ssize_t n = send(fd_, in.data(), in.size(), MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
  }
  if (sealed_len_ > 0) {
    // The same length again; the bytes are in the record already.
    static constexpr std::array<uint8_t, SSL3_RT_MAX_PLAIN_LENGTH> kAny = {};
    const int n =
        SSL_write(ssl_.get(), kAny.data(), static_cast<int>(sealed_len_));
    if (n <= 0) {
      return TlsError(n);
    }
    sealed_len_ = 0;
  }
  return WriteTls(in);
}

// A record that is made but not sent counts as taken: what comes next, perhaps
// from another flood, must not stand in its place.
ssize_t Stream::WriteTls(proto::Bytes in) {
  size_t taken = 0;
  while (taken < in.size()) {
    const size_t len =
        std::min<size_t>(in.size() - taken, SSL3_RT_MAX_PLAIN_LENGTH);
    errno = 0;
    const int n =
        SSL_write(ssl_.get(), in.data() + taken, static_cast<int>(len));
    if (n > 0) {
      taken += static_cast<size_t>(n);
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), n);
    if (error == SSL_ERROR_WANT_WRITE && SSL_in_init(ssl_.get()) == 0) {
      ERR_clear_error();
      sealed_len_ = len;
      return static_cast<ssize_t>(taken + len);
    }
    const ssize_t failed = TlsError(n);
    return taken > 0 ? static_cast<ssize_t>(taken) : failed;
  }
  return static_cast<ssize_t>(taken);
}

ssize_t Stream::Send(proto::Bytes in) {
  const ssize_t n = Write(in);
  num_sent_ += n > 0 ? static_cast<uint64_t>(n) : 0;
  return n;
}

int Stream::Queue(proto::Bytes in) {
  num_sent_ += in.size();
  ssize_t n = 0;
  if (pending_.empty()) {
    n = Write(in);
    if (n == -EAGAIN) {
      n = 0;
    }
    if (n < 0) {
      return static_cast<int>(n);
    }
  }
  pending_.append(proto::AsText(in.subspan(static_cast<size_t>(n))));
  return 0;
}

int Stream::Flush() {
  if (sealed_len_ > 0) {
    const ssize_t n = Write({});
    if (n < 0) {
      return n == -EAGAIN ? 0 : static_cast<int>(n);
    }
  }
  while (!pending_.empty()) {
    const ssize_t n = Write(proto::AsBytes(pending_));
    if (n == -EAGAIN) {
      return 0;
    }
    if (n < 0) {
      return static_cast<int>(n);
    }
    pending_.erase(0, static_cast<size_t>(n));
  }
  return 0;
}

void Stream::Close() {
  ssl_.reset();
  sealed_len_ = 0;
  pending_.clear();
  if (fd_ >= 0) {
    close(fd_);
    fd_ = -1;
  }
}

}  // namespace spicegate
