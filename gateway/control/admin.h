// SPDX-License-Identifier: Apache-2.0
//
// The admin address: HTTP or HTTPS on a TCP address or a unix socket, run by
// the control thread inside its own poll(2) loop. Nothing blocks, connections
// are bounded and each has deadlines.
//
//   while (!stopping) {
//     std::vector<pollfd> fds = {...};           // the loop's own
//     const size_t first = fds.size();
//     admin.AddPollFds(&fds);
//     poll(fds.data(), fds.size(), admin.NextDeadlineMs() - now, ...);
//     admin.HandlePollFds(std::span(fds).subspan(first), MonotonicMs());
//   }
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_H_

#include <poll.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gateway/base/unique_fd.h"
#include "gateway/control/admin_router.h"
#include "gateway/control/admin_services.h"
#include "gateway/control/admin_stream.h"
#include "gateway/control/config.h"

namespace spicegate {

class AdminConnection;

// A scraper, a portal and an operator keep one or two each.
inline constexpr size_t kMaxAdminConnections = 64;

// From accept to the end of the TLS handshake, client certificate included.
inline constexpr int64_t kAdminHandshakeMs = 5'000;

// From a request's first byte to its last, and from the first byte of an
// answer to its last.
inline constexpr int64_t kAdminRequestMs = 10'000;

// From a request's last byte to the first of its answer, which a service may
// have to ask others for; then it is 503. Above what any of those may take.
inline constexpr int64_t kAdminAnswerMs = 5'000;

// Kept open between requests. Above Prometheus' usual scrape interval of 60 s.
inline constexpr int64_t kAdminIdleMs = 75'000;

class AdminServer {
 public:
  // `services` outlives the server.
  explicit AdminServer(AdminServices* services);
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // Binds and listens; call it once. A unix socket gets mode 0600; a socket
  // file that is left from before is replaced when nobody answers on it, and
  // nothing else is. Errors name the address. `maker` gives each connection
  // its bytes; what it needs outlives the server.
  absl::Status Listen(const AdminConfig& config,
                      AdminStreamMaker maker = MakePlainAdminStream);

  // "127.0.0.1:9480" with the port that the kernel chose, or
  // "unix:/run/spicegate/admin.sock".
  const std::string& address() const { return address_; }

  // Appends what poll(2) is to watch now.
  void AddPollFds(std::vector<pollfd>* fds) const;

  // Takes exactly the entries that the last AddPollFds appended, after poll.
  // Call it after a timeout too: deadlines are kept here.
  void HandlePollFds(std::span<const pollfd> fds, int64_t now_ms);

  // Monotonic time at which HandlePollFds has something to do even if no
  // descriptor is ready; INT64_MAX when there is nothing. A service's answer
  // makes it 0, so ask again before each poll(2).
  int64_t NextDeadlineMs() const;

  // Whom to let in has changed: lets no connection of before ask again. Those
  // that wait for an answer get it.
  void RetireConnections(int64_t now_ms);

  // Stops listening, removes the socket file and drops all connections. The
  // destructor does the same.
  void Close();

  size_t num_connections() const { return connections_.size(); }

 private:
  absl::Status ListenTcp(const BindAddress& address);
  absl::Status ListenUnix(const std::string& path);
  void AcceptAll(int64_t now_ms);
  void Add(UniqueFd fd, int64_t now_ms);
  // Whether one more connection fits, if need be in place of another one.
  bool HasRoom() const;
  // When all places are taken, drops the connection that has been in its
  // handshake for longest or, when there is none, the one that has been idle
  // for longest; only after HasRoom. Who never completes a handshake cannot
  // push out who did.
  void MakeRoom();
  void DropFinished();

  AdminServices* const services_;
  UniqueFd listener_;
  AdminStreamMaker maker_;
  AdminTransport transport_ = AdminTransport::kLoopback;
  std::string address_;
  std::string unix_path_;  // to remove, when it is still ours
  dev_t unix_device_ = 0;
  ino_t unix_inode_ = 0;
  int64_t accept_paused_until_ms_ = 0;
  std::vector<std::unique_ptr<AdminConnection>> connections_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_H_
