// SPDX-License-Identifier: Apache-2.0
//
// HTTP requests to other services (Keystone, Nova, brokers), made by libcurl on
// the control thread's poll(2) loop. Nothing blocks, names are resolved on
// threads of libcurl's, each request has one deadline for everything and a
// bound on what is taken of its answer. Redirections are answers like any
// other: nobody's secret goes where an answer says.
#ifndef SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_CLIENT_H_
#define SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_CLIENT_H_

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace spicegate {

// Calls that wait or run, of one client; of those that run, for one scheme,
// host and port, each with a connection of its own; and kept connections.
inline constexpr size_t kMaxHttpCalls = 4096;
inline constexpr size_t kMaxHttpCallsPerOrigin = 32;
inline constexpr size_t kMaxHttpConnections = 64;

// With nothing to do for this long a client closes its connections.
inline constexpr int64_t kHttpKeptMs = 30'000;

struct HttpCall {
  std::string method = "GET";  // or "POST"
  std::string url;             // http: or https:
  // Names and values as they are sent. Values may be secret: they are neither
  // logged nor repeated in an error.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;         // of a POST; may be secret
  std::string ca_path;      // PEM file; empty: the system's trust store
  int64_t deadline_ms = 0;  // from now to the answer's last byte; above 0
  size_t max_body_bytes = 64 * 1024;
};

struct HttpAnswer {
  int status = 0;  // of the final answer, 1xx never
  // Names in lower case, in the order in which they came.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  // The value of the first header `name` (lower case), or null.
  const std::string* Header(std::string_view name) const;
};

// Payload of an Unavailable status: there was no connection, so that whatever
// the call would have done has not been done.
inline constexpr char kNothingSent[] = "spicegate/nothing-sent";

// Payload of a ResourceExhausted or DeadlineExceeded status: the call was never
// begun, for others before it. It says nothing of the service.
inline constexpr char kNeverBegun[] = "spicegate/never-begun";

// Control thread only.
class HttpClient {
 public:
  // Whatever came as a whole HTTP answer is OK, errors of its status too. Else
  // DeadlineExceeded, ResourceExhausted (more than max_body_bytes, headers
  // beyond all bounds, or more than kMaxHttpCalls, with kNeverBegun),
  // Unavailable (no connection, name or route, with kNothingSent; or it was cut
  // off), FailedPrecondition (the peer's certificate, the CA file) or
  // InvalidArgument (the URL, or headers that cannot be sent). The message
  // names the host and what went wrong, never path, query, headers or body.
  using Done = std::function<void(absl::StatusOr<HttpAnswer>)>;

  // `user_agent` is what the header of that name says.
  explicit HttpClient(std::string user_agent = "spicegate");
  // Calls nobody back any more.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // `done` is called by HandlePollFds, never inside this call, exactly once;
  // it may start further calls. Connections are kept and used again.
  void Start(HttpCall call, Done done);

  // As AdminServer's: what poll(2) is to watch, then exactly those entries,
  // after a timeout too; INT64_MAX when there is nothing to wait for.
  void AddPollFds(std::vector<pollfd>* fds) const;
  void HandlePollFds(std::span<const pollfd> fds, int64_t now_ms);
  int64_t NextDeadlineMs() const;

  size_t num_running() const;
  // Connections made since the start; calls may share one.
  uint64_t num_connections() const;

  // Drops everything under way without a word. Not inside a `done`.
  void Close();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_CLIENT_H_
