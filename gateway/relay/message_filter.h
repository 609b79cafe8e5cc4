// SPDX-License-Identifier: Apache-2.0
//
// A pump filter that cuts one direction of a channel into messages and has
// each judged before any of it goes on. Bodies stream through: kept back is a
// header, and as much of a body as the judge asks for.
//
//              front of a message               rest of its body
//   ........+--------+----------+     +------------------------------------+
//   passed  | header | front    | --> | passed or dropped as it comes       |
//           +--------+----------+     +------------------------------------+
//              Judge: need more / pass / drop / replace / hold / refuse
#ifndef SPICEGATE_GATEWAY_RELAY_MESSAGE_FILTER_H_
#define SPICEGATE_GATEWAY_RELAY_MESSAGE_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gateway/relay/pump_filter.h"
#include "proto/data_header.h"

namespace spicegate {

class MessageFilter : public PumpFilter {
 public:
  static constexpr size_t kMaxWaitingBytes = 64 * 1024;

  explicit MessageFilter(proto::HeaderKind kind) : kind_(kind) {}

  Step Next(std::span<const uint8_t> bytes) final;
  bool HasInsert() const final { return pending_ != nullptr && at_boundary(); }

  // Inserts a message of the gateway's own between two others, as soon as may
  // be: now, when HasInsert() says so afterwards and the pump is run. Dropped
  // while more than kMaxWaitingBytes wait for a peer that does not read.
  void Insert(uint16_t type, std::span<const uint8_t> body);

  // No message has gone on in part.
  bool at_boundary() const { return body_remaining_ == 0 || dropping_; }
  proto::HeaderKind header_kind() const { return kind_; }

 protected:
  enum class Verdict : uint8_t {
    kNeed,     // judged again once `need` bytes of the body are here
    kPass,     // goes on, the rest of the body unseen
    kDrop,     // all of it is dropped
    kReplace,  // Replacement() goes on in its place; the whole body was shown
    kHold,     // as PumpFilter::Then::kHold, with this message kept back
    kRefuse,
  };
  struct Judgement {
    Verdict verdict = Verdict::kPass;
    size_t need = 0;     // kNeed: more than was shown, at most header.size
    bool watch = false;  // kPass: OnBody is asked about all of the body
  };

  // `front` is the body's front as far as it is here (never less than what was
  // asked for, possibly more, never beyond header.size). Called again for the
  // same message after kNeed and kHold only. A judge must not ask for more than
  // it has found a bound for: a claimed size is a claim.
  virtual Judgement Judge(const proto::DataHeader& header,
                          std::span<const uint8_t> front) = 0;

  // A piece of a body that passes, of one whose judgement says `watch`, before
  // it goes on. False: it does not, as with kRefuse.
  virtual bool OnBody(std::span<const uint8_t>) { return true; }

  // The body of the own message that waits last, if it is of that type, to be
  // changed in place; else empty. Valid until Insert or Next.
  std::span<uint8_t> WaitingBody(uint16_t type);

  // The message as it goes on after kReplace: header and body, in the channel's
  // kind of header. Filled by Judge through Replace.
  void Replace(const proto::DataHeader& header, std::span<const uint8_t> body);

 private:
  // What a rare message needs, made on demand.
  using Bytes = std::vector<uint8_t>;

  size_t header_len() const { return proto::DataHeaderLen(kind_); }

  void Begin(const proto::DataHeader& header, size_t shown, bool dropping);
  bool MayPass(const Judgement& judgement, std::span<const uint8_t> body);
  Step Body(std::span<const uint8_t> bytes);
  Step Messages(std::span<const uint8_t> bytes, size_t pass);
  Step Stop(const proto::DataHeader& header, std::span<const uint8_t> front,
            const Judgement& judgement, size_t pass);
  Step Keep(std::span<const uint8_t> front, size_t need, size_t pass);
  Step HeldFront(std::span<const uint8_t> bytes);
  size_t Fill(std::span<const uint8_t> bytes);
  Step Settle(const proto::DataHeader& header, const Judgement& judgement,
              size_t used);
  Step InsertPending(size_t pass);

  std::unique_ptr<Bytes> held_;     // the front of a message, not yet judged
  std::unique_ptr<Bytes> out_;      // what the last step inserted
  std::unique_ptr<Bytes> pending_;  // own messages, for the next boundary
  // Of the last message seen. Full headers only: an own message repeats it,
  // because no viewer looks at the serials of main and inputs, where there are
  // own messages, and a serial of its own would shift all that follow.
  uint64_t serial_ = 0;
  uint32_t body_remaining_ = 0;  // of the message that passes or is dropped
  uint32_t held_need_ = 0;       // bytes of held_ that the judge waits for
  uint32_t last_pending_ = 0;    // where in pending_ its last message begins
  const proto::HeaderKind kind_;
  bool dropping_ = false;
  bool watching_ = false;  // it passes if OnBody says so
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_MESSAGE_FILTER_H_
