// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/peer_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace spicegate {
namespace {

// Either family in one piece of memory.
struct SocketAddress {
  union {
    sockaddr base;
    sockaddr_in in;
    sockaddr_un un;
  };
  socklen_t len;
};

SocketAddress Convert(const PeerAddress& address) {
  SocketAddress result;
  std::memset(&result, 0, sizeof(result));
  if (address.unix_path.empty()) {
    result.in.sin_family = AF_INET;
    result.in.sin_port = htons(address.port);
    result.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    result.len = sizeof(result.in);
    return result;
  }
  result.un.sun_family = AF_UNIX;
  std::strncpy(result.un.sun_path, address.unix_path.c_str(),
               sizeof(result.un.sun_path) - 1);
  result.len = sizeof(result.un);
  return result;
}

int NewSocket(const PeerAddress& address) {
  const int family = address.unix_path.empty() ? AF_INET : AF_UNIX;
  return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

// Small messages at once, as spice-server and spice-gtk have it. Fails on unix
// sockets, which need no such thing.
void SetNoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int64_t OrErrno(ssize_t result) { return result < 0 ? -errno : result; }

}  // namespace

const char* PeerEndName(PeerEnd end) {
  switch (end) {
    case PeerEnd::kOpen:
      return "open";
    case PeerEnd::kFin:
      return "FIN";
    case PeerEnd::kReset:
      return "RST";
    case PeerEnd::kTimeout:
      return "timeout";
  }
  return "?";
}

PeerEnd EndOf(int64_t read_result) {
  if (read_result > 0) {
    return PeerEnd::kOpen;
  }
  if (read_result == 0) {
    return PeerEnd::kFin;
  }
  return read_result == -ETIMEDOUT ? PeerEnd::kTimeout : PeerEnd::kReset;
}

PeerStream::PeerStream(PeerLoop* loop, int fd) : loop_(loop), fd_(fd) {
  SetNoDelay(fd);
  loop_->Watch(fd_, &slots_);
}

PeerStream::~PeerStream() { Close(); }

PeerTask<std::unique_ptr<PeerStream>> PeerStream::Connect(PeerLoop* loop,
                                                          PeerAddress address,
                                                          int* error) {
  const SocketAddress to = Convert(address);
  auto stream = std::make_unique<PeerStream>(loop, NewSocket(address));
  *error = 0;
  if (connect(stream->fd_, &to.base, to.len) != 0) {
    *error = -errno;
  }
  // A unix listener whose queue is full says EAGAIN at once.
  for (int i = 0; *error == -EAGAIN && i < 500; ++i) {
    co_await loop->Sleep(10);
    *error = connect(stream->fd_, &to.base, to.len) != 0 ? -errno : 0;
  }
  if (*error == -EINPROGRESS) {
    *error =
        co_await PeerWait(loop, &stream->slots_.writable, stream->Deadline());
    int so_error = 0;
    socklen_t len = sizeof(so_error);
    getsockopt(stream->fd_, SOL_SOCKET, SO_ERROR, &so_error, &len);
    *error = *error == 0 ? -so_error : *error;
  }
  if (*error != 0) {
    stream.reset();
  }
  co_return stream;
}

int64_t PeerStream::TlsResult(int result, bool* want_other, int own_want) {
  const int error = SSL_get_error(tls_.get(), result);
  const int sys_errno = errno;
  ERR_clear_error();
  switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      *want_other = error != own_want;
      return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_SYSCALL:
      // Nothing in errno: the connection ended without a close_notify.
      return result == 0 || sys_errno == 0 ? 0 : -sys_errno;
    default:
      return -EPROTO;
  }
}

int64_t PeerStream::TryRead(std::span<uint8_t> out, bool* want_write) {
  if (fd_ < 0) {
    return -ECANCELED;
  }
  if (tls_ == nullptr) {
    return OrErrno(recv(fd_, out.data(), out.size(), 0));
  }
  errno = 0;
  const int n = SSL_read(tls_.get(), out.data(), static_cast<int>(out.size()));
  return n > 0 ? n : TlsResult(n, want_write, SSL_ERROR_WANT_READ);
}

int64_t PeerStream::TryWrite(std::span<const uint8_t> in, bool* want_read) {
  if (fd_ < 0) {
    return -ECANCELED;
  }
  if (tls_ == nullptr) {
    return OrErrno(send(fd_, in.data(), in.size(), MSG_NOSIGNAL));
  }
  errno = 0;
  const int n = SSL_write(tls_.get(), in.data(), static_cast<int>(in.size()));
  if (n > 0) {
    return n;
  }
  const int64_t result = TlsResult(n, want_read, SSL_ERROR_WANT_WRITE);
  return result == 0 ? -EPIPE : result;
}

PeerTask<int64_t> PeerStream::Read(std::span<uint8_t> out) {
  for (;;) {
    bool want_write = false;
    const int64_t n = TryRead(out, &want_write);
    if (n != -EAGAIN) {
      bytes_read_ += n > 0 ? static_cast<uint64_t>(n) : 0;
      co_return n;
    }
    PeerWait** slot = want_write ? &slots_.writable : &slots_.readable;
    const int waited = co_await PeerWait(loop_, slot, Deadline());
    if (waited != 0) {
      co_return waited;
    }
  }
}

PeerTask<int64_t> PeerStream::ReadFull(std::span<uint8_t> out) {
  size_t have = 0;
  while (have < out.size()) {
    const int64_t n = co_await Read(out.subspan(have));
    if (n < 0) {
      co_return n;
    }
    if (n == 0) {
      break;
    }
    have += static_cast<size_t>(n);
  }
  co_return static_cast<int64_t>(have);
}

PeerTask<int> PeerStream::Write(std::span<const uint8_t> in) {
  while (!in.empty()) {
    bool want_read = false;
    const int64_t n = TryWrite(in, &want_read);
    if (n >= 0) {
      bytes_written_ += static_cast<uint64_t>(n);
      in = in.subspan(static_cast<size_t>(n));
      continue;
    }
    if (n != -EAGAIN) {
      co_return static_cast<int>(n);
    }
    PeerWait** slot = want_read ? &slots_.readable : &slots_.writable;
    const int waited = co_await PeerWait(loop_, slot, Deadline());
    if (waited != 0) {
      co_return waited;
    }
  }
  co_return 0;
}

PeerTask<int> PeerStream::WaitReadable() {
  for (;;) {
    bool has_bytes = false;
    if (Peek(&has_bytes) != PeerEnd::kOpen || has_bytes) {
      co_return 0;
    }
    const int waited = co_await PeerWait(loop_, &slots_.readable, Deadline());
    if (waited != 0) {
      co_return waited;
    }
  }
}

PeerEnd PeerStream::Peek(bool* has_bytes) {
  uint8_t byte;
  bool want_write = false;
  int64_t n = -ECANCELED;
  if (fd_ >= 0 && tls_ == nullptr) {
    n = OrErrno(recv(fd_, &byte, 1, MSG_PEEK));
  } else if (fd_ >= 0) {
    errno = 0;
    n = SSL_peek(tls_.get(), &byte, 1);
    n = n > 0
            ? n
            : TlsResult(static_cast<int>(n), &want_write, SSL_ERROR_WANT_READ);
  }
  *has_bytes = n > 0;
  return n == -EAGAIN ? PeerEnd::kOpen : EndOf(n);
}

PeerTask<int> PeerStream::Handshake() {
  for (;;) {
    errno = 0;
    const int done = SSL_do_handshake(tls_.get());
    if (done == 1) {
      co_return 0;
    }
    bool want_write = false;
    const int64_t n = TlsResult(done, &want_write, SSL_ERROR_WANT_READ);
    if (n != -EAGAIN) {
      co_return n == 0 ? -EPROTO : static_cast<int>(n);
    }
    PeerWait** slot = want_write ? &slots_.writable : &slots_.readable;
    const int waited = co_await PeerWait(loop_, slot, Deadline());
    if (waited != 0) {
      co_return waited;
    }
  }
}

PeerTask<int> PeerStream::TlsConnect(const PeerTlsContext* context,
                                     std::string server_name) {
  tls_.reset(SSL_new(context->get()));
  SSL_set_fd(tls_.get(), fd_);
  SSL_set_connect_state(tls_.get());
  if (!server_name.empty()) {
    SSL_set_tlsext_host_name(tls_.get(), server_name.c_str());
  }
  return Handshake();
}

PeerTask<int> PeerStream::TlsAccept(const PeerTlsContext* context) {
  tls_.reset(SSL_new(context->get()));
  SSL_set_fd(tls_.get(), fd_);
  SSL_set_accept_state(tls_.get());
  return Handshake();
}

std::string PeerStream::tls_version() const {
  return tls_ == nullptr ? std::string() : SSL_get_version(tls_.get());
}

void PeerStream::ShutdownWrite() {
  if (tls_ != nullptr) {
    SSL_shutdown(tls_.get());
    ERR_clear_error();
  }
  shutdown(fd_, SHUT_WR);
}

void PeerStream::Reset() {
  const linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  Close();
}

void PeerStream::Close() {
  if (fd_ < 0) {
    return;
  }
  loop_->Unwatch(fd_, &slots_);
  close(fd_);
  fd_ = -1;
  for (PeerWait** slot : {&slots_.readable, &slots_.writable}) {
    if (*slot != nullptr) {
      (*slot)->CancelSoon();
    }
  }
}

PeerTask<PeerEnd> ReadToEnd(PeerStream* stream, std::vector<uint8_t>* out,
                            size_t limit) {
  std::array<uint8_t, 4096> buffer;
  while (out->size() < limit) {
    const int64_t n = co_await stream->Read(buffer);
    if (n <= 0) {
      co_return EndOf(n);
    }
    out->insert(out->end(), buffer.begin(), buffer.begin() + n);
  }
  co_return PeerEnd::kOpen;
}

PeerListener::PeerListener(PeerLoop* loop, const PeerAddress& address)
    : loop_(loop), address_(address), fd_(NewSocket(address)) {
  SocketAddress at = Convert(address);
  unlink(address.unix_path.c_str());
  if (bind(fd_, &at.base, at.len) != 0 || listen(fd_, 4096) != 0) {
    std::perror("PeerListener");
    std::abort();
  }
  if (address.unix_path.empty()) {
    getsockname(fd_, &at.base, &at.len);
    address_.port = ntohs(at.in.sin_port);
  }
  loop_->Watch(fd_, &slots_);
}

PeerListener::~PeerListener() { Close(); }

PeerTask<std::unique_ptr<PeerStream>> PeerListener::Accept() {
  while (fd_ >= 0) {
    const int fd = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      co_return std::make_unique<PeerStream>(loop_, fd);
    }
    if (errno == EAGAIN &&
        co_await PeerWait(loop_, &slots_.readable, PeerFarFuture()) != 0) {
      break;
    }
  }
  co_return nullptr;
}

void PeerListener::Close() {
  if (fd_ < 0) {
    return;
  }
  loop_->Unwatch(fd_, &slots_);
  close(fd_);
  fd_ = -1;
  if (slots_.readable != nullptr) {
    slots_.readable->CancelSoon();
  }
}

}  // namespace spicegate
