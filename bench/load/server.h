// SPDX-License-Identifier: Apache-2.0
//
// The synthetic SPICE server: any number of consoles behind one address. Each
// main link opens a session of its own; the other links name it. What is sent
// is what the client's commands ask for (command.h).
#ifndef SPICEGATE_BENCH_LOAD_SERVER_H_
#define SPICEGATE_BENCH_LOAD_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "bench/load/address.h"
#include "bench/load/connection.h"
#include "bench/load/tls.h"
#include "gateway/auth/link_key.h"

namespace spicegate {

class ServerChannel;

struct ServerOptions {
  std::string ticket;  // What a link has to present.
  bool tls = false;
};

class Server {
 public:
  // Everything is borrowed and outlives the server.
  Server(Shared* shared, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Listens for links, or, with `raw`, for connections whose data stage begins
  // at once. "" or what is wrong; *bound is then the real address.
  std::string Listen(const Address& address, bool raw, Address* bound);

  // Bytes of the data stages, of the channels that are open too.
  SideBytes bytes() const;
  size_t num_channels() const { return channels_.size(); }

  // ---- For its channels.
  const ServerOptions& options() const { return options_; }
  const TlsContext* tls() const { return tls_.get(); }
  const LinkKey& key() const { return *key_; }
  uint32_t OpenSession();
  bool HasSession(uint32_t id) const { return sessions_.count(id) != 0; }
  void EndSession(uint32_t id) { sessions_.erase(id); }
  void Remove(ServerChannel* channel);

 private:
  class Listener;

  void Accept(int fd, bool raw);

  Shared* const shared_;
  const ServerOptions options_;
  std::shared_ptr<const LinkKey> key_;
  std::unique_ptr<TlsContext> tls_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<ServerChannel>> channels_;
  std::unordered_set<uint32_t> sessions_;
  uint32_t next_session_ = 1;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_SERVER_H_
