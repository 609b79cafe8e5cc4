// SPDX-License-Identifier: Apache-2.0
#include "bench/plain_relay/plain_relay.h"

#include <algorithm>
#include <string_view>

#include "gateway/base/check.h"
#include "gateway/base/close_reason.h"
#include "gateway/io/deadline.h"
#include "gateway/tls/handshake.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {
namespace {

constexpr size_t kMaxChannels = size_t{1} << 20;
constexpr proto::ChannelType kType = proto::ChannelType::kUsbredir;
constexpr size_t kTypeIndex = static_cast<size_t>(kType);

std::string Field(std::string_view name, int64_t value) {
  return "\"" + std::string(name) + "\":" + std::to_string(value);
}

// Those that are not 0.
template <typename Counts>
std::string ByReason(const Counts& counts) {
  std::string members;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i].value() != 0) {
      members += (members.empty() ? "" : ",") +
                 Field(CloseReasonName(static_cast<CloseReason>(i)),
                       counts[i].value());
    }
  }
  return members;
}

// What is accepted inherits the options.
UniqueFd Tuned(UniqueFd listener) {
  TuneSocket(listener.get());
  return listener;
}

}  // namespace

PlainRelay::PlainRelay(IoDriver* driver, UniqueFd listener,
                       const SocketAddress& server,
                       std::shared_ptr<const ServerTlsContext> tls)
    : driver_(driver),
      server_(server),
      tls_(std::move(tls)),
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
  return stopping_ && acceptor_.stopped() && num_opening_ == 0 &&
         channels_.size() == 0 && driver_->OpsInFlight() == 0;
}

void PlainRelay::OnOp(uint32_t, OpResult) {
  stopping_ = true;
  acceptor_.Stop();
}

Task<void> PlainRelay::Serve(int client_fd) {
  ++num_opening_;
  counters_.links_accepted.Add(1);
  co_await Open(Leg::Plain(driver_, client_fd));
  --num_opening_;
}

Task<void> PlainRelay::Open(Leg client) {
  if (tls_ != nullptr && !co_await Secure(&client)) {
    client.Release(Socket::End::kFin);  // behind the alert
    co_return;
  }
  Leg server;
  if (!co_await Connect(&server)) {
    client.Release(Socket::End::kReset);
    co_return;
  }
  Join(std::move(client), std::move(server));
}

Task<bool> PlainRelay::Secure(Leg* client) {
  auto stream = TlsStream::Server(tls_, std::move(client->stream));
  CHECK(stream != nullptr);
  TlsStream* const tls = stream.get();
  client->stream = std::move(stream);
  const Deadline deadline(&timers_, client->socket.get(),
                          timers_.now_ms() + limits_.preauth_deadline_ms);
  if (co_await CompleteHandshake(tls, client->socket.get()) != 0) {
    Refuse(ClientTlsReason(tls->failure()));
    co_return false;
  }
  co_return true;
}

Task<bool> PlainRelay::Connect(Leg* server) {
  const int fd = driver_->OpenSocket(server_.family());
  if (fd < 0) {
    co_return false;
  }
  *server = Leg::Plain(driver_, fd);
  TuneConnectingSocket(fd);
  const Deadline deadline(&timers_, server->socket.get(),
                          timers_.now_ms() + limits_.server_connect_ms);
  if (co_await server->socket->Connected(server_.get(), server_.len) != 0) {
    Refuse(CloseReason::kServerConnect);
    co_return false;
  }
  co_return true;
}

void PlainRelay::Refuse(CloseReason reason) {
  counters_.links_refused[static_cast<size_t>(reason)].Add(1);
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
  return "{\"event\":\"stopped\"," +
         Field("accepted", counters_.links_accepted.value()) + "," +
         Field("relayed", counters_.channels_opened[kTypeIndex].value()) + "," +
         Field("bytes_client_to_server",
               counters_.bytes_client_to_server[kTypeIndex].value()) +
         "," +
         Field("bytes_server_to_client",
               counters_.bytes_server_to_client[kTypeIndex].value()) +
         ",\"refused\":{" + ByReason(counters_.links_refused) + "},\"ends\":{" +
         ByReason(counters_.channels_closed) + "}}";
}

}  // namespace spicegate
