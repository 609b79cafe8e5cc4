// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as requests to the portal, and in the words of the cloud. The first
// byte chooses how the connection came and what the cloud answers, the others
// are the request. Nothing from outside becomes markup, every answer has the
// portal's headers, and a token stands nowhere but in the page's links.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gateway/base/ascii.h"
#include "gateway/base/check.h"
#include "gateway/portal/fake_portal_services.h"
#include "gateway/portal/portal_router.h"

namespace {

using spicegate::HttpPeer;
using spicegate::HttpRequest;
using spicegate::HttpRequestParser;
using spicegate::HttpResponse;

// Bits of the first byte.
constexpr uint8_t kTls = 1;
constexpr uint8_t kFromBalancer = 2;
constexpr uint8_t kNotReady = 4;
constexpr int kErrorShift = 3;  // five bits

absl::Status ErrorOf(uint8_t choice, const std::string& words) {
  const int code = choice >> kErrorShift;
  return code <= static_cast<int>(absl::StatusCode::kUnauthenticated)
             ? absl::Status(static_cast<absl::StatusCode>(code), words)
             : absl::OkStatus();
}

size_t CountOf(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

void CheckHeaders(const HttpResponse& response) {
  const std::string wire = EncodeHttpResponse(response, true, true);
  const std::string_view head = wire;
  for (const char* name :
       {"Content-Type", "Content-Length", "Cache-Control", "Pragma",
        "Referrer-Policy", "X-Robots-Tag", "X-Content-Type-Options",
        "X-Frame-Options", "Content-Security-Policy", "Vary",
        "Cross-Origin-Resource-Policy"}) {
    CHECK(CountOf(head, "\r\n" + std::string(name) + ": ") == 1);
  }
  CHECK(CountOf(head, "\r\n\r\n") == 1);
  CHECK(head.find('\0') == std::string_view::npos);
  // Nothing but our own lines: a line end out of a cloud's words would add one.
  CHECK(CountOf(head, "\n") == CountOf(head, "\r\n"));
  CHECK(CountOf(head, "\r\n") <= 17);
}

// The tags of a page in their order, each as it stands.
std::vector<std::string> TagsOf(std::string_view page) {
  std::vector<std::string> tags;
  for (size_t at = page.find('<'); at != std::string_view::npos;
       at = page.find('<', at + 1)) {
    tags.emplace_back(page.substr(at, page.find('>', at) - at));
  }
  return tags;
}

void CheckMarkup(const HttpResponse& response, const std::string& token) {
  const std::string& page = response.body;
  std::vector<std::vector<std::string>> wanted = {
      TagsOf(spicegate::ReadyPage({"n", "t", "", 60}, token)),
      TagsOf(spicegate::FrontPage())};
  for (int i = 0; i <= static_cast<int>(spicegate::PortalError::kBadRequest);
       ++i) {
    const auto error = static_cast<spicegate::PortalError>(i);
    wanted.push_back(TagsOf(ErrorPage(error, "")));
    wanted.push_back(TagsOf(ErrorPage(error, "words")));
  }
  CHECK(std::find(wanted.begin(), wanted.end(), TagsOf(page)) != wanted.end());
  size_t num_entities = 0;
  for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"}) {
    num_entities += CountOf(page, entity);
  }
  CHECK(CountOf(page, "&") == num_entities);
}

void CheckToken(const HttpResponse& response, const std::string& token) {
  std::string body = spicegate::AsciiLowered(response.body);
  const std::string secret = spicegate::AsciiLowered(token);
  const bool ready = body.find("data-code=\"ready\"") != std::string::npos;
  CHECK(CountOf(body, secret) == (ready ? 2U : 0U));
  CHECK(CountOf(body, "?token=" + secret + "&amp;file=1\"") ==
        CountOf(body, secret));
  for (const spicegate::HttpHeader& header : response.headers) {
    CHECK(spicegate::AsciiLowered(header.value).find(secret) ==
          std::string::npos);
  }
}

void CheckAnswer(const HttpResponse& response, const std::string& token) {
  CheckHeaders(response);
  CHECK(response.status == 200 || response.status >= 400);
  if (response.content_type.starts_with("text/html")) {
    CheckMarkup(response, token);
  }
  // Too short a token stands everywhere; the fake takes 36 letters.
  if (!token.empty()) {
    CheckToken(response, token);
  }
}

spicegate::PortalOptions Options() {
  spicegate::PortalOptions options;
  options.clouds = {{"prod", {"/nova", "/nova-console.vv"}, {}},
                    {"lab", {"/nova"}, {"lab.example.org"}}};
  options.trusted_proxies = *spicegate::HostPatterns::Parse({"10.0.0.0/8"});
  return options;
}

HttpPeer PeerOf(uint8_t choice) {
  HttpPeer peer;
  peer.tls = (choice & kTls) != 0;
  peer.address = (choice & kFromBalancer) != 0 ? "10.0.0.1:1" : "192.0.2.1:1";
  peer.socket_address = peer.address;
  return peer;
}

void Serve(const HttpRequest& request, uint8_t choice,
           const std::string& words) {
  spicegate::FakePortalServices services;
  services.ready = (choice & kNotReady) == 0;
  services.error = ErrorOf(choice, words);
  // Odd enough to be seen if it were not escaped, and never the token.
  services.desktop.title = words.substr(0, 30);
  services.desktop.name = words.substr(0, 20);
  spicegate::PortalRouter router(Options(), &services);
  std::optional<HttpResponse> answer;
  router.Route(request, PeerOf(choice), 1000, [&answer](HttpResponse response) {
    CHECK(!answer.has_value());
    answer = std::move(response);
  });
  CHECK(answer.has_value());
  CheckAnswer(*answer, services.asked.empty() ? "" : services.asked[0].token);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len == 0) {
    return 0;
  }
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, len - 1);
  HttpRequestParser parser;
  const size_t used = parser.Feed(bytes);
  if (parser.state() == HttpRequestParser::State::kError) {
    CheckAnswer(spicegate::PortalHttpErrorTls(parser.error_status(),
                                              parser.error_text()),
                "");
  } else if (parser.state() == HttpRequestParser::State::kDone) {
    // What follows the request are the cloud's words.
    Serve(parser.request(), data[0], bytes.substr(used));
  }
  return 0;
}
