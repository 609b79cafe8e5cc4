// SPDX-License-Identifier: Apache-2.0
#include "bench/load/server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "bench/load/server_channel.h"

namespace spicegate {
namespace {

// Connections accepted before others get their turn.
constexpr int kMaxAcceptsPerTurn = 64;

}  // namespace

// Level-triggered: what it leaves is reported again.
class Server::Listener final : public Watched {
 public:
  Listener(Server* server, int fd, bool raw)
      : server_(server), fd_(fd), raw_(raw) {}
  ~Listener() override { close(fd_); }

  int fd() const { return fd_; }

  void OnEvents(uint32_t) override {
    for (int i = 0; i < kMaxAcceptsPerTurn; ++i) {
      const int fd =
          accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        return;
      }
      server_->Accept(fd, raw_);
    }
  }

 private:
  Server* const server_;
  const int fd_;
  const bool raw_;
};

Server::Server(Shared* shared, const ServerOptions& options)
    : shared_(shared),
      options_(options),
      key_(LinkKey::Generate()),
      tls_(options.tls ? TlsContext::Server() : nullptr) {}

Server::~Server() {
  for (std::unique_ptr<ServerChannel>& channel : channels_) {
    channel->Close();
    shared_->loop->Retire(std::move(channel));
  }
}

std::string Server::Listen(const Address& address, bool raw, Address* bound) {
  if (key_ == nullptr || (options_.tls && tls_ == nullptr)) {
    return "no keys";
  }
  const int fd = ListenOn(address);
  if (fd < 0) {
    return "listening on " + address.ToString() + ": " + std::strerror(-fd);
  }
  *bound = LocalAddressOf(fd);
  listeners_.push_back(std::make_unique<Listener>(this, fd, raw));
  shared_->loop->Watch(fd, EPOLLIN, listeners_.back().get());
  return "";
}

void Server::Accept(int fd, bool raw) {
  SetNoDelay(fd);
  auto channel = std::make_unique<ServerChannel>(shared_, this, fd, raw);
  ServerChannel* const started = channel.get();
  started->index = channels_.size();
  channels_.push_back(std::move(channel));
  started->Start();
}

uint32_t Server::OpenSession() {
  sessions_.insert(next_session_);
  return std::exchange(next_session_, next_session_ + 2);
}

void Server::Remove(ServerChannel* channel) {
  shared_->meter->server.sent += channel->data_sent();
  shared_->meter->server.received += channel->data_received();
  std::unique_ptr<ServerChannel> removed = std::move(channels_[channel->index]);
  channels_[channel->index] = std::move(channels_.back());
  channels_.pop_back();
  if (channel->index < channels_.size()) {
    channels_[channel->index]->index = channel->index;
  }
  shared_->loop->Retire(std::move(removed));
}

SideBytes Server::bytes() const {
  SideBytes bytes = shared_->meter->server;
  for (const auto& channel : channels_) {
    bytes.sent += channel->data_sent();
    bytes.received += channel->data_received();
  }
  return bytes;
}

}  // namespace spicegate
