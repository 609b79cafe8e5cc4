// SPDX-License-Identifier: Apache-2.0
//
// One viewer: a main channel, then all others at once.
#ifndef SPICEGATE_BENCH_LOAD_VIEWER_H_
#define SPICEGATE_BENCH_LOAD_VIEWER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/client_channel.h"

namespace spicegate {

class Viewer;

class ViewerOwner {
 public:
  // All channels can be used.
  virtual void OnViewerOpen(Viewer* viewer) = 0;
  virtual void OnProbed(Viewer* viewer) { (void)viewer; }
  virtual void OnRoundTrip(Viewer* viewer) { (void)viewer; }
  // One channel has ended as it should.
  virtual void OnChannelFinished() {}
  // A channel broke, or could not be opened. Comes once; the viewer is closed.
  virtual void OnViewerBroken(Viewer* viewer, const std::string& why) = 0;

 protected:
  ~ViewerOwner() = default;
};

// What all viewers of a run have in common.
struct ViewerContext {
  Shared* shared;
  const ClientOptions* options;
  ViewerOwner* owner;
  // Above 0: the viewer, all channels of it, has an address of its own.
  uint32_t spread = 0;
  // When it was to begin, if it may be late; 0: whenever it does.
  int64_t due_ns = 0;
  // Set-up ends with each channel's open, and is in Meter::setup.
  bool measures_setup = true;
};

class Viewer final : private ChannelOwner {
 public:
  // `channels` without main, which is there unless the options say raw.
  // `ticket` outlives the viewer.
  Viewer(const ViewerContext& context, const std::string* ticket,
         std::vector<proto::ChannelKey> channels, uint16_t number);
  ~Viewer() { Close(); }
  Viewer(const Viewer&) = delete;
  Viewer& operator=(const Viewer&) = delete;

  void Start();
  // Closes all channels. No calls of the owner follow.
  void Close();

  // The open channels: main first, then those of the constructor's list as
  // they opened.
  const std::vector<std::unique_ptr<ClientChannel>>& channels() const {
    return channels_;
  }
  // The first channel of a type; null when there is none.
  ClientChannel* Find(proto::ChannelType type) const;
  void FinishAll();
  bool is_open() const { return num_open_ == num_wanted_; }
  size_t num_open() const { return num_open_; }
  // Its place among the viewers of a run.
  uint16_t number() const { return number_; }

 private:
  void Open(proto::ChannelKey key, uint32_t session_id);
  void OpenSecondaries(uint32_t session_id);
  void Break(const std::string& why);

  void OnOpen(ClientChannel* channel) override;
  void OnProbed(ClientChannel*) override { context_.owner->OnProbed(this); }
  void OnRoundTrip(ClientChannel*) override {
    context_.owner->OnRoundTrip(this);
  }
  void OnFinished(ClientChannel*) override {
    context_.owner->OnChannelFinished();
  }
  void OnBroken(ClientChannel* channel, const std::string& why) override;

  const ViewerContext context_;
  const std::string* const ticket_;
  const std::vector<proto::ChannelKey> secondaries_;
  const uint16_t number_;
  const size_t num_wanted_;
  size_t num_open_ = 0;
  bool closed_ = false;
  std::vector<std::unique_ptr<ClientChannel>> channels_;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_VIEWER_H_
