// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/resolver.h"

#include <netdb.h>
#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "gateway/base/clock.h"

namespace spicegate {
namespace {

Addresses LookUp(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  Addresses addresses;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) !=
      0) {
    return addresses;
  }
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.len = info->ai_addrlen;
  }
  freeaddrinfo(found);
  return addresses;
}

}  // namespace

Resolver::Resolver(int num_threads) : state_(std::make_shared<State>()) {
  for (int i = 0; i < num_threads; ++i) {
    std::thread([state = state_] {
      pthread_setname_np(pthread_self(), "resolver");
      Work(state);
    }).detach();
  }
}

void Resolver::Stop() {
  {
    // An answer is given under this lock: behind it there is none.
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->queue.clear();
    state_->requests.clear();
  }
  state_->wake.notify_all();
}

void Resolver::Resolve(const std::string& host, uint16_t port,
                       int64_t deadline_ms, Done done) {
  const Name name(host, port);
  {
    const std::lock_guard lock(state_->mutex);
    const bool known = state_->requests.contains(name);
    if (!state_->stopping &&
        (known || state_->requests.size() < kMaxQueuedNames)) {
      Request& request = state_->requests[name];
      request.deadline_ms = std::max(request.deadline_ms, deadline_ms);
      request.waiting.push_back(std::move(done));
      if (known) {
        return;
      }
      state_->queue.push_back(name);
      done = nullptr;
    }
  }
  if (done != nullptr) {
    done({});
    return;
  }
  state_->wake.notify_one();
}

void Resolver::Work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->wake.wait(
        lock, [&state] { return state->stopping || !state->queue.empty(); });
    if (state->stopping) {
      return;
    }
    const Name name = std::move(state->queue.front());
    state->queue.pop_front();
    Addresses addresses;
    if (state->requests[name].deadline_ms > MonotonicMs()) {
      lock.unlock();
      addresses = LookUp(name.first, name.second);
      lock.lock();
    }
    // Taken only now: who asks meanwhile shares the answer. Empty when stopped.
    const auto request = state->requests.extract(name);
    if (!request.empty()) {
      for (const Done& done : request.mapped().waiting) {
        done(addresses);
      }
    }
  }
}

}  // namespace spicegate
