// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/limits.h"
#include "gateway/control/admin_connection.h"

namespace spicegate {
namespace {

constexpr int kAdminBacklog = 16;

// Accepted in one turn of the loop, so that a flood of connections does not
// keep it from those it has.
constexpr int kMaxAcceptsPerTurn = 16;

absl::Status ListenError(const std::string& address, const char* what,
                         int error) {
  return absl::FailedPreconditionError("admin address " + address + ": " +
                                       what + ": " + strerrordesc_np(error));
}

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

// Makes room for a socket file at `path`: removes one that nobody answers on.
absl::Status RemoveStaleSocket(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    return absl::OkStatus();  // bind will tell what else is wrong
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(
        "admin address unix:" + path +
        ": a file of that name exists and is no socket");
  }
  const UniqueFd probe = MakeSocket(AF_UNIX);
  const sockaddr_un address = UnixAddress(path);
  const int rc =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof(address));
  // EAGAIN is a listener whose backlog is full.
  if (rc == 0 || errno != ECONNREFUSED) {
    return absl::FailedPreconditionError("admin address unix:" + path +
                                         ": another process answers there");
  }
  unlink(path.c_str());
  return absl::OkStatus();
}

}  // namespace

AdminServer::AdminServer(AdminServices* services) : services_(services) {}

AdminServer::~AdminServer() { Close(); }

absl::Status AdminServer::Listen(const AdminConfig& config,
                                 AdminStreamMaker maker) {
  CHECK(!listener_.valid());
  maker_ = std::move(maker);
  return config.unix_path.empty() ? ListenTcp(config.address)
                                  : ListenUnix(config.unix_path);
}

absl::Status AdminServer::ListenTcp(const BindAddress& address) {
  const std::string text = FormatBindAddress(address);
  sockaddr_storage storage{};
  socklen_t len = ToSockaddr(address, &storage);
  auto* const raw = reinterpret_cast<sockaddr*>(&storage);
  UniqueFd fd = MakeSocket(storage.ss_family);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Every connection inherits it: an answer of several TLS records would wait
  // for the client's delayed ACK behind the first.
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (bind(fd.get(), raw, len) != 0 || listen(fd.get(), kAdminBacklog) != 0) {
    return ListenError(text, "cannot listen", errno);
  }
  len = sizeof(storage);
  if (getsockname(fd.get(), raw, &len) != 0) {
    return ListenError(text, "getsockname", errno);
  }
  address_ = FormatBindAddress(FromSockaddr(storage));
  transport_ = IsLoopback(address) ? AdminTransport::kLoopback
                                   : AdminTransport::kNetwork;
  listener_ = std::move(fd);
  return absl::OkStatus();
}

absl::Status AdminServer::ListenUnix(const std::string& path) {
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
  if (listen(fd.get(), kAdminBacklog) != 0 || lstat(path.c_str(), &info) != 0) {
    const int error = errno;
    unlink(path.c_str());
    return ListenError("unix:" + path, "cannot listen", error);
  }
  unix_path_ = path;
  unix_device_ = info.st_dev;
  unix_inode_ = info.st_ino;
  address_ = "unix:" + path;
  transport_ = AdminTransport::kUnix;
  listener_ = std::move(fd);
  return absl::OkStatus();
}

void AdminServer::AddPollFds(std::vector<pollfd>* fds) const {
  // A negative descriptor is skipped by poll but keeps its place.
  const bool accepting = accept_paused_until_ms_ == 0;
  fds->push_back({accepting ? listener_.get() : -1, POLLIN, 0});
  for (const auto& connection : connections_) {
    fds->push_back({connection->fd(), connection->PollEvents(), 0});
  }
}

void AdminServer::HandlePollFds(std::span<const pollfd> fds, int64_t now_ms) {
  CHECK(fds.size() == connections_.size() + 1);
  for (size_t i = 0; i < connections_.size(); ++i) {
    connections_[i]->Handle(fds[i + 1].revents, now_ms);
  }
  DropFinished();
  const bool paused = accept_paused_until_ms_ != 0;
  if (paused && now_ms >= accept_paused_until_ms_) {
    accept_paused_until_ms_ = 0;
  }
  if (fds[0].revents != 0) {
    AcceptAll(now_ms);
  }
}

int64_t AdminServer::NextDeadlineMs() const {
  int64_t deadline_ms =
      accept_paused_until_ms_ == 0 ? INT64_MAX : accept_paused_until_ms_;
  for (const auto& connection : connections_) {
    deadline_ms = std::min(deadline_ms, connection->deadline_ms());
  }
  return deadline_ms;
}

void AdminServer::AcceptAll(int64_t now_ms) {
  for (int i = 0; i < kMaxAcceptsPerTurn; ++i) {
    if (!HasRoom()) {
      break;
    }
    UniqueFd fd(accept4(listener_.get(), nullptr, nullptr,
                        SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.valid()) {
      Add(std::move(fd), now_ms);
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != ECONNABORTED && errno != EINTR) {
      // No descriptors or no memory: trying again at once would spin.
      accept_paused_until_ms_ = now_ms + kAcceptPauseMs;
      return;
    }
  }
  if (!HasRoom()) {
    accept_paused_until_ms_ = now_ms + kAcceptPauseMs;
  }
}

void AdminServer::Add(UniqueFd fd, int64_t now_ms) {
  std::unique_ptr<AdminStream> stream = maker_(fd.get());
  if (stream != nullptr) {
    MakeRoom();
    connections_.push_back(std::make_unique<AdminConnection>(
        std::move(fd), std::move(stream), transport_, services_, now_ms));
  }
}

bool AdminServer::HasRoom() const {
  return connections_.size() < kMaxAdminConnections ||
         std::any_of(connections_.begin(), connections_.end(),
                     [](const auto& connection) {
                       return connection->stranger() || connection->idle();
                     });
}

void AdminServer::MakeRoom() {
  if (connections_.size() < kMaxAdminConnections) {
    return;
  }
  // The deadline of such a connection tells how long it has been waiting.
  const auto rank = [](const auto& connection) {
    const int order = connection->stranger() ? 0 : connection->idle() ? 1 : 2;
    return std::make_pair(order, connection->deadline_ms());
  };
  connections_.erase(std::min_element(
      connections_.begin(), connections_.end(),
      [&rank](const auto& a, const auto& b) { return rank(a) < rank(b); }));
}

void AdminServer::DropFinished() {
  std::erase_if(connections_,
                [](const auto& connection) { return connection->finished(); });
}

void AdminServer::RetireConnections(int64_t now_ms) {
  for (const auto& connection : connections_) {
    connection->Retire(now_ms);
  }
}

void AdminServer::Close() {
  connections_.clear();
  listener_.Reset();
  struct stat info {};
  if (!unix_path_.empty() && lstat(unix_path_.c_str(), &info) == 0 &&
      info.st_dev == unix_device_ && info.st_ino == unix_inode_) {
    unlink(unix_path_.c_str());
  }
  unix_path_.clear();
}

}  // namespace spicegate
