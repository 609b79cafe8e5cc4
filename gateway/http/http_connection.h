// SPDX-License-Identifier: Apache-2.0
//
// One connection to an HttpServer: reads a request, answers it, and so on.
// Belongs to the server and lives on its thread.
#ifndef SPICEGATE_GATEWAY_HTTP_HTTP_CONNECTION_H_
#define SPICEGATE_GATEWAY_HTTP_HTTP_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "gateway/base/unique_fd.h"
#include "gateway/http/http.h"
#include "gateway/http/http_handler.h"
#include "gateway/http/http_server.h"
#include "gateway/http/http_stream.h"

namespace spicegate {

// What all connections together may still do in this turn of the loop.
struct HttpTurn {
  int handshakes = 0;  // steps of TLS handshakes
  int requests = 0;    // requests handled, or read in part
};

class HttpConnection {
 public:
  // `fd` is non-blocking and `stream` is over it; `options` and `handler`
  // outlive the connection. With a PROXY header in front `peer` is who speaks
  // it.
  HttpConnection(UniqueFd fd, std::unique_ptr<HttpStream> stream, HttpPeer peer,
                 const HttpServerOptions* options, const HttpHandler* handler,
                 int64_t now_ms);

  int fd() const { return fd_.get(); }

  // What to ask poll(2) for. At any time at most one of both: a client that
  // does not read its answer is not read from either. None while an answer is
  // waited for, when poll(2) tells hang-ups alone: a client may end its
  // direction behind its request.
  short PollEvents() const;

  // After poll: `revents` as it came, 0 for none. Moves what can be moved, an
  // answer that has become known and requests that had to wait included.
  // False: nothing is left of `turn` for what there was to do.
  bool Handle(short revents, int64_t now_ms, HttpTurn* turn);

  // Monotonic time at which the connection is given up, or a late answer is
  // the client's; 0 when there is something to do without the socket.
  int64_t deadline_ms() const { return has_work() ? 0 : deadline_ms_; }

  // Nothing more to do: destroy it.
  bool finished() const { return state_ == State::kFinished; }

  // Ends it here and now.
  void Drop() { state_ = State::kFinished; }

  // Whose it is; final once `identified`.
  const HttpPeer& peer() const { return peer_; }
  bool identified() const { return state_ != State::kPreface; }

  // What it counts for, once the server has counted it: a network of users, or
  // nothing ("").
  const std::optional<std::string>& source() const { return source_; }
  void set_source(std::string source) { source_ = std::move(source); }

  // Who is to be dropped first when room is needed: the lowest. Has no place
  // any more, has not shown yet who it is or is refused, is between requests.
  // Nothing for a connection that is not to be dropped.
  std::optional<int> dispensability() const;

  // Since when it has been as it is, for two that are as dispensable.
  int64_t since_ms() const { return deadline_ms_; }

  // Whom to let in has changed: ends the connection, at once when it is idle,
  // else behind its next answer. One that has had no answer yet gets one.
  void Retire(int64_t now_ms);

 private:
  enum class State : uint8_t {
    kPreface,  // reading the PROXY header
    kHandshaking,
    kReading,
    kWaiting,  // for the answer
    kWriting,
    kLingering,  // shut down; waits for the client to close
    kFinished,
  };

  // An answer to come. The connection owns it and who answers knows it weakly:
  // once it is of no use any more, their word goes nowhere.
  struct Pending {
    std::optional<HttpResponse> response;
  };

  bool answer_known() const {
    return pending_ != nullptr && pending_->response.has_value();
  }
  bool has_work() const {
    return answer_known() || (state_ == State::kReading && !input_.empty());
  }
  bool idle() const { return state_ == State::kReading && parser_.idle(); }
  // Whether `turn` allows what this state's descriptor is waited for.
  bool MayGoOn(HttpTurn* turn) const;
  void Move(short revents, int64_t now_ms, HttpTurn* turn);
  void ReadPreface(int64_t now_ms);
  // The stream's turn: who speaks plain HTTP may go on at once.
  void BeginHandshake(int64_t now_ms);
  void Handshake(int64_t now_ms);
  void Read(int64_t now_ms);
  // Answers what is in input_ until an answer gets stuck, more is needed, or
  // the turn is over.
  void Advance(int64_t now_ms, HttpTurn* turn);
  // Gives the request to the handler.
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

  const UniqueFd fd_;
  const std::unique_ptr<HttpStream> stream_;
  HttpPeer peer_;
  const HttpServerOptions* const options_;
  const HttpHandler* const handler_;
  State state_ = State::kHandshaking;
  bool welcome_ = false;  // the handshake is over
  std::optional<std::string> source_;
  HttpRequestParser parser_;
  std::shared_ptr<Pending> pending_;  // from Ask to the answer; else null
  // Read and not yet parsed: the PROXY header, or the next request's begin.
  std::string input_;
  std::string output_;  // the answer
  size_t written_ = 0;  // of output_
  bool keep_alive_ = true;
  bool retired_ = false;
  bool answered_ = false;  // once, at least
  size_t lingered_bytes_ = 0;
  int64_t deadline_ms_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_HTTP_CONNECTION_H_
