// SPDX-License-Identifier: Apache-2.0
//
// An HTTP or HTTPS server on one TCP address or unix socket, run by the control
// thread inside its own poll(2) loop. Nothing blocks; connections, what they
// may keep in memory, their time, and the work of one turn of the loop are
// bounded.
//
//   while (!stopping) {
//     std::vector<pollfd> fds = {...};           // the loop's own
//     const size_t first = fds.size();
//     server.AddPollFds(&fds);
//     poll(fds.data(), fds.size(), server.NextDeadlineMs() - now, ...);
//     server.HandlePollFds(std::span(fds).subspan(first), MonotonicMs());
//   }
#ifndef SPICEGATE_GATEWAY_HTTP_HTTP_SERVER_H_
#define SPICEGATE_GATEWAY_HTTP_HTTP_SERVER_H_

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gateway/base/address.h"
#include "gateway/base/unique_fd.h"
#include "gateway/http/http_handler.h"
#include "gateway/http/http_listener.h"
#include "gateway/http/http_stream.h"

namespace spicegate {

class HttpConnection;

struct HttpServerOptions {
  std::string name = "HTTP address";  // what errors of Listen begin with
  int backlog = 16;                   // of listen(2)

  size_t max_connections = 64;
  // Once half of the places are taken, who has as many connections loses one
  // of them for a new one, or gets none. One who is an IPv4 address or a /64
  // of IPv6. 0: no bound.
  size_t max_per_source = 0;

  // In one turn of the loop, so that a flood does not keep it from what else
  // it has to do: connections accepted, steps of TLS handshakes (a millisecond
  // or two each), and requests handled, what is read of them included. Who had
  // to wait is first in the next turn.
  int accepts_per_turn = 16;
  int handshakes_per_turn = 16;
  int requests_per_turn = 64;

  // From accept to the end of the TLS handshake, PROXY header included.
  int64_t handshake_ms = 5'000;
  // From a request's first byte to its last, and from the first byte of an
  // answer to its last.
  int64_t request_ms = 10'000;
  // From a request's last byte to the first of its answer; then it is `late`.
  int64_t answer_ms = 5'000;
  // Kept open between requests.
  int64_t idle_ms = 75'000;

  // What is answered to requests that no handler gets to see: 400, 408, 413,
  // 414, 417, 431, 501, 505, with a few words of ours.
  HttpResponse (*error)(int status, std::string_view text) = HttpError;
  // The answer when there is none in time.
  HttpResponse late = HttpError(503, "no answer in time");

  // Every connection begins with a PROXY header, in front of TLS too, and
  // comes from who `is_proxy`; others are closed without a word.
  bool proxy_protocol = false;
  // Whether a balancer of ours has that address ("1.2.3.4", "2001:db8::1"),
  // whose connections are many users'; they count for no source. Null: nobody.
  std::function<bool(const std::string& host)> is_proxy;
};

class HttpServer {
 public:
  HttpServer(HttpServerOptions options, HttpHandler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Bind and listen; call one of both, once. Errors name the address. `maker`
  // gives each connection its TLS, null for plain HTTP; what it needs outlives
  // the server. See HttpListener for what they do.
  absl::Status ListenTcp(const BindAddress& address,
                         HttpStreamMaker maker = nullptr);
  absl::Status ListenUnix(const std::string& path,
                          HttpStreamMaker maker = nullptr);

  // "127.0.0.1:9480" with the port that the kernel chose, or
  // "unix:/run/spicegate/admin.sock".
  const std::string& address() const { return listener_.address(); }

  // Appends what poll(2) is to watch now.
  void AddPollFds(std::vector<pollfd>* fds) const;

  // Takes exactly the entries that the last AddPollFds appended, after poll.
  // Call it after a timeout too: deadlines are kept here.
  void HandlePollFds(std::span<const pollfd> fds, int64_t now_ms);

  // Monotonic time at which HandlePollFds has something to do even if no
  // descriptor is ready; INT64_MAX when there is nothing. An answer that is
  // given later makes it 0, so ask again before each poll(2).
  int64_t NextDeadlineMs() const;

  // Whom to let in has changed: lets no connection of before ask again. Those
  // that wait for an answer get it.
  void RetireConnections(int64_t now_ms);

  // Stops listening, removes the socket file and drops all connections. The
  // destructor does the same.
  void Close();

  size_t num_connections() const { return connections_.size(); }

 private:
  void AcceptAll(int64_t now_ms);
  void Add(UniqueFd fd, std::string peer, int64_t now_ms);
  // Whether one more connection fits, if need be in place of another one.
  bool HasRoom() const;
  // When all places are taken, drops the connection that has been in its
  // handshake for longest or, when there is none, the one that has been idle
  // for longest; only after HasRoom. Who never completes a handshake cannot
  // push out who did.
  void MakeRoom();
  bool IsProxy(const HttpPeer& peer) const;
  // Counts a connection for its source, once that is known; drops one of a
  // source that has too many.
  void Count(HttpConnection* connection);
  void DropFinished();

  const HttpServerOptions options_;
  const HttpHandler handler_;
  HttpListener listener_;
  HttpStreamMaker maker_;
  int64_t accept_paused_until_ms_ = 0;
  std::vector<std::unique_ptr<HttpConnection>> connections_;
  size_t first_ = 0;  // whose turn it is
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_HTTP_SERVER_H_
