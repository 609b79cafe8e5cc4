// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/questions.h"

#include <utility>

namespace spicegate {
namespace {

constexpr size_t kKiB = 1024;
constexpr int kStreams = 8;

Workload Bulk(size_t write_kib) {
  Workload workload;
  workload.name = "bulk " + std::to_string(write_kib) + "K";
  workload.connections = kStreams;
  workload.write_bytes = write_kib * kKiB;
  return workload;
}

Workload PingPong(int connections) {
  Workload workload;
  workload.name = "pingpong " + std::to_string(connections);
  workload.connections = connections;
  return workload;
}

Workload Halves() {
  Workload workload = PingPong(1);
  workload.name = "pingpong in halves";
  workload.in_halves = true;
  return workload;
}

Way Named(std::string name, Mover mover,
          Readiness readiness = Readiness::kOneshot) {
  Way way;
  way.name = std::move(name);
  way.mover = mover;
  way.readiness = readiness;
  return way;
}

Way With(Way way, const std::string& suffix, auto change) {
  way.name += suffix;
  change(&way);
  return way;
}

Way Copy() { return Named("copy 64K", Mover::kCopy); }
Way Splice() { return Named("splice", Mover::kSplice); }
Way Hybrid() { return Named("hybrid", Mover::kHybrid); }

Question Ways() {
  Question question = {"ways", "which way to move bytes", {}, {}};
  question.ways = {
      Copy(),
      Named("copy 64K, epoll", Mover::kCopy, Readiness::kEpoll),
      With(Named("copy 256K", Mover::kCopy), "",
           [](Way* way) { way->buffer_bytes = 256 * kKiB; }),
      Splice(),
      Named("splice, epoll", Mover::kSplice, Readiness::kEpoll),
      Hybrid(),
      Named("hybrid, epoll", Mover::kHybrid, Readiness::kEpoll),
      Named("ring splice", Mover::kRingSplice),
      Named("provided, inline send", Mover::kProvided),
      With(Named("provided multishot", Mover::kProvided), "",
           [](Way* way) { way->multishot_receive = true; }),
      Named("provided, ring send", Mover::kRingSend),
      Named("provided, zero copy", Mover::kSendZc),
      Named("bundle", Mover::kBundle),
  };
  question.workloads = {Bulk(256), Bulk(64), Bulk(16), PingPong(1),
                        PingPong(100)};
  return question;
}

Question SmallMessages() {
  const auto skip = [](Way* way) { way->retry_short_read = false; };
  Question question = {"readiness", "how to learn of small messages", {}, {}};
  for (const auto& [name, readiness] :
       {std::pair{"one-shot poll", Readiness::kOneshot},
        std::pair{"multishot poll", Readiness::kMultishot},
        std::pair{"epoll", Readiness::kEpoll}}) {
    question.ways.push_back(Named(name, Mover::kCopy, readiness));
    question.ways.push_back(With(question.ways.back(), ", no retry", skip));
  }
  question.workloads = {PingPong(1), PingPong(100), PingPong(1000)};
  return question;
}

Question Options() {
  const auto delay = [](Way* way) { way->no_delay = false; };
  const auto cork = [](Way* way) { way->cork = true; };
  Question question = {"options", "TCP_NODELAY and corking", {}, {}};
  question.ways = {
      Copy(),
      With(Copy(), ", Nagle", delay),
      With(Copy(), ", MSG_MORE", cork),
      Hybrid(),
      With(Hybrid(), ", Nagle", delay),
      With(Hybrid(), ", SPLICE_F_MORE", cork),
  };
  question.workloads = {Bulk(256), Bulk(16), PingPong(1), Halves(),
                        PingPong(100)};
  return question;
}

Question SocketBuffers() {
  Question question = {"buffers", "SO_SNDBUF and SO_RCVBUF", {}, {}};
  for (const Way& way : {Hybrid(), Copy()}) {
    question.ways.push_back(way);
    for (const int kib : {128, 512, 2048}) {
      const auto both = [kib](Way* changed) {
        changed->send_buffer_bytes = kib * 1024;
        changed->receive_buffer_bytes = kib * 1024;
      };
      question.ways.push_back(
          With(way, ", buffers " + std::to_string(kib) + "K", both));
    }
    question.ways.push_back(With(way, ", send 512K", [](Way* changed) {
      changed->send_buffer_bytes = 512 * kKiB;
    }));
  }
  question.workloads = {Bulk(256), Bulk(16), PingPong(100)};
  return question;
}

Question Sizes() {
  Question question = {"sizes", "pipe, threshold and quantum", {}, {}};
  question.ways.push_back(Hybrid());
  for (const size_t kib : {64, 1024}) {
    question.ways.push_back(
        With(Hybrid(), ", pipe " + std::to_string(kib) + "K",
             [kib](Way* way) { way->pipe_bytes = kib * kKiB; }));
  }
  for (const size_t kib : {16, 64}) {
    question.ways.push_back(
        With(Hybrid(), ", threshold " + std::to_string(kib) + "K",
             [kib](Way* way) { way->threshold_bytes = kib * kKiB; }));
  }
  for (const size_t kib : {64, 1024}) {
    question.ways.push_back(
        With(Hybrid(), ", quantum " + std::to_string(kib) + "K",
             [kib](Way* way) { way->quantum_bytes = kib * kKiB; }));
  }
  const auto large = [](Way* way) { way->buffer_bytes = 256 * kKiB; };
  question.ways.push_back(With(Hybrid(), ", buffer 256K", large));
  question.ways.push_back(
      With(question.ways.back(), ", threshold 128K",
           [](Way* way) { way->threshold_bytes = 128 * kKiB; }));
  question.ways.push_back(With(
      Hybrid(), ", no retry", [](Way* way) { way->retry_short_read = false; }));
  question.workloads = {Bulk(256), Bulk(64), Bulk(16)};
  return question;
}

}  // namespace

std::vector<Question> Questions() {
  return {Ways(), SmallMessages(), Options(), SocketBuffers(), Sizes()};
}

std::string WhyPointless(const Way& way, const Workload& workload) {
  if (way.mover == Mover::kRingSplice && workload.connections > kStreams) {
    return "a kernel thread for each idle direction";
  }
  return "";
}

}  // namespace spicegate
