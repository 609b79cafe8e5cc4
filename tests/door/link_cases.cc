// SPDX-License-Identifier: Apache-2.0
#include "tests/door/link_cases.h"

#include <algorithm>
#include <array>
#include <ostream>
#include <span>

#include "proto/caps.h"
#include "proto/channel.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;
using Kind = LinkAnswer::Kind;
using Then = LinkBugs::Then;

// Written out on purpose instead of asking the encoder under test.
std::vector<uint8_t> ErrorReplyBytes(LinkError error) {
  std::vector<uint8_t> bytes(194);
  const std::array<uint8_t, 16> header = {'R', 'E', 'D', 'Q', 2, 0,  0,
                                          0,   2,   0,   0,   0, 178};
  std::copy(header.begin(), header.end(), bytes.begin());
  bytes[16] = static_cast<uint8_t>(error);
  return bytes;
}

// A reply that offers a ticket: magic, version 2.2, error 0, an RSA key, common
// capabilities 0x0B.
bool IsGoodReply(std::span<const uint8_t> reply) {
  if (reply.size() < 16 + 178 + 4 ||
      proto::LoadU32(reply.data()) != 0x51444552 ||
      proto::LoadU32(reply.data() + 4) != 2 ||
      proto::LoadU32(reply.data() + 8) != 2 ||
      proto::LoadU32(reply.data() + 12) != reply.size() - 16) {
    return false;
  }
  const std::span<const uint8_t> body = reply.subspan(16);
  const uint32_t num_common = proto::LoadU32(body.data() + 166);
  const uint32_t num_channel = proto::LoadU32(body.data() + 170);
  return proto::LoadU32(body.data()) == 0 &&
         proto::IsLinkKey(body.subspan(4, 162)) && num_common == 1 &&
         proto::LoadU32(body.data() + 174) == 178 &&
         body.size() == 178 + 4 * (num_common + num_channel) &&
         proto::LoadU32(body.data() + 178) == 0x0B;
}

bool SameBytes(const std::vector<uint8_t>& bytes, LinkError error) {
  return bytes == ErrorReplyBytes(error);
}

std::string Describe(const LinkOutcome& outcome) {
  std::string text = std::to_string(outcome.reply.size()) + " bytes of reply";
  if (outcome.reply_error().has_value()) {
    text += " (error " +
            std::to_string(static_cast<uint32_t>(*outcome.reply_error())) + ")";
  }
  text += ", " + std::to_string(outcome.auth_answer.size()) + " of result";
  if (outcome.result().has_value()) {
    text +=
        " (" + std::to_string(static_cast<uint32_t>(*outcome.result())) + ")";
  }
  return text + ", " + PeerEndName(outcome.end);
}

// ---- Requests ----

struct Cases {
  std::string password;
  std::vector<LinkCase> all;

  LinkRequest Main() const {
    LinkRequest request;
    request.password = password;
    return request;
  }

  template <typename Change>
  LinkCase& Add(const std::string& name, const LinkAnswer& expected,
                Change change) {
    LinkRequest request = Main();
    change(request);
    all.push_back(LinkCase{name, request, expected});
    return all.back();
  }
};

std::vector<uint8_t> Text(const std::string& text) {
  return {text.begin(), text.end()};
}

void AddHeaderCases(Cases* cases) {
  const LinkAnswer bad_magic = ErrorReply(LinkError::kInvalidMagic);
  const LinkAnswer bad_version = ErrorReply(LinkError::kVersionMismatch);
  cases->Add("Honest", Accepted(), [](LinkRequest&) {});
  cases->Add("ByteAtATime", Accepted(),
             [](LinkRequest& r) { r.bugs.byte_at_a_time = true; });
  cases->Add("MagicWrong", bad_magic, [](LinkRequest& r) {
    r.bugs.magic = {'R', 'E', 'D', 'X'};
  });
  cases->Add("MagicWrongFourBytesOnly", bad_magic,
             [](LinkRequest& r) { r.bugs.raw_link = Text("NOPE"); });
  cases->Add("HttpGet", bad_magic, [](LinkRequest& r) {
    r.bugs.raw_link = Text("GET / HTTP/1.0\r\n\r\n");
  });
  cases->Add("TlsHello", bad_magic, [](LinkRequest& r) {
    r.bugs.raw_link = Text(std::string("\x16\x03\x01\x02\x00\x01\x00", 7));
  });
  cases->Add("MajorZero", SilentClose(),
             [](LinkRequest& r) { r.bugs.major = 0; });
  for (const uint32_t major : {1u, 3u, 0x7fffffffu}) {
    cases->Add("Major" + std::to_string(major), bad_version,
               [major](LinkRequest& r) { r.bugs.major = major; });
  }
  for (const uint32_t minor : {0u, 1u, 99u}) {
    cases->Add("Minor" + std::to_string(minor), Accepted(),
               [minor](LinkRequest& r) { r.bugs.minor = minor; });
  }
  for (const uint32_t size :
       {0u, 17u, 4097u, 0x7fffffffu, 0x80000000u, 0xaaaaaaaau, 0xffffffffu}) {
    cases->Add("Size" + std::to_string(size),
               ErrorReply(LinkError::kInvalidData),
               [size](LinkRequest& r) { r.bugs.size = size; });
  }
  cases->Add("Size4096", Accepted(), [](LinkRequest& r) {
    r.bugs.padding_len = proto::kMaxLinkMessLen - proto::kLinkMessFixedLen - 8;
  });
  cases->Add("HalfCloseBehindThreeBytes", SilentClose(), [](LinkRequest& r) {
    r.bugs.link_cut_len = 3;
    r.bugs.after_link = Then::kHalfClose;
  });
  cases->Add("HalfCloseInHeader", SilentClose(), [](LinkRequest& r) {
    r.bugs.link_cut_len = 10;
    r.bugs.after_link = Then::kHalfClose;
  });
  cases->Add("HalfCloseInMessage", SilentClose(), [](LinkRequest& r) {
    r.bugs.link_cut_len = 30;
    r.bugs.after_link = Then::kHalfClose;
  });
}

void AddCapsCases(Cases* cases) {
  const LinkAnswer bad_data = ErrorReply(LinkError::kInvalidData);
  // 18 bytes: no words at all, and with them neither mechanism nor mini
  // headers.
  cases->Add("Size18WithoutCaps", Accepted(), [](LinkRequest& r) {
    r.common_caps = {};
    r.channel_caps.emplace();
  });
  cases->Add("OffsetIgnoredWithoutCaps", Accepted(), [](LinkRequest& r) {
    r.common_caps = {};
    r.channel_caps.emplace();
    r.bugs.caps_offset = 0xffffffff;
  });
  cases->Add("CommonCaps1000Words", Accepted(),
             [](LinkRequest& r) { r.common_caps.resize(1000); });
  cases->Add("CommonCaps1024WordsOutside", bad_data,
             [](LinkRequest& r) { r.bugs.num_common_caps = 1024; });
  cases->Add("CommonCaps1025Words", bad_data,
             [](LinkRequest& r) { r.bugs.num_common_caps = 1025; });
  cases->Add("ChannelCaps1025Words", bad_data,
             [](LinkRequest& r) { r.bugs.num_channel_caps = 1025; });
  cases->Add("CapsCountsOverflow", bad_data, [](LinkRequest& r) {
    r.bugs.num_common_caps = 0x80000000;
    r.bugs.num_channel_caps = 0x80000000;
  });
  cases->Add("CapsCountsOverflowInBytes", bad_data, [](LinkRequest& r) {
    r.bugs.num_common_caps = 0x40000000;
    r.bugs.num_channel_caps = 0;
  });
  cases->Add("CapsOutsideByAWord", bad_data,
             [](LinkRequest& r) { r.bugs.num_common_caps = 2; });
  cases->Add("Offset17", bad_data,
             [](LinkRequest& r) { r.bugs.caps_offset = 17; });
  cases->Add("Offset21Unaligned", Accepted(), [](LinkRequest& r) {
    r.bugs.gap_before_caps_len = 3;
    r.bugs.caps_offset = 21;
  });
  for (const uint32_t offset :
       {19u, 4096u, 0x7fffffffu, 0xfffffff8u, 0xffffffffu}) {
    cases->Add("OffsetOutside" + std::to_string(offset), bad_data,
               [offset](LinkRequest& r) { r.bugs.caps_offset = offset; });
  }
}

void AddChannelCases(Cases* cases) {
  for (const uint8_t type : {0, 12, 100, 255}) {
    cases->Add("UnknownType" + std::to_string(type), SilentClose(),
               [type](LinkRequest& r) { r.bugs.channel_type = type; });
  }
  cases->Add("TunnelType", SilentClose(),
             [](LinkRequest& r) { r.bugs.channel_type = 7; });
  LinkCase& missing =
      cases->Add("ChannelThatIsNotThere", SilentClose(), [](LinkRequest& r) {
        r.channel = {ChannelType::kInputs, 77};
      });
  missing.gateway_expected = Result(LinkError::kBadConnectionId);
  missing.difference =
      "only the server behind the ticket knows its channels, so the link is "
      "answered first";
  cases->Add("UnknownConnectionId", Result(LinkError::kBadConnectionId),
             [](LinkRequest& r) {
               r.channel = {ChannelType::kInputs, 0};
               r.connection_id = 0x12345678;
             });
  cases->Add("SecondaryWithoutConnectionId",
             Result(LinkError::kBadConnectionId), [](LinkRequest& r) {
               r.channel = {ChannelType::kInputs, 0};
             });
  cases->Add("UnknownConnectionIdAndWrongTicket",
             Result(LinkError::kPermissionDenied), [](LinkRequest& r) {
               r.channel = {ChannelType::kInputs, 0};
               r.connection_id = 0x12345678;
               r.password = "wrong";
             });
  LinkCase& migrating =
      cases->Add("MainWithConnectionId", Accepted(),
                 [](LinkRequest& r) { r.connection_id = 0x12345678; });
  migrating.gateway_expected = Result(LinkError::kBadConnectionId);
  migrating.difference =
      "it says 'I am migrating', which a gateway only takes from a session "
      "whose migration it knows";
}

void AddMechanismCases(Cases* cases) {
  const LinkAnswer refused = AuthErrorReply(LinkError::kInvalidData);
  for (const uint32_t mechanism : {0u, 3u, 7u, 0xffffffffu}) {
    cases->Add("Mechanism" + std::to_string(mechanism), refused,
               [mechanism](LinkRequest& r) { r.bugs.mechanism = mechanism; });
  }
  cases->Add("MechanismWithoutTicket", refused, [](LinkRequest& r) {
    r.bugs.mechanism = 7;
    r.bugs.no_ticket = true;
  });
  cases->Add("LegacyWithoutMechanism", Accepted(),
             [](LinkRequest& r) { r.common_caps = {0x08}; });
  cases->Add("LegacyWrongTicket", Result(LinkError::kPermissionDenied),
             [](LinkRequest& r) {
               r.common_caps = {0x08};
               r.password = "wrong";
             });
}

void AddTicketCases(Cases* cases) {
  const LinkAnswer denied = Result(LinkError::kPermissionDenied);
  const auto add_plaintext = [cases](const std::string& name,
                                     const LinkAnswer& expected,
                                     const std::string& plaintext) {
    cases->Add(name, expected, [&plaintext](LinkRequest& r) {
      r.bugs.plaintext = Text(plaintext);
    });
  };
  const std::string& good = cases->password;
  const std::string nul(1, '\0');
  add_plaintext("TicketWrong", denied, "wrong" + nul);
  add_plaintext("TicketEmpty", denied, "");
  add_plaintext("TicketOnlyNul", denied, nul);
  for (const size_t len : {59, 60, 61, 85, 86}) {
    add_plaintext("TicketOf" + std::to_string(len) + "WithoutNul", denied,
                  std::string(len, 'a'));
  }
  add_plaintext("TicketWithoutNul", Accepted(), good);
  add_plaintext("TicketWithTailBehindNul", Accepted(),
                good + nul + std::string(85 - good.size(), 'a'));
  add_plaintext("TicketWithTailWithoutNul", denied, good + "a");
  add_plaintext("TicketWithNulAhead", denied, nul + good);
  add_plaintext("TicketCutShort", denied,
                good.substr(0, good.size() - 1) + nul);
  cases->Add("TicketZeros", denied, [](LinkRequest& r) {
    r.bugs.ticket = std::vector<uint8_t>(proto::kTicketLen);
  });
  cases->Add("TicketOnes", denied, [](LinkRequest& r) {
    r.bugs.ticket = std::vector<uint8_t>(proto::kTicketLen, 0xff);
  });
  cases->Add("TicketTooLong", denied, [](LinkRequest& r) {
    r.bugs.ticket = std::vector<uint8_t>(proto::kTicketLen + 72, 0x11);
  });
  cases->Add("TicketTooShortHalfClose", ClosedAtTicket(), [](LinkRequest& r) {
    r.bugs.ticket = std::vector<uint8_t>(64, 0x11);
    r.bugs.after_ticket = Then::kHalfClose;
  });
  cases->Add("NoTicketHalfClose", ClosedAtTicket(), [](LinkRequest& r) {
    r.bugs.no_ticket = true;
    r.bugs.after_ticket = Then::kHalfClose;
  });
  cases->Add("FirstMessageBehindTicket", Accepted(), [](LinkRequest& r) {
    // ATTACH_CHANNELS with a mini header.
    r.bugs.behind_ticket = {104, 0, 0, 0, 0, 0};
  });
}

}  // namespace

void PrintTo(const LinkAnswer& answer, std::ostream* out) {
  static constexpr const char* kNames[] = {
      "accepted",         "error reply",      "silent close", "result",
      "auth error reply", "closed at ticket", "waits",        "other"};
  *out << kNames[static_cast<size_t>(answer.kind)] << " "
       << static_cast<uint32_t>(answer.error) << " [" << answer.text << "]";
}

LinkAnswer Accepted() { return {.kind = Kind::kAccepted}; }
LinkAnswer ErrorReply(LinkError error) {
  return {.kind = Kind::kErrorReply, .error = error};
}
LinkAnswer SilentClose() { return {.kind = Kind::kSilentClose}; }
LinkAnswer Result(LinkError error) {
  return {.kind = Kind::kResult, .error = error};
}
LinkAnswer AuthErrorReply(LinkError error) {
  return {.kind = Kind::kAuthErrorReply, .error = error};
}
LinkAnswer ClosedAtTicket() { return {.kind = Kind::kClosedAtTicket}; }

LinkAnswer AnswerOf(const LinkOutcome& outcome) {
  LinkAnswer answer = {.text = Describe(outcome)};
  const auto become = [&answer](Kind kind, LinkError error) {
    answer.kind = kind;
    answer.error = error;
    return answer;
  };
  const LinkError reply_error = outcome.reply_error().value_or(LinkError::kOk);
  const LinkError result = outcome.result().value_or(LinkError::kOk);
  if (outcome.end == PeerEnd::kTimeout) {
    return become(Kind::kWaits, LinkError::kOk);
  }
  if (outcome.reply.empty()) {
    return become(Kind::kSilentClose, LinkError::kOk);
  }
  if (reply_error != LinkError::kOk && SameBytes(outcome.reply, reply_error)) {
    return become(Kind::kErrorReply, reply_error);
  }
  if (!IsGoodReply(outcome.reply)) {
    return answer;
  }
  if (outcome.open) {
    return become(Kind::kAccepted, LinkError::kOk);
  }
  if (outcome.auth_answer.empty()) {
    return become(Kind::kClosedAtTicket, LinkError::kOk);
  }
  if (outcome.auth_answer.size() == proto::kLinkResultLen) {
    return become(Kind::kResult, result);
  }
  if (outcome.auth_answer.size() == proto::kErrorReplyLen) {
    const auto error =
        static_cast<LinkError>(proto::LoadU32(outcome.auth_answer.data() + 16));
    if (SameBytes(outcome.auth_answer, error)) {
      return become(Kind::kAuthErrorReply, error);
    }
  }
  return answer;
}

std::vector<LinkCase> LinkCases(const std::string& password) {
  Cases cases{.password = password, .all = {}};
  AddHeaderCases(&cases);
  AddCapsCases(&cases);
  AddChannelCases(&cases);
  AddMechanismCases(&cases);
  AddTicketCases(&cases);
  LinkCase& sasl =
      cases.Add("MechanismSasl", {.text = "a list of SASL mechanisms"},
                [](LinkRequest& r) { r.bugs.mechanism = 2; });
  sasl.gateway_expected = AuthErrorReply(LinkError::kInvalidData);
  sasl.difference =
      "SASL cannot be relayed, so it is refused as any unknown mechanism";
  // A spice-server that starts a SASL dialogue waits for the client.
  sasl.timeout_ms = 1'000;
  return cases.all;
}

}  // namespace spicegate
