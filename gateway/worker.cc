// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/log.h"
#include "gateway/io/listen.h"
#include "gateway/worker_engine.h"

namespace spicegate {
namespace {

// Shown by top -H and in stack traces.
void NameThread(int index) {
  pthread_setname_np(pthread_self(),
                     ("worker-" + std::to_string(index)).c_str());
}

void PinTo(int cpu) {
  if (cpu < 0) {
    return;
  }
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  // A container may forbid it; the worker then runs where it is put.
  sched_setaffinity(0, sizeof(cpus), &cpus);
}

}  // namespace

size_t HomeOf(const TicketDigest& ticket, size_t num_workers) {
  uint64_t hash = 0;
  std::memcpy(&hash, ticket.bytes.data() + sizeof(hash), sizeof(hash));
  return hash % num_workers;
}

Worker::Engine::Engine(Worker* w, UringDriver* d)
    : worker(w),
      shared(w->shared_),
      counters(&w->counters_),
      driver(d),
      settings(w->settings_),
      timers(d->NowMs()),
      buffers(&counters->relay_buffer_bytes),
      pipes(driver, counters, {.max_pipes = w->max_pipes_}),
      spinner(driver, counters, w->spin_us_),
      names(&timers, AskResolver(/*of_stranger=*/false)),
      strangers_names(&timers, AskResolver(/*of_stranger=*/true)),
      access(&timers,
             [this](Handle inquiry, const AccessQuestion& question, int64_t) {
               shared->control->Post(
                   AccessRequest{question, worker->index_, inquiry});
             }),
      server_links{
          driver,          &timers,          &names,  counters,
          &shared->limits, &shared->offload, &access, &shared->own_sockets},
      openings(static_cast<size_t>(shared->limits.max_links)),
      registry({&timers,
                &shared->limits,
                {&buffers, w->max_pipes_ > 0 ? &pipes : nullptr, counters}},
               &openings, &shared->links_open, &shared->migrations),
      early_dials(server_links, &registry, &shared->connections, w->index_),
      opener(server_links, &registry, &openings, &early_dials,
             &shared->policies, shared->guard,
             [this](const TicketClaim& ticket) { return TargetOf(ticket); }),
      tunnel_opener(
          server_links, &registry, &openings,
          [this](const TicketClaim& ticket) { return TargetOf(ticket); }) {
  for (ListenerOptions& listener : worker->listeners_) {
    // What is accepted inherits the options: none of them is set again.
    TuneSocket(listener.fd.get());
    acceptors.push_back(std::make_unique<Acceptor>(
        driver, &timers, &counters->accept_pauses, std::move(listener.fd),
        [this, &listener](int fd) { OnAccept(fd, listener); }));
  }
}

std::optional<ConsoleTarget> Worker::Engine::TargetOf(
    const TicketClaim& ticket) const {
  if (ticket.target() != nullptr) {
    return *ticket.target();
  }
  return settings.targets->Find(ticket.console());
}

NameLookup::Ask Worker::Engine::AskResolver(bool of_stranger) const {
  Resolver* const resolver =
      of_stranger ? shared->strangers_resolver : shared->resolver;
  return [resolver, of_stranger, w = worker](
             Handle lookup, const HostPort& place, int64_t deadline_ms) {
    resolver->Resolve(
        place.host, place.port, deadline_ms,
        [w, of_stranger, lookup](Addresses addresses) {
          w->Post(ResolvedName{lookup, std::move(addresses), of_stranger});
        });
  };
}

bool Worker::Engine::finished() const {
  return stop_deadline_ms.has_value() && openings.size() == 0 &&
         registry.done() && early_dials.done() && driver->OpsInFlight() == 0 &&
         std::all_of(acceptors.begin(), acceptors.end(),
                     [](const auto& acceptor) { return acceptor->stopped(); });
}

int64_t Worker::Engine::SleepMs() const {
  const int64_t sleep_ms = timers.SleepMs();
  return sleep_ms < 0 ? kMaxSleepMs : std::min(sleep_ms, kMaxSleepMs);
}

void Worker::Engine::Loop() {
  bool more = false;
  while (!finished()) {
    if (!more) {
      spinner.BeforeSleep();
    }
    driver->Wait(more ? 0 : SleepMs());
    timers.Advance(driver->NowMs());
    driver->Dispatch();
    TakeMail();
    more = registry.RunTurn();
    if (stop_deadline_ms.has_value()) {
      StopTurn();
      more = registry.RunTurn();
    }
    counters->last_turn_ms.Set(driver->NowMs());
    counters->ops_in_flight.Set(static_cast<int64_t>(driver->OpsInFlight()));
    counters->completions_dropped.Set(driver->StaleCompletions());
  }
}

void Worker::Engine::TakeMail() {
  for (WorkerMessage& message : worker->mailbox_.TakeAll()) {
    std::visit([this](auto& value) { On(std::move(value)); }, message);
  }
}

void Worker::Engine::OnAccept(int fd, const ListenerOptions& listener) {
  const int64_t open =
      shared->links_open.fetch_add(1, std::memory_order_relaxed) + 1;
  Handle opening;
  if (open <= shared->limits.max_links) {
    opening = openings.Add(Leg::Plain(driver, fd), PeerText(fd));
  } else {
    TurnAway(fd, listener);
  }
  if (!opening) {
    shared->links_open.fetch_sub(1, std::memory_order_relaxed);
    counters->links_refused[static_cast<size_t>(CloseReason::kTooManyLinks)]
        .Add(1);
    refusals.Refused(CloseReason::kTooManyLinks, timers.now_ms(), "", "", "");
    return;
  }
  counters->links_accepted.Add(1);
  counters->links_open.Add(1);
  Spawn(ServeAccepted(opening, &listener, ContextFor(opening, listener)));
}

DoorContext Worker::Engine::ContextFor(Handle opening,
                                       const ListenerOptions& listener) {
  DoorContext context;
  context.timers = &timers;
  context.counters = counters;
  context.link_key = settings.link_key;
  context.need_secured = listener.need_secured;
  context.deadline_ms = timers.now_ms() + shared->limits.preauth_deadline_ms;
  if (listener.tls) {
    context.tls = settings.tls;
    context.offload = &shared->offload;
  }
  context.before_ticket = [this, opening](const ClientLink& link,
                                          int64_t deadline_ms) {
    DialEarly(opening, link, deadline_ms);
  };
  return context;
}

Task<void> Worker::Engine::ServeAccepted(Handle handle,
                                         const ListenerOptions* listener,
                                         DoorContext context) {
  if (listener->proxy_protocol) {
    const Refusal refusal =
        co_await ReadClientAddress(handle, listener, &context);
    if (refusal.has_value()) {
      Refuse(handle, *refusal, nullptr, "");
      co_return;
    }
  }
  if (listener->connect) {
    co_await ServeConnect(handle, std::move(context));
  } else {
    co_await ServeLink(handle, std::move(context));
  }
}

Task<void> Worker::Engine::ServeLink(Handle handle, DoorContext context) {
  Opening* opening = openings.Get(handle);
  DoorResult result =
      co_await RunClientLink(&opening->client, std::move(context));
  if (!result.link.has_value()) {
    Refuse(handle, result.refusal, nullptr, "");
    co_return;
  }
  TicketClaim ticket =
      shared->vault->Claim(result.link->ticket, timers.now_ms());
  if (!ticket) {
    co_await SendLinkResult(&opening->client, &timers,
                            proto::LinkError::kPermissionDenied);
    Refuse(handle, CloseReason::kBadTicket, &*result.link, "");
    co_return;
  }
  co_await ServeAtHome(handle, *std::move(result.link), std::move(ticket),
                       nullptr);
}

Task<void> Worker::Engine::ServeAtHome(Handle handle, ClientLink link,
                                       TicketClaim ticket,
                                       std::unique_ptr<Passage> passage) {
  const size_t home = HomeOf(link.ticket, shared->workers.size());
  if (home != static_cast<size_t>(worker->index_)) {
    MoveTo(home, handle, std::move(link), std::move(ticket),
           std::move(passage));
    co_return;
  }
  co_await ServeHere(handle, std::move(link), std::move(ticket),
                     std::move(passage));
}

Task<void> Worker::Engine::ServeHere(Handle handle, ClientLink link,
                                     TicketClaim ticket,
                                     std::unique_ptr<Passage> passage) {
  const std::string console = ticket.console();
  const std::optional<CloseReason> refusal =
      co_await opener.Open(handle, link, std::move(ticket), std::move(passage));
  if (refusal.has_value()) {
    Refuse(handle, *refusal, &link, console);
  } else {
    openings.Remove(handle);
  }
}

void Worker::Engine::DialEarly(Handle handle, const ClientLink& link,
                               int64_t deadline_ms) {
  if (link.channel.type == proto::ChannelType::kMain ||
      link.connection_id == 0) {
    return;
  }
  const auto home = shared->connections.Find(link.connection_id);
  if (!home.has_value()) {
    return;
  }
  Opening* opening = openings.Get(handle);
  opening->early_dial = {home->worker, worker->index_, handle};
  EarlyDialRequest request{opening->early_dial, home->session,
                           opening->client_address, RequestFor(link),
                           deadline_ms};
  if (home->worker == worker->index_) {
    On(std::move(request));
  } else {
    shared->workers[home->worker]->Post(std::move(request));
  }
}

void Worker::Engine::DropDial(Opening* opening) {
  const EarlyDialId id = std::exchange(opening->early_dial, {});
  if (id.home == worker->index_) {
    early_dials.Drop(id);
  } else if (id) {
    shared->workers[id.home]->Post(DropEarlyDial{id});
  }
}

void Worker::Engine::MoveTo(size_t home, Handle handle, ClientLink link,
                            TicketClaim ticket,
                            std::unique_ptr<Passage> passage) {
  Opening* opening = openings.Get(handle);
  // The gauges of both workers add up to the process's.
  counters->links_open.Add(-1);
  // A link may name one session and have the ticket of another.
  if (opening->early_dial.home != static_cast<int>(home)) {
    DropDial(opening);
  }
  shared->workers[home]->Post(MovedLink{std::move(opening->client),
                                        std::move(opening->client_address),
                                        opening->early_dial, std::move(link),
                                        std::move(ticket), std::move(passage)});
  openings.Remove(handle);
}

void Worker::Engine::Refuse(Handle handle, CloseReason reason,
                            const ClientLink* link,
                            const std::string& console) {
  Opening* opening = openings.Get(handle);
  counters->links_refused[static_cast<size_t>(reason)].Add(1);
  counters->links_open.Add(-1);
  shared->links_open.fetch_sub(1, std::memory_order_relaxed);
  std::string channel;
  if (link != nullptr) {
    channel = proto::ChannelName(link->channel.type);
  }
  if (reason != CloseReason::kHealthCheck) {
    refusals.Refused(reason, timers.now_ms(), opening->client_address, channel,
                     console);
  }
  opening->client.Release(reason == CloseReason::kClientReset
                              ? Socket::End::kReset
                              : Socket::End::kFin);
  DropDial(opening);
  openings.Remove(handle);
}

void Worker::Engine::On(EarlyDialRequest request) {
  if (!stop_deadline_ms.has_value()) {
    early_dials.Begin(std::move(request));
  }
}

void Worker::Engine::On(DropEarlyDial dropped) { early_dials.Drop(dropped.id); }

void Worker::Engine::On(MovedLink moved) {
  counters->links_open.Add(1);
  moved.client.socket->Rebind(driver);
  if (moved.passage != nullptr && moved.passage->server) {
    moved.passage->server.socket->Rebind(driver);
  }
  const Handle handle =
      openings.Add(std::move(moved.client), std::move(moved.client_address));
  CHECK(handle);  // the process's limit is the table's capacity
  openings.Get(handle)->early_dial = moved.early_dial;
  if (stop_deadline_ms.has_value()) {
    Refuse(handle, CloseReason::kShutdown, &moved.link, moved.ticket.console());
    return;
  }
  Spawn(ServeHere(handle, std::move(moved.link), std::move(moved.ticket),
                  std::move(moved.passage)));
}

void Worker::Engine::On(ResolvedName resolved) {
  NameLookup& asked = resolved.of_stranger ? strangers_names : names;
  asked.Deliver(resolved.lookup, std::move(resolved.addresses));
}

void Worker::Engine::On(GivenAccess given) {
  access.Deliver(given.inquiry, std::move(given.access));
}

void Worker::Engine::On(DisconnectRequest request) {
  const int64_t num_closed =
      registry.CloseConsole(request.console, CloseReason::kDisconnected);
  shared->control->Post(Disconnected{request.id, num_closed});
}

void Worker::Engine::On(WorkerSettings changed) {
  settings = std::move(changed);
}

void Worker::Engine::On(AcceptRequest) {
  for (const auto& acceptor : acceptors) {
    acceptor->Start();
  }
}

void Worker::Engine::On(StopRequest) {
  if (stop_deadline_ms.has_value()) {
    return;
  }
  stop_deadline_ms = timers.now_ms() + kStopDeadlineMs;
  stop_timer.Arm(&timers, *stop_deadline_ms);
  for (const auto& acceptor : acceptors) {
    acceptor->Stop();
  }
}

void Worker::Engine::StopTurn() {
  // Each turn anew: a link under way may have opened another socket since.
  names.CancelAll();
  strangers_names.CancelAll();
  access.CancelAll();
  const bool overdue = timers.now_ms() >= *stop_deadline_ms;
  openings.InterruptAll(/*committed_too=*/overdue);
  early_dials.DropAll();
  registry.CloseAll(CloseReason::kShutdown);
  if (overdue) {
    registry.GiveUpLingering();
  }
}

Worker::Worker(Options options, SharedState* shared)
    : index_(options.index),
      cpu_(options.cpu),
      spin_us_(options.spin_us),
      max_pipes_(options.max_pipes),
      shared_(shared),
      listeners_(std::move(options.listeners)),
      settings_(std::move(options.settings)) {}

Worker::~Worker() { Join(); }

absl::Status Worker::Start() {
  std::promise<absl::Status> started;
  std::future<absl::Status> status = started.get_future();
  thread_ = std::thread([this, &started] { Run(&started); });
  return status.get();
}

void Worker::Run(std::promise<absl::Status>* started) {
  NameThread(index_);
  PinTo(cpu_);
  auto driver = UringDriver::Create();
  if (!driver.ok()) {
    started->set_value(driver.status());
    return;
  }
  driver_ = *std::move(driver);
  counters_.last_turn_ms.Set(driver_->NowMs());
  Engine engine(this, driver_.get());
  started->set_value(absl::OkStatus());
  engine.Loop();
}

void Worker::Post(WorkerMessage message) {
  if (mailbox_.Push(std::move(message))) {
    driver_->Wake();
  }
}

void Worker::Join() {
  if (thread_.joinable()) {
    thread_.join();
  }
}

}  // namespace spicegate
