// SPDX-License-Identifier: Apache-2.0
//
// One connection to one QMP socket, for a poll(2) loop. It never blocks and
// never calls back out of the destructor.
//
//   QmpClient client(on_event);
//   client.Connect("/run/qemu/vm1.qmp", now);
//   client.Execute(QuerySpiceCommand(), now + 2000, done);
//   ... poll client.fd() for client.PollEvents() until client.deadline_ms();
//   client.Handle(revents, now);   // after a timeout too, with 0
//
// A QEMU that serves another monitor on the same socket lets us connect and
// says nothing until that one has gone; the commands wait, and their deadlines
// run.
#ifndef SPICEGATE_GATEWAY_QMP_QMP_CLIENT_H_
#define SPICEGATE_GATEWAY_QMP_QMP_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/json.h"
#include "gateway/base/unique_fd.h"
#include "gateway/qmp/qmp_protocol.h"

namespace spicegate {

// Commands of one client that wait or run.
inline constexpr size_t kMaxQmpCommands = 16;

// What QEMU may say in a row, and per second in the long run, before the
// connection is given up: a monitor that talks without end would keep the
// control thread from everything else.
inline constexpr int64_t kMaxQmpBurstBytes = 4 * 1024 * 1024;
inline constexpr int64_t kMaxQmpBytesPerS = 256 * 1024;

// Control thread only. Connects once; a connection that has ended stays ended.
class QmpClient {
 public:
  // What QEMU returned, or
  //   FailedPrecondition: QEMU's own error, "CLASS: DESCRIPTION";
  //   Unavailable:        no connection, or it has ended;
  //   DeadlineExceeded:   no reply in time;
  //   DataLoss:           what came was not QMP, or too much of it;
  //   ResourceExhausted:  kMaxQmpCommands wait already;
  //   Cancelled:          Close was called.
  // Each but the first and ResourceExhausted means that the connection is gone.
  // Called exactly once unless the client is destroyed before; may be called
  // inside Execute, Handle and Close. It may call any function of the client
  // but Handle, and may destroy it.
  using Done = std::function<void(absl::StatusOr<JsonValue>)>;

  // Hears events from the connection's first byte on, as they come and between
  // replies; those of kind kOther are left out. May do what Done may.
  using OnEvent = std::function<void(const QmpEvent&)>;

  explicit QmpClient(OnEvent on_event = nullptr);
  ~QmpClient();
  QmpClient(const QmpClient&) = delete;
  QmpClient& operator=(const QmpClient&) = delete;

  // Connects to a unix socket; call it once, before all else. An error is
  // Unavailable (InvalidArgument for a path that fits no socket address), and
  // the client is closed() then. Whether QEMU answers is not known yet.
  absl::Status Connect(const std::string& path, int64_t now_ms);

  // Sends `command` once all before it are done. When `deadline_ms` (monotonic)
  // passes first the command ends with DeadlineExceeded and so does the
  // connection: a reply that came later would be taken for the next one's.
  void Execute(QmpCommand command, int64_t deadline_ms, Done done);

  // -1 when there is nothing to poll.
  int fd() const { return fd_.get(); }
  short PollEvents() const;

  // Monotonic time at which Handle has something to do even if fd() is not
  // ready; INT64_MAX when there is nothing.
  int64_t deadline_ms() const;

  // After poll: `revents` as it came, 0 for none. Reads a bounded amount.
  void Handle(short revents, int64_t now_ms);

  // Ends the connection; commands end with Cancelled. Nothing happens when it
  // has ended already.
  void Close();

  // The connection has ended or was never there; status() says why.
  bool closed() const { return state_ == State::kClosed; }
  const absl::Status& status() const { return status_; }

  // QEMU has greeted: it serves us and nobody else.
  bool served() const { return state_ == State::kReady; }

  // No command waits or runs.
  bool idle() const { return commands_.empty(); }

 private:
  enum class State : uint8_t {
    kNew,
    kConnecting,   // the socket's queue is full: tried again at retry_at_ms_
    kGreeting,     // connected; QEMU has said nothing
    kNegotiating,  // qmp_capabilities is under way
    kReady,
    kClosed,
  };

  struct Waiting {
    QmpCommand command;
    int64_t deadline_ms;
    Done done;
  };

  // Tells, after a callback, whether there is still a client to go on with.
  class Guard;

  absl::Status TryConnect(int64_t now_ms);
  void Read(int64_t now_ms);
  // Whether QEMU may say `len` bytes more.
  bool TakeBudget(int64_t len, int64_t now_ms);
  // Acts on the whole lines in input_ and takes them out.
  void HandleLines();
  void HandleLine(const std::string& line);
  void HandleEvent(const QmpEvent& event);
  void HandleGreeting();
  void HandleReply(QmpMessage message);
  // Sends the first command if it is its turn.
  void SendNext();
  void Send(const QmpCommand& command);
  void Write();
  void Expire(int64_t now_ms);
  // Ends the connection and the commands, those whose time has run out by
  // `now_ms` with DeadlineExceeded.
  void Drop(absl::Status status, int64_t now_ms = INT64_MIN);
  // Takes the first command out and calls its done.
  void FinishFirst(absl::StatusOr<JsonValue> result);

  // Shared, so that it outlives a client that it destroys.
  const std::shared_ptr<const OnEvent> on_event_;
  const std::shared_ptr<char> alive_ = std::make_shared<char>();  // see Guard
  State state_ = State::kNew;
  absl::Status status_;
  std::string path_;
  UniqueFd fd_;
  int64_t retry_at_ms_ = 0;
  std::deque<Waiting> commands_;
  int64_t next_id_ = 0;
  std::optional<int64_t> running_id_;  // of what QEMU is to reply to
  std::string output_;                 // not yet taken by the kernel
  std::string input_;                  // read, and no whole line yet
  size_t scanned_ = 0;                 // of input_: holds no line end
  int64_t budget_bytes_ = kMaxQmpBurstBytes;
  int64_t budget_at_ms_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_CLIENT_H_
