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

constexpr size_t kReadBytes = 4096;

// Read and thrown away after an error answer, before the connection goes.
constexpr size_t kMaxLingerBytes = 64 * 1024;

bool WouldBlock(int error) { return error == EAGAIN || error == EINTR; }

}  // namespace

AdminConnection::AdminConnection(UniqueFd fd, AdminTransport transport,
                                 AdminServices* services, int64_t now_ms)
    : fd_(std::move(fd)),
      transport_(transport),
      services_(services),
      deadline_ms_(now_ms + kAdminRequestMs) {}

short AdminConnection::PollEvents() const {
  return state_ == State::kWriting ? POLLOUT : POLLIN;
}

void AdminConnection::Handle(short revents, int64_t now_ms) {
  if (revents != 0) {
    if (state_ == State::kWriting) {
      Write(now_ms);
    } else {
      Read(now_ms);
    }
    Advance(now_ms);
  }
  if (!finished() && now_ms >= deadline_ms_) {
    Expire(now_ms);
  }
}

void AdminConnection::Read(int64_t now_ms) {
  char buffer[kReadBytes];
  const ssize_t len = recv(fd_.get(), buffer, sizeof(buffer), 0);
  if (len <= 0) {
    if (len == 0 || !WouldBlock(errno)) {
      Finish();
    }
    return;
  }
  if (state_ == State::kLingering) {
    lingered_bytes_ += static_cast<size_t>(len);
    if (lingered_bytes_ > kMaxLingerBytes) {
      Finish();
    }
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
      const HttpRequest& request = parser_.request();
      Answer(RouteAdminRequest(request, transport_, services_),
             request.keep_alive, request.method == "HEAD", now_ms);
    }
  }
}

void AdminConnection::Answer(const HttpResponse& response, bool keep_alive,
                             bool head_only, int64_t now_ms) {
  keep_alive_ = keep_alive;
  output_ = EncodeHttpResponse(response, keep_alive, head_only);
  written_ = 0;
  parser_.Reset();
  state_ = State::kWriting;
  deadline_ms_ = now_ms + kAdminRequestMs;
  Write(now_ms);
}

void AdminConnection::Write(int64_t now_ms) {
  while (written_ < output_.size()) {
    const ssize_t len = send(fd_.get(), output_.data() + written_,
                             output_.size() - written_, MSG_NOSIGNAL);
    if (len < 0) {
      if (!WouldBlock(errno)) {
        Finish();
      }
      return;
    }
    written_ += static_cast<size_t>(len);
  }
  AfterAnswer(now_ms);
}

void AdminConnection::AfterAnswer(int64_t now_ms) {
  output_.clear();
  if (!keep_alive_) {
    // Closing with unread input would send RST, and the client might lose the
    // answer to it.
    shutdown(fd_.get(), SHUT_WR);
    state_ = State::kLingering;
    deadline_ms_ = now_ms + kRefusalLingerMs;
    return;
  }
  state_ = State::kReading;
  deadline_ms_ = now_ms + (input_.empty() ? kAdminIdleMs : kAdminRequestMs);
}

void AdminConnection::Expire(int64_t now_ms) {
  if (state_ == State::kReading && !parser_.idle()) {
    Answer(HttpError(408, "the request did not come in time"),
           /*keep_alive=*/false, /*head_only=*/false, now_ms);
    return;
  }
  Finish();
}

}  // namespace spicegate
