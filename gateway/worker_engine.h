// SPDX-License-Identifier: Apache-2.0
//
// What lives on a worker's thread. Made there, destroyed there, used by nobody
// else; for worker*.cc alone.
#ifndef SPICEGATE_GATEWAY_WORKER_ENGINE_H_
#define SPICEGATE_GATEWAY_WORKER_ENGINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/door/connect_request.h"
#include "gateway/door/door_context.h"
#include "gateway/session/tunnel_opener.h"
#include "gateway/worker.h"

namespace spicegate {

// Where the sessions of a ticket live.
size_t HomeOf(const TicketDigest& ticket, size_t num_workers);

struct Worker::Engine {
  Engine(Worker* worker, UringDriver* driver);

  // Hands the questions of a look-up to its resolver.
  NameLookup::Ask AskResolver(bool of_stranger) const;
  // Where a ticket's console is now; nothing when it left the directory.
  std::optional<ConsoleTarget> TargetOf(const TicketClaim& ticket) const;
  void Loop();
  bool finished() const;
  int64_t SleepMs() const;
  void TakeMail();
  void StopTurn();

  using Refusal = std::optional<CloseReason>;

  void OnAccept(int fd, const ListenerOptions& listener);
  DoorContext ContextFor(Handle opening, const ListenerOptions& listener);
  Task<void> ServeAccepted(Handle opening, const ListenerOptions* listener,
                           DoorContext context);
  Task<void> ServeLink(Handle opening, DoorContext context);
  // Serves a link whose ticket was accepted, at its session's home.
  Task<void> ServeAtHome(Handle opening, ClientLink link, TicketClaim ticket,
                         std::unique_ptr<Passage> passage);
  Task<void> ServeHere(Handle opening, ClientLink link, TicketClaim ticket,
                       std::unique_ptr<Passage> passage);
  void MoveTo(size_t home, Handle opening, ClientLink link, TicketClaim ticket,
              std::unique_ptr<Passage> passage);

  // PROXY headers and CONNECT: worker_connect.cc.
  Task<Refusal> ReadClientAddress(Handle opening,
                                  const ListenerOptions* listener,
                                  const DoorContext* context);
  Task<void> ServeConnect(Handle opening, DoorContext context);
  // Up to the first bytes of what is spoken, for which it is then known.
  Task<Refusal> LetThrough(Handle opening, const DoorContext* context,
                           Passage* passage, bool* is_spice);
  Task<Refusal> Judge(Opening* opening, const ConnectRequest* request,
                      Passage* passage);
  Task<Refusal> Reach(Opening* opening, Passage* passage);
  bool MayDial(const ConnectGrant& grant, const SocketAddress& address) const;
  Task<void> ServeLinkInside(Handle opening, DoorContext context,
                             std::unique_ptr<Passage> passage);
  Task<void> ServeTunnel(Handle opening, std::unique_ptr<Passage> passage);
  Task<void> ServeTunnelHere(Handle opening, std::unique_ptr<Passage> passage);
  // To a client beyond the limit; what it has is not counted as a link.
  void TurnAway(int fd, const ListenerOptions& listener);
  Task<void> SayBusy(Leg client);
  void DialEarly(Handle opening, const ClientLink& link, int64_t deadline_ms);
  void DropDial(Opening* opening);
  void Refuse(Handle opening, CloseReason reason, const ClientLink* link,
              const std::string& console);

  void On(EarlyDialRequest request);
  void On(DropEarlyDial dropped);
  void On(MovedLink moved);
  void On(MovedTunnel moved);
  void On(ResolvedName resolved);
  void On(GivenAccess given);
  void On(DisconnectRequest request);
  void On(WorkerSettings settings);
  void On(AcceptRequest);
  void On(StopRequest);

  Worker* const worker;
  SharedState* const shared;
  WorkerCounters* const counters;
  UringDriver* const driver;
  WorkerSettings settings;
  TimerWheel timers;
  BufferPool buffers;
  PipePool pipes;
  Spinner spinner;
  NameLookup names;
  NameLookup strangers_names;  // that no list and no console has
  AccessLookup access;
  const ServerLinkContext server_links;
  OpeningTable openings;
  SessionRegistry registry;
  EarlyDials early_dials;
  ChannelOpener opener;
  TunnelOpener tunnel_opener;
  RefusalLog refusals;
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  int num_turned_away = 0;  // and still being told
  std::optional<int64_t> stop_deadline_ms;
  Timer stop_timer{[](void*) {}, nullptr};  // wakes the loop, no more
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_WORKER_ENGINE_H_
