// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/http_listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

UniqueFd MakeSocket(int family) {
  return UniqueFd(
      socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address{};
  CHECK(path.size() < sizeof(address.sun_path));
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  return address;
}

void SetOption(const UniqueFd& fd, int level, int option, int value) {
  setsockopt(fd.get(), level, option, &value, sizeof(value));
}

// A socket for `address`, which becomes 0.0.0.0 where it is every address and
// there is no IPv6.
UniqueFd MakeTcpSocket(BindAddress* address, sockaddr_storage* storage,
                       socklen_t* len) {
  *len = ToSockaddr(*address, storage);
  UniqueFd fd = MakeSocket(storage->ss_family);
  if (!fd.valid() && errno == EAFNOSUPPORT && address->any()) {
    address->host = "0.0.0.0";
    *len = ToSockaddr(*address, storage);
    fd = MakeSocket(storage->ss_family);
  }
  SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (storage->ss_family == AF_INET6) {
    SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, address->any() ? 0 : 1);
  }
  // Every connection inherits it: an answer of several TLS records would wait
  // for the client's delayed ACK behind the first.
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}

}  // namespace

HttpListener::HttpListener(std::string name, int backlog)
    : name_(std::move(name)), backlog_(backlog) {}

HttpListener::~HttpListener() { Close(); }

absl::Status HttpListener::Error(const std::string& address,
                                 const std::string& what) const {
  return absl::FailedPreconditionError(name_ + " " + address + ": " + what);
}

absl::Status HttpListener::ListenError(const std::string& address,
                                       const char* what, int error) const {
  return Error(address, std::string(what) + ": " + strerrordesc_np(error));
}

absl::Status HttpListener::ListenTcp(const BindAddress& address) {
  CHECK(!listening());
  const std::string text = FormatBindAddress(address);
  BindAddress bound = address;
  sockaddr_storage storage{};
  socklen_t len = 0;
  UniqueFd fd = MakeTcpSocket(&bound, &storage, &len);
  auto* const raw = reinterpret_cast<sockaddr*>(&storage);
  if (!fd.valid() || bind(fd.get(), raw, len) != 0 ||
      listen(fd.get(), backlog_) != 0) {
    return ListenError(text, "cannot listen", errno);
  }
  len = sizeof(storage);
  if (getsockname(fd.get(), raw, &len) != 0) {
    return ListenError(text, "getsockname", errno);
  }
  bound = {address.host, FromSockaddr(storage).port};
  address_ = FormatBindAddress(bound);
  transport_ =
      IsLoopback(address) ? HttpTransport::kLoopback : HttpTransport::kNetwork;
  fd_ = std::move(fd);
  return absl::OkStatus();
}

absl::Status HttpListener::ListenUnix(const std::string& path) {
  CHECK(!listening());
  const absl::Status room = RemoveStaleSocket(path);
  if (!room.ok()) {
    return room;
  }
  UniqueFd fd = MakeSocket(AF_UNIX);
  // Linux gives the socket file the mode of the socket, so it is never open to
  // others, not even for a moment (umask would be the whole process's).
  const sockaddr_un address = UnixAddress(path);
  if (fchmod(fd.get(), 0600) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof(address)) != 0) {
    return ListenError("unix:" + path, "cannot bind", errno);
  }
  struct stat info {};
  if (listen(fd.get(), backlog_) != 0 || lstat(path.c_str(), &info) != 0) {
    const int error = errno;
    unlink(path.c_str());
    return ListenError("unix:" + path, "cannot listen", error);
  }
  unix_path_ = path;
  unix_device_ = info.st_dev;
  unix_inode_ = info.st_ino;
  address_ = "unix:" + path;
  transport_ = HttpTransport::kUnix;
  fd_ = std::move(fd);
  return absl::OkStatus();
}

// Makes room for a socket file at `path`: removes one that nobody answers on.
absl::Status HttpListener::RemoveStaleSocket(const std::string& path) const {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    return absl::OkStatus();  // bind will tell what else is wrong
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Error("unix:" + path, "a file of that name exists and is no socket");
  }
  const UniqueFd probe = MakeSocket(AF_UNIX);
  const sockaddr_un address = UnixAddress(path);
  const int rc =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof(address));
  // EAGAIN is a listener whose backlog is full.
  if (rc == 0 || errno != ECONNREFUSED) {
    return Error("unix:" + path, "another process answers there");
  }
  unlink(path.c_str());
  return absl::OkStatus();
}

UniqueFd HttpListener::Accept(std::string* peer) const {
  sockaddr_storage storage{};
  socklen_t len = sizeof(storage);
  UniqueFd fd(accept4(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &len,
                      SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.valid()) {
    *peer = PeerAddressText(storage);
  }
  return fd;
}

void HttpListener::Close() {
  fd_.Reset();
  struct stat info {};
  if (!unix_path_.empty() && lstat(unix_path_.c_str(), &info) == 0 &&
      info.st_dev == unix_device_ && info.st_ino == unix_inode_) {
    unlink(unix_path_.c_str());
  }
  unix_path_.clear();
}

}  // namespace spicegate
