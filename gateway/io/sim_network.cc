// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/sim_network.h"

#include <arpa/inet.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

std::string KeyOf(const sockaddr_in& address) {
  return std::string(reinterpret_cast<const char*>(&address), sizeof(address));
}

}  // namespace

uint64_t SimRandom::Next() {
  // SplitMix64: one word of state, and every seed is a good one.
  uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

bool SimRandom::Chance(double probability) {
  constexpr double kUnit = 1.0 / (uint64_t{1} << 53);
  return static_cast<double>(Next() >> 11) * kUnit < probability;
}

sockaddr_in SimAddress(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// ---- SimPeer

SimPeer& SimPeer::operator=(SimPeer&& other) noexcept {
  if (this != &other) {
    Close();
    network_ = other.network_;
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

ssize_t SimPeer::Read(std::span<uint8_t> out) {
  return network_->Recv(fd_, out);
}

ssize_t SimPeer::Write(std::span<const uint8_t> in) {
  return network_->Send(fd_, in);
}

std::string SimPeer::ReadAll(bool* ended) {
  std::string all;
  std::array<uint8_t, 4096> piece;
  ssize_t n;
  while ((n = Read(piece)) > 0) {
    all.append(reinterpret_cast<const char*>(piece.data()),
               static_cast<size_t>(n));
  }
  if (ended != nullptr) {
    *ended = n != -EAGAIN;
  }
  return all;
}

size_t SimPeer::WriteString(const std::string& text) {
  const ssize_t n =
      Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return n < 0 ? 0 : static_cast<size_t>(n);
}

bool SimPeer::ended() const {
  const SimNetwork::Socket& socket = network_->Get(fd_);
  return socket.fin_in || socket.dead;
}

bool SimPeer::was_reset() const { return network_->Get(fd_).dead; }

bool SimPeer::broken() const { return network_->Get(fd_).broken; }

int64_t SimPeer::num_delivered() const {
  return network_->Get(fd_).num_delivered;
}

int SimPeer::ShutdownWrite() { return network_->ShutdownWrite(fd_); }

void SimPeer::Close() {
  if (open()) {
    network_->Close(std::exchange(fd_, -1), false);
  }
}

void SimPeer::Reset() {
  CHECK(open());
  network_->Close(std::exchange(fd_, -1), true);
}

// ---- SimNetwork

SimNetwork::SimNetwork(const SimOptions& options)
    : options_(options),
      random_(options.seed),
      pipes_(options.pipe_quota_bytes) {}

SimNetwork::~SimNetwork() = default;

SimNetwork::Socket& SimNetwork::Get(int fd) {
  const auto found = sockets_.find(fd);
  CHECK(found != sockets_.end());  // else: a closed descriptor is in use
  return *found->second;
}

SimNetwork::Socket* SimNetwork::PeerOf(const Socket& socket) {
  return socket.peer < 0 ? nullptr : &Get(socket.peer);
}

int SimNetwork::Make() {
  const int fd = next_fd_++;
  sockets_.emplace(fd, std::make_unique<Socket>());
  ++num_open_;
  return fd;
}

void SimNetwork::Erase(int fd) {
  if (!Get(fd).of_test) {
    --num_open_;
  }
  sockets_.erase(fd);
}

void SimNetwork::Join(int a, int b) {
  Get(a).peer = b;
  Get(b).peer = a;
  Get(a).fresh = false;
  Get(b).fresh = false;
}

std::pair<int, int> SimNetwork::SocketPair() {
  const int a = Make();
  const int b = Make();
  Join(a, b);
  return {a, b};
}

SimPeer SimNetwork::Adopt(int fd) {
  Socket& socket = Get(fd);
  CHECK(!socket.of_test && socket.num_ops == 0);
  socket.of_test = true;
  --num_open_;
  return SimPeer(this, fd);
}

std::pair<int, SimPeer> SimNetwork::Connection() {
  const auto [fd, other] = SocketPair();
  return {fd, Adopt(other)};
}

int SimNetwork::Open() { return Make(); }

int SimNetwork::Listen(const sockaddr_in& address, size_t backlog) {
  const std::string key = KeyOf(address);
  if (listeners_.contains(key)) {
    return -EADDRINUSE;
  }
  const int fd = Make();
  Socket& socket = Get(fd);
  socket.listening = true;
  socket.fresh = false;
  socket.max_backlog = backlog;
  socket.address = key;
  listeners_[key] = fd;
  return fd;
}

SimPeer SimNetwork::ConnectPeer(const sockaddr_in& address) {
  const int fd = Make();
  if (Connect(fd, KeyOf(address)) != 0) {
    Erase(fd);
    return SimPeer();
  }
  return Adopt(fd);
}

SimPeer SimNetwork::AcceptPeer(int listen_fd) {
  const int fd = Accept(listen_fd);
  return fd < 0 ? SimPeer() : Adopt(fd);
}

int SimNetwork::Connect(int fd, const std::string& address) {
  if (!Get(fd).fresh) {
    return -EISCONN;
  }
  const auto found = listeners_.find(address);
  if (found == listeners_.end()) {
    return -ECONNREFUSED;
  }
  Socket& listener = Get(found->second);
  if (listener.backlog.size() >= listener.max_backlog) {
    return -EAGAIN;
  }
  // Nobody owns the far end until it is accepted.
  const int far = Make();
  Get(far).of_test = true;
  --num_open_;
  Join(fd, far);
  listener.backlog.push_back(far);
  return 0;
}

int SimNetwork::Accept(int listen_fd) {
  Socket& listener = Get(listen_fd);
  CHECK(listener.listening);
  if (listener.backlog.empty()) {
    return -EAGAIN;
  }
  const int fd = listener.backlog.front();
  listener.backlog.pop_front();
  Get(fd).of_test = false;
  ++num_open_;
  return fd;
}

void SimNetwork::AbortOldest(int listen_fd) {
  const int fd = Accept(listen_fd);
  if (fd >= 0) {
    Close(fd, /*reset=*/true);
  }
}

void SimNetwork::AddOps(int fd, int change) {
  Socket& socket = Get(fd);
  socket.num_ops += change;
  CHECK(socket.num_ops >= 0);
}

void SimNetwork::Close(int fd, bool reset) {
  Socket& socket = Get(fd);
  CHECK(socket.num_ops == 0);  // an operation owns its descriptor
  if (socket.listening) {
    listeners_.erase(socket.address);
    while (!socket.backlog.empty()) {
      AbortOldest(fd);
    }
  }
  if (Socket* peer = PeerOf(socket)) {
    peer->peer = -1;
    if (reset || socket.inbox.size() > 0) {
      ReceiveReset(peer);
    } else if (!socket.dead) {
      peer->fin_in = true;
    }
  }
  Erase(fd);
}

void SimNetwork::ReceiveReset(Socket* socket) {
  if (socket->dead || (socket->fin_in && socket->fin_out)) {
    return;
  }
  socket->dead = true;
  socket->error = socket->fin_in ? EPIPE : ECONNRESET;
  if (socket->inbox.size() > 0 && !socket->fin_in &&
      random_.Chance(options_.faults.reset_discards)) {
    socket->inbox.KeepFront(random_.Below(socket->inbox.size()));
  }
}

void SimNetwork::NoteWay(Socket* socket, Way way) {
  const Way before = std::exchange(socket->last_way, way);
  if (before == Way::kRecv && way == Way::kSplice) {
    ++num_switches_to_splice_;
  } else if (before == Way::kSplice && way == Way::kRecv) {
    ++num_switches_to_recv_;
  }
}

ssize_t SimNetwork::Recv(int fd, std::span<uint8_t> out) {
  return TakeIn(fd, out, Way::kRecv);
}

ssize_t SimNetwork::TakeIn(int fd, std::span<uint8_t> out, Way way) {
  CHECK(!out.empty());
  Socket& socket = Get(fd);
  if (socket.inbox.size() > 0) {
    NoteWay(&socket, way);
    const size_t n = socket.inbox.Take(out);
    if (Socket* peer = PeerOf(socket)) {
      peer->num_delivered += static_cast<int64_t>(n);
    }
    return static_cast<ssize_t>(n);
  }
  if (socket.fin_in) {
    return 0;
  }
  if (socket.error != 0) {
    return -std::exchange(socket.error, 0);
  }
  if (socket.dead) {
    return 0;
  }
  return socket.fresh || socket.listening ? -ENOTCONN : -EAGAIN;
}

size_t SimNetwork::Room(const Socket& socket) {
  const Socket* peer = PeerOf(socket);
  if (peer == nullptr) {
    return options_.link_capacity_bytes;
  }
  const size_t used = peer->inbox.size();
  return options_.link_capacity_bytes -
         std::min(used, options_.link_capacity_bytes);
}

ssize_t SimNetwork::Send(int fd, std::span<const uint8_t> in) {
  CHECK(!in.empty());
  Socket& socket = Get(fd);
  if (socket.error != 0) {
    return -std::exchange(socket.error, 0);
  }
  if (socket.dead || socket.fin_out || socket.fresh || socket.listening) {
    return -EPIPE;
  }
  const size_t n = std::min(in.size(), Room(socket));
  Socket* peer = PeerOf(socket);
  if (peer == nullptr) {
    ReceiveReset(&socket);  // what nobody can receive is answered with RST
  } else if (n == 0) {
    return -EAGAIN;
  } else if (!peer->dead) {
    peer->inbox.Append(in.first(n));
  }
  return static_cast<ssize_t>(n);
}

Pipe SimNetwork::OpenPipe(size_t size_bytes) {
  const int read_fd = next_fd_++;
  return pipes_.Open(size_bytes, read_fd, next_fd_++);
}

ssize_t SimNetwork::SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) {
  CHECK(max_bytes > 0);
  if (pipes_.IsFull(pipe)) {
    return -EAGAIN;  // before the socket is looked at
  }
  const bool odd = random_.Chance(options_.faults.odd_segments);
  std::array<uint8_t, SimPipes::kMaxSegmentBytes> segment;
  size_t moved = 0;
  ssize_t n = 0;
  do {
    const size_t len =
        odd ? 1 + random_.Below(segment.size()) : SimPipes::kPageBytes;
    n = TakeIn(fd, std::span(segment).first(std::min(len, max_bytes - moved)),
               Way::kSplice);
    if (n <= 0) {
      return n;
    }
    pipes_.Put(pipe, std::span(segment).first(static_cast<size_t>(n)));
    moved += static_cast<size_t>(n);
  } while (moved < max_bytes && Readable(fd) > 0 && !pipes_.IsFull(pipe));
  return static_cast<ssize_t>(moved);
}

ssize_t SimNetwork::SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) {
  CHECK(max_bytes > 0 && max_bytes <= pipes_.NumBytes(pipe));
  const ssize_t n = Send(fd, pipes_.Front(pipe, max_bytes));
  if (n > 0) {
    pipes_.Drop(pipe, static_cast<size_t>(n));
  }
  return n;
}

int SimNetwork::ShutdownWrite(int fd) {
  Socket& socket = Get(fd);
  if (socket.dead || socket.fresh || socket.listening) {
    return -ENOTCONN;
  }
  socket.fin_out = true;
  if (Socket* peer = PeerOf(socket); peer != nullptr && !peer->dead) {
    peer->fin_in = true;
  }
  return 0;
}

int SimNetwork::PollMask(int fd) {
  const Socket& socket = Get(fd);
  if (socket.listening) {
    return socket.backlog.empty() ? 0 : POLLIN;
  }
  int mask = socket.error != 0 ? POLLERR : 0;
  if (socket.dead || socket.fresh || (socket.fin_in && socket.fin_out)) {
    mask |= POLLHUP;
  }
  if (socket.inbox.size() > 0 || socket.fin_in || socket.dead) {
    mask |= POLLIN;
  }
  // The kernel reports room once a third of the buffer is free.
  const bool roomy = Room(socket) * 3 >= options_.link_capacity_bytes;
  if (socket.dead || socket.fin_out || roomy) {
    mask |= POLLOUT;
  }
  return mask;
}

size_t SimNetwork::Readable(int fd) { return Get(fd).inbox.size(); }

size_t SimNetwork::Writable(int fd) { return Room(Get(fd)); }

bool SimNetwork::connected(int fd) {
  const Socket& socket = Get(fd);
  return !socket.fresh && !socket.listening && !socket.dead;
}

void SimNetwork::Fail(int fd) {
  Socket& socket = Get(fd);
  ++num_broken_;
  socket.dead = true;
  socket.error = 0;
  socket.inbox = SimBytes();
  socket.broken = true;
  if (Socket* peer = PeerOf(socket)) {
    peer->broken = true;
    ReceiveReset(peer);
  }
}

}  // namespace spicegate
