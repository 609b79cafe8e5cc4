// SPDX-License-Identifier: Apache-2.0
//
// Everything a client can say in the link stage, right or wrong, and what
// spice-server answers (spice-protocol.md 3.5 and 4). One table for two tests:
// the gateway against this table, and the gateway against a real QEMU.
#ifndef SPICEGATE_TESTS_DOOR_LINK_CASES_H_
#define SPICEGATE_TESTS_DOOR_LINK_CASES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/link.h"
#include "tests/peer/link_client.h"

namespace spicegate {

// What a server made of a link, judged by every byte it sent.
struct LinkAnswer {
  enum class Kind : uint8_t {
    kAccepted,        // A good reply, result 0.
    kErrorReply,      // The 194 bytes of an error reply with `error`.
    kSilentClose,     // Not a byte.
    kResult,          // A good reply, then the 4 bytes of `error`.
    kAuthErrorReply,  // A good reply, then the 194 bytes with `error`.
    kClosedAtTicket,  // A good reply, then not a byte.
    kWaits,           // Still open; the client gave up first.
    kOther,           // None of these; `text` tells.
  };
  Kind kind = Kind::kOther;
  proto::LinkError error = proto::LinkError::kOk;
  std::string text = {};

  // The same answer; `text` only describes.
  bool operator==(const LinkAnswer& other) const {
    return kind == other.kind && error == other.error;
  }
};

void PrintTo(const LinkAnswer& answer, std::ostream* out);

LinkAnswer Accepted();
LinkAnswer ErrorReply(proto::LinkError error);
LinkAnswer SilentClose();
LinkAnswer Result(proto::LinkError error);
LinkAnswer AuthErrorReply(proto::LinkError error);
LinkAnswer ClosedAtTicket();

// Judges an outcome byte by byte.
LinkAnswer AnswerOf(const LinkOutcome& outcome);

struct LinkCase {
  // For the name of the test: letters and digits.
  std::string name;
  LinkRequest request;
  LinkAnswer expected;
  // Where a gateway must differ from spice-server: its answer, and why.
  std::optional<LinkAnswer> gateway_expected = std::nullopt;
  std::string difference = {};
  // The client's own patience: cases without any answer end by it.
  int64_t timeout_ms = 20'000;

  LinkAnswer ExpectedOfGateway() const {
    return gateway_expected.value_or(expected);
  }
};

// Every case. `password` is the right one of the server the cases go to; all
// of them open main or fail, and leave no display behind.
std::vector<LinkCase> LinkCases(const std::string& password);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_DOOR_LINK_CASES_H_
