// SPDX-License-Identifier: Apache-2.0
//
// The bypass audit of one console: which channels of its server did not come
// through the gateway. A channel is known by its peer, which for ours is the
// address of one of the gateway's sockets.
//
// Pure: told what was seen, and when; asks IsOurs; does nothing itself.
//
// A peer on a unix socket has no address (QEMU says host "localhost", port ""):
// such channels cannot be told apart, so they are passed over and never
// counted. Who may open that socket is the file system's business.
#ifndef SPICEGATE_GATEWAY_QMP_FOREIGN_CHANNELS_H_
#define SPICEGATE_GATEWAY_QMP_FOREIGN_CHANNELS_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gateway/qmp/qmp_protocol.h"

namespace spicegate {

// Whether a peer of a server, as that sees it, is a socket of the gateway: now,
// or in the last 10 s. IPv4 in IPv6 comes as IPv4.
using IsOurs = std::function<bool(const std::string& host, uint16_t port)>;

class ForeignChannels {
 public:
  // From when a channel is seen until it is judged: QEMU may tell of a channel
  // before the worker that opened it has said whose socket it is.
  static constexpr int64_t kJudgeAfterMs = 1'000;

  // Channels remembered. Beyond that a new one is left out, not counted: only
  // a QEMU that invents them comes so far.
  static constexpr size_t kMaxChannels = 2 * kMaxQmpChannels;

  // One that did not come through the gateway.
  struct Foreign {
    std::string host;
    uint16_t port = 0;
    int channel_type = 0;
    int channel_id = 0;
  };

  // A channel has been opened.
  void Opened(const QmpChannel& channel, int64_t now_ms);

  // All channels from that peer are closed. One that is not yet judged will be.
  void Closed(const QmpAddress& peer);

  // What query-spice lists: these are open and no others.
  void Listed(const std::vector<QmpChannel>& channels, int64_t now_ms);

  // Judges what was seen long enough ago. Each foreign channel is returned
  // once, however often and from wherever it is told of.
  std::vector<Foreign> Judge(int64_t now_ms, const IsOurs& is_ours);

  // When Judge has something to do; INT64_MAX: never.
  int64_t deadline_ms() const { return judge_at_ms_; }

  // Channels that are open as far as is known, those on unix sockets too.
  size_t num_open() const { return num_unix_ + num_tcp_open(); }

 private:
  struct Key {
    std::string host;
    uint16_t port = 0;
    int channel_type = 0;
    int channel_id = 0;
    uint32_t connection_id = 0;

    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Seen {
    int64_t judge_at_ms = 0;
    bool judged = false;
    bool open = true;
  };

  static bool MakeKey(const QmpChannel& channel, Key* key);
  size_t num_tcp_open() const;
  // Forgets what is judged and over.
  void Forget();

  std::map<Key, Seen> channels_;
  int64_t judge_at_ms_ = INT64_MAX;  // of the first that is to be judged
  size_t num_unix_ = 0;              // of the last list
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_FOREIGN_CHANNELS_H_
