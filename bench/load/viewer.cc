// SPDX-License-Identifier: Apache-2.0
#include "bench/load/viewer.h"

#include <utility>

namespace spicegate {

Viewer::Viewer(const ViewerContext& context, const std::string* ticket,
               std::vector<proto::ChannelKey> channels, uint16_t number)
    : context_(context),
      ticket_(ticket),
      secondaries_(std::move(channels)),
      number_(number),
      num_wanted_(secondaries_.size() + (context.options->raw ? 0 : 1)) {}

void Viewer::Start() {
  if (context_.options->raw) {
    OpenSecondaries(0);
  } else {
    Open({proto::ChannelType::kMain, 0}, 0);
  }
}

void Viewer::Open(proto::ChannelKey key, uint32_t session_id) {
  std::string error;
  auto channel = ClientChannel::Connect(context_.shared, context_.options, this,
                                        {.key = key,
                                         .session_id = session_id,
                                         .ticket = ticket_,
                                         .spread = context_.spread,
                                         .due_ns = context_.due_ns},
                                        &error);
  if (channel == nullptr) {
    Break(error);
    return;
  }
  ClientChannel* const started = channel.get();
  channels_.push_back(std::move(channel));
  started->Start();
}

void Viewer::OpenSecondaries(uint32_t session_id) {
  for (const proto::ChannelKey key : secondaries_) {
    if (!closed_) {
      Open(key, session_id);
    }
  }
}

ClientChannel* Viewer::Find(proto::ChannelType type) const {
  for (const auto& channel : channels_) {
    if (channel->key().type == type) {
      return channel.get();
    }
  }
  return nullptr;
}

void Viewer::OnOpen(ClientChannel* channel) {
  Meter* const meter = context_.shared->meter;
  ++num_open_;
  ++meter->totals.channels;
  if (context_.measures_setup &&
      meter->InWindow(channel->begun_ns() + channel->setup_ns())) {
    meter->setup.Record(channel->setup_ns());
  }
  if (num_open_ == num_wanted_) {
    ++meter->totals.sessions;
    context_.owner->OnViewerOpen(this);
  } else if (channel->key().type == proto::ChannelType::kMain) {
    OpenSecondaries(channel->session_id());
  }
}

void Viewer::FinishAll() {
  for (size_t i = 0; i < channels_.size() && !closed_; ++i) {
    channels_[i]->Finish();
  }
}

void Viewer::OnBroken(ClientChannel*, const std::string& why) { Break(why); }

void Viewer::Break(const std::string& why) {
  if (!closed_) {
    Close();
    context_.owner->OnViewerBroken(this, why);
  }
}

void Viewer::Close() {
  closed_ = true;
  for (std::unique_ptr<ClientChannel>& channel : channels_) {
    context_.shared->meter->client.sent += channel->data_sent();
    context_.shared->meter->client.received += channel->data_received();
    channel->Close();
    context_.shared->loop->Retire(std::move(channel));
  }
  channels_.clear();
}

}  // namespace spicegate
