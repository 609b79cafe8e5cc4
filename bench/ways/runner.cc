// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/runner.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>
#include <vector>

#include "bench/ways/cpu.h"
#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr double kNsPerSecond = 1e9;

// Before connecting: a socket that has once been paced stays so.
void SetCongestion(int fd, const std::string& algorithm) {
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, algorithm.data(),
             static_cast<socklen_t>(algorithm.size()));
}

// Before connecting, so that the window is scaled for them. The forced form,
// because the plain one stops at net.core.wmem_max.
void SetBuffers(int fd, const Way& way) {
  if (way.send_buffer_bytes != 0) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &way.send_buffer_bytes,
               sizeof(way.send_buffer_bytes));
  }
  if (way.receive_buffer_bytes != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &way.receive_buffer_bytes,
               sizeof(way.receive_buffer_bytes));
  }
}

// Of a socket that is connected.
void Prepare(int fd, bool no_delay) {
  const int on = no_delay ? 1 : 0;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// A listener on loopback that makes pairs of connected sockets.
class PairMaker {
 public:
  PairMaker() : listener_(NewSocket()) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener_, Address(), sizeof(address_)) == 0);
    socklen_t len = sizeof(address_);
    CHECK(getsockname(listener_, Address(), &len) == 0);
    CHECK(listen(listener_, 16) == 0);
  }
  ~PairMaker() { close(listener_); }

  static int NewSocket() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    return fd;
  }
  int listener() const { return listener_; }

  // Connects `fd` and returns the other end.
  int Connect(int fd) {
    CHECK(connect(fd, Address(), sizeof(address_)) == 0);
    const int other = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    CHECK(other >= 0);
    return other;
  }

 private:
  sockaddr* Address() { return reinterpret_cast<sockaddr*>(&address_); }

  const int listener_;
  sockaddr_in address_{};
};

struct Connections {
  std::vector<int> client;  // the load's ends
  std::vector<int> server;
  std::vector<std::array<int, 2>> relay;
};

// The client's side is accepted by the relay, the server's connected by it.
Connections Connect(const Way& way, int num_connections,
                    const std::string& congestion) {
  PairMaker accepting;
  PairMaker serving;
  SetBuffers(accepting.listener(), way);
  SetCongestion(accepting.listener(), congestion);
  SetCongestion(serving.listener(), congestion);
  Connections made;
  for (int i = 0; i < num_connections; ++i) {
    const int client = PairMaker::NewSocket();
    const int to_server = PairMaker::NewSocket();
    SetBuffers(to_server, way);
    SetCongestion(client, congestion);
    SetCongestion(to_server, congestion);
    const int from_client = accepting.Connect(client);
    const int server = serving.Connect(to_server);
    Prepare(client, true);
    Prepare(server, true);
    Prepare(from_client, way.no_delay);
    Prepare(to_server, way.no_delay);
    made.client.push_back(client);
    made.server.push_back(server);
    made.relay.push_back({from_client, to_server});
  }
  return made;
}

std::thread StartRelay(const Way& way, std::vector<std::array<int, 2>> pairs,
                       int cpu) {
  return std::thread([way, cpu, pairs = std::move(pairs)] {
    PinTo(cpu);
    const std::unique_ptr<Relay> relay = MakeRelay(way);
    for (const auto& [client_fd, server_fd] : pairs) {
      relay->Add(client_fd, server_fd);
    }
    relay->Run();
  });
}

double PercentileUs(std::vector<uint32_t>* values_ns, double fraction) {
  if (values_ns->empty()) {
    return 0;
  }
  const auto at = values_ns->begin() +
                  static_cast<ptrdiff_t>(
                      fraction * static_cast<double>(values_ns->size() - 1));
  std::nth_element(values_ns->begin(), at, values_ns->end());
  return *at / 1e3;
}

RunResult Measure(const Workload& workload, const RunOptions& options,
                  Load* load) {
  RunResult result;
  if (workload.stream_bytes == 0) {
    load->RunFor(static_cast<int64_t>(options.warmup_seconds * kNsPerSecond));
    load->ResetCounts();
  }
  const int64_t start_ns = MonotonicNs();
  const int64_t start_cpu_ns = OtherThreadsCpuNs();
  result.over =
      load->RunFor(static_cast<int64_t>(options.seconds * kNsPerSecond));
  const auto cpu_ns = static_cast<double>(OtherThreadsCpuNs() - start_cpu_ns);
  const auto elapsed_ns = static_cast<double>(MonotonicNs() - start_ns);
  const uint64_t units =
      workload.bulk() ? load->num_bytes() : load->num_round_trips();
  const double num_units = static_cast<double>(std::max<uint64_t>(units, 1));
  result.units_per_second = num_units / elapsed_ns * kNsPerSecond;
  result.cpu_ns_per_unit = cpu_ns / num_units;
  result.p50_us = PercentileUs(load->latencies_ns(), 0.5);
  result.p99_us = PercentileUs(load->latencies_ns(), 0.99);
  result.num_wrong = load->num_wrong();
  return result;
}

}  // namespace

RunResult RunOnce(const Way& way, const Workload& workload,
                  const RunOptions& options) {
  Connections made =
      Connect(way, workload.connections, options.congestion_control);
  std::thread relay = StartRelay(way, std::move(made.relay), options.relay_cpu);
  PinTo(options.load_cpu);
  RunResult result;
  {
    Load load(workload, std::move(made.client), std::move(made.server));
    result = Measure(workload, options, &load);
  }  // its sockets close, which ends the relay
  relay.join();
  return result;
}

}  // namespace spicegate
