// SPDX-License-Identifier: Apache-2.0
//
// Client connections that are not yet channels: in the door, or waiting for
// their server. Each has a coroutine that runs to its end; the table is how
// the worker reaches them when it stops.
#ifndef SPICEGATE_GATEWAY_SESSION_OPENING_H_
#define SPICEGATE_GATEWAY_SESSION_OPENING_H_

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include "gateway/base/slab.h"
#include "gateway/io/leg.h"

namespace spicegate {

// Names the early dial (early_dial.h) of an opening: where it was accepted, its
// place in the table there, and the worker that dials.
struct EarlyDialId {
  int home = -1;    // the worker that dials; -1: no early dial
  int worker = -1;  // the one that accepted
  Handle opening;

  explicit operator bool() const { return home >= 0; }
  friend bool operator==(const EarlyDialId&, const EarlyDialId&) = default;
  template <typename H>
  friend H AbslHashValue(H hash, const EarlyDialId& id) {
    return H::combine(std::move(hash), id.worker, id.opening.slot,
                      id.opening.generation);
  }
};

struct Opening {
  Leg client;
  std::string client_address;
  EarlyDialId early_dial;  // not yet taken; whoever ends the opening drops it
  // The server's leg while it is being made; owned by the coroutine.
  Leg* server = nullptr;
  // A display whose ticket the server has: it may not be given up
  // (docs/architecture.md), not even to stop.
  bool committed = false;
};

class OpeningTable {
 public:
  explicit OpeningTable(size_t capacity) : openings_(capacity) {}

  // Null when the table is full.
  Handle Add(Leg client, std::string client_address) {
    const Handle handle = openings_.Emplace();
    if (Opening* opening = openings_.Get(handle)) {
      opening->client = std::move(client);
      opening->client_address = std::move(client_address);
    }
    return handle;
  }

  // Valid until Remove: the coroutine of an opening may keep the pointer.
  Opening* Get(Handle handle) { return openings_.Get(handle); }
  void Remove(Handle handle) { openings_.Erase(handle); }
  size_t size() const { return openings_.size(); }

  // Ends the waits of one opening, unless it is committed; harmless when it is
  // gone. Its coroutine then comes to its end by itself.
  void Interrupt(Handle handle) {
    if (Opening* opening = openings_.Get(handle)) {
      Interrupt(opening, /*committed_too=*/false);
    }
  }

  // The same for all, and with `committed_too` without exception.
  void InterruptAll(bool committed_too) {
    for (const Handle handle : openings_.Handles()) {
      if (Opening* opening = openings_.Get(handle)) {
        Interrupt(opening, committed_too);
      }
    }
  }

 private:
  static void Interrupt(Opening* opening, bool committed_too) {
    if (opening->committed && !committed_too) {
      return;
    }
    if (opening->client.socket != nullptr) {
      opening->client.socket->Interrupt(-ECANCELED);
    }
    if (opening->server != nullptr && opening->server->socket != nullptr) {
      opening->server->socket->Interrupt(-ECANCELED);
    }
  }

  Slab<Opening> openings_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_OPENING_H_
