// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a CONNECT request. How they are cut into pieces must not
// matter, nothing grows beyond its bounds, and what is accepted means one
// thing: written out again it is read the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/door/connect_request.h"

namespace {

using spicegate::Authority;
using spicegate::ConnectRequest;
using spicegate::ConnectRequestParser;
using State = ConnectRequestParser::State;

bool ReadsAs(const std::string& target, const Authority& authority) {
  const std::string text = "CONNECT " + target + " HTTP/1.0\r\n\r\n";
  ConnectRequestParser parser;
  parser.Feed({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return parser.state() == State::kDone && parser.request().target == authority;
}

// Without brackets or with them, and never both ways.
void CheckMeansOneThing(const Authority& authority) {
  const std::string port = ":" + std::to_string(authority.port);
  const bool plain = ReadsAs(authority.host + port, authority);
  CHECK(plain != ReadsAs("[" + authority.host + "]" + port, authority));
}

void CheckAuthority(const Authority& authority) {
  CHECK(!authority.host.empty());
  CHECK(authority.host.size() < spicegate::kMaxConnectRequestBytes);
  CHECK(std::all_of(authority.host.begin(), authority.host.end(),
                    [](char c) { return c > 0x20 && c < 0x7f; }));
}

// What came of it, in words.
std::string Parse(const uint8_t* data, size_t len, size_t piece_len) {
  ConnectRequestParser parser;
  size_t consumed = 0;
  while (consumed < len && parser.state() == State::kMore) {
    const size_t piece = std::min(piece_len, len - consumed);
    const ConnectRequestParser::Step step =
        parser.Feed({data + consumed, piece});
    CHECK(step.consumed > 0 && step.consumed <= piece);
    CHECK(step.state == parser.state());
    CHECK(step.state != State::kMore || step.consumed == piece);
    consumed += step.consumed;
  }
  CHECK(consumed <= spicegate::kMaxConnectRequestBytes);
  if (parser.state() == State::kMore) {
    return "more";
  }
  const ConnectRequest request = parser.TakeRequest();
  const std::string version =
      std::to_string(request.minor_version) + std::to_string(consumed);
  if (parser.state() == State::kError) {
    CHECK(spicegate::ConnectStatusCode(parser.error()) >= 400);
    return "error" + version +
           spicegate::ConnectAnswer(parser.error(), request.minor_version);
  }
  CheckAuthority(request.target);
  CHECK(request.target.port != 0);
  CheckMeansOneThing(request.target);
  std::string text =
      version + request.target.host + " " + std::to_string(request.target.port);
  if (request.host_header.has_value()) {
    CheckAuthority(*request.host_header);
    text += " host " + request.host_header->host;
  }
  CHECK(request.minor_version == 0 || request.host_header.has_value());
  CHECK(request.has_credentials || !request.basic_password.has_value());
  return text + " password " + request.basic_password.value_or("-");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string whole = Parse(data, len, std::max<size_t>(len, 1));
  CHECK(whole == Parse(data, len, 1));
  CHECK(whole == Parse(data, len, 7));
  return 0;
}
