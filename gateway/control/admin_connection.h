// SPDX-License-Identifier: Apache-2.0
//
// One connection to the admin address: reads a request, answers it, and so on.
// Belongs to the AdminServer and lives on its thread.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_CONNECTION_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "gateway/base/unique_fd.h"
#include "gateway/control/admin_router.h"
#include "gateway/control/admin_stream.h"
#include "gateway/control/http.h"

namespace spicegate {

class AdminConnection {
 public:
  // `fd` is non-blocking and `stream` is over it; `services` outlives the
  // connection.
  AdminConnection(UniqueFd fd, std::unique_ptr<AdminStream> stream,
                  AdminTransport transport, AdminServices* services,
                  int64_t now_ms);

  int fd() const { return fd_.get(); }

  // What to ask poll(2) for. At any time at most one of both: a client that
  // does not read its answer is not read from either. None while an answer is
  // waited for, when poll(2) tells hang-ups alone: a client may end its
  // direction behind its request.
  short PollEvents() const;

  // After poll: `revents` as it came, 0 for none. Moves what can be moved, an
  // answer that has become known since included.
  void Handle(short revents, int64_t now_ms);

  // Monotonic time at which the connection is given up, or a late answer is
  // the client's; 0 when that is known, so that poll(2) does not wait.
  int64_t deadline_ms() const { return answer_known() ? 0 : deadline_ms_; }

  // Nothing more to do: destroy it.
  bool finished() const { return state_ == State::kFinished; }

  // Has not shown yet who it is, or is refused; the first to be dropped when
  // room is needed.
  bool stranger() const { return !welcome_; }

  // Between requests; may be dropped when room is needed.
  bool idle() const { return state_ == State::kReading && parser_.idle(); }

  // Whom to let in has changed: ends the connection, at once when it is idle,
  // else behind its next answer. One that has had no answer yet gets one.
  void Retire(int64_t now_ms);

 private:
  enum class State : uint8_t {
    kHandshaking,
    kReading,
    kWaiting,  // for a service that makes the answer
    kWriting,
    kLingering,  // shut down; waits for the client to close
    kFinished,
  };

  // An answer to come. The connection owns it and services know it weakly:
  // once it is of no use any more, their word goes nowhere.
  struct Pending {
    std::optional<HttpResponse> response;
  };

  bool answer_known() const {
    return pending_ != nullptr && pending_->response.has_value();
  }
  void Handshake(int64_t now_ms);
  void Read(int64_t now_ms);
  // Answers what is in input_ until an answer gets stuck or more is needed.
  void Advance(int64_t now_ms);
  // Gives the request to the services.
  void Ask(int64_t now_ms);
  // A hang-up, or the answer.
  void Wait(short revents, int64_t now_ms);
  // The answer to the request that has been read.
  void AnswerRequest(const HttpResponse& response, int64_t now_ms);
  void Answer(const HttpResponse& response, bool keep_alive, bool head_only,
              int64_t now_ms);
  void Write(int64_t now_ms);
  void AfterAnswer(int64_t now_ms);
  // Ends our direction and waits, for a moment, for the client to end its own.
  void Linger(int64_t now_ms);
  // Reads what nobody wants any more.
  void Discard();
  void Expire(int64_t now_ms);
  void Finish() { state_ = State::kFinished; }

  const UniqueFd fd_;
  const std::unique_ptr<AdminStream> stream_;
  const AdminTransport transport_;
  AdminServices* const services_;
  State state_ = State::kHandshaking;
  bool welcome_ = false;  // the handshake is over
  HttpRequestParser parser_;
  std::shared_ptr<Pending> pending_;  // from Ask to the answer; else null
  std::string input_;   // read and not yet parsed: the next request's begin
  std::string output_;  // the answer
  size_t written_ = 0;  // of output_
  bool keep_alive_ = true;
  bool retired_ = false;
  bool answered_ = false;  // once, at least
  size_t lingered_bytes_ = 0;
  int64_t deadline_ms_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_CONNECTION_H_
