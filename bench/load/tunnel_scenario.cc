// SPDX-License-Identifier: Apache-2.0
#include "bench/load/tunnel_scenario.h"

#include <utility>

namespace spicegate {
namespace {

using proto::ChannelType;

constexpr int64_t kBurstNs = 1'000'000'000;
// Under way at a time before the burst.
constexpr int64_t kSetUpConcurrency = 16;
// Of one viewer, which on loopback has an address of its own.
constexpr size_t kTunnelsOfViewer = 10;

class TunnelScenario final : public Scenario, private ViewerOwner {
 public:
  explicit TunnelScenario(const ScenarioContext& context)
      : context_(context), clock_(std::make_unique<Clock>(this)) {}
  ~TunnelScenario() override {
    context_.shared->loop->Retire(std::move(clock_));
  }

  void Start() override {
    const LoadOptions& options = *context_.options;
    num_wanted_ = static_cast<size_t>(options.channels - options.burst);
    const int64_t concurrency =
        options.concurrency > 0 ? options.concurrency : kSetUpConcurrency;
    for (int64_t i = 0; i < concurrency; ++i) {
      StartNext(/*due_ns=*/0);
    }
  }

  bool ready() const override { return num_open_ == num_wanted_; }

  void StartTraffic() override {
    bursting_ = true;
    num_wanted_ = static_cast<size_t>(context_.options->channels);
    next_due_ns_ = NowNs();
    OnDue(next_due_ns_);
  }

  // Of the stalled ones the end shows as much, and a message in the middle of
  // a flood would break it.
  void Probe() override {
    const auto num_stalled = static_cast<size_t>(context_.options->stalled);
    for (size_t i = 0; i < viewers_.size(); ++i) {
      for (const auto& channel : viewers_[i]->channels()) {
        if (i < num_stalled) {
          channel->ResumeReading();
          ++num_probed_;
        } else {
          channel->Probe();
        }
      }
    }
  }
  bool probed() const override { return num_probed_ >= num_alive_; }

  void Finish() override {
    for (const auto& viewer : viewers_) {
      viewer->FinishAll();
    }
  }
  bool finished() const override { return num_finished_ >= num_alive_; }
  bool counts_agree() const override { return true; }

  std::string Missing() const override {
    if (!ready()) {
      return "set-up: " + std::to_string(num_open_) + " of " +
             std::to_string(num_wanted_) + " tunnels open";
    }
    return "end: of " + std::to_string(num_alive_) + " tunnels " +
           std::to_string(num_probed_) + " answered, " +
           std::to_string(num_finished_) + " finished";
  }

  void CleanUp() override {}

 private:
  // Tells when the next tunnel is due.
  class Clock final : public Watched {
   public:
    explicit Clock(TunnelScenario* scenario) : scenario_(scenario) {}
    void OnEvents(uint32_t) override {}
    void OnTimer(int64_t now_ns) override { scenario_->OnDue(now_ns); }

   private:
    TunnelScenario* const scenario_;
  };

  void OnDue(int64_t now_ns) {
    while (viewers_.size() < num_wanted_ && next_due_ns_ <= now_ns) {
      StartNext(next_due_ns_);
      next_due_ns_ += kBurstNs / context_.options->burst;
    }
    if (viewers_.size() < num_wanted_) {
      context_.shared->loop->WakeAt(next_due_ns_, clock_.get());
    }
  }

  void StartNext(int64_t due_ns) {
    if (viewers_.size() == num_wanted_) {
      return;
    }
    ViewerContext context{context_.shared, context_.client, this};
    context.spread =
        static_cast<uint32_t>(1 + viewers_.size() / kTunnelsOfViewer);
    context.due_ns = due_ns;
    context.measures_setup = false;
    ++num_alive_;
    viewers_.push_back(std::make_unique<Viewer>(
        context, context_.tickets->Next(),
        std::vector<proto::ChannelKey>{{ChannelType::kInputs, 0}},
        static_cast<uint16_t>(viewers_.size())));
    viewers_.back()->Start();
  }

  // What it has begun with is not known to work before something came back.
  void OnViewerOpen(Viewer* viewer) override {
    viewer->Find(ChannelType::kInputs)->Probe();
  }

  void OnProbed(Viewer* viewer) override {
    if (ready()) {
      ++num_probed_;
      return;
    }
    Meter* const meter = context_.shared->meter;
    const int64_t now_ns = NowNs();
    ++num_open_;
    ++meter->totals.connections;
    if (meter->InWindow(now_ns)) {
      const int64_t begun_ns = viewer->Find(ChannelType::kInputs)->begun_ns();
      meter->setup.Record(now_ns - begun_ns);
    }
    if (!bursting_) {
      StartNext(/*due_ns=*/0);
    } else if (ready()) {
      StallSome();
    }
  }

  // Their servers begin to send and do not end before Probe().
  void StallSome() {
    const auto len = static_cast<uint32_t>(context_.options->write_bytes);
    const auto num = static_cast<size_t>(context_.options->stalled);
    for (size_t i = 0; i < num; ++i) {
      ClientChannel* const channel = viewers_[i]->Find(ChannelType::kInputs);
      if (channel != nullptr) {
        channel->PauseReading();
        channel->StartDownload(
            {.seed = static_cast<uint16_t>(i), .min_len = len, .max_len = len});
      }
    }
  }

  void OnChannelFinished() override { ++num_finished_; }

  void OnViewerBroken(Viewer* viewer, const std::string& why) override {
    context_.shared->meter->Error("tunnel " + std::to_string(viewer->number()) +
                                  ", " + why);
    // The run has failed; it is not to wait for this one as well.
    --num_alive_;
  }

  const ScenarioContext context_;
  std::unique_ptr<Clock> clock_;
  std::vector<std::unique_ptr<Viewer>> viewers_;
  bool bursting_ = false;
  int64_t next_due_ns_ = 0;
  size_t num_wanted_ = 0;
  size_t num_alive_ = 0;  // Begun and not broken.
  size_t num_open_ = 0;
  size_t num_probed_ = 0;
  size_t num_finished_ = 0;
};

}  // namespace

std::unique_ptr<Scenario> MakeTunnelScenario(const ScenarioContext& context) {
  return std::make_unique<TunnelScenario>(context);
}

}  // namespace spicegate
