// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/http_stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

namespace spicegate {
namespace {

class PlainHttpStream final : public HttpStream {
 public:
  explicit PlainHttpStream(int fd) : fd_(fd) {}

  int Handshake() override { return 0; }
  short HandshakeEvents() const override { return POLLIN; }

  ssize_t Read(std::span<char> out) override {
    return Result(recv(fd_, out.data(), out.size(), 0));
  }

  ssize_t Write(std::string_view in) override {
    return Result(send(fd_, in.data(), in.size(), MSG_NOSIGNAL));
  }

  int EndWrite() override { return 0; }

 private:
  static ssize_t Result(ssize_t n) {
    if (n >= 0) {
      return n;
    }
    return errno == EINTR ? -EAGAIN : -errno;
  }

  const int fd_;
};

}  // namespace

std::unique_ptr<HttpStream> MakePlainHttpStream(int fd) {
  return std::make_unique<PlainHttpStream>(fd);
}

}  // namespace spicegate
