// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/early_dial.h"

#include <string_view>
#include <vector>

#include "gateway/base/check.h"
#include "gateway/base/limits.h"

namespace spicegate {
namespace {

// A client's address without its port; of a unix socket's peer, which has
// none, the kind.
std::string_view HostOf(std::string_view address) {
  const size_t colon =
      address.starts_with("unix:") ? address.find(':') : address.rfind(':');
  return address.substr(0, colon == address.npos ? 0 : colon);
}

bool IsSameHost(std::string_view a, std::string_view b) {
  return !HostOf(a).empty() && HostOf(a) == HostOf(b);
}

}  // namespace

ServerLinkRequest RequestFor(const ClientLink& link) {
  ServerLinkRequest request;
  request.connection_id = link.connection_id;
  request.channel = link.channel;
  request.common_caps = link.common_caps;
  request.channel_caps = link.channel_caps;
  return request;
}

int64_t GiveUpTime(const Route& route, int64_t now_ms, const Limits& limits) {
  return route.destination_of == nullptr ? ServerLink::kNever
                                         : now_ms + limits.migration_link_ms;
}

void EarlyDial::OnDeadline(void* self) {
  auto* dial = static_cast<EarlyDial*>(self);
  dial->owner_->Drop(dial->id_);
}

EarlyDials::EarlyDials(const ServerLinkContext& server,
                       SessionRegistry* registry, ConnectionIndex* index,
                       int worker)
    : server_(server), registry_(registry), index_(index), worker_(worker) {
  registry_->set_watcher(this);
}

EarlyDials::~EarlyDials() {
  CHECK(done());
  registry_->set_watcher(nullptr);
}

void EarlyDials::Begin(EarlyDialRequest request) {
  Session* session = registry_->Get(request.session);
  if (!IsWelcome(session, request)) {
    Count(EarlyDialOutcome::kRefused);
    return;
  }
  Route route = registry_->RouteOf(request.session, request.link.channel.type);
  if (route.refusal.has_value()) {
    Count(EarlyDialOutcome::kRefused);
    return;
  }
  const int64_t give_up_ms =
      GiveUpTime(route, server_.timers->now_ms(), *server_.limits);
  ++session->num_early_dials;
  const std::shared_ptr<EarlyDial> dial(
      new EarlyDial(this, server_, std::move(route), give_up_ms, request.id,
                    request.session));
  dials_.insert_or_assign(request.id, dial);
  dial->deadline_.Arm(server_.timers, request.deadline_ms);
  Spawn(Run(dial, std::move(request.link)));
}

bool EarlyDials::IsWelcome(const Session* session,
                           const EarlyDialRequest& request) const {
  // What is no console's is dialled by whoever judges each of its addresses.
  const bool listed =
      session != nullptr && (session->terms.passage == nullptr ||
                             session->terms.passage->only_to == nullptr);
  return listed && !session->ending.has_value() &&
         request.link.channel.type != proto::ChannelType::kMain &&
         session->connection_id == request.link.connection_id &&
         IsSameHost(session->terms.client, request.client_address) &&
         session->num_early_dials < kMaxEarlyDials;
}

Task<void> EarlyDials::Run(std::shared_ptr<EarlyDial> dial,
                           ServerLinkRequest request) {
  ++num_running_;
  dial->outcome_ = co_await dial->link_.Open(std::move(request));
  --num_running_;
  if (dial->waiting_) {
    dial->waiting_.resume();
  }
}

std::shared_ptr<EarlyDial> EarlyDials::Take(EarlyDialId id, Handle session,
                                            const Migration* destination_of) {
  const auto found = dials_.find(id);
  if (found == dials_.end()) {
    return nullptr;
  }
  const std::shared_ptr<EarlyDial> dial = found->second;
  Session* owner = registry_->Get(session);
  // One that has failed already is no answer to a client that has a ticket:
  // its channel dials for itself.
  if (owner == nullptr || dial->session_ != session || dial->failed() ||
      dial->destination_of_.get() != destination_of) {
    Drop(id);
    return nullptr;
  }
  dials_.erase(found);
  dial->deadline_.Cancel();
  --owner->num_early_dials;
  Count(EarlyDialOutcome::kUsed);
  return dial;
}

void EarlyDials::Drop(EarlyDialId id) {
  const auto found = dials_.find(id);
  if (found == dials_.end()) {
    return;
  }
  const std::shared_ptr<EarlyDial> dial = found->second;
  dials_.erase(found);
  dial->deadline_.Cancel();
  dial->link_.Abandon();
  Count(EarlyDialOutcome::kDropped);
}

void EarlyDials::DropAll() {
  while (!dials_.empty()) {
    Drop(dials_.begin()->first);
  }
}

void EarlyDials::OnSessionNamed(Handle session, uint32_t connection_id) {
  index_->Add(connection_id, {worker_, session});
}

void EarlyDials::OnSessionEnding(Handle session, uint32_t connection_id) {
  index_->Remove(connection_id, {worker_, session});
  const Session* ending = registry_->Get(session);
  if (ending != nullptr && ending->num_early_dials == 0) {
    return;  // as nearly always
  }
  std::vector<EarlyDialId> over;
  for (const auto& [id, dial] : dials_) {
    if (dial->session_ == session) {
      over.push_back(id);
    }
  }
  for (const EarlyDialId& id : over) {
    Drop(id);
  }
}

void EarlyDials::Count(EarlyDialOutcome outcome) {
  server_.counters->early_dials[static_cast<size_t>(outcome)].Add(1);
}

}  // namespace spicegate
