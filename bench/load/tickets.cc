// SPDX-License-Identifier: Apache-2.0
#include "bench/load/tickets.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

namespace spicegate {
namespace {

constexpr int kAnswerTimeoutMs = 5'000;
constexpr size_t kMaxAnswerLen = 64 * 1024;
// Requests sent before their answers are read.
constexpr int64_t kPipelined = 32;

// A keep-alive HTTP connection, as far as the admin address needs it.
class AdminConnection {
 public:
  explicit AdminConnection(const Address& address)
      : fd_(ConnectBlocking(address)) {}
  ~AdminConnection() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  AdminConnection(const AdminConnection&) = delete;
  AdminConnection& operator=(const AdminConnection&) = delete;

  bool Post(const std::string& path) {
    const std::string request = "POST " + path +
                                " HTTP/1.1\r\nHost: localhost\r\n"
                                "Content-Length: 0\r\n\r\n";
    return fd_ >= 0 &&
           send(fd_, request.data(), request.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(request.size());
  }

  // Head and body of the next answer.
  std::optional<std::string> ReadAnswer() {
    for (;;) {
      const std::optional<size_t> len = AnswerLen();
      if (len.has_value() && received_.size() >= *len) {
        std::string answer = received_.substr(0, *len);
        received_.erase(0, *len);
        return answer;
      }
      if (received_.size() > kMaxAnswerLen || !ReadMore()) {
        return std::nullopt;
      }
    }
  }

 private:
  // Of the first answer in received_, once its head is whole.
  std::optional<size_t> AnswerLen() const {
    const size_t end = received_.find("\r\n\r\n");
    if (end == std::string::npos) {
      return std::nullopt;
    }
    std::string head = received_.substr(0, end);
    for (char& c : head) {
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    constexpr std::string_view kName = "\r\ncontent-length:";
    const size_t at = head.find(kName);
    const long body_len =
        at == std::string::npos
            ? 0
            : std::strtol(head.c_str() + at + kName.size(), nullptr, 10);
    return end + 4 + static_cast<size_t>(body_len > 0 ? body_len : 0);
  }

  bool ReadMore() {
    pollfd poll_fd = {.fd = fd_, .events = POLLIN, .revents = 0};
    std::array<char, 16 * 1024> buffer;
    if (poll(&poll_fd, 1, kAnswerTimeoutMs) != 1) {
      return false;
    }
    const ssize_t n = recv(fd_, buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      return false;
    }
    received_.append(buffer.data(), static_cast<size_t>(n));
    return true;
  }

  const int fd_;
  std::string received_;
};

// The value of "ticket" in {"ticket":"...",...}.
std::optional<std::string> TicketIn(const std::string& answer) {
  constexpr std::string_view kKey = "\"ticket\"";
  const size_t key = answer.find(kKey);
  if (key == std::string::npos) {
    return std::nullopt;
  }
  const size_t start = answer.find('"', key + kKey.size());
  const size_t end =
      start == std::string::npos ? start : answer.find('"', start + 1);
  if (end == std::string::npos) {
    return std::nullopt;
  }
  return answer.substr(start + 1, end - start - 1);
}

}  // namespace

std::string ConsoleName(int64_t number) {
  std::array<char, 32> name;
  std::snprintf(name.data(), name.size(), "bench-%05lld",
                static_cast<long long>(number));
  return name.data();
}

std::string TicketSource::Mint(const Address& admin, int64_t num_tickets,
                               int64_t num_consoles) {
  AdminConnection connection(admin);
  tickets_.clear();
  minted_ = true;
  int64_t num_asked = 0;
  while (static_cast<int64_t>(tickets_.size()) < num_tickets) {
    const int64_t num_done = static_cast<int64_t>(tickets_.size());
    while (num_asked < num_tickets && num_asked < num_done + kPipelined) {
      const std::string name = ConsoleName(num_asked % num_consoles);
      if (!connection.Post("/v1/consoles/" + name + "/ticket")) {
        return admin.ToString() + ": no connection";
      }
      ++num_asked;
    }
    const auto answer = connection.ReadAnswer();
    if (!answer.has_value()) {
      return admin.ToString() + ": no answer";
    }
    const auto ticket = TicketIn(*answer);
    if (!ticket.has_value()) {
      return admin.ToString() + ": " + answer->substr(0, 200);
    }
    tickets_.push_back(*ticket);
  }
  return "";
}

const std::string* TicketSource::Next() {
  if (!minted_) {
    return &tickets_.front();
  }
  return next_ < tickets_.size() ? &tickets_[next_++] : nullptr;
}

}  // namespace spicegate
