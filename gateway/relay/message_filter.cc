// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/message_filter.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// Appends a whole message.
void Append(proto::HeaderKind kind, const proto::DataHeader& header,
            std::span<const uint8_t> body, std::vector<uint8_t>& to) {
  std::array<uint8_t, proto::kMaxDataHeaderLen> encoded;
  const size_t len = proto::EncodeDataHeader(kind, header, encoded);
  to.reserve(to.size() + len + body.size());
  to.insert(to.end(), encoded.begin(),
            encoded.begin() + static_cast<ptrdiff_t>(len));
  to.insert(to.end(), body.begin(), body.end());
}

}  // namespace

void MessageFilter::Insert(uint16_t type, std::span<const uint8_t> body) {
  if (pending_ == nullptr) {
    pending_ = std::make_unique<Bytes>();
  }
  if (pending_->size() > kMaxWaitingBytes) {
    return;
  }
  const proto::DataHeader header = {.type = type,
                                    .size = static_cast<uint32_t>(body.size()),
                                    .serial = serial_};
  last_pending_ = static_cast<uint32_t>(pending_->size());
  Append(kind_, header, body, *pending_);
}

std::span<uint8_t> MessageFilter::WaitingBody(uint16_t type) {
  if (pending_ == nullptr) {
    return {};
  }
  const std::span<uint8_t> last = std::span(*pending_).subspan(last_pending_);
  return proto::ParseDataHeader(kind_, last)->type == type
             ? last.subspan(header_len())
             : std::span<uint8_t>();
}

void MessageFilter::Replace(const proto::DataHeader& header,
                            std::span<const uint8_t> body) {
  DCHECK(header.size == body.size());
  out_ = std::make_unique<Bytes>();
  Append(kind_, header, body, *out_);
}

PumpFilter::Step MessageFilter::Next(std::span<const uint8_t> bytes) {
  out_.reset();
  if (HasInsert()) {
    return InsertPending(0);
  }
  if (body_remaining_ != 0) {
    return Body(bytes);
  }
  return held_ != nullptr ? HeldFront(bytes) : Messages(bytes, 0);
}

PumpFilter::Step MessageFilter::InsertPending(size_t pass) {
  out_ = std::move(pending_);
  return {.pass = pass, .insert = *out_};
}

// The message was judged with `shown` bytes of its body; the others go the
// same way as they come.
void MessageFilter::Begin(const proto::DataHeader& header, size_t shown,
                          bool dropping) {
  body_remaining_ = header.size - static_cast<uint32_t>(shown);
  dropping_ = dropping;
}

// Whether a message whose front of the body is here may begin to go on.
bool MessageFilter::MayPass(const Judgement& judgement,
                            std::span<const uint8_t> body) {
  watching_ = judgement.watch;
  return !watching_ || OnBody(body);
}

// The rest of a body, and behind one that passed whatever else is here.
PumpFilter::Step MessageFilter::Body(std::span<const uint8_t> bytes) {
  const size_t len = std::min<size_t>(body_remaining_, bytes.size());
  body_remaining_ -= static_cast<uint32_t>(len);
  if (dropping_) {
    return {.skip = len};
  }
  if (watching_ && !OnBody(bytes.first(len))) {
    return {.then = Then::kRefuse};
  }
  return HasInsert() ? InsertPending(len) : Messages(bytes, len);
}

// Judges one message after the other. The first `pass` bytes may go on, and
// behind them is a boundary unless they are all there is.
PumpFilter::Step MessageFilter::Messages(std::span<const uint8_t> bytes,
                                         size_t pass) {
  while (pass < bytes.size()) {
    const std::span<const uint8_t> rest = bytes.subspan(pass);
    const std::optional<proto::DataHeader> header =
        proto::ParseDataHeader(kind_, rest);
    if (!header.has_value()) {
      return Keep(rest, header_len(), pass);
    }
    serial_ = header->serial;
    const size_t shown =
        std::min<size_t>(header->size, rest.size() - header_len());
    const std::span<const uint8_t> front = rest.first(header_len() + shown);
    const Judgement judgement = Judge(*header, front.subspan(header_len()));
    if (judgement.verdict != Verdict::kPass) {
      return Stop(*header, front, judgement, pass);
    }
    if (!MayPass(judgement, front.subspan(header_len()))) {
      return {.pass = pass, .then = Then::kRefuse};
    }
    pass += front.size();
    Begin(*header, shown, false);
    if (HasInsert()) {
      return InsertPending(pass);
    }
  }
  return {.pass = pass};
}

// What becomes of a message that does not just pass. `front` is its header and
// as much of its body as is here, behind `pass` good bytes.
PumpFilter::Step MessageFilter::Stop(const proto::DataHeader& header,
                                     std::span<const uint8_t> front,
                                     const Judgement& judgement, size_t pass) {
  switch (judgement.verdict) {
    case Verdict::kNeed:
      DCHECK(judgement.need > front.size() - header_len());
      return Keep(front, header_len() + judgement.need, pass);
    case Verdict::kReplace:
      DCHECK(front.size() - header_len() == header.size);
      return {.pass = pass, .insert = *out_, .skip = front.size()};
    case Verdict::kDrop:
      Begin(header, front.size() - header_len(), true);
      return {.pass = pass, .skip = front.size()};
    case Verdict::kHold:
      return {.pass = pass, .then = Then::kHold};
    case Verdict::kPass:
    case Verdict::kRefuse:
      break;
  }
  return {.pass = pass, .then = Then::kRefuse};
}

// Takes `front` out of the pump until `need` bytes of the message are here.
PumpFilter::Step MessageFilter::Keep(std::span<const uint8_t> front,
                                     size_t need, size_t pass) {
  held_ = std::make_unique<Bytes>(front.begin(), front.end());
  held_need_ = static_cast<uint32_t>(need);
  return {.pass = pass, .skip = front.size()};
}

// Goes on with a front that came in pieces. The judge sees no more of it than
// it has asked for, so that the rest of the body stays out of held_.
PumpFilter::Step MessageFilter::HeldFront(std::span<const uint8_t> bytes) {
  const size_t len_before = held_->size();
  const uint32_t need_before = held_need_;
  proto::DataHeader header;
  Judgement judgement;
  size_t used = 0;
  do {
    used += Fill(bytes.subspan(used));
    if (held_->size() < held_need_) {
      return {.skip = used};
    }
    header = *proto::ParseDataHeader(kind_, *held_);
    serial_ = header.serial;
    const std::span<const uint8_t> front = *held_;
    judgement = Judge(header, front.subspan(header_len()));
    held_need_ = static_cast<uint32_t>(header_len() + judgement.need);
  } while (judgement.verdict == Verdict::kNeed);
  if (judgement.verdict == Verdict::kHold) {
    // At least one byte of a front that is held stays with the pump: without
    // it nothing would be shown again.
    held_->resize(len_before);
    held_need_ = need_before;
    return {.then = Then::kHold};
  }
  return Settle(header, judgement, used);
}

// Takes what is missing of the front that is held; returns how much.
size_t MessageFilter::Fill(std::span<const uint8_t> bytes) {
  const size_t len = std::min(held_need_ - held_->size(), bytes.size());
  held_->insert(held_->end(), bytes.begin(),
                bytes.begin() + static_cast<ptrdiff_t>(len));
  return len;
}

// The end of a front that was held; `used` bytes of it came just now.
PumpFilter::Step MessageFilter::Settle(const proto::DataHeader& header,
                                       const Judgement& judgement,
                                       size_t used) {
  std::unique_ptr<Bytes> front = std::move(held_);
  const size_t shown = front->size() - header_len();
  switch (judgement.verdict) {
    case Verdict::kPass:
      if (!MayPass(judgement, std::span(*front).subspan(header_len()))) {
        break;
      }
      Begin(header, shown, false);
      out_ = std::move(front);
      return {.insert = *out_, .skip = used};
    case Verdict::kDrop:
      Begin(header, shown, true);
      return {.skip = used};
    case Verdict::kReplace:
      DCHECK(shown == header.size);
      return {.insert = *out_, .skip = used};
    case Verdict::kNeed:
    case Verdict::kHold:
    case Verdict::kRefuse:
      break;
  }
  return {.then = Then::kRefuse};
}

}  // namespace spicegate
