// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/console_dial.h"

#include <memory>
#include <utility>

namespace spicegate {
namespace {

// The console's own server: everything is as it says.
std::optional<CloseReason> TakePlace(const ServerAccess& access,
                                     Console* console, ConsoleTarget* target) {
  console->host = access.host;
  console->port = access.port;
  console->tls_port = access.tls_port;
  console->unix_path = access.unix_path;
  if (target->tls == nullptr) {
    console->tls_port = 0;
    return console->port != 0 || !console->unix_path.empty()
               ? std::nullopt
               : std::optional(CloseReason::kServerQmp);
  }
  if (console->tls_port == 0) {
    return CloseReason::kServerQmp;
  }
  if (!console->host_subject.empty()) {
    return std::nullopt;  // whatever its host: its TLS sessions are kept
  }
  auto tls = target->tls->ForServer("", console->host);
  if (!tls.ok()) {
    return CloseReason::kServerQmp;
  }
  target->tls = *std::move(tls);
  return std::nullopt;
}

}  // namespace

Task<std::optional<CloseReason>> AskForAccess(ConsoleTarget* target,
                                              AccessLookup* lookup,
                                              int64_t deadline_ms) {
  AccessQuestion question;
  question.console = target->console->name;
  if (target->moved) {
    question.host = target->console->host;
    question.port = target->tls != nullptr ? target->console->tls_port
                                           : target->console->port;
  }
  ServerAccess access;
  if (lookup != nullptr) {
    access = co_await lookup->Put(question, deadline_ms);
  }
  if (access.result == ServerAccess::Result::kFailed) {
    co_return CloseReason::kServerQmp;
  }
  auto console = std::make_shared<Console>(*target->console);
  std::optional<CloseReason> failure;
  if (access.result == ServerAccess::Result::kOk ||
      !console->destination_ticket.has_value()) {
    console->ticket = access.ticket;
  }
  if (!target->moved) {
    failure = TakePlace(access, console.get(), target);
  }
  target->console = std::move(console);
  co_return failure;
}

Task<std::optional<CloseReason>> DialConsole(Dialer* dialer,
                                             const ConsoleTarget* target,
                                             int64_t deadline_ms) {
  const Console& console = *target->console;
  if (!console.unix_path.empty()) {
    co_return co_await dialer->DialUnix(&console.unix_path, deadline_ms);
  }
  HostPort place;
  place.host = console.host;
  place.port = target->tls != nullptr ? console.tls_port : console.port;
  co_return co_await dialer->Dial(&place, deadline_ms, target->may_dial.get());
}

}  // namespace spicegate
