// SPDX-License-Identifier: Apache-2.0
//
// Cuts received bytes into messages: small ones whole, floods in pieces.
#ifndef SPICEGATE_BENCH_LOAD_MESSAGE_READER_H_
#define SPICEGATE_BENCH_LOAD_MESSAGE_READER_H_

#include <cstdint>
#include <vector>

#include "proto/data_header.h"

namespace spicegate {

class MessageHandler {
 public:
  // Whether messages of `type` are taken in pieces. Asked at each header.
  virtual bool IsFlood(uint16_t type) const = 0;
  // A whole message that is not; false stops the reader for good.
  virtual bool OnWholeMessage(uint16_t type, proto::Bytes body) = 0;
  // One that is; the same.
  virtual bool OnFloodBegin(uint32_t body_len) = 0;
  virtual void OnFloodPiece(proto::Bytes piece) = 0;
  virtual void OnFloodEnd() = 0;

 protected:
  ~MessageHandler() = default;
};

class MessageReader {
 public:
  explicit MessageReader(MessageHandler* handler) : handler_(handler) {}

  // False once the peer said what the handler, or the format, does not allow.
  bool Feed(proto::Bytes in);

 private:
  bool OnHeader();
  void OnBody(proto::Bytes piece);
  bool OnEnd();

  MessageHandler* const handler_;
  proto::MessageFramer framer_{proto::HeaderKind::kMini};
  std::vector<uint8_t> body_;  // Of a message that came in pieces.
  proto::Bytes whole_;         // Of one that came whole: a view.
  bool flood_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_MESSAGE_READER_H_
