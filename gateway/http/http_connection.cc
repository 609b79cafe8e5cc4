// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/http_connection.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <span>
#include <string_view>
#include <utility>

#include "gateway/base/limits.h"
#include "gateway/base/proxy_header.h"

namespace spicegate {
namespace {

// Read and thrown away after an error answer, before the connection goes.
constexpr size_t kMaxLingerBytes = 64 * 1024;

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

HttpConnection::HttpConnection(UniqueFd fd, std::unique_ptr<HttpStream> stream,
                               HttpPeer peer, const HttpServerOptions* options,
                               const HttpHandler* handler, int64_t now_ms)
    : fd_(std::move(fd)),
      stream_(std::move(stream)),
      peer_(std::move(peer)),
      options_(options),
      handler_(handler),
      deadline_ms_(now_ms + options->handshake_ms) {
  if (options_->proxy_protocol) {
    state_ = State::kPreface;
  } else {
    BeginHandshake(now_ms);
  }
}

short HttpConnection::PollEvents() const {
  if (state_ == State::kHandshaking) {
    return stream_->HandshakeEvents();
  }
  if (state_ == State::kWaiting) {
    return 0;
  }
  return state_ == State::kWriting ? POLLOUT : POLLIN;
}

std::optional<int> HttpConnection::dispensability() const {
  if (finished()) {
    return 0;
  }
  if (!welcome_) {
    return 1;
  }
  return idle() ? std::optional(2) : std::nullopt;
}

bool HttpConnection::Handle(short revents, int64_t now_ms, HttpTurn* turn) {
  bool moved = true;
  if (revents != 0 || has_work()) {
    moved = MayGoOn(turn);
    if (moved) {
      Move(revents, now_ms, turn);
    }
  }
  if (!finished() && now_ms >= deadline_ms_) {
    Expire(now_ms);
  }
  return moved;
}

bool HttpConnection::MayGoOn(HttpTurn* turn) const {
  if (state_ == State::kHandshaking) {
    return turn->handshakes-- > 0;
  }
  return state_ != State::kReading || turn->requests > 0;
}

void HttpConnection::Move(short revents, int64_t now_ms, HttpTurn* turn) {
  switch (state_) {
    case State::kPreface:
      ReadPreface(now_ms);
      break;
    case State::kHandshaking:
      Handshake(now_ms);
      break;
    case State::kReading:
      // What has been read comes first; the socket keeps the rest.
      if (input_.empty()) {
        Read(now_ms);
      }
      break;
    case State::kWaiting:
      Wait(revents, now_ms);
      break;
    case State::kWriting:
      Write(now_ms);
      break;
    case State::kLingering:
      Discard();
      break;
    case State::kFinished:
      break;
  }
  Advance(now_ms, turn);
}

void HttpConnection::ReadPreface(int64_t now_ms) {
  char buffer[kMaxProxyHeaderBytes];
  for (;;) {
    const std::optional<size_t> lack = ProxyHeaderLack(Bytes(input_));
    if (!lack.has_value()) {
      Drop();
      return;
    }
    if (*lack == 0) {
      break;
    }
    // Not one byte beyond the header: what follows is the stream's.
    const ssize_t len = recv(fd_.get(), buffer, *lack, 0);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
      return;
    }
    if (len <= 0) {
      Drop();
      return;
    }
    input_.append(buffer, static_cast<size_t>(len));
  }
  const std::optional<ProxyHeader> header = ParseProxyHeader(Bytes(input_));
  if (!header.has_value()) {
    Drop();
    return;
  }
  if (!header->source.empty()) {
    peer_.address = header->source;
  }
  input_.clear();
  input_.shrink_to_fit();
  BeginHandshake(now_ms);
}

void HttpConnection::BeginHandshake(int64_t now_ms) {
  state_ = State::kHandshaking;
  // TLS waits for its turn, and for the client's hello.
  if (!peer_.tls) {
    Handshake(now_ms);
  }
}

void HttpConnection::Handshake(int64_t now_ms) {
  const int result = stream_->Handshake();
  if (result == 0) {
    welcome_ = true;
    state_ = State::kReading;
    deadline_ms_ = now_ms + options_->request_ms;
  } else if (result != -EAGAIN) {
    // The client may have sent its request behind the certificate that is
    // refused; see Linger.
    Linger(now_ms);
  }
}

void HttpConnection::Read(int64_t now_ms) {
  char buffer[kHttpReadBytes];
  const ssize_t len = stream_->Read(buffer);
  if (len == -EAGAIN) {
    return;
  }
  if (len <= 0) {
    Drop();
    return;
  }
  if (parser_.idle()) {
    deadline_ms_ = now_ms + options_->request_ms;
  }
  input_.assign(buffer, static_cast<size_t>(len));
}

void HttpConnection::Advance(int64_t now_ms, HttpTurn* turn) {
  // A part of a request costs as much as a whole one.
  while (state_ == State::kReading && !input_.empty() && turn->requests > 0) {
    --turn->requests;
    input_.erase(0, parser_.Feed(input_));
    if (parser_.state() == HttpRequestParser::State::kMore) {
      return;
    }
    if (parser_.state() == HttpRequestParser::State::kError) {
      Answer(options_->error(parser_.error_status(), parser_.error_text()),
             /*keep_alive=*/false, /*head_only=*/false, now_ms);
    } else {
      Ask(now_ms);
    }
  }
}

void HttpConnection::Ask(int64_t now_ms) {
  pending_ = std::make_shared<Pending>();
  state_ = State::kWaiting;
  deadline_ms_ = now_ms + options_->answer_ms;
  const auto respond = [weak = std::weak_ptr(pending_)](HttpResponse response) {
    // Nothing is written here: this may be in the midst of anything.
    const std::shared_ptr<Pending> pending = weak.lock();
    if (pending != nullptr && !pending->response.has_value()) {
      pending->response = std::move(response);
    }
  };
  (*handler_)(parser_.request(), peer_, respond);
  Wait(/*revents=*/0, now_ms);
}

void HttpConnection::Wait(short revents, int64_t now_ms) {
  if (answer_known()) {
    const HttpResponse response = *std::move(pending_->response);
    AnswerRequest(response, now_ms);
  } else if (revents != 0) {
    Drop();
  }
}

void HttpConnection::AnswerRequest(const HttpResponse& response,
                                   int64_t now_ms) {
  const HttpRequest& request = parser_.request();
  Answer(response, request.keep_alive && !retired_, request.method == "HEAD",
         now_ms);
}

void HttpConnection::Answer(const HttpResponse& response, bool keep_alive,
                            bool head_only, int64_t now_ms) {
  keep_alive_ = keep_alive;
  answered_ = true;
  output_ = EncodeHttpResponse(response, keep_alive, head_only);
  written_ = 0;
  pending_.reset();
  parser_.Reset();
  state_ = State::kWriting;
  deadline_ms_ = now_ms + options_->request_ms;
  Write(now_ms);
}

void HttpConnection::Write(int64_t now_ms) {
  while (written_ < output_.size()) {
    const ssize_t len =
        stream_->Write(std::string_view(output_).substr(written_));
    if (len < 0) {
      if (len != -EAGAIN) {
        Drop();
      }
      return;
    }
    written_ += static_cast<size_t>(len);
  }
  AfterAnswer(now_ms);
}

void HttpConnection::AfterAnswer(int64_t now_ms) {
  if (!keep_alive_) {
    if (stream_->EndWrite() != -EAGAIN) {
      Linger(now_ms);
    }
    return;
  }
  output_.clear();
  state_ = State::kReading;
  deadline_ms_ =
      now_ms + (input_.empty() ? options_->idle_ms : options_->request_ms);
}

void HttpConnection::Linger(int64_t now_ms) {
  // Closing with unread input would send RST, and the client might lose the
  // answer to it.
  shutdown(fd_.get(), SHUT_WR);
  state_ = State::kLingering;
  deadline_ms_ = now_ms + kRefusalLingerMs;
}

void HttpConnection::Discard() {
  char buffer[kHttpReadBytes];
  const ssize_t len = recv(fd_.get(), buffer, sizeof(buffer), 0);
  if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  lingered_bytes_ += static_cast<size_t>(len > 0 ? len : 0);
  if (len <= 0 || lingered_bytes_ > kMaxLingerBytes) {
    Drop();
  }
}

void HttpConnection::Retire(int64_t now_ms) {
  retired_ = true;
  if (idle() && answered_) {
    stream_->EndWrite();
    Linger(now_ms);
  }
}

void HttpConnection::Expire(int64_t now_ms) {
  if (state_ == State::kWaiting) {
    AnswerRequest(options_->late, now_ms);
    return;
  }
  if (state_ == State::kReading && !parser_.idle()) {
    Answer(options_->error(408, "the request did not come in time"),
           /*keep_alive=*/false, /*head_only=*/false, now_ms);
    return;
  }
  Drop();
}

}  // namespace spicegate
