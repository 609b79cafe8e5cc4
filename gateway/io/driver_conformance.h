// SPDX-License-Identifier: Apache-2.0
//
// What the conformance test runs on: each implementation of IoDriver with a
// network around it, and the fixture. Test code only.
#ifndef SPICEGATE_GATEWAY_IO_DRIVER_CONFORMANCE_H_
#define SPICEGATE_GATEWAY_IO_DRIVER_CONFORMANCE_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/base/unique_fd.h"
#include "gateway/io/driver.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/io/uring_driver.h"

namespace spicegate {

// A driver and the network around it. Both ends of a connection are used
// through the driver.
class Host {
 public:
  virtual ~Host() = default;
  virtual IoDriver* driver() = 0;
  virtual std::pair<int, int> Connection() = 0;
  virtual int Listen(sockaddr_in* address) = 0;
  // Where nobody listens.
  virtual sockaddr_in Nowhere() = 0;
};

// `family` is what connections are made of: TCP on loopback, or AF_UNIX.
class UringHost final : public Host {
 public:
  explicit UringHost(const UringOptions& options, int family = AF_INET)
      : family_(family) {
    auto driver = UringDriver::Create(options);
    if (!driver.ok()) {
      ADD_FAILURE() << driver.status();
      std::abort();
    }
    driver_ = *std::move(driver);
  }

  ~UringHost() override { EXPECT_EQ(driver_->StaleCompletions(), 0); }

  IoDriver* driver() override { return driver_.get(); }

  std::pair<int, int> Connection() override {
    if (family_ == AF_UNIX) {
      int fds[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                           0, fds),
                0);
      return {fds[0], fds[1]};
    }
    sockaddr_in address{};
    const int listener = Listen(&address);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(
        connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
        0);
    EXPECT_EQ(fcntl(client, F_SETFL, O_NONBLOCK), 0);
    pollfd ready{listener, POLLIN, 0};
    EXPECT_EQ(poll(&ready, 1, -1), 1);
    const int server =
        accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    EXPECT_GE(server, 0);
    close(listener);
    return {client, server};
  }

  int Listen(sockaddr_in* address) override {
    const int fd = Bound(address);
    EXPECT_EQ(listen(fd, 128), 0);
    return fd;
  }

  sockaddr_in Nowhere() override {
    // Bound but not listening, and kept so that nobody else takes the port.
    sockaddr_in address{};
    nowhere_.Reset(Bound(&address));
    return address;
  }

 private:
  static int Bound(sockaddr_in* address) {
    const int fd =
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = SimAddress(0);
    socklen_t len = sizeof(*address);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(address), len), 0);
    EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(address), &len), 0);
    return fd;
  }

  const int family_;
  UniqueFd nowhere_;
  std::unique_ptr<UringDriver> driver_;
};

class SimHost final : public Host {
 public:
  explicit SimHost(const SimOptions& options)
      : network_(options), driver_(&network_) {}

  ~SimHost() override {
    EXPECT_EQ(network_.OpenSockets(), 0u);
    EXPECT_EQ(network_.OpenPipes(), 0u);
  }

  IoDriver* driver() override { return &driver_; }
  std::pair<int, int> Connection() override { return network_.SocketPair(); }
  int Listen(sockaddr_in* address) override {
    *address = SimAddress(next_port_++);
    return network_.Listen(*address);
  }
  sockaddr_in Nowhere() override { return SimAddress(next_port_++); }

 private:
  SimNetwork network_;
  SimDriver driver_;
  uint16_t next_port_ = 1000;
};

// Keeps what it is told.
class Recorder final : public OpHandler {
 public:
  struct Event {
    uint32_t tag;
    OpResult result;
  };

  void OnOp(uint32_t tag, OpResult result) override {
    events.push_back({tag, result});
    if (on_event) {
      on_event(events.back());
    }
  }

  std::vector<Event> events;
  std::function<void(Event)> on_event;
};

struct Implementation {
  const char* name;
  std::function<std::unique_ptr<Host>()> make;
};

inline std::unique_ptr<Host> MakeSim(uint64_t seed, unsigned max_delay_turns) {
  SimOptions options;
  options.seed = seed;
  options.faults.max_delay_turns = max_delay_turns;
  return std::make_unique<SimHost>(options);
}

inline const Implementation kImplementations[] = {
    {"uring", [] { return std::make_unique<UringHost>(UringOptions{}); }},
    {"uring_plain",
     [] {
       UringOptions options;
       options.defer_taskrun = false;
       return std::make_unique<UringHost>(options);
     }},
    // Queues that overflow at once.
    {"uring_tiny",
     [] {
       UringOptions options;
       options.submission_entries = 8;
       options.completion_entries = 16;
       return std::make_unique<UringHost>(options);
     }},
    {"sim", [] { return MakeSim(1, 0); }},
    {"sim_delayed", [] { return MakeSim(2, 8); }},
};

class DriverTest : public testing::TestWithParam<Implementation> {
 protected:
  void TearDown() override { EXPECT_EQ(driver().OpsInFlight(), 0u); }

  IoDriver& driver() { return *host_->driver(); }

  // Asks `done` once a turn, and not again after it said yes.
  bool RunUntil(const std::function<bool()>& done) {
    for (int turn = 0; turn < 2'000; ++turn) {
      if (done()) {
        return true;
      }
      driver().RunOnce(10);
    }
    return false;
  }

  bool RunUntilEvents(const Recorder& recorder, size_t count) {
    return RunUntil([&] { return recorder.events.size() >= count; });
  }

  // Gives what must not happen the time to happen.
  void Settle() {
    for (int turn = 0; turn < 20; ++turn) {
      driver().RunOnce(turn < 18 ? 0 : 5);
    }
  }

  ssize_t SendText(int fd, std::string_view text) {
    return driver().Send(
        fd, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }

  // Reads until `len` bytes are here, the end, or an error; `last` is what
  // the last Recv returned.
  std::string RecvText(int fd, size_t len, ssize_t* last = nullptr) {
    std::string text;
    ssize_t n = 0;
    RunUntil([&] {
      std::array<uint8_t, 4096> piece;
      do {
        const size_t most = std::min(piece.size(), len - text.size());
        n = driver().Recv(fd, std::span(piece).first(most));
        if (n > 0) {
          text.append(reinterpret_cast<const char*>(piece.data()),
                      static_cast<size_t>(n));
        }
      } while (n > 0 && text.size() < len);
      return n != -EAGAIN;
    });
    if (last != nullptr) {
      *last = n;
    }
    return text;
  }

  // Sends until the connection takes no more; the number of bytes taken.
  size_t Fill(int fd) {
    const std::string block(8192, 'f');
    size_t sent = 0;
    for (;;) {
      const ssize_t n = SendText(fd, block);
      if (n <= 0) {
        EXPECT_EQ(n, -EAGAIN);
        return sent;
      }
      sent += static_cast<size_t>(n);
    }
  }

  void CloseBoth(std::pair<int, int> connection) {
    driver().Close(connection.first, false);
    driver().Close(connection.second, false);
  }

  OpId Connect(int fd, const sockaddr_in& address, Recorder* recorder,
               uint32_t tag) {
    return driver().Connect(fd, reinterpret_cast<const sockaddr*>(&address),
                            sizeof(address), recorder, tag);
  }

  std::unique_ptr<Host> host_ = GetParam().make();
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_DRIVER_CONFORMANCE_H_
