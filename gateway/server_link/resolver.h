// SPDX-License-Identifier: Apache-2.0
//
// Names of servers to addresses. getaddrinfo(3) blocks, so it has threads of
// its own; workers ask and are told later.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_RESOLVER_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_RESOLVER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gateway/io/listen.h"

namespace spicegate {

// Addresses in the order to try them; empty when the name does not resolve.
using Addresses = std::vector<SocketAddress>;

class Resolver {
 public:
  // Called once, on a thread of the resolver. Posts to a mailbox, no more.
  using Done = std::function<void(Addresses)>;

  // A name server that does not answer holds one thread for long; the others
  // go on meanwhile.
  explicit Resolver(int num_threads = 4);
  // As Stop.
  ~Resolver() { Stop(); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // No `done` is called after it returns. Does not wait for look-ups under
  // way, which a dead name server can hold for a minute.
  void Stop();

  // Any thread; never blocks. A request that nobody waits for any more at
  // `deadline_ms` (MonotonicMs) is dropped before it is looked up; requests for
  // the same name share one look-up. Beyond kMaxQueuedNames `done` is called at
  // once with nothing.
  void Resolve(const std::string& host, uint16_t port, int64_t deadline_ms,
               Done done);

  static constexpr size_t kMaxQueuedNames = 4096;

 private:
  using Name = std::pair<std::string, uint16_t>;

  // Everybody who waits for one name.
  struct Request {
    int64_t deadline_ms = 0;  // the latest of them
    std::vector<Done> waiting;
  };

  // Shared with the threads, which may outlive the resolver in a look-up.
  struct State {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<Name> queue;  // names to look up, oldest first
    std::map<Name, Request> requests;
    bool stopping = false;
  };

  static void Work(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_RESOLVER_H_
