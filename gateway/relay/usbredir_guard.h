// SPDX-License-Identifier: Apache-2.0
//
// The guard's part inside the DATA of a usbredir channel. QEMU's parser reports
// a bad packet to nobody, and at the next message QEMU 7.2 aborts because of
// what the parser has left behind; so no such packet may get there.
//
// A seamless migration takes QEMU's parser along, and so this one:
//
//   source's guard --> UsbredirHandover --> destination's guard
//     HandOverTo         Freeze, when the     ContinueFrom
//                        source lets go
//
// After any other one QEMU begins with a new parser, and says so by a hello.
//
// On the session's home worker.
#ifndef SPICEGATE_GATEWAY_RELAY_USBREDIR_GUARD_H_
#define SPICEGATE_GATEWAY_RELAY_USBREDIR_GUARD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "proto/data_header.h"
#include "proto/usbredir.h"

namespace spicegate {

// What becomes of a channel's stream when its session moves.
class UsbredirHandover {
 public:
  using Checker = proto::UsbredirChecker;

  // The stream as it goes on, as long as its guard lives.
  void Follow(const std::shared_ptr<const Checker>& stream) {
    stream_ = stream;
  }
  // The source has been told to let go of the channel: whatever it gets from
  // now on is not taken along.
  void Freeze();
  // The destination has a parser of its own.
  void BeginAnew();

  // Where the destination's parser goes on.
  const std::optional<Checker>& state() const { return state_; }
  bool begins_anew() const { return begins_anew_; }

 private:
  std::weak_ptr<const Checker> stream_;
  std::optional<Checker> state_;
  bool begins_anew_ = false;
};

class UsbredirGuard {
 public:
  // From the stream's first byte on.
  explicit UsbredirGuard(proto::HeaderKind kind);

  // At a migration's destination: nothing passes until `handover` says where
  // the server's parser is; where that begins anew, what the client says is to
  // be held until the hello has come.
  void ContinueFrom(std::shared_ptr<UsbredirHandover> handover);
  // The session may move to where `handover` leads.
  void HandOverTo(UsbredirHandover* handover);

  // The server's hello is still to come, and to be shown.
  bool awaits_hello() const { return framer_ != nullptr; }
  // What the server says on the channel, before its client can have it. False
  // when no more of it is needed.
  bool FromServer(std::span<const uint8_t> bytes);

  bool waits_for_server() const {
    return source_ != nullptr && source_->begins_anew() && awaits_hello();
  }
  // A DATA of the client's begins. False: nobody knows what the server's parser
  // would make of it.
  bool BeginMessage(const proto::DataHeader& header);
  // Bytes of its body. False: the server must not have them. Once only.
  bool FromClient(std::span<const uint8_t> bytes);
  const proto::DataHeader& message() const { return message_; }

 private:
  // Whether the place in the stream is known.
  bool Continue();

  std::shared_ptr<proto::UsbredirChecker> stream_;
  std::shared_ptr<UsbredirHandover> source_;  // until it is
  // Of the server's direction, until its hello has been seen.
  std::unique_ptr<proto::MessageFramer> framer_;
  proto::UsbredirHelloReader hello_;
  proto::DataHeader message_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_USBREDIR_GUARD_H_
