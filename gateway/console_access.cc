// SPDX-License-Identifier: Apache-2.0
#include "gateway/console_access.h"

#include <algorithm>
#include <utility>

#include "gateway/base/clock.h"

namespace spicegate {
namespace {

Console AsServed(Console console, const QmpServer& server) {
  console.host = server.host;
  console.port = server.port;
  console.tls_port = server.tls_port;
  console.unix_path = server.unix_path;
  console.ticket = server.password;
  return console;
}

}  // namespace

ConsoleAccess::ConsoleAccess(SharedState* shared)
    : shared_(shared),
      qmp_({}, [shared](const std::string& host, uint16_t port) {
        return shared->own_sockets.Has(host, port, MonotonicMs());
      }) {}

void ConsoleAccess::SetConsoles(std::shared_ptr<const ConsoleTable> consoles) {
  const auto& all = consoles->consoles();
  if (std::any_of(all.begin(), all.end(), [](const Console& console) {
        return !console.qmp_path.empty();
      })) {
    shared_->own_sockets.set_wanted();
  }
  qmp_.SetConsoles(std::move(consoles));
}

void ConsoleAccess::Prepare(const Console& console,
                            const std::string& continues, ConsoleDone done) {
  if (console.qmp_path.empty()) {
    if (continues.empty()) {
      done(console);
    } else {
      done(absl::FailedPreconditionError(
          "only a console of kind qmp can continue another"));
    }
    return;
  }
  QmpDone served = [console, done = std::move(done)](
                       const absl::StatusOr<QmpServer>& server) {
    if (server.ok()) {
      done(AsServed(console, *server));
    } else {
      done(server.status());
    }
  };
  if (continues.empty()) {
    qmp_.NewPassword(console.name, std::move(served));
  } else {
    qmp_.ContinueFrom(console.name, continues, std::move(served));
  }
}

void ConsoleAccess::On(AccessRequest request) {
  const AccessQuestion& question = request.question;
  if (question.host.empty()) {
    qmp_.Arm(question.console,
             [this, request](const absl::StatusOr<QmpServer>& server) {
               Answer(request, ServerAccess::Result::kOk, server);
             });
    return;
  }
  qmp_.ArmPlace(question.console, question.host, question.port,
                [this, request](const absl::StatusOr<QmpServer>& server) {
                  if (!absl::IsNotFound(server.status())) {
                    Answer(request, ServerAccess::Result::kOk, server);
                    return;
                  }
                  qmp_.Arm(
                      request.question.console,
                      [this, request](const absl::StatusOr<QmpServer>& source) {
                        Answer(request, ServerAccess::Result::kUnknown, source);
                      });
                });
}

void ConsoleAccess::Answer(const AccessRequest& request,
                           ServerAccess::Result result,
                           const absl::StatusOr<QmpServer>& server) {
  ServerAccess access;
  if (server.ok()) {
    access.result = result;
    access.host = server->host;
    access.port = server->port;
    access.tls_port = server->tls_port;
    access.unix_path = server->unix_path;
    access.ticket = server->password;
  }
  // On the way out there is nobody left to tell.
  const auto worker = static_cast<size_t>(request.worker);
  if (worker < shared_->workers.size()) {
    shared_->workers[worker]->Post(
        GivenAccess{request.inquiry, std::move(access)});
  }
}

void ConsoleAccess::Disconnect(const Console& console, DisconnectDone done) {
  const uint64_t id = next_id_++;
  Ending& ending = endings_[id];
  ending.console = console.name;
  ending.by_qmp = !console.qmp_path.empty();
  ending.num_waiting = shared_->workers.size();
  ending.done = std::move(done);
  if (ending.num_waiting == 0) {
    EndRest(id);
    return;
  }
  for (Worker* worker : shared_->workers) {
    worker->Post(DisconnectRequest{console.name, id});
  }
}

void ConsoleAccess::On(Disconnected answer) {
  const auto found = endings_.find(answer.id);
  if (found == endings_.end()) {
    return;
  }
  found->second.num_sessions += answer.num_sessions;
  if (--found->second.num_waiting == 0) {
    EndRest(answer.id);
  }
}

void ConsoleAccess::EndRest(uint64_t id) {
  const Ending& ending = endings_.at(id);
  if (!ending.by_qmp) {
    Finish(id, absl::OkStatus());
    return;
  }
  // A copy: the answer may come inside the call, and takes the entry along.
  const std::string console = ending.console;
  qmp_.Disconnect(
      console, [this, id](const absl::Status& status) { Finish(id, status); });
}

void ConsoleAccess::Finish(uint64_t id, const absl::Status& status) {
  const auto found = endings_.find(id);
  const Ending ended = std::move(found->second);
  endings_.erase(found);
  if (status.ok()) {
    ended.done(ended.num_sessions);
  } else {
    ended.done(status);
  }
}

}  // namespace spicegate
