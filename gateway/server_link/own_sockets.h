// SPDX-License-Identifier: Apache-2.0
//
// Our ends of the connections to servers that are watched for connections of
// others (gateway/qmp/): what a server names as its peer is ours, or somebody
// has gone around the gateway.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_OWN_SOCKETS_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_OWN_SOCKETS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "gateway/io/listen.h"

namespace spicegate {

// Any thread. Workers hold its lock for one lookup for each such connection.
class OwnSockets {
 public:
  // An address and port, IPv4 as ::ffff:a.b.c.d.
  using Place = std::array<uint8_t, 18>;

  // Of a connected TCP socket; nothing for others.
  static std::optional<Place> PlaceOf(const SocketAddress& local);

  // Whether anybody asks: until then nothing needs to be marked.
  void set_wanted() { wanted_.store(true, std::memory_order_relaxed); }
  bool wanted() const { return wanted_.load(std::memory_order_relaxed); }

  // From now on, and until kKeptMs after the last Drop. All times monotonic.
  void Add(const Place& place);
  void Drop(const Place& place, int64_t now_ms);

  // `host` is a numeric address as a server wrote it.
  bool Has(const std::string& host, uint16_t port, int64_t now_ms);

  // A server may tell of a connection that has ended meanwhile.
  static constexpr int64_t kKeptMs = 10'000;

 private:
  struct Entry {
    int num_users = 0;
    int64_t ended_ms = 0;  // without users: when the last one went
  };

  void Sweep(int64_t now_ms);

  std::atomic<bool> wanted_{false};
  std::mutex mutex_;
  absl::flat_hash_map<Place, Entry> places_;
  int64_t next_sweep_ms_ = 0;
};

// One connection of ours, as long as the mark lives.
class OwnSocketMark {
 public:
  OwnSocketMark() = default;
  // Of a connected socket; nothing is marked where it is not TCP, or nobody
  // asks. `sockets`, which may be null, outlives the mark.
  OwnSocketMark(OwnSockets* sockets, int fd);
  OwnSocketMark(OwnSocketMark&& other) noexcept
      : sockets_(std::exchange(other.sockets_, nullptr)),
        place_(other.place_) {}
  OwnSocketMark& operator=(OwnSocketMark&& other) noexcept;
  ~OwnSocketMark() { Release(); }

  explicit operator bool() const { return sockets_ != nullptr; }

 private:
  void Release();

  OwnSockets* sockets_ = nullptr;
  OwnSockets::Place place_{};
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_OWN_SOCKETS_H_
