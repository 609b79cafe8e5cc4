// SPDX-License-Identifier: Apache-2.0
//
// What both ends of a channel have in common: a stream on the loop that either
// reacts at once (interactive) or works in steps (bulk).
#ifndef SPICEGATE_BENCH_LOAD_CONNECTION_H_
#define SPICEGATE_BENCH_LOAD_CONNECTION_H_

#include <cstdint>
#include <memory>

#include "bench/load/loop.h"
#include "bench/load/message_reader.h"
#include "bench/load/meter.h"
#include "bench/load/pattern.h"
#include "bench/load/stream.h"

namespace spicegate {

// What everything on one loop shares. Outlives all connections.
struct Shared {
  Loop* loop;
  PatternBuffer* pattern;
  Meter* meter;
  Verify verify = Verify::kStamps;
};

class Connection : public Watched, private MessageHandler {
 public:
  // Takes `fd`, connected or connecting, over.
  Connection(Shared* shared, int fd) : shared_(shared), stream_(fd) {}

  // Puts it on the loop. Once, behind the constructor.
  void Start();
  // Closes. The owner retires the connection afterwards.
  void Close() { stream_.Close(); }
  bool is_open() const { return stream_.is_open(); }
  // Leaves what comes unread, as a viewer that hangs does, and takes it later.
  void PauseReading() { reading_paused_ = true; }
  void ResumeReading();
  // The data stage alone: what lies behind the link.
  uint64_t data_sent() const {
    return in_data_ ? stream_.num_sent() - link_sent_ : 0;
  }
  uint64_t data_received() const {
    return in_data_ ? stream_.num_received() - link_received_ : 0;
  }

 protected:
  // The peer can be written to.
  virtual void OnConnected() {}
  // Bytes of the link stage; false when they are not what they have to be.
  virtual bool OnLinkBytes(proto::Bytes bytes) = 0;
  // A message of the data stage that belongs to no flood; the same.
  virtual bool OnMessage(uint16_t type, proto::Bytes body) = 0;
  // A message of the flood received has come whole.
  virtual void OnFloodMessage() {}
  // The flood sent has ended, or there was none.
  virtual void OnFloodBoundary() {}
  // Some time asked for with Loop::WakeAt() has come, perhaps another one.
  virtual void OnDue(int64_t now_ns) = 0;
  // The end: 0 for an orderly one, -errno, or -EPROTO for what a peer should
  // not have said. The stream is closed.
  virtual void OnEnd(int error) = 0;

  // The link is done: what comes from now on are messages. `bytes` were read
  // already; `sent` is what of the bytes sent belongs to the data stage.
  bool StartData(proto::Bytes bytes, uint64_t sent);
  bool in_data() const { return in_data_; }

  // All return false, and call OnEnd(), when the connection fails.
  bool Send(proto::Bytes bytes);
  bool SendMessage(uint16_t type, proto::Bytes body);

  // Begins to send a flood. One after the other, not two at once.
  void StartFlood(const FloodPlan& plan);
  // Ends it behind the current message; OnFloodBoundary() tells, perhaps from
  // within.
  void StopFlood();
  bool has_flood() const { return source_ != nullptr; }
  // Sends one message of a flood that has a rate. Those that do not fit now
  // follow later.
  void SendPaced();
  // Checks messages of `plan`'s type from now on.
  void ExpectFlood(const FloodPlan& plan);
  const FloodSink* sink() const { return sink_.get(); }
  // What was received wrong so far.
  uint64_t num_bad_messages() const {
    return sink_ == nullptr ? 0 : sink_->num_errors();
  }

  void Fail(int error);

  Shared* const shared_;
  Stream stream_;

 private:
  // ---- Watched.
  void OnEvents(uint32_t events) final;
  bool OnReadStep() final;
  bool OnWriteStep() final;
  void OnTimer(int64_t now_ns) final;

  // ---- MessageHandler.
  bool OnWholeMessage(uint16_t type, proto::Bytes body) final;
  bool IsFlood(uint16_t type) const final;
  bool OnFloodBegin(uint32_t body_len) final;
  void OnFloodPiece(proto::Bytes piece) final;
  void OnFloodEnd() final;

  bool FinishConnect();
  bool Take(proto::Bytes bytes);
  bool ReadSome();
  void ReadAll();
  bool WriteFlood(size_t quantum_len);
  bool WritePaced();

  MessageReader reader_{this};
  std::unique_ptr<FloodSource> source_;
  std::unique_ptr<FloodSink> sink_;
  uint64_t link_sent_ = 0;
  uint64_t link_received_ = 0;
  int64_t next_look_ns_ = 0;    // At a flood that may have stopped short.
  uint64_t num_paced_due_ = 0;  // Messages of a paced flood not yet sent.
  bool connecting_ = true;
  bool in_data_ = false;
  bool bulk_ = false;
  bool ended_ = false;  // EPOLLRDHUP has come: read up to the end.
  bool reading_paused_ = false;
  bool stopping_ = false;  // StopFlood() waits for the end of a message.
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_CONNECTION_H_
