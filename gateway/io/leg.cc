// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/leg.h"

#include <algorithm>
#include <cerrno>

namespace spicegate {

Leg Leg::Plain(IoDriver* driver, int fd) {
  auto socket = std::unique_ptr<Socket>(new Socket(driver, fd));
  StreamPtr plain(socket->plain());
  return Leg(std::move(socket), std::move(plain));
}

void Leg::BeginRelaying(WorkerCounters* counters) {
  auto next = stream->BeginRelaying(socket.get(), counters);
  if (next != nullptr) {
    stream = std::move(next);
  }
}

void Leg::Release(Socket::End end) {
  stream.reset();
  if (socket != nullptr) {
    Socket::Release(std::move(socket), end);
  }
}

Task<int> ReadExactly(Leg* leg, std::span<uint8_t> out) {
  const int n = co_await ReadAtLeast(leg, out, out.size());
  co_return std::min(n, 0);
}

Task<int> ReadAtLeast(Leg* leg, std::span<uint8_t> out, size_t at_least) {
  size_t len = 0;
  while (len < at_least) {
    const ssize_t n = leg->stream->Read(out.subspan(len));
    if (n > 0) {
      len += static_cast<size_t>(n);
      continue;
    }
    if (n == 0) {
      co_return -ENODATA;
    }
    if (n != -EAGAIN) {
      co_return static_cast<int>(n);
    }
    const int error = co_await leg->socket->Until(leg->stream->ReadWait());
    if (error != 0) {
      co_return error;
    }
  }
  co_return static_cast<int>(len);
}

Task<int> WriteAll(Leg* leg, std::span<const uint8_t> in) {
  while (!in.empty()) {
    const ssize_t n = leg->stream->Write(in);
    if (n > 0) {
      in = in.subspan(static_cast<size_t>(n));
      continue;
    }
    if (n != -EAGAIN) {
      co_return static_cast<int>(n);
    }
    const int error = co_await leg->socket->Until(leg->stream->WriteWait());
    if (error != 0) {
      co_return error;
    }
  }
  co_return 0;
}

}  // namespace spicegate
