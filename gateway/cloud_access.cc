// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud_access.h"

#include <algorithm>
#include <utility>

#include "gateway/base/address.h"
#include "gateway/base/log.h"

namespace spicegate {
namespace {

// What stands for a token in the log: enough to find it again, too little to
// use it.
constexpr size_t kTokenMarkBytes = 4;

// What was asked for, and who asked for what. No two differ only in where one
// part ends: neither clouds' names nor tokens have a space.
TicketDigest LinkOf(const PortalRequest& request) {
  return TicketVault::DigestOf(request.cloud + " " + request.token);
}

TicketDigest KeyOf(const PortalRequest& request) {
  return TicketVault::DigestOf(request.cloud + " " + request.token + " " +
                               SourceNetwork(request.source));
}

std::string MarkOf(const std::string& token) {
  constexpr char kHex[] = "0123456789abcdef";
  const TicketDigest digest = TicketVault::DigestOf(token);
  std::string mark;
  for (size_t i = 0; i < kTokenMarkBytes; ++i) {
    mark += kHex[digest.bytes[i] >> 4];
    mark += kHex[digest.bytes[i] & 0xf];
  }
  return mark;
}

}  // namespace

CloudAccess::CloudAccess(Needs needs)
    : needs_(std::move(needs)),
      targets_(needs_.config->clouds, &needs_.config->policies) {}

void CloudAccess::Refresh() {
  targets_.Refresh();
  const int64_t now_ms = needs_.now_ms();
  absl::erase_if(recent_, [now_ms](const auto& entry) {
    return now_ms - entry.second.issued_ms >= kSameTicketMs;
  });
  absl::erase_if(fresh_, [this, now_ms](auto& entry) {
    DropUsed(&entry.second, now_ms);
    return entry.second.empty();
  });
}

void CloudAccess::DropUsed(std::vector<TicketDigest>* tickets,
                           int64_t now_ms) const {
  std::erase_if(*tickets, [this, now_ms](const TicketDigest& ticket) {
    return !needs_.vault->IsFresh(ticket, now_ms);
  });
}

bool CloudAccess::Owns(std::string_view console) const {
  const std::string_view cloud = console.substr(0, console.find('.'));
  return cloud.size() < console.size() &&
         std::any_of(
             needs_.config->clouds.begin(), needs_.config->clouds.end(),
             [cloud](const CloudConfig& one) { return one.name == cloud; });
}

bool CloudAccess::IsToken(const std::string& cloud, const std::string& token) {
  return needs_.is_token(cloud, token);
}

void CloudAccess::Open(const PortalRequest& request, PortalDone done) {
  needs_.resolve(request.cloud, request.token,
                 [this, request, done = std::move(done)](
                     const absl::StatusOr<CloudConsole>& found) {
                   done(found.ok() ? Answer(request, *found) : found.status());
                 });
}

absl::StatusOr<PortalDesktop> CloudAccess::Answer(const PortalRequest& request,
                                                  const CloudConsole& found) {
  if (!found.policy_name.empty() &&
      !needs_.config->policies.contains(found.policy_name)) {
    LogLine(LogLevel::kError, "cloud_console_refused")
        .Str("cloud", request.cloud)
        .Str("console", found.id)
        .Str("error", "the configuration has no policy " + found.policy_name);
    return absl::PermissionDeniedError(
        "the gateway is not set up for this desktop");
  }
  auto target = targets_.Make(request.cloud, found);
  if (!target.ok()) {
    return target.status();
  }
  if (!request.issue) {
    return DesktopOf(*(*target)->console, std::string(kTicketLen, 'x'));
  }
  return Issue(request, found, *std::move(target));
}

absl::StatusOr<PortalDesktop> CloudAccess::Issue(
    const PortalRequest& request, const CloudConsole& found,
    std::shared_ptr<const ConsoleTarget> to) {
  const int64_t now_ms = needs_.now_ms();
  const TicketDigest key = KeyOf(request);
  if (const Recent* recent = FindRecent(key, now_ms)) {
    PortalDesktop desktop = recent->desktop;
    desktop.expires_s -= (now_ms - recent->issued_ms) / 1000;
    return desktop;
  }
  std::vector<TicketDigest>& fresh = fresh_[LinkOf(request)];
  DropUsed(&fresh, now_ms);
  if (fresh.size() >= kMaxFreshTickets) {
    return absl::ResourceExhaustedError(
        "this link has been opened too often without using the files");
  }
  const std::shared_ptr<const Console> console = to->console;
  auto ticket = needs_.vault->Issue(console->name, found.policy_name, now_ms,
                                    std::move(to));
  if (!ticket.ok()) {
    return absl::ResourceExhaustedError("too many desktops are being opened");
  }
  LogLine(LogLevel::kInfo, "ticket_issued")
      .Str("console", console->name)
      .Str("cloud", request.cloud)
      .Str("source", request.source)
      .Str("token", MarkOf(request.token));
  const TicketDigest digest = TicketVault::DigestOf(*ticket);
  fresh.push_back(digest);
  PortalDesktop desktop = DesktopOf(*console, *std::move(ticket));
  recent_[key] = {desktop, digest, now_ms};
  return desktop;
}

PortalDesktop CloudAccess::DesktopOf(const Console& console,
                                     std::string ticket) const {
  PortalDesktop desktop;
  desktop.name = console.name;
  desktop.title = console.DisplayTitle();
  desktop.expires_s = needs_.config->tickets.first_use_s;
  desktop.vv = needs_.make_file(
      IssuedTicket{std::move(ticket), desktop.expires_s, console});
  return desktop;
}

const CloudAccess::Recent* CloudAccess::FindRecent(const TicketDigest& key,
                                                   int64_t now_ms) const {
  const auto found = recent_.find(key);
  const bool good = found != recent_.end() &&
                    now_ms - found->second.issued_ms < kSameTicketMs &&
                    needs_.vault->IsFresh(found->second.ticket, now_ms);
  return good ? &found->second : nullptr;
}

}  // namespace spicegate
