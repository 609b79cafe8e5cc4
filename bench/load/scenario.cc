// SPDX-License-Identifier: Apache-2.0
#include "bench/load/scenario.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bench/load/layout.h"
#include "bench/load/tunnel_scenario.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

// Sessions under way at a time where nothing was said.
constexpr int64_t kSetUpConcurrency = 16;
constexpr int64_t kStormConcurrency = 8;
constexpr int64_t kChurnConcurrency = 32;
// More sessions a second than two cores can set up: each costs ten RSA
// operations of 60 us.
constexpr int64_t kMostSessionsPerSecond = 1'500;

int64_t ConcurrencyOf(const LoadOptions& options, int64_t otherwise) {
  return options.concurrency > 0 ? options.concurrency : otherwise;
}

// Viewers that stay: bulk, pingpong, mixed, idle, session.
class FlowScenario final : public Scenario, private ViewerOwner {
 public:
  explicit FlowScenario(const ScenarioContext& context)
      : context_(context), layout_(context.options) {}

  void Start() override {
    num_wanted_ = layout_.num_viewers();
    num_channels_ = layout_.num_channels();
    const int64_t concurrency =
        ConcurrencyOf(*context_.options, kSetUpConcurrency);
    for (int64_t i = 0; i < concurrency; ++i) {
      StartNext();
    }
  }

  bool ready() const override { return num_open_ == num_wanted_; }

  void StartTraffic() override {
    for (const auto& viewer : viewers_) {
      if (viewer->is_open()) {
        layout_.StartTraffic(viewer.get());
      }
    }
  }

  void Probe() override {
    for (const auto& viewer : viewers_) {
      const auto& channels = viewer->channels();
      for (size_t i = 0; i < channels.size(); ++i) {
        channels[i]->Probe();
      }
    }
  }
  bool probed() const override { return num_probed_ >= num_channels_; }

  void Finish() override {
    for (const auto& viewer : viewers_) {
      viewer->FinishAll();
    }
  }
  bool finished() const override { return num_finished_ >= num_channels_; }
  bool counts_agree() const override { return true; }

  std::string Missing() const override {
    if (!ready()) {
      return "set-up: " + Of(context_.shared->meter->totals.channels) +
             " channels open";
    }
    return "end: " + Of(num_finished_) + " channels finished" +
           (context_.options->scenario == ScenarioKind::kIdle
                ? ", " + Of(num_probed_) + " answered"
                : "");
  }

  void CleanUp() override {}

 private:
  std::string Of(uint64_t num) const {
    return std::to_string(num) + " of " + std::to_string(num_channels_);
  }

  void StartNext() {
    if (viewers_.size() == num_wanted_) {
      return;
    }
    const size_t number = viewers_.size();
    const std::string* const ticket = context_.tickets->Next();
    if (ticket == nullptr) {
      context_.shared->meter->Error("out of tickets");
      return;
    }
    // A proxy may take viewers without tickets, of one address and with one
    // target, for the same one.
    const bool by_connect = !context_.client->connect.empty();
    const auto spread = static_cast<uint32_t>(by_connect ? number + 1 : 0);
    viewers_.push_back(std::make_unique<Viewer>(
        ViewerContext{context_.shared, context_.client, this, spread}, ticket,
        layout_.ChannelsOf(number), static_cast<uint16_t>(number)));
    viewers_.back()->Start();
  }

  void OnViewerOpen(Viewer*) override {
    ++num_open_;
    StartNext();
  }
  void OnProbed(Viewer*) override { ++num_probed_; }
  void OnChannelFinished() override { ++num_finished_; }
  void OnViewerBroken(Viewer* viewer, const std::string& why) override {
    context_.shared->meter->Error("viewer " + std::to_string(viewer->number()) +
                                  ", " + why);
    // The run has failed; it is not to wait for this one as well.
    num_channels_ -= layout_.ChannelsOf(viewer->number()).size();
    num_channels_ -= context_.options->raw ? 0 : 1;
  }

  const ScenarioContext context_;
  const Layout layout_;
  std::vector<std::unique_ptr<Viewer>> viewers_;
  size_t num_wanted_ = 0;
  size_t num_channels_ = 0;
  size_t num_open_ = 0;
  size_t num_probed_ = 0;
  size_t num_finished_ = 0;
};

// Viewers that come and go: storm and churn.
class RepeatScenario final : public Scenario, private ViewerOwner {
 public:
  explicit RepeatScenario(const ScenarioContext& context)
      : context_(context),
        churn_(context.options->scenario == ScenarioKind::kChurn) {}

  void Start() override {
    const int64_t concurrency = ConcurrencyOf(
        *context_.options, churn_ ? kChurnConcurrency : kStormConcurrency);
    for (int64_t i = 0; i < concurrency; ++i) {
      StartNext();
    }
  }

  bool ready() const override { return true; }
  void StartTraffic() override {}
  void Finish() override { stopping_ = true; }
  bool finished() const override { return viewers_.empty(); }
  bool counts_agree() const override { return false; }
  std::string Missing() const override {
    return "end: " + std::to_string(viewers_.size()) + " still under way";
  }

  void CleanUp() override {
    // What fails at once is tried again in the next turn, not in this loop.
    for (const size_t index : std::exchange(done_, {})) {
      viewers_[index].reset();
      free_.push_back(index);
      if (!stopping_) {
        StartNext();
      }
    }
    if (stopping_ && done_.empty() && free_.size() == viewers_.size()) {
      viewers_.clear();
      free_.clear();
    }
  }

 private:
  std::vector<ChannelKey> Channels() const {
    std::vector<ChannelKey> channels = DesktopChannels();
    if (churn_) {
      return {{ChannelType::kInputs, 0}};
    }
    channels.resize(std::min(
        channels.size(), static_cast<size_t>(context_.options->channels - 1)));
    return channels;
  }

  void StartNext() {
    const std::string* const ticket = context_.tickets->Next();
    if (ticket == nullptr) {
      context_.shared->meter->Error("out of tickets: see --tickets");
      stopping_ = true;
      return;
    }
    size_t index = viewers_.size();
    if (free_.empty()) {
      viewers_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    viewers_[index] = std::make_unique<Viewer>(
        ViewerContext{context_.shared, context_.client, this, ++num_viewers_},
        ticket, Channels(), static_cast<uint16_t>(index));
    viewers_[index]->Start();
  }

  // The viewer may be deep in its own code: it goes after the turn.
  void Done(Viewer* viewer) {
    viewer->Close();
    done_.push_back(viewer->number());
  }

  void OnViewerOpen(Viewer* viewer) override {
    if (!churn_) {
      Done(viewer);
      return;
    }
    viewer->Find(ChannelType::kInputs)
        ->StartPings(static_cast<uint32_t>(context_.options->message_bytes),
                     viewer->number(), 0, 0);
  }

  void OnRoundTrip(Viewer* viewer) override {
    ++context_.shared->meter->totals.connections;
    Done(viewer);
  }

  void OnViewerBroken(Viewer* viewer, const std::string& why) override {
    context_.shared->meter->Error(why);
    done_.push_back(viewer->number());
  }

  const ScenarioContext context_;
  const bool churn_;
  bool stopping_ = false;
  uint32_t num_viewers_ = 0;
  std::vector<std::unique_ptr<Viewer>> viewers_;
  std::vector<size_t> free_;  // Empty places in viewers_.
  std::vector<size_t> done_;  // Viewers that are over.
};

}  // namespace

int64_t DescriptorsOf(const LoadOptions& options) {
  const int64_t sides = options.role == Role::kBoth ? 2 : 1;
  int64_t channels = static_cast<int64_t>(Layout(&options).num_channels());
  if (options.scenario == ScenarioKind::kStorm) {
    channels = ConcurrencyOf(options, kStormConcurrency) * options.channels;
  } else if (options.scenario == ScenarioKind::kChurn) {
    channels = ConcurrencyOf(options, kChurnConcurrency);
  }
  // The server hears of a close later than the viewer closed.
  const bool repeats = options.scenario == ScenarioKind::kStorm ||
                       options.scenario == ScenarioKind::kChurn;
  return channels * sides * (repeats ? 4 : 1);
}

std::string LowerTo(int64_t limit, LoadOptions* options) {
  const bool idle = options->scenario == ScenarioKind::kIdle ||
                    options->scenario == ScenarioKind::kTunnels;
  int64_t* const count = idle ? &options->channels
                         : options->scenario == ScenarioKind::kPingpong
                             ? &options->connections
                             : nullptr;
  const int64_t needed = DescriptorsOf(*options);
  if (needed <= limit || count == nullptr) {
    return "";
  }
  const int64_t before = *count;
  *count = std::max<int64_t>(1, before * limit / needed);
  if (idle) {
    *count = std::max<int64_t>(10, *count / 10 * 10);
    options->burst = std::min(options->burst, *count);
    options->stalled = std::min(options->stalled, *count);
  }
  return std::string("\"what\":\"") + (idle ? "channels" : "connections") +
         "\",\"from\":" + std::to_string(before) +
         ",\"to\":" + std::to_string(*count);
}

int64_t TicketsOf(const LoadOptions& options) {
  if (options.tickets > 0) {
    return options.tickets;
  }
  if (options.scenario == ScenarioKind::kStorm) {
    const double seconds = std::ceil(options.seconds + options.warmup);
    return kMostSessionsPerSecond * static_cast<int64_t>(seconds) +
           ConcurrencyOf(options, kStormConcurrency);
  }
  return static_cast<int64_t>(Layout(&options).num_viewers());
}

std::unique_ptr<Scenario> MakeScenario(const ScenarioContext& context) {
  if (context.options->scenario == ScenarioKind::kStorm ||
      context.options->scenario == ScenarioKind::kChurn) {
    return std::make_unique<RepeatScenario>(context);
  }
  if (context.options->scenario == ScenarioKind::kTunnels) {
    return MakeTunnelScenario(context);
  }
  return std::make_unique<FlowScenario>(context);
}

}  // namespace spicegate
