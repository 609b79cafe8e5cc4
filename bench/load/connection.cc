// SPDX-License-Identifier: Apache-2.0
#include "bench/load/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "proto/data_header.h"

namespace spicegate {
namespace {

constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr uint32_t kEndEvents = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
// Interactive channels read no more than this at once.
constexpr size_t kSmallReadLen = 64 * 1024;
// One step of a flood of small writes; a single write may be longer.
constexpr size_t kWriteQuantumLen = 64 * 1024;
constexpr size_t kMaxSmallMessageLen = 2048;
// A flood is reported when this much has come, not at every segment: being
// woken costs more than receiving. What stays below it is looked for.
constexpr int kFloodLowWater = 32 * 1024;
constexpr int64_t kLookNs = 5'000'000;

}  // namespace

void Connection::Start() {
  if (!shared_->loop->Watch(stream_.fd(), kEvents, this)) {
    Fail(-errno);
  }
}

void Connection::Fail(int error) {
  if (stream_.is_open()) {
    stream_.Close();
    OnEnd(error);
  }
}

// ---- Readiness.

bool Connection::FinishConnect() {
  int error = 0;
  socklen_t len = sizeof(error);
  getsockopt(stream_.fd(), SOL_SOCKET, SO_ERROR, &error, &len);
  if (error != 0) {
    Fail(-error);
    return false;
  }
  connecting_ = false;
  OnConnected();
  return stream_.is_open();
}

void Connection::OnEvents(uint32_t events) {
  if (!stream_.is_open()) {
    return;
  }
  if (connecting_ &&
      ((events & (EPOLLOUT | kEndEvents)) == 0 || !FinishConnect())) {
    return;
  }
  ended_ = ended_ || (events & kEndEvents) != 0;
  const bool readable = (events & (EPOLLIN | kEndEvents)) != 0;
  if (bulk_) {
    if (readable) {
      shared_->loop->QueueRead(this);
    }
    if ((events & EPOLLOUT) != 0) {
      shared_->loop->QueueWrite(this);
    }
    return;
  }
  if (readable) {
    ReadAll();
  }
  if (stream_.is_open() &&
      (stream_.has_pending() || num_paced_due_ > 0 || stopping_)) {
    OnWriteStep();
  }
}

// True when there is more to be read at once.
bool Connection::ReadSome() {
  if (reading_paused_) {
    return false;
  }
  const proto::MutableBytes buffer =
      bulk_ ? shared_->loop->buffer()
            : shared_->loop->buffer().first(kSmallReadLen);
  const ssize_t n = stream_.Recv(buffer);
  if (n == -EAGAIN) {
    return false;
  }
  if (n <= 0) {
    Fail(static_cast<int>(n));
    return false;
  }
  const auto len = static_cast<size_t>(n);
  if (!Take(buffer.first(len))) {
    Fail(-EPROTO);
  }
  return stream_.is_open() && (ended_ || len == buffer.size());
}

void Connection::ReadAll() {
  while (ReadSome()) {
    if (bulk_) {
      // Became a flood just now: the rest is its steps' business.
      shared_->loop->QueueRead(this);
      return;
    }
  }
}

void Connection::ResumeReading() {
  // What came meanwhile is not told of again.
  if (std::exchange(reading_paused_, false) && stream_.is_open()) {
    shared_->loop->QueueRead(this);
  }
}

bool Connection::OnReadStep() { return stream_.is_open() && ReadSome(); }

bool Connection::Take(proto::Bytes bytes) {
  return in_data_ ? reader_.Feed(bytes) : OnLinkBytes(bytes);
}

bool Connection::StartData(proto::Bytes bytes, uint64_t sent) {
  in_data_ = true;
  link_sent_ = stream_.num_sent() - sent;
  link_received_ = stream_.num_received() - bytes.size();
  return bytes.empty() || reader_.Feed(bytes);
}

// ---- Writing.

bool Connection::Send(proto::Bytes bytes) {
  if (!stream_.is_open()) {
    return false;
  }
  const int error = stream_.Queue(bytes);
  if (error != 0) {
    Fail(error);
  }
  return error == 0;
}

bool Connection::SendMessage(uint16_t type, proto::Bytes body) {
  std::array<uint8_t, kMaxSmallMessageLen> small;
  std::vector<uint8_t> large;
  proto::MutableBytes message = small;
  const size_t len = proto::kMiniHeaderLen + body.size();
  if (len > small.size()) {
    large.resize(len);
    message = large;
  }
  proto::EncodeDataHeader(
      proto::HeaderKind::kMini,
      {.type = type, .size = static_cast<uint32_t>(body.size())}, message);
  std::copy(body.begin(), body.end(), message.begin() + proto::kMiniHeaderLen);
  return Send(message.first(len));
}

void Connection::StartFlood(const FloodPlan& plan) {
  source_ = std::make_unique<FloodSource>(shared_->pattern, plan);
  if (plan.rate_hz == 0) {
    bulk_ = true;
    shared_->loop->QueueWrite(this);
  }
}

void Connection::StopFlood() {
  if (source_ == nullptr) {
    OnFloodBoundary();
    return;
  }
  stopping_ = true;
  OnWriteStep();
}

void Connection::SendPaced() {
  if (source_ != nullptr && !stopping_) {
    ++num_paced_due_;
    if (num_paced_due_ == 1) {
      OnWriteStep();
    }
  }
}

// Writes of one message each, until the quantum is used up or the socket full.
// True when there may be room for more.
bool Connection::WriteFlood(size_t quantum_len) {
  size_t written = 0;
  while (written < quantum_len) {
    const proto::Bytes next = source_->Next();
    const ssize_t n = stream_.Send(next);
    if (n < 0) {
      if (n != -EAGAIN) {
        Fail(static_cast<int>(n));
      }
      return false;
    }
    const auto len = static_cast<size_t>(n);
    source_->Advance(len);
    written += len;
    shared_->meter->totals.flood_sent += len;
    if (stopping_ && source_->at_boundary()) {
      return true;
    }
    if (len < next.size()) {
      return false;
    }
  }
  return true;
}

bool Connection::WritePaced() {
  while (num_paced_due_ > 0) {
    const uint64_t before = source_->num_messages();
    const bool room = WriteFlood(1);
    num_paced_due_ -= stream_.is_open() ? source_->num_messages() - before : 0;
    if (!room) {
      return false;
    }
  }
  return true;
}

bool Connection::OnWriteStep() {
  if (!stream_.is_open()) {
    return false;
  }
  const int error = stream_.Flush();
  if (error != 0) {
    Fail(error);
    return false;
  }
  if (stream_.has_pending() || source_ == nullptr) {
    return false;
  }
  const bool paced = source_->plan().rate_hz != 0;
  bool more = false;
  if (!stopping_ || !source_->at_boundary()) {
    more = paced ? WritePaced() && false : WriteFlood(kWriteQuantumLen);
  }
  if (stopping_ && stream_.is_open() && source_->at_boundary()) {
    stopping_ = false;
    num_paced_due_ = 0;
    source_.reset();
    OnFloodBoundary();
    return false;
  }
  return more && stream_.is_open();
}

// ---- Floods received.

void Connection::ExpectFlood(const FloodPlan& plan) {
  sink_ = std::make_unique<FloodSink>(shared_->pattern, plan, shared_->verify);
  if (plan.rate_hz == 0) {
    bulk_ = true;
    setsockopt(stream_.fd(), SOL_SOCKET, SO_RCVLOWAT, &kFloodLowWater,
               sizeof(kFloodLowWater));
    next_look_ns_ = NowNs() + kLookNs;
    shared_->loop->WakeAt(next_look_ns_, this);
  }
}

void Connection::OnTimer(int64_t now_ns) {
  if (next_look_ns_ != 0 && next_look_ns_ <= now_ns && stream_.is_open()) {
    shared_->loop->QueueRead(this);
    next_look_ns_ = now_ns + kLookNs;
    shared_->loop->WakeAt(next_look_ns_, this);
  }
  OnDue(now_ns);
}

bool Connection::OnWholeMessage(uint16_t type, proto::Bytes body) {
  return OnMessage(type, body) && stream_.is_open();
}

bool Connection::IsFlood(uint16_t type) const {
  return sink_ != nullptr && sink_->plan().type == type;
}

// A message of a wrong length was none: nothing behind it means anything.
bool Connection::OnFloodBegin(uint32_t body_len) {
  shared_->meter->totals.flood_received += proto::kMiniHeaderLen;
  const bool good = sink_->Begin(body_len);
  shared_->meter->num_checksum_errors += good ? 0 : 1;
  return good;
}

void Connection::OnFloodPiece(proto::Bytes piece) {
  shared_->meter->totals.flood_received += piece.size();
  sink_->Feed(piece);
}

void Connection::OnFloodEnd() {
  const uint64_t before = sink_->num_errors();
  sink_->End();
  ++shared_->meter->totals.flood_messages;
  shared_->meter->num_checksum_errors += sink_->num_errors() - before;
  OnFloodMessage();
}

}  // namespace spicegate
