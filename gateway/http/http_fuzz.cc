// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as requests of one connection. How they are cut into pieces must
// not matter, and nothing grows beyond its bounds.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/base/check.h"
#include "gateway/http/http.h"

namespace {

using spicegate::HttpRequest;
using spicegate::HttpRequestParser;

struct Outcome {
  std::vector<std::string> requests;
  int error_status = 0;

  bool operator==(const Outcome&) const = default;
};

std::string Describe(const HttpRequest& request) {
  CHECK(!request.path.empty() && request.path[0] == '/');
  CHECK(request.body.size() <= spicegate::kMaxHttpBodyBytes);
  CHECK(request.headers.size() <= spicegate::kMaxHttpHeaders);
  std::string text = request.method + " " + request.path + "?" + request.query +
                     (request.keep_alive ? " k " : " c ");
  for (const auto& header : request.headers) {
    CHECK(header.value.find_first_of("\r\n") == std::string::npos);
    text += header.name + "=" + header.value + ";";
  }
  return text + request.body;
}

// Feeds everything, at most `piece` bytes at a time.
Outcome Parse(std::string_view bytes, size_t piece) {
  Outcome outcome;
  HttpRequestParser parser;
  while (!bytes.empty() && outcome.error_status == 0) {
    const std::string_view part = bytes.substr(0, piece);
    const size_t used = parser.Feed(part);
    CHECK(used > 0 && used <= part.size());
    bytes.remove_prefix(used);
    if (parser.state() == HttpRequestParser::State::kDone) {
      outcome.requests.push_back(Describe(parser.request()));
      parser.Reset();
      CHECK(parser.idle());
    } else if (parser.state() == HttpRequestParser::State::kError) {
      outcome.error_status = parser.error_status();
      CHECK(outcome.error_status >= 400);
    } else {
      CHECK(used == part.size());
    }
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), len);
  const Outcome whole = Parse(bytes, len);
  CHECK(whole == Parse(bytes, 1));
  CHECK(whole == Parse(bytes, 7));
  return 0;
}
