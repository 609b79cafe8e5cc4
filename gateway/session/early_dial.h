// SPDX-License-Identifier: Apache-2.0
//
// Dialling a session's server while a further channel's client still sends its
// ticket. The link message names the session long before the ticket proves
// anything, and linking with the server up to its reply commits to nothing and
// tells the server nothing secret. So the home worker begins then:
//
//   link message here --Begin--> dialling ----> linked --Take--> the opener's
//                                   |              |
//                                   +-----Drop-----+   bad ticket, client gone,
//                                                      session over, too late
//
// Nobody may make the gateway dial by guessing: the session must live, have
// exactly this connection_id, and its main channel must come from the same
// client address. A session has room for kMaxEarlyDials, and only one that was
// taken gives its place back.
#ifndef SPICEGATE_GATEWAY_SESSION_EARLY_DIAL_H_
#define SPICEGATE_GATEWAY_SESSION_EARLY_DIAL_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "gateway/base/task.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/door/client_link.h"
#include "gateway/server_link/server_link.h"
#include "gateway/session/connection_index.h"
#include "gateway/session/opening.h"
#include "gateway/session/registry.h"

namespace spicegate {

// What a client's link asks of its server.
ServerLinkRequest RequestFor(const ClientLink& link);

// When a link over `route`, begun now, is to be through: at a migration's
// destination early enough for its client, whose main waits for it.
int64_t GiveUpTime(const Route& route, int64_t now_ms, const Limits& limits);

// Goes as a message from where the link was accepted to its session's home.
struct EarlyDialRequest {
  EarlyDialId id;
  Handle session;
  std::string client_address;
  ServerLinkRequest link;
  int64_t deadline_ms = 0;  // monotonic: the client's for its ticket
};

class EarlyDials;

// A server link that is being opened, or is open up to the server's reply.
class EarlyDial {
 public:
  class Outcome;

  EarlyDial(const EarlyDial&) = delete;
  EarlyDial& operator=(const EarlyDial&) = delete;

  ServerLink* link() { return &link_; }

  // `ServerLink::Failure f = co_await dial->Opened()`, for whoever took it.
  Outcome Opened();

 private:
  friend class EarlyDials;

  EarlyDial(EarlyDials* owner, const ServerLinkContext& context, Route route,
            int64_t give_up_ms, EarlyDialId id, Handle session)
      : owner_(owner),
        id_(id),
        session_(session),
        destination_of_(std::move(route.destination_of)),
        link_(context, std::move(route.target), give_up_ms) {}

  static void OnDeadline(void* self);
  bool failed() const { return outcome_.has_value() && outcome_->has_value(); }

  EarlyDials* const owner_;
  const EarlyDialId id_;
  const Handle session_;
  const std::shared_ptr<Migration> destination_of_;
  ServerLink link_;
  Timer deadline_{&EarlyDial::OnDeadline, this};
  std::optional<ServerLink::Failure> outcome_;  // once it is over
  std::coroutine_handle<> waiting_;
};

// Those of the sessions at home on one worker; its thread's alone.
class EarlyDials final : private SessionWatcher {
 public:
  // Watches the registry. All outlive it; `worker` is this one's number.
  EarlyDials(const ServerLinkContext& server, SessionRegistry* registry,
             ConnectionIndex* index, int worker);
  ~EarlyDials();
  EarlyDials(const EarlyDials&) = delete;
  EarlyDials& operator=(const EarlyDials&) = delete;

  // Dials, or counts why not. The client is told nothing either way.
  void Begin(EarlyDialRequest request);

  // The dial of an opening whose ticket was accepted for `session`, and that
  // goes to its server or a migration's destination. Null when there is none,
  // or none of use: it is gone then.
  std::shared_ptr<EarlyDial> Take(EarlyDialId id, Handle session,
                                  const Migration* destination_of);

  // Harmless when there is none.
  void Drop(EarlyDialId id);
  void DropAll();

  // Nothing is under way, not even what was dropped.
  bool done() const { return num_running_ == 0; }

 private:
  friend class EarlyDial;

  // SessionWatcher.
  void OnSessionNamed(Handle session, uint32_t connection_id) override;
  void OnSessionEnding(Handle session, uint32_t connection_id) override;

  bool IsWelcome(const Session* session, const EarlyDialRequest& request) const;
  Task<void> Run(std::shared_ptr<EarlyDial> dial, ServerLinkRequest request);
  void Count(EarlyDialOutcome outcome);

  const ServerLinkContext server_;
  SessionRegistry* const registry_;
  ConnectionIndex* const index_;
  const int worker_;
  // Not taken and not dropped. A task keeps its dial until it has ended.
  absl::flat_hash_map<EarlyDialId, std::shared_ptr<EarlyDial>> dials_;
  size_t num_running_ = 0;
};

class EarlyDial::Outcome {
 public:
  explicit Outcome(EarlyDial* dial) : dial_(dial) {}
  bool await_ready() const noexcept { return dial_->outcome_.has_value(); }
  void await_suspend(std::coroutine_handle<> awaiting) {
    dial_->waiting_ = awaiting;
  }
  ServerLink::Failure await_resume() const { return *dial_->outcome_; }

 private:
  EarlyDial* const dial_;
};

inline EarlyDial::Outcome EarlyDial::Opened() { return Outcome(this); }

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_EARLY_DIAL_H_
