// SPDX-License-Identifier: Apache-2.0
#include "gateway/door/connect_door.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "gateway/door/client_leg.h"
#include "gateway/io/unread_stream.h"

namespace spicegate {
namespace {

// More than what viewers send, so that one read is enough.
constexpr size_t kReadBytes = 1024;

// Feeds the parser until it has the request or an error. 0 or -errno.
Task<int> ReadHead(Leg* leg, ConnectRequestParser* parser) {
  std::array<uint8_t, kReadBytes> bytes;
  while (true) {
    const int n = co_await ReadAtLeast(leg, bytes, 1);
    if (n < 0) {
      co_return n;
    }
    const auto got = std::span<const uint8_t>(bytes).first(n);
    const ConnectRequestParser::Step step = parser->Feed(got);
    if (step.state == ConnectRequestParser::State::kMore) {
      continue;
    }
    leg->stream = Unread(std::move(leg->stream), got.subspan(step.consumed));
    co_return 0;
  }
}

}  // namespace

Task<ConnectArrival> ReadConnectRequest(Leg* leg, TimerWheel* timers,
                                        WorkerCounters* counters) {
  ConnectArrival arrival;
  ConnectRequestParser parser;
  const int error = co_await ReadHead(leg, &parser);
  if (error != 0) {
    arrival.refusal = ClientReasonOf(error);
    co_return arrival;
  }
  if (parser.state() == ConnectRequestParser::State::kDone) {
    arrival.request = parser.TakeRequest();
    co_return arrival;
  }
  arrival.refusal = CloseReason::kConnectRequest;
  co_await AnswerConnect(leg, timers, counters, parser.error(),
                         parser.request().minor_version);
  co_return arrival;
}

Task<int> AnswerConnect(Leg* leg, TimerWheel* timers, WorkerCounters* counters,
                        ConnectStatus status, int minor_version) {
  counters->connect_answers[static_cast<size_t>(status)].Add(1);
  const std::string answer = ConnectAnswer(status, minor_version);
  const int error = co_await WriteAll(
      leg, std::span(reinterpret_cast<const uint8_t*>(answer.data()),
                     answer.size()));
  if (error == 0 && status != ConnectStatus::kOk) {
    co_await SayGoodbye(leg, timers);
  }
  co_return error;
}

}  // namespace spicegate
