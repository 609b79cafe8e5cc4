// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin_connection.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "gateway/base/limits.h"
#include "gateway/control/admin.h"

namespace spicegate {
namespace {

// Read and thrown away after an error answer, before the connection goes.
constexpr size_t kMaxLingerBytes = 64 * 1024;

}  // namespace

AdminConnection::AdminConnection(UniqueFd fd,
                                 std::unique_ptr<AdminStream> stream,
                                 AdminTransport transport,
                                 AdminServices* services, int64_t now_ms)
    : fd_(std::move(fd)),
      stream_(std::move(stream)),
      transport_(transport),
      services_(services),
      deadline_ms_(now_ms + kAdminHandshakeMs) {
  // A plain one is over at once; any other has nothing to read yet.
  Handshake(now_ms);
}

short AdminConnection::PollEvents() const {
  if (state_ == State::kHandshaking) {
    return stream_->HandshakeEvents();
  }
  if (state_ == State::kWaiting) {
    return 0;
  }
  return state_ == State::kWriting ? POLLOUT : POLLIN;
}

void AdminConnection::Handle(short revents, int64_t now_ms) {
  if (revents != 0 || answer_known()) {
    switch (state_) {
      case State::kHandshaking:
        Handshake(now_ms);
        break;
      case State::kReading:
        Read(now_ms);
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
    Advance(now_ms);
  }
  if (!finished() && now_ms >= deadline_ms_) {
    Expire(now_ms);
  }
}

void AdminConnection::Handshake(int64_t now_ms) {
  const int result = stream_->Handshake();
  if (result == 0) {
    welcome_ = true;
    state_ = State::kReading;
    deadline_ms_ = now_ms + kAdminRequestMs;
  } else if (result != -EAGAIN) {
    // The client may have sent its request behind the certificate that is
    // refused; see Linger.
    Linger(now_ms);
  }
}

void AdminConnection::Read(int64_t now_ms) {
  char buffer[kAdminReadBytes];
  const ssize_t len = stream_->Read(buffer);
  if (len == -EAGAIN) {
    return;
  }
  if (len <= 0) {
    Finish();
    return;
  }
  if (parser_.idle()) {
    deadline_ms_ = now_ms + kAdminRequestMs;
  }
  input_.assign(buffer, static_cast<size_t>(len));
}

void AdminConnection::Advance(int64_t now_ms) {
  while (state_ == State::kReading && !input_.empty()) {
    input_.erase(0, parser_.Feed(input_));
    if (parser_.state() == HttpRequestParser::State::kError) {
      Answer(HttpError(parser_.error_status(), parser_.error_text()),
             /*keep_alive=*/false, /*head_only=*/false, now_ms);
    } else if (parser_.state() == HttpRequestParser::State::kDone) {
      Ask(now_ms);
    }
  }
}

void AdminConnection::Ask(int64_t now_ms) {
  pending_ = std::make_shared<Pending>();
  state_ = State::kWaiting;
  deadline_ms_ = now_ms + kAdminAnswerMs;
  const auto respond = [weak = std::weak_ptr(pending_)](HttpResponse response) {
    // Nothing is written here: this may be in the midst of anything.
    const std::shared_ptr<Pending> pending = weak.lock();
    if (pending != nullptr && !pending->response.has_value()) {
      pending->response = std::move(response);
    }
  };
  RouteAdminRequest(parser_.request(), transport_, services_, respond);
  Wait(/*revents=*/0, now_ms);
}

void AdminConnection::Wait(short revents, int64_t now_ms) {
  if (answer_known()) {
    const HttpResponse response = *std::move(pending_->response);
    AnswerRequest(response, now_ms);
  } else if (revents != 0) {
    Finish();
  }
}

void AdminConnection::AnswerRequest(const HttpResponse& response,
                                    int64_t now_ms) {
  const HttpRequest& request = parser_.request();
  Answer(response, request.keep_alive && !retired_, request.method == "HEAD",
         now_ms);
}

void AdminConnection::Answer(const HttpResponse& response, bool keep_alive,
                             bool head_only, int64_t now_ms) {
  keep_alive_ = keep_alive;
  answered_ = true;
  output_ = EncodeHttpResponse(response, keep_alive, head_only);
  written_ = 0;
  pending_.reset();
  parser_.Reset();
  state_ = State::kWriting;
  deadline_ms_ = now_ms + kAdminRequestMs;
  Write(now_ms);
}

void AdminConnection::Write(int64_t now_ms) {
  while (written_ < output_.size()) {
    const ssize_t len =
        stream_->Write(std::string_view(output_).substr(written_));
    if (len < 0) {
      if (len != -EAGAIN) {
        Finish();
      }
      return;
    }
    written_ += static_cast<size_t>(len);
  }
  AfterAnswer(now_ms);
}

void AdminConnection::AfterAnswer(int64_t now_ms) {
  if (!keep_alive_) {
    if (stream_->EndWrite() != -EAGAIN) {
      Linger(now_ms);
    }
    return;
  }
  output_.clear();
  state_ = State::kReading;
  deadline_ms_ = now_ms + (input_.empty() ? kAdminIdleMs : kAdminRequestMs);
}

void AdminConnection::Linger(int64_t now_ms) {
  // Closing with unread input would send RST, and the client might lose the
  // answer to it.
  shutdown(fd_.get(), SHUT_WR);
  state_ = State::kLingering;
  deadline_ms_ = now_ms + kRefusalLingerMs;
}

void AdminConnection::Discard() {
  char buffer[kAdminReadBytes];
  const ssize_t len = recv(fd_.get(), buffer, sizeof(buffer), 0);
  if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  lingered_bytes_ += static_cast<size_t>(len > 0 ? len : 0);
  if (len <= 0 || lingered_bytes_ > kMaxLingerBytes) {
    Finish();
  }
}

void AdminConnection::Retire(int64_t now_ms) {
  retired_ = true;
  if (idle() && answered_) {
    stream_->EndWrite();
    Linger(now_ms);
  }
}

void AdminConnection::Expire(int64_t now_ms) {
  if (state_ == State::kWaiting) {
    AnswerRequest(HttpError(503, "no answer in time"), now_ms);
    Advance(now_ms);
    return;
  }
  if (state_ == State::kReading && !parser_.idle()) {
    Answer(HttpError(408, "the request did not come in time"),
           /*keep_alive=*/false, /*head_only=*/false, now_ms);
    return;
  }
  Finish();
}

}  // namespace spicegate
