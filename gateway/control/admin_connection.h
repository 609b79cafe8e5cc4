// SPDX-License-Identifier: Apache-2.0
//
// One connection to the admin address: reads a request, answers it, and so on.
// Belongs to the AdminServer and lives on its thread.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_CONNECTION_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/unique_fd.h"
#include "gateway/control/admin_router.h"
#include "gateway/control/http.h"

namespace spicegate {

class AdminConnection {
 public:
  // `fd` is non-blocking; `services` outlives the connection.
  AdminConnection(UniqueFd fd, AdminTransport transport,
                  AdminServices* services, int64_t now_ms);

  int fd() const { return fd_.get(); }

  // What to ask poll(2) for. At any time only one of both: a client that does
  // not read its answer is not read from either.
  short PollEvents() const;

  // After poll: `revents` as it came, 0 for none. Moves what can be moved.
  void Handle(short revents, int64_t now_ms);

  // Monotonic time at which the connection is given up.
  int64_t deadline_ms() const { return deadline_ms_; }

  // Nothing more to do: destroy it.
  bool finished() const { return state_ == State::kFinished; }

  // Between requests; may be dropped when room is needed.
  bool idle() const { return state_ == State::kReading && parser_.idle(); }

 private:
  enum class State : uint8_t {
    kReading,
    kWriting,
    kLingering,  // answered and shut down; waits for the client to close
    kFinished,
  };

  void Read(int64_t now_ms);
  // Answers what is in input_ until an answer gets stuck or more is needed.
  void Advance(int64_t now_ms);
  void Answer(const HttpResponse& response, bool keep_alive, bool head_only,
              int64_t now_ms);
  void Write(int64_t now_ms);
  void AfterAnswer(int64_t now_ms);
  void Expire(int64_t now_ms);
  void Finish() { state_ = State::kFinished; }

  const UniqueFd fd_;
  const AdminTransport transport_;
  AdminServices* const services_;
  State state_ = State::kReading;
  HttpRequestParser parser_;
  std::string input_;   // read and not yet parsed: the next request's begin
  std::string output_;  // the answer
  size_t written_ = 0;  // of output_
  bool keep_alive_ = true;
  size_t lingered_bytes_ = 0;
  int64_t deadline_ms_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_CONNECTION_H_
