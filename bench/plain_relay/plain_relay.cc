// SPDX-License-Identifier: Apache-2.0
#include "bench/plain_relay/plain_relay.h"

#include <algorithm>
#include <string_view>

#include "gateway/base/check.h"
#include "gateway/base/close_reason.h"
#include "gateway/io/deadline.h"

namespace spicegate {
namespace {

constexpr size_t kMaxChannels = size_t{1} << 20;
constexpr proto::ChannelType kType = proto::ChannelType::kUsbredir;
constexpr size_t kTypeIndex = static_cast<size_t>(kType);

std::string Field(std::string_view name, int64_t value) {
  return "\"" + std::string(name) + "\":" + std::to_string(value);
}

// What is accepted inherits the options.
UniqueFd Tuned(UniqueFd listener) {
  TuneSocket(listener.get());
  return listener;
}

}  // namespace

PlainRelay::PlainRelay(IoDriver* driver, UniqueFd listener,
                       const SocketAddress& server)
    : driver_(driver),
      server_(server),
      timers_(driver->NowMs()),
      buffers_(&counters_.relay_buffer_bytes),
      pipes_(driver, &counters_),
      context_{&timers_, &limits_, {&buffers_, &pipes_, &counters_}},
      channels_(kMaxChannels),
      acceptor_(driver, &timers_, &counters_.accept_pauses,
                Tuned(std::move(listener)),
                [this](int fd) { Spawn(Serve(fd)); }) {}

PlainRelay::~PlainRelay() { CHECK(finished()); }

void PlainRelay::Run(int stop_fd) {
  driver_->Poll(stop_fd, Ready::kReadable, this, /*tag=*/0);
  acceptor_.Start();
  bool more = false;
  while (!finished()) {
    driver_->Wait(more ? 0 : SleepMs());
    timers_.Advance(driver_->NowMs());
    driver_->Dispatch();
    more = RunTurn();
  }
}

int64_t PlainRelay::SleepMs() const {
  const int64_t sleep_ms = timers_.SleepMs();
  return sleep_ms < 0 ? kMaxSleepMs : std::min(sleep_ms, kMaxSleepMs);
}

bool PlainRelay::finished() const {
  return stopping_ && acceptor_.stopped() && num_connecting_ == 0 &&
         channels_.size() == 0 && driver_->OpsInFlight() == 0;
}

void PlainRelay::OnOp(uint32_t, OpResult) {
  stopping_ = true;
  acceptor_.Stop();
}

Task<void> PlainRelay::Serve(int client_fd) {
  Leg client = Leg::Plain(driver_, client_fd);
  counters_.links_accepted.Add(1);
  const int fd = driver_->OpenSocket(server_.family());
  if (fd < 0) {
    client.Release(Socket::End::kReset);
    co_return;
  }
  Leg server = Leg::Plain(driver_, fd);
  TuneConnectingSocket(fd);
  ++num_connecting_;
  int error = 0;
  {
    const Deadline deadline(&timers_, server.socket.get(),
                            timers_.now_ms() + limits_.server_connect_ms);
    error = co_await server.socket->Connected(server_.get(), server_.len);
  }
  --num_connecting_;
  if (error != 0) {
    counters_.links_refused[static_cast<size_t>(CloseReason::kServerConnect)]
        .Add(1);
    client.Release(Socket::End::kReset);
    co_return;
  }
  Join(std::move(client), std::move(server));
}

void PlainRelay::Join(Leg client, Leg server) {
  const Handle handle = channels_.Emplace(
      &context_, static_cast<ChannelOwner*>(this), proto::ChannelKey{kType, 0},
      proto::HeaderKind::kMini, std::move(client), std::move(server));
  CHECK(handle);
  counters_.channels_opened[kTypeIndex].Add(1);
  counters_.channels_open[kTypeIndex].Add(1);
  channels_.Get(handle)->Start(handle, Handle{});
}

bool PlainRelay::RunTurn() {
  if (stopping_) {
    for (const Handle handle : channels_.Handles()) {
      channels_.Get(handle)->Close(CloseReason::kShutdown);
    }
  }
  for (const Handle handle : std::exchange(yielded_, {})) {
    if (Channel* channel = channels_.Get(handle)) {
      channel->RunAgain();
    }
  }
  for (const Handle handle : std::exchange(ended_, {})) {
    channels_.Erase(handle);
  }
  return !yielded_.empty() || !ended_.empty();
}

void PlainRelay::OnChannelClosing(Channel*, CloseReason reason) {
  counters_.channels_closed[static_cast<size_t>(reason)].Add(1);
}

void PlainRelay::OnChannelEnded(Channel* channel) {
  counters_.channels_open[kTypeIndex].Add(-1);
  ended_.push_back(channel->handle());
}

void PlainRelay::OnChannelYielded(Channel* channel) {
  yielded_.push_back(channel->handle());
}

std::string PlainRelay::Summary() const {
  std::string ends;
  for (size_t i = 0; i < kNumCloseReasons; ++i) {
    const int64_t num = counters_.channels_closed[i].value();
    if (num != 0) {
      ends += (ends.empty() ? "" : ",") +
              Field(CloseReasonName(static_cast<CloseReason>(i)), num);
    }
  }
  return "{\"event\":\"stopped\"," +
         Field("accepted", counters_.links_accepted.value()) + "," +
         Field("relayed", counters_.channels_opened[kTypeIndex].value()) + "," +
         Field("bytes_client_to_server",
               counters_.bytes_client_to_server[kTypeIndex].value()) +
         "," +
         Field("bytes_server_to_client",
               counters_.bytes_server_to_client[kTypeIndex].value()) +
         ",\"ends\":{" + ends + "}}";
}

}  // namespace spicegate
