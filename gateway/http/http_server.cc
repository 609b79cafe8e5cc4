// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/http_server.h"

#include <errno.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/limits.h"
#include "gateway/http/http_connection.h"

namespace spicegate {
namespace {

using Connections = std::vector<std::unique_ptr<HttpConnection>>;

// The connection that is to be dropped first of those that `may` be; null when
// there is none.
template <typename May>
HttpConnection* MostDispensable(const Connections& connections,
                                const May& may) {
  HttpConnection* found = nullptr;
  std::pair<int, int64_t> lowest;
  for (const auto& connection : connections) {
    const std::optional<int> order = connection->dispensability();
    if (!order.has_value() || !may(*connection)) {
      continue;
    }
    const std::pair<int, int64_t> rank(*order, connection->since_ms());
    if (found == nullptr || rank < lowest) {
      found = connection.get();
      lowest = rank;
    }
  }
  return found;
}

}  // namespace

HttpServer::HttpServer(HttpServerOptions options, HttpHandler handler)
    : options_(std::move(options)),
      handler_(std::move(handler)),
      listener_(options_.name, options_.backlog) {}

HttpServer::~HttpServer() { Close(); }

absl::Status HttpServer::ListenTcp(const BindAddress& address,
                                   HttpStreamMaker maker) {
  maker_ = std::move(maker);
  return listener_.ListenTcp(address);
}

absl::Status HttpServer::ListenUnix(const std::string& path,
                                    HttpStreamMaker maker) {
  maker_ = std::move(maker);
  return listener_.ListenUnix(path);
}

void HttpServer::AddPollFds(std::vector<pollfd>* fds) const {
  // A negative descriptor is skipped by poll but keeps its place.
  const bool accepting = accept_paused_until_ms_ == 0;
  fds->push_back({accepting ? listener_.fd() : -1, POLLIN, 0});
  for (const auto& connection : connections_) {
    fds->push_back({connection->fd(), connection->PollEvents(), 0});
  }
}

void HttpServer::HandlePollFds(std::span<const pollfd> fds, int64_t now_ms) {
  const size_t num = connections_.size();
  CHECK(fds.size() == num + 1);
  HttpTurn turn = {options_.handshakes_per_turn, options_.requests_per_turn};
  std::optional<size_t> first_to_wait;
  for (size_t i = 0; i < num; ++i) {
    const size_t at = (first_ + i) % num;
    HttpConnection* const connection = connections_[at].get();
    if (!connection->Handle(fds[at + 1].revents, now_ms, &turn) &&
        !first_to_wait.has_value()) {
      first_to_wait = at;
    }
    Count(connection);
  }
  first_ = first_to_wait.value_or(0);
  DropFinished();
  if (accept_paused_until_ms_ != 0 && now_ms >= accept_paused_until_ms_) {
    accept_paused_until_ms_ = 0;
  }
  if (fds[0].revents != 0) {
    AcceptAll(now_ms);
    DropFinished();
  }
}

int64_t HttpServer::NextDeadlineMs() const {
  int64_t deadline_ms =
      accept_paused_until_ms_ == 0 ? INT64_MAX : accept_paused_until_ms_;
  for (const auto& connection : connections_) {
    deadline_ms = std::min(deadline_ms, connection->deadline_ms());
  }
  return deadline_ms;
}

void HttpServer::AcceptAll(int64_t now_ms) {
  for (int i = 0; i < options_.accepts_per_turn; ++i) {
    if (!HasRoom()) {
      break;
    }
    std::string peer;
    UniqueFd fd = listener_.Accept(&peer);
    if (fd.valid()) {
      Add(std::move(fd), std::move(peer), now_ms);
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

void HttpServer::Add(UniqueFd fd, std::string peer, int64_t now_ms) {
  const bool tls = maker_ != nullptr;
  const HttpPeer known = {peer, peer, tls, listener_.transport()};
  if (options_.proxy_protocol && !IsProxy(known)) {
    return;
  }
  std::unique_ptr<HttpStream> stream =
      tls ? maker_(fd.get()) : MakePlainHttpStream(fd.get());
  if (stream != nullptr) {
    MakeRoom();
    connections_.push_back(std::make_unique<HttpConnection>(
        std::move(fd), std::move(stream), known, &options_, &handler_, now_ms));
    Count(connections_.back().get());
  }
}

bool HttpServer::HasRoom() const {
  return connections_.size() < options_.max_connections ||
         std::any_of(connections_.begin(), connections_.end(),
                     [](const auto& connection) {
                       return connection->dispensability().has_value();
                     });
}

void HttpServer::MakeRoom() {
  if (connections_.size() < options_.max_connections) {
    return;
  }
  const HttpConnection* const dropped =
      MostDispensable(connections_, [](const HttpConnection&) { return true; });
  std::erase_if(connections_, [dropped](const auto& connection) {
    return connection.get() == dropped;
  });
}

bool HttpServer::IsProxy(const HttpPeer& peer) const {
  return options_.is_proxy != nullptr &&
         options_.is_proxy(std::string(HostPart(peer.socket_address)));
}

void HttpServer::Count(HttpConnection* connection) {
  if (options_.max_per_source == 0 || connection->source().has_value() ||
      connection->finished() || !connection->identified()) {
    return;
  }
  const HttpPeer& peer = connection->peer();
  // Without a header a balancer's connections are everybody's.
  const bool everybodys = peer.address == peer.socket_address && IsProxy(peer);
  connection->set_source(everybodys ? ""
                                    : SourceNetwork(HostPart(peer.address)));
  const std::string& source = *connection->source();
  if (source.empty() || connections_.size() * 2 <= options_.max_connections) {
    return;
  }
  const auto is_its = [&source](const HttpConnection& other) {
    return !other.finished() && other.source() == source;
  };
  const auto num =
      std::count_if(connections_.begin(), connections_.end(),
                    [&is_its](const auto& other) { return is_its(*other); });
  if (static_cast<size_t>(num) <= options_.max_per_source) {
    return;
  }
  const auto is_another = [&](const HttpConnection& other) {
    return is_its(other) && &other != connection;
  };
  HttpConnection* const other = MostDispensable(connections_, is_another);
  (other != nullptr ? other : connection)->Drop();
}

void HttpServer::DropFinished() {
  std::erase_if(connections_,
                [](const auto& connection) { return connection->finished(); });
}

void HttpServer::RetireConnections(int64_t now_ms) {
  for (const auto& connection : connections_) {
    connection->Retire(now_ms);
  }
}

void HttpServer::Close() {
  connections_.clear();
  listener_.Close();
}

}  // namespace spicegate
