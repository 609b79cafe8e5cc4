// SPDX-License-Identifier: Apache-2.0
//
// Bytes that were read too far, put back in front of the stream they came from.
// A request without a length can only be found by reading on until its end, and
// its sender need not wait with what comes next.
#ifndef SPICEGATE_GATEWAY_IO_UNREAD_STREAM_H_
#define SPICEGATE_GATEWAY_IO_UNREAD_STREAM_H_

#include <cstdint>
#include <span>

#include "gateway/io/stream.h"

namespace spicegate {

// A stream that gives `bytes`, which it copies, and then what `inner` gives;
// all else is the inner stream's. `inner` itself when there are no bytes.
//
// Bytes that are left are read, never spliced. BeginRelaying is passed on at
// once, as what the inner stream keeps comes later in any case. Afterwards the
// inner stream may stand alone; with bytes left, or where the inner stream is
// part of its socket, this one goes on in front of it and costs a call.
StreamPtr Unread(StreamPtr inner, std::span<const uint8_t> bytes);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_UNREAD_STREAM_H_
