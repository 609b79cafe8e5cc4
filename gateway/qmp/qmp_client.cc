// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr size_t kReadBytes = 64 * 1024;

// The socket's queue holds two, and poll(2) does not tell when there is room.
constexpr int64_t kConnectRetryMs = 50;

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

std::string SystemError(const char* what) {
  return std::string(what) + ": " + strerrordesc_np(errno);
}

absl::Status ErrorOf(const QmpError& error) {
  return absl::FailedPreconditionError(error.error_class + ": " + error.desc);
}

}  // namespace

class QmpClient::Guard {
 public:
  explicit Guard(QmpClient* client) : client_(client), alive_(client->alive_) {}

  bool alive() const { return !alive_.expired(); }
  // Alive, and its connection has not ended.
  bool connected() const { return alive() && !client_->closed(); }

 private:
  QmpClient* const client_;
  const std::weak_ptr<char> alive_;
};

QmpClient::QmpClient(OnEvent on_event)
    : on_event_(std::make_shared<const OnEvent>(std::move(on_event))) {}

QmpClient::~QmpClient() = default;

absl::Status QmpClient::Connect(const std::string& path, int64_t now_ms) {
  CHECK(state_ == State::kNew);
  path_ = path;
  budget_at_ms_ = now_ms;
  state_ = State::kConnecting;
  status_ = TryConnect(now_ms);
  if (!status_.ok()) {
    state_ = State::kClosed;
  }
  return status_;
}

absl::Status QmpClient::TryConnect(int64_t now_ms) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path_.empty() || path_.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError("no path of a unix socket");
  }
  memcpy(address.sun_path, path_.data(), path_.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return absl::UnavailableError(SystemError("socket"));
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) == 0) {
    fd_ = std::move(fd);
    state_ = State::kGreeting;
    return absl::OkStatus();
  }
  if (errno != EAGAIN) {
    return absl::UnavailableError(SystemError("connect"));
  }
  retry_at_ms_ = now_ms + kConnectRetryMs;
  return absl::OkStatus();
}

void QmpClient::Execute(QmpCommand command, int64_t deadline_ms, Done done) {
  if (state_ == State::kNew || state_ == State::kClosed) {
    done(absl::UnavailableError("not connected"));
    return;
  }
  if (commands_.size() >= kMaxQmpCommands) {
    done(absl::ResourceExhaustedError("too many commands wait"));
    return;
  }
  commands_.push_back({std::move(command), deadline_ms, std::move(done)});
  SendNext();
}

short QmpClient::PollEvents() const {
  return output_.empty() ? POLLIN : POLLIN | POLLOUT;
}

int64_t QmpClient::deadline_ms() const {
  int64_t deadline = state_ == State::kConnecting ? retry_at_ms_ : kNever;
  for (const Waiting& waiting : commands_) {
    deadline = std::min(deadline, waiting.deadline_ms);
  }
  return deadline;
}

void QmpClient::Handle(short revents, int64_t now_ms) {
  const Guard guard(this);
  if (state_ == State::kConnecting && now_ms >= retry_at_ms_) {
    if (absl::Status status = TryConnect(now_ms); !status.ok()) {
      Drop(std::move(status));
    }
  } else if (fd_.valid()) {
    if ((revents & POLLOUT) != 0) {
      Write();
    }
    if (guard.connected() && (revents & ~POLLOUT) != 0) {
      Read(now_ms);
    }
  }
  if (guard.connected()) {
    Expire(now_ms);
  }
}

void QmpClient::Close() {
  if (!closed()) {
    Drop(absl::CancelledError("closed"));
  }
}

void QmpClient::Read(int64_t now_ms) {
  char buffer[kReadBytes];
  const ssize_t len = recv(fd_.get(), buffer, sizeof(buffer), 0);
  if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (len <= 0) {
    Drop(absl::UnavailableError(len < 0 ? SystemError("recv")
                                        : "QEMU closed its monitor"));
    return;
  }
  if (!TakeBudget(len, now_ms)) {
    Drop(absl::DataLossError("QEMU's monitor talks without end"));
    return;
  }
  input_.append(buffer, static_cast<size_t>(len));
  HandleLines();
}

bool QmpClient::TakeBudget(int64_t len, int64_t now_ms) {
  const int64_t elapsed_ms =
      std::clamp<int64_t>(now_ms - budget_at_ms_, 0, 1'000'000);
  budget_at_ms_ = now_ms;
  budget_bytes_ = std::min(
      kMaxQmpBurstBytes, budget_bytes_ + elapsed_ms * kMaxQmpBytesPerS / 1000);
  budget_bytes_ -= len;
  return budget_bytes_ >= 0;
}

void QmpClient::HandleLines() {
  const Guard guard(this);
  size_t begin = 0;
  while (true) {
    const size_t end = input_.find('\n', begin + scanned_);
    scanned_ = 0;
    if (end == std::string::npos) {
      break;
    }
    const bool has_return = end > begin && input_[end - 1] == '\r';
    HandleLine(input_.substr(begin, end - begin - (has_return ? 1 : 0)));
    if (!guard.connected()) {
      return;
    }
    begin = end + 1;
  }
  input_.erase(0, begin);
  scanned_ = input_.size();
  if (scanned_ > kMaxQmpLineBytes + 1) {  // its line may still end in \r
    Drop(absl::DataLossError("a line is too long"));
  }
}

void QmpClient::HandleLine(const std::string& line) {
  absl::StatusOr<QmpMessage> message = ParseQmpLine(line);
  if (!message.ok()) {
    Drop(absl::DataLossError(std::string(message.status().message())));
    return;
  }
  switch (message->type) {
    case QmpMessage::Type::kEvent:
      HandleEvent(message->event);
      return;
    case QmpMessage::Type::kGreeting:
      HandleGreeting();
      return;
    case QmpMessage::Type::kReturn:
    case QmpMessage::Type::kError:
      HandleReply(*std::move(message));
      return;
  }
}

void QmpClient::HandleEvent(const QmpEvent& event) {
  // Held here: the callback may destroy the client and what it holds.
  const std::shared_ptr<const OnEvent> on_event = on_event_;
  if (event.kind != QmpEvent::Kind::kOther && *on_event) {
    (*on_event)(event);
  }
}

void QmpClient::HandleGreeting() {
  if (state_ != State::kGreeting) {
    Drop(absl::DataLossError("a second greeting"));
    return;
  }
  state_ = State::kNegotiating;
  Send(QmpCapabilitiesCommand());
}

void QmpClient::HandleReply(QmpMessage message) {
  if (!running_id_.has_value() || message.id != running_id_) {
    // QEMU leaves the id out when it could not read a command, and quotes it
    // then: its words may hold a password.
    Drop(absl::DataLossError("a reply to no command"));
    return;
  }
  running_id_.reset();
  const bool is_error = message.type == QmpMessage::Type::kError;
  if (state_ == State::kNegotiating) {
    if (is_error) {
      Drop(ErrorOf(message.error));
      return;
    }
    state_ = State::kReady;
    SendNext();
    return;
  }
  const Guard guard(this);
  FinishFirst(is_error ? absl::StatusOr<JsonValue>(ErrorOf(message.error))
                       : std::move(message.result));
  if (guard.connected()) {
    SendNext();
  }
}

void QmpClient::SendNext() {
  if (state_ == State::kReady && !running_id_.has_value() &&
      !commands_.empty()) {
    Send(commands_.front().command);
  }
}

void QmpClient::Send(const QmpCommand& command) {
  running_id_ = next_id_++;
  output_ += EncodeQmpCommand(command, *running_id_);
  Write();
}

void QmpClient::Write() {
  const ssize_t len =
      send(fd_.get(), output_.data(), output_.size(), MSG_NOSIGNAL);
  if (len >= 0) {
    output_.erase(0, static_cast<size_t>(len));
  } else if (errno != EAGAIN && errno != EINTR) {
    // Reading meets the end in its turn, behind what QEMU said before.
    output_.clear();
    shutdown(fd_.get(), SHUT_RDWR);
  }
}

void QmpClient::Expire(int64_t now_ms) {
  const bool expired = std::any_of(
      commands_.begin(), commands_.end(),
      [=](const Waiting& waiting) { return now_ms >= waiting.deadline_ms; });
  if (expired) {
    Drop(absl::UnavailableError("a command before got no answer"), now_ms);
  }
}

void QmpClient::Drop(absl::Status status, int64_t now_ms) {
  const Guard guard(this);
  state_ = State::kClosed;
  status_ = status;
  fd_.Reset();
  input_.clear();
  output_.clear();
  while (guard.alive() && !commands_.empty()) {
    const bool expired = now_ms >= commands_.front().deadline_ms;
    FinishFirst(expired ? absl::DeadlineExceededError("no answer in time")
                        : status);
  }
}

void QmpClient::FinishFirst(absl::StatusOr<JsonValue> result) {
  const Done done = std::move(commands_.front().done);
  commands_.pop_front();
  done(std::move(result));
}

}  // namespace spicegate
