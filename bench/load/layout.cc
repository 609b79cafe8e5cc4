// SPDX-License-Identifier: Apache-2.0
#include "bench/load/layout.h"

#include <algorithm>

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr size_t kDesktopChannels = 10;
// Time for all viewers to get their orders before the first message is due.
constexpr int64_t kFirstPingDelayNs = 20'000'000;

// spice-protocol, "Traffic model": of ten users one watches a video, two work,
// the others have a blinking cursor; all of them have sound.
constexpr FloodPlan kVideo = {
    .min_len = 20'000, .max_len = 60'000, .rate_hz = 30};
constexpr FloodPlan kOffice = {
    .min_len = 1'000, .max_len = 60'000, .rate_hz = 10};
constexpr FloodPlan kBlinking = {.min_len = 136, .max_len = 136, .rate_hz = 4};
constexpr FloodPlan kAudio = {.min_len = 119, .max_len = 210, .rate_hz = 100};

// Of a stream of one viewer; different for each of its directions.
uint16_t SeedOf(const Viewer& viewer, ChannelType type) {
  return static_cast<uint16_t>(viewer.number() * 16 + static_cast<int>(type));
}

}  // namespace

std::vector<ChannelKey> DesktopChannels() {
  return {{ChannelType::kDisplay, 0},  {ChannelType::kInputs, 0},
          {ChannelType::kCursor, 0},   {ChannelType::kPlayback, 0},
          {ChannelType::kRecord, 0},   {ChannelType::kUsbredir, 0},
          {ChannelType::kUsbredir, 1}, {ChannelType::kUsbredir, 2},
          {ChannelType::kWebdav, 0}};
}

size_t Layout::num_viewers() const {
  switch (options_->scenario) {
    case ScenarioKind::kBulk:
      return static_cast<size_t>(options_->streams);
    case ScenarioKind::kPingpong:
      return static_cast<size_t>(options_->connections);
    case ScenarioKind::kTunnels:
      return static_cast<size_t>(options_->channels);
    case ScenarioKind::kIdle:
      return (static_cast<size_t>(options_->channels) + kDesktopChannels - 1) /
             kDesktopChannels;
    case ScenarioKind::kMixed:
    case ScenarioKind::kSession:
      return static_cast<size_t>(options_->sessions);
    default:
      return 0;
  }
}

std::vector<ChannelKey> Layout::ChannelsOf(size_t viewer) const {
  const size_t num_floods = static_cast<size_t>(options_->floods);
  switch (options_->scenario) {
    case ScenarioKind::kBulk:
      return {options_->upload ? ChannelKey{ChannelType::kUsbredir, 0}
                               : ChannelKey{ChannelType::kDisplay, 0}};
    case ScenarioKind::kPingpong:
    case ScenarioKind::kTunnels:
      return {{ChannelType::kInputs, 0}};
    case ScenarioKind::kMixed:
      if (viewer < num_floods) {
        return {{ChannelType::kDisplay, 0}, {ChannelType::kInputs, 0}};
      }
      return {{ChannelType::kInputs, 0}};
    case ScenarioKind::kIdle: {
      std::vector<ChannelKey> channels = DesktopChannels();
      const size_t main = options_->raw ? 0 : 1;
      const size_t rest =
          static_cast<size_t>(options_->channels) - viewer * kDesktopChannels;
      channels.resize(std::min(channels.size(), rest - std::min(rest, main)));
      return channels;
    }
    default:
      return DesktopChannels();
  }
}

size_t Layout::num_channels() const {
  size_t num = 0;
  for (size_t i = 0; i < num_viewers(); ++i) {
    num += ChannelsOf(i).size() + (options_->raw ? 0 : 1);
  }
  return num;
}

FloodPlan Layout::BulkPlan(const Viewer& viewer) const {
  const auto len = static_cast<uint32_t>(options_->write_bytes);
  const ChannelType type =
      options_->upload ? ChannelType::kUsbredir : ChannelType::kDisplay;
  return {.seed = SeedOf(viewer, type), .min_len = len, .max_len = len};
}

FloodPlan Layout::DisplayPlan(const Viewer& viewer) const {
  if (viewer.number() < options_->floods) {
    return BulkPlan(viewer);
  }
  const int kind = viewer.number() % 10;
  FloodPlan plan = kind == 0 ? kVideo : kind <= 2 ? kOffice : kBlinking;
  plan.seed = SeedOf(viewer, ChannelType::kDisplay);
  return plan;
}

// Pings of one rate are spread over their period.
void Layout::StartPings(Viewer* viewer) const {
  const int64_t period_ns =
      options_->rate == 0 ? 0 : 1'000'000'000 / options_->rate;
  const int64_t offset_ns =
      period_ns * viewer->number() / static_cast<int64_t>(num_viewers());
  viewer->Find(ChannelType::kInputs)
      ->StartPings(static_cast<uint32_t>(options_->message_bytes),
                   SeedOf(*viewer, ChannelType::kInputs), period_ns,
                   NowNs() + kFirstPingDelayNs + offset_ns);
}

void Layout::StartDesktop(Viewer* viewer) const {
  ClientChannel* const display = viewer->Find(ChannelType::kDisplay);
  display->AcknowledgeMessages();
  display->StartDownload(DisplayPlan(*viewer));
  FloodPlan audio = kAudio;
  audio.seed = SeedOf(*viewer, ChannelType::kPlayback);
  viewer->Find(ChannelType::kPlayback)->StartDownload(audio);
  StartPings(viewer);
}

void Layout::StartTraffic(Viewer* viewer) const {
  switch (options_->scenario) {
    case ScenarioKind::kBulk:
      if (options_->upload) {
        viewer->Find(ChannelType::kUsbredir)->StartUpload(BulkPlan(*viewer));
      } else {
        viewer->Find(ChannelType::kDisplay)->StartDownload(BulkPlan(*viewer));
      }
      return;
    case ScenarioKind::kMixed:
      if (viewer->number() < options_->floods) {
        viewer->Find(ChannelType::kDisplay)->StartDownload(BulkPlan(*viewer));
      }
      StartPings(viewer);
      return;
    case ScenarioKind::kPingpong:
      StartPings(viewer);
      return;
    case ScenarioKind::kSession:
      StartDesktop(viewer);
      return;
    default:
      return;
  }
}

}  // namespace spicegate
