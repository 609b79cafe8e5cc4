// SPDX-License-Identifier: Apache-2.0
//
// One pinned thread with everything it needs: ring, timers, mailbox, listeners
// of its own, the door for what they accept, and the sessions whose home it
// is. Workers share nothing but what SharedState holds.
#ifndef SPICEGATE_GATEWAY_WORKER_H_
#define SPICEGATE_GATEWAY_WORKER_H_

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "gateway/auth/link_key.h"
#include "gateway/auth/vault.h"
#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/base/mailbox.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/base/unique_fd.h"
#include "gateway/console/host_patterns.h"
#include "gateway/console/policy.h"
#include "gateway/control_mail.h"
#include "gateway/door/client_link.h"
#include "gateway/io/acceptor.h"
#include "gateway/io/spinner.h"
#include "gateway/io/uring_driver.h"
#include "gateway/own_places.h"
#include "gateway/relay/buffer_pool.h"
#include "gateway/relay/pipe_pool.h"
#include "gateway/server_link/name_lookup.h"
#include "gateway/server_link/own_sockets.h"
#include "gateway/server_link/resolver.h"
#include "gateway/server_link/target_table.h"
#include "gateway/session/connect_access.h"
#include "gateway/session/connection_index.h"
#include "gateway/session/early_dial.h"
#include "gateway/session/opener.h"
#include "gateway/session/opening.h"
#include "gateway/session/passage.h"
#include "gateway/session/refusal_log.h"
#include "gateway/session/registry.h"
#include "gateway/tls/kernel_tls.h"

namespace spicegate {

class Worker;

// What all workers use. Made before the first one starts, outlives the last.
struct SharedState {
  Limits limits;                          // max_links is definite here
  GuardMode guard = GuardMode::kEnforce;  // of places that are no console's
  PolicySet policies;  // that a ticket may have been issued with
  MigrationSettings migrations;
  OffloadPolicy offload;
  TicketVault* vault = nullptr;
  Resolver* resolver = nullptr;
  // For names that anybody may make us look up: they hold up each other only.
  Resolver* strangers_resolver = nullptr;
  ControlMail* control = nullptr;
  ConnectionIndex connections;
  OwnSockets own_sockets;
  std::vector<Worker*> workers;        // complete before any is started
  std::atomic<int64_t> links_open{0};  // client connections of the process
};

// What can change while workers run. Each value is immutable; a link keeps the
// one it began with.
struct WorkerSettings {
  std::shared_ptr<const TargetTable> targets;
  std::shared_ptr<const ServerTlsContext> tls;  // null without a TLS listener
  std::shared_ptr<const LinkKey> link_key;
  // Both null without a CONNECT listener.
  std::shared_ptr<const ConnectSettings> connect;
  std::shared_ptr<const OwnPlaces> own_places;
};

// A link whose ticket was accepted elsewhere, on its way to its session's home.
struct MovedLink {
  Leg client;
  std::string client_address;
  EarlyDialId early_dial;
  ClientLink link;
  TicketClaim ticket;
  std::unique_ptr<Passage> passage;  // where it came by CONNECT
};

// The same for a tunnel.
struct MovedTunnel {
  Leg client;
  std::string client_address;
  std::unique_ptr<Passage> passage;
};

// An early dial whose link did not come to its home.
struct DropEarlyDial {
  EarlyDialId id;
};

struct ResolvedName {
  Handle lookup;
  Addresses addresses;
  bool of_stranger = false;  // who asked: SharedState's two resolvers
};

// An answer to an AccessRequest.
struct GivenAccess {
  Handle inquiry;
  ServerAccess access;
};

// Ends the sessions of a console; answered with Disconnected.
struct DisconnectRequest {
  std::string console;
  uint64_t id = 0;
};

// Sent once every worker has been started: a link may be moved to any of them.
struct AcceptRequest {};

struct StopRequest {};

using WorkerMessage =
    std::variant<EarlyDialRequest, DropEarlyDial, MovedLink, MovedTunnel,
                 ResolvedName, GivenAccess, DisconnectRequest, WorkerSettings,
                 AcceptRequest, StopRequest>;

class Worker {
 public:
  struct ListenerOptions {
    UniqueFd fd;
    bool tls = false;
    bool need_secured = false;
    bool connect = false;         // HTTP CONNECT comes before SPICE
    bool proxy_protocol = false;  // a PROXY header comes before all
    HostPatterns proxy_from;      // ... from these; empty: from everybody
  };

  struct Options {
    int index = 0;
    int cpu = -1;          // to run on; -1: wherever
    int64_t spin_us = 0;   // SpinPolicy's budget
    size_t max_pipes = 0;  // to splice through; 0: everything is copied
    std::vector<ListenerOptions> listeners;
    WorkerSettings settings;
  };

  Worker(Options options, SharedState* shared);
  // Joins the thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the thread; returns once its ring is made. It accepts nothing
  // before an AcceptRequest.
  absl::Status Start();

  // Any thread.
  void Post(WorkerMessage message);

  // Waits for the thread, after a StopRequest.
  void Join();

  // Drops what was posted too late. Once every worker has been joined: a link
  // on its way still refers to the driver of the worker that sent it.
  void DropMail() { mailbox_.TakeAll(); }

  // Any thread, as long as the worker exists.
  const WorkerCounters& counters() const { return counters_; }

 private:
  // What lives on the thread, made and destroyed there.
  struct Engine;

  void Run(std::promise<absl::Status>* started);

  const int index_;
  const int cpu_;
  const int64_t spin_us_;
  const size_t max_pipes_;
  SharedState* const shared_;
  WorkerCounters counters_;
  Mailbox<WorkerMessage> mailbox_;
  std::vector<ListenerOptions> listeners_;
  WorkerSettings settings_;
  // Made by the thread, and kept until the worker goes so that a late Post
  // finds it.
  std::unique_ptr<UringDriver> driver_;
  std::thread thread_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_WORKER_H_
