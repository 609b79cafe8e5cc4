// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_service.h"

#include <algorithm>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/qmp/qmp_console.h"

namespace spicegate {
namespace {

// Between the first looks at two new consoles, so that a thousand do not come
// in one turn of the loop.
constexpr int64_t kFirstLookStepMs = 5;

// Migrations in a row of one session, each to a console that continues the one
// before.
constexpr int kMaxContinued = 16;

absl::Status NoSuchConsole(const std::string& name) {
  return absl::NotFoundError("no console of kind qmp is called " + name);
}

}  // namespace

QmpService::QmpService(const Options& options, IsOurs is_ours)
    : commons_(std::make_unique<QmpCommons>(
          QmpCommons{options.password_life_ms, options.operation_ms,
                     options.now_ms, std::move(is_ours)})) {}

QmpService::~QmpService() { Close(); }

void QmpService::SetConsoles(std::shared_ptr<const ConsoleTable> consoles) {
  if (!closed_.ok()) {
    return;
  }
  int64_t first_look_ms = commons_->now_ms();
  std::map<std::string, std::shared_ptr<QmpConsole>> before;
  before.swap(consoles_);
  for (const Console& console : consoles->consoles()) {
    if (console.qmp_path.empty()) {
      continue;
    }
    const auto found = before.find(console.name);
    if (found != before.end() && found->second->IsFor(console)) {
      consoles_.insert(before.extract(found));
    } else {
      consoles_[console.name] =
          std::make_shared<QmpConsole>(console, commons_.get(), first_look_ms);
      first_look_ms += kFirstLookStepMs;
    }
  }
  for (const auto& [name, console] : before) {
    continued_.erase(name);
    console->End(NoSuchConsole(name));
  }
}

std::shared_ptr<QmpConsole> QmpService::Find(const std::string& console) const {
  const auto found = consoles_.find(console);
  return found == consoles_.end() ? nullptr : found->second;
}

void QmpService::Ask(const std::string& console, QmpWish wish) {
  if (!closed_.ok()) {
    wish.done(closed_);
  } else if (const auto found = Find(console)) {
    found->Ask(std::move(wish));
  } else {
    wish.done(NoSuchConsole(console));
  }
}

void QmpService::NewPassword(const std::string& console, QmpDone done) {
  continued_.erase(console);
  Ask(console, {QmpWish::Kind::kNew, {}, std::move(done)});
}

void QmpService::Arm(const std::string& console, QmpDone done) {
  Ask(console, {QmpWish::Kind::kArm, {}, std::move(done)});
}

bool QmpService::Continues(std::string console,
                           const std::string& source) const {
  for (int i = 0; i < kMaxContinued; ++i) {
    if (console == source) {
      return true;
    }
    const auto found = continued_.find(console);
    if (found == continued_.end()) {
      return false;
    }
    console = found->second;
  }
  return false;
}

void QmpService::ArmPlace(const std::string& source, const std::string& host,
                          uint16_t port, QmpDone done) {
  // Of several that were seen there the last one is there: the others have gone
  // and nobody has looked since.
  std::shared_ptr<QmpConsole> latest;
  std::string latest_name;
  for (const auto& [name, console] : consoles_) {
    const bool there =
        console->place() != nullptr && ListensAt(*console->place(), host, port);
    if (there && (latest == nullptr ||
                  console->place_seen_ms() > latest->place_seen_ms())) {
      latest = console;
      latest_name = name;
    }
  }
  if (latest != nullptr && Continues(latest_name, source)) {
    latest->Ask({QmpWish::Kind::kArm, {}, std::move(done)});
  } else {
    done(closed_.ok() ? absl::NotFoundError("no console that continues " +
                                            source + " is there")
                      : closed_);
  }
}

void QmpService::ContinueFrom(const std::string& console,
                              const std::string& other, QmpDone done) {
  const auto source = Find(other);
  if (closed_.ok() && source == nullptr) {
    done(NoSuchConsole(other));
  } else if (closed_.ok() && source->password().empty()) {
    done(absl::FailedPreconditionError(other + " has no password yet"));
  } else {
    const QmpPassword password =
        source == nullptr ? QmpPassword() : source->password();
    if (Find(console) != nullptr && console != other) {
      continued_[console] = other;
    }
    Ask(console, {QmpWish::Kind::kContinue, password, std::move(done)});
  }
}

void QmpService::Disconnect(const std::string& console,
                            std::function<void(absl::Status)> done) {
  const auto ended =
      [done = std::move(done)](const absl::StatusOr<QmpServer>& server) {
        done(server.status());
      };
  continued_.erase(console);
  Ask(console, {QmpWish::Kind::kDisconnect, {}, ended});
}

void QmpService::AddPollFds(std::vector<pollfd>* fds) const {
  polled_.clear();
  for (const auto& [name, console] : consoles_) {
    if (console->fd() >= 0) {
      fds->push_back({console->fd(), console->PollEvents(), 0});
      polled_.push_back({console, console->connection()});
    }
  }
}

void QmpService::HandlePollFds(std::span<const pollfd> fds, int64_t now_ms) {
  CHECK(fds.size() == polled_.size());
  const std::vector<Polled> polled = std::move(polled_);
  polled_.clear();
  for (size_t i = 0; i < fds.size(); ++i) {
    const auto console = polled[i].console.lock();
    if (fds[i].revents != 0 && console != nullptr &&
        console->connection() == polled[i].connection) {
      console->Handle(fds[i].revents, now_ms);
    }
  }
  // First all of them: what one does may change the map.
  std::vector<std::shared_ptr<QmpConsole>> due;
  for (const auto& [name, console] : consoles_) {
    if (console->deadline_ms() <= now_ms) {
      due.push_back(console);
    }
  }
  for (const auto& console : due) {
    console->Handle(0, now_ms);
  }
}

int64_t QmpService::NextDeadlineMs() const {
  int64_t deadline_ms = INT64_MAX;
  for (const auto& [name, console] : consoles_) {
    deadline_ms = std::min(deadline_ms, console->deadline_ms());
  }
  return deadline_ms;
}

QmpStats QmpService::stats() const {
  QmpStats stats;
  stats.commands = commons_->commands;
  stats.foreign_channels = commons_->foreign_channels;
  stats.consoles = static_cast<int64_t>(consoles_.size());
  stats.breakers_open = std::count_if(
      consoles_.begin(), consoles_.end(),
      [](const auto& entry) { return entry.second->breaker_open(); });
  return stats;
}

void QmpService::Close() {
  if (!closed_.ok()) {
    return;
  }
  closed_ = absl::CancelledError("the gateway stops");
  const auto consoles = std::move(consoles_);
  consoles_.clear();
  for (const auto& [name, console] : consoles) {
    console->End(closed_);
  }
}

}  // namespace spicegate
