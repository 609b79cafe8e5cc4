// SPDX-License-Identifier: Apache-2.0
//
// What an HttpServer asks of whoever answers its requests.
#ifndef SPICEGATE_GATEWAY_HTTP_HTTP_HANDLER_H_
#define SPICEGATE_GATEWAY_HTTP_HTTP_HANDLER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "gateway/http/http.h"

namespace spicegate {

// Where the server listens, as far as it matters to who is let in: browsers
// reach IP addresses, with any page's script behind them, but no unix socket.
// kNetwork is every IP address that is not loopback.
enum class HttpTransport : uint8_t { kLoopback, kUnix, kNetwork };

// Addresses are "1.2.3.4:567" or "[2001:db8::1]:567", an IPv4 address inside an
// IPv6 one is written as IPv4; empty for a unix socket.
struct HttpPeer {
  // Whose connection it is: what the PROXY header says where there is one that
  // names an address, else socket_address.
  std::string address;
  std::string socket_address;  // who connected to us
  bool tls = false;            // to us; what a balancer has is not known here
  HttpTransport transport = HttpTransport::kLoopback;
};

// The answer to one request. The first call counts, further ones and those
// behind the deadline do nothing. On the server's thread, from inside the
// handler or later, even after the server's end.
using HttpRespond = std::function<void(HttpResponse)>;

// Answers one request by `respond`. The references hold for the call only:
// copy `respond` to answer later. Must not block, and must not call the server.
// A HEAD request is answered as its GET: the server leaves the body out.
using HttpHandler = std::function<void(
    const HttpRequest& request, const HttpPeer& peer, const HttpRespond&)>;

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_HTTP_HANDLER_H_
