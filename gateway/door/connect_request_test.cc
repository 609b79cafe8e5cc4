// SPDX-License-Identifier: Apache-2.0
#include "gateway/door/connect_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"

namespace spicegate {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using State = ConnectRequestParser::State;

constexpr ConnectStatus kBad = ConnectStatus::kBadRequest;

// As remote-viewer sends it (GLib 2.74).
constexpr char kViewer[] =
    "CONNECT 10.0.0.5:61000 HTTP/1.0\r\n"
    "Host: 10.0.0.5:61000\r\n"
    "Proxy-Connection: keep-alive\r\n"
    "User-Agent: GLib/2.74\r\n"
    "\r\n";

constexpr char kProxmoxHost[] =
    "pvespiceproxy:6b023028:100:localhost:61501::"
    "34eaeae96285fa17907752e4c106e241c9877b2f";

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

ConnectRequest Parse(const std::string& text) {
  ConnectRequestParser parser;
  const ConnectRequestParser::Step step = parser.Feed(Bytes(text));
  EXPECT_EQ(step.state, State::kDone) << text;
  EXPECT_EQ(step.consumed, text.size()) << text;
  return parser.TakeRequest();
}

// Nothing when the text is a request.
std::optional<ConnectStatus> ErrorOf(const std::string& text) {
  ConnectRequestParser parser;
  const State state = parser.Feed(Bytes(text)).state;
  EXPECT_NE(state, State::kMore) << text;
  return state == State::kError ? std::optional(parser.error()) : std::nullopt;
}

std::string ToTarget(const std::string& target) {
  return "CONNECT " + target + " HTTP/1.0\r\n\r\n";
}

std::string WithHeaders(const std::string& headers) {
  return "CONNECT vm1:5900 HTTP/1.1\r\nHost: vm1:5900\r\n" + headers + "\r\n";
}

std::string WithHost(const std::string& value) {
  return "CONNECT vm1:5900 HTTP/1.1\r\nHost: " + value + "\r\n\r\n";
}

TEST(ConnectRequest, ReadsWhatAViewerSends) {
  const ConnectRequest request = Parse(kViewer);
  EXPECT_EQ(request.minor_version, 0);
  EXPECT_EQ(request.target, (Authority{"10.0.0.5", 61000}));
  EXPECT_EQ(request.host_header, request.target);
  EXPECT_FALSE(request.has_credentials);
  EXPECT_EQ(request.basic_password, std::nullopt);
  EXPECT_FALSE(request.pve_disable_proxy);
}

TEST(ConnectRequest, ReadsWhatAProxmoxNodeSends) {
  const std::string authority = std::string(kProxmoxHost) + ":61501";
  const ConnectRequest request =
      Parse("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority +
            "\r\nPVEDisableProxy: true\r\n"
            "PVEClientIP: 10.0.0.9\r\n\r\n");
  EXPECT_EQ(request.minor_version, 1);
  EXPECT_EQ(request.target, (Authority{kProxmoxHost, 61501}));
  EXPECT_EQ(request.host_header, request.target);
  EXPECT_TRUE(request.pve_disable_proxy);
}

TEST(ConnectRequest, KeepsTargetAndHostApart) {
  const ConnectRequest request = Parse(WithHost("other.example.org:61000"));
  EXPECT_EQ(request.target, (Authority{"vm1", 5900}));
  EXPECT_EQ(request.host_header, (Authority{"other.example.org", 61000}));
  EXPECT_EQ(Parse(WithHost("vm1")).host_header, (Authority{"vm1", 0}));
  EXPECT_EQ(Parse(WithHost("[::1]")).host_header, (Authority{"::1", 0}));
  EXPECT_EQ(Parse(ToTarget("vm1:1")).host_header, std::nullopt);
}

TEST(ConnectRequest, SplitsTheTargetAtItsLastColon) {
  const std::string long_host(900, 'a');
  const std::vector<std::pair<std::string, Authority>> kTargets = {
      {"vm1:1", {"vm1", 1}},
      {"vm1:65535", {"vm1", 65535}},
      {"vm1:005900", {"vm1", 5900}},
      {"AbC.Example:5900", {"AbC.Example", 5900}},
      {"vm1.example.org.:5900", {"vm1.example.org.", 5900}},
      {"a/b+c=:d==:61000", {"a/b+c=:d==", 61000}},
      {"0x7f.1:5900", {"0x7f.1", 5900}},
      {"[::1]:5900", {"::1", 5900}},
      {"[2001:DB8::7]:5900", {"2001:DB8::7", 5900}},
      {"[::ffff:10.0.0.1]:5900", {"::ffff:10.0.0.1", 5900}},
      {"[::]:5900", {"::", 5900}},
      {long_host + ":61000", {long_host, 61000}},
  };
  for (const auto& [target, authority] : kTargets) {
    EXPECT_EQ(Parse(ToTarget(target)).target, authority) << target;
  }
}

TEST(ConnectRequest, RefusesTargetsThatAreNone) {
  for (const char* target : {
           "vm1",
           "vm1:",
           ":5900",
           ":",
           "vm1:0",
           "vm1:000",
           "vm1:65536",
           "vm1:99999999999999999999",
           "vm1:-1",
           "vm1:+80",
           "vm1:0x50",
           "vm1:59 00",
           "vm1: 5900",
           "vm1:5900 ",
           "vm1:http",
           "",
           "*",
           "/",
           "http://vm1:5900",
           "http://vm1:5900/",
           "https://vm1/:443",
           "user@vm1:5900",
           "user:password@vm1:5900",
           "vm1?:5900",
           "vm1#:5900",
           "vm1\\:5900",
           ":::5900",
           "::1",
           "2001:db8::7",
           "::1:5900",
           "2001:db8::7:5900",
           "[::1]",
           "[::1]5900",
           "[::1:5900",
           "::1]:5900",
           "[]:5900",
           "[vm1]:5900",
           "[10.0.0.1]:5900",
           "[fe80::1%25eth0]:5900",
           "fe80::1%eth0:5900",
           "vm%31:5900",
           "[[::1]]:5900",
           "v\xc3\xbcm1:5900",
           "vm1\t:5900",
       }) {
    EXPECT_EQ(ErrorOf(ToTarget(target)), kBad) << target;
  }
}

TEST(ConnectRequest, RefusesHostsThatAreNone) {
  for (const char* value : {"", ":5900", "vm1:", "vm1:0", "vm1:65536", "a b",
                            "vm1:x", "::1", "[::1", "user@vm1", "http://vm1"}) {
    EXPECT_EQ(ErrorOf(WithHost(value)), kBad) << value;
  }
}

TEST(ConnectRequest, JudgesTheRequestLine) {
  const std::vector<std::pair<std::string, std::optional<ConnectStatus>>>
      kLines = {
          {"CONNECT vm1:5900 HTTP/1.0", std::nullopt},
          {"CONNECT vm1:5900 HTTP/1.1", kBad},  // Host is missing
          {"CONNECT vm1:5900 HTTP/1.2", ConnectStatus::kVersion},
          {"CONNECT vm1:5900 HTTP/0.9", ConnectStatus::kVersion},
          {"CONNECT vm1:5900 HTTP/2.0", ConnectStatus::kVersion},
          {"PRI * HTTP/2.0", ConnectStatus::kVersion},
          {"CONNECT vm1:5900 HTTP/1", kBad},
          {"CONNECT vm1:5900 HTTP/1.x", kBad},
          {"CONNECT vm1:5900 HTTP/1.10", kBad},
          {"CONNECT vm1:5900 http/1.0", kBad},
          {"CONNECT vm1:5900", kBad},
          {"CONNECT  vm1:5900 HTTP/1.0", kBad},
          {"CONNECT vm1:5900  HTTP/1.0", kBad},
          {"CONNECT vm1:5900 HTTP/1.0 ", kBad},
          {" CONNECT vm1:5900 HTTP/1.0", kBad},
          {"CONNECT\tvm1:5900\tHTTP/1.0", kBad},
          {"connect vm1:5900 HTTP/1.0", ConnectStatus::kNotImplemented},
          {"GET http://vm1/ HTTP/1.1", ConnectStatus::kNotImplemented},
          {"OPTIONS * HTTP/1.0", ConnectStatus::kNotImplemented},
          {"GET /", kBad},
          {"CON(NECT vm1:5900 HTTP/1.0", kBad},
          {"CONNECT", kBad},
          {"", kBad},
      };
  for (const auto& [line, error] : kLines) {
    EXPECT_EQ(ErrorOf(line + "\r\n\r\n"), error) << line;
  }
}

TEST(ConnectRequest, KnowsWhichVersionToAnswerWith) {
  ConnectRequestParser parser;
  parser.Feed(Bytes("GET / HTTP/1.0\r\n"));
  EXPECT_EQ(parser.state(), State::kError);
  EXPECT_EQ(parser.request().minor_version, 0);
  ConnectRequestParser odd;
  odd.Feed(Bytes("GET / HTTP/3.0\r\n"));
  EXPECT_EQ(odd.request().minor_version, 1);
}

// What a proxy ahead of us takes for one line, or two, or none, must not be
// another number of lines here.
TEST(ConnectRequest, LinesEndWithCrLfOnly) {
  for (const char* text : {
           "CONNECT vm1:5900 HTTP/1.0\n\n",
           "CONNECT vm1:5900 HTTP/1.0\n\r\n",
           "CONNECT vm1:5900 HTTP/1.0\r\n\n",
           "CONNECT vm1:5900 HTTP/1.0\r\r\n",
           "CONNECT vm1:5900 HTTP/1.0\rX: y\r\n\r\n",
           "CONNECT vm1:5900 HTTP/1.0\r\nX: a\nY: b\r\n\r\n",
           "\r\nCONNECT vm1:5900 HTTP/1.0\r\n\r\n",
           "CONNECT vm1:5900 HTTP/1.0\r\nX: a\x0b\r\n\r\n",
           "CONNECT vm1:5900 HTTP/1.0\r\nX: a\x7f\r\n\r\n",
       }) {
    EXPECT_EQ(ErrorOf(text), kBad) << text;
  }
}

TEST(ConnectRequest, NulIsRefusedWhereverItStands) {
  const std::string whole(kViewer);
  for (size_t i = 0; i + 1 < whole.size(); ++i) {
    std::string text = whole;
    text.insert(i, 1, '\0');
    ConnectRequestParser parser;
    const ConnectRequestParser::Step step = parser.Feed(Bytes(text));
    EXPECT_EQ(step.state, State::kError) << i;
    EXPECT_EQ(step.consumed, i + 1) << "told at once";
    EXPECT_EQ(parser.error(), kBad);
  }
}

TEST(ConnectRequest, RefusesAmbiguousHeaders) {
  for (const char* headers : {
           "HOST: vm1:5900\r\n",  // the second one
           "host:vm2\r\n",
           " folded\r\n",
           "X: a\r\n\tfolded\r\n",
           "X : a\r\n",
           "X\r\n",
           ": a\r\n",
           "X Y: a\r\n",
           "Content-Length: 5\r\n",
           "Content-Length: 0, 5\r\n",
           "Transfer-Encoding: chunked\r\n",
           "Proxy-Authorization: Basic YTpi\r\n"
           "proxy-authorization: Basic YTpi\r\n",
           "Proxy-Authorization: Bearer x\r\n"
           "Proxy-Authorization: Basic YTpi\r\n",
       }) {
    EXPECT_EQ(ErrorOf(WithHeaders(headers)), kBad) << headers;
  }
}

TEST(ConnectRequest, TakesHeadersInAnyCaseAndIgnoresOthers) {
  const ConnectRequest request = Parse(
      "CONNECT vm1:5900 HTTP/1.1\r\n"
      "hOsT: \t VM2:61000 \t\r\n"
      "Content-Length: 0\r\n"
      "X-Empty:\r\n"
      "X-Odd: \xc3\xbc\t,;\"\r\n"
      "PROXY-AUTHORIZATION:bAsIc  dGlja2V0OmFiYw==\r\n"
      "pvedisableproxy: true\r\n\r\n");
  EXPECT_EQ(request.host_header, (Authority{"VM2", 61000}));
  EXPECT_EQ(request.basic_password, "abc");
  EXPECT_TRUE(request.pve_disable_proxy);
}

TEST(ConnectRequest, ReadsThePasswordOfBasic) {
  const std::string long_password(1500, 'p');
  for (const std::string& password :
       {std::string("b"), std::string("bc"), std::string("bcd"),
        std::string("with:colons:"), std::string("wide \xc3\xbc"),
        std::string(), long_password}) {
    std::string coded = absl::Base64Escape("a:" + password);
    const std::string field = "Proxy-Authorization: Basic ";
    ConnectRequest request = Parse(WithHeaders(field + coded + "\r\n"));
    EXPECT_TRUE(request.has_credentials);
    EXPECT_EQ(request.basic_password, password);
    coded.erase(coded.find_last_not_of('=') + 1);
    request = Parse(WithHeaders(field + coded + "\r\n"));
    EXPECT_EQ(request.basic_password, password) << "without padding";
  }
}

TEST(ConnectRequest, UnreadableCredentialsAreWrongOnes) {
  for (const char* value : {
           "", "Basic", "Basic ", "Basic\tYTpi", "BasicYTpi", "Bearer YTpi",
           "Digest username=\"a\"",
           "Basic YTpi.",  // not '='
           "Basic YTpi=",  // too much padding
           "Basic YT=pi",  // padding inside
           "Basic YTpiY",  // six bits left over
           "Basic YT pi",  // two words
           "Basic YTpi, Basic YTpi",
           "Basic YT-_",  // another alphabet
           "Basic YT\xc3\xbc",
           "Basic YWI=",      // no colon
           "Basic YTpiAA==",  // a NUL in it
           "Basic YTpiCg==",  // a line end in it
       }) {
    SCOPED_TRACE(value);
    const ConnectRequest request = Parse(
        WithHeaders("Proxy-Authorization: " + std::string(value) + "\r\n"));
    EXPECT_TRUE(request.has_credentials);
    EXPECT_EQ(request.basic_password, std::nullopt);
  }
}

TEST(ConnectRequest, HowItIsCutDoesNotMatter) {
  const std::string text = "CONNECT " + std::string(kProxmoxHost) +
                           ":61501 HTTP/1.1\r\nHost: " + kProxmoxHost +
                           ":61501\r\nProxy-Authorization: Basic YTpi\r\n\r\n";
  const std::string with_more = text + "\x16\x03\x01REDQ";
  for (size_t cut = 1; cut < text.size(); ++cut) {
    ConnectRequestParser parser;
    ConnectRequestParser::Step step =
        parser.Feed(Bytes(with_more.substr(0, cut)));
    ASSERT_EQ(step.state, State::kMore);
    ASSERT_EQ(step.consumed, cut);
    step = parser.Feed(Bytes(with_more.substr(cut)));
    ASSERT_EQ(step.state, State::kDone);
    ASSERT_EQ(step.consumed, text.size() - cut) << "the rest is the tunnel's";
    EXPECT_EQ(parser.request().target, (Authority{kProxmoxHost, 61501}));
    EXPECT_EQ(parser.request().basic_password, "b");
    step = parser.Feed(Bytes("more"));
    EXPECT_EQ(step.state, State::kDone);
    EXPECT_EQ(step.consumed, 0u);
  }
}

TEST(ConnectRequest, ByteByByteIsTheSame) {
  ConnectRequestParser parser;
  const std::string text = kViewer;
  for (size_t i = 0; i < text.size(); ++i) {
    const State expected = i + 1 == text.size() ? State::kDone : State::kMore;
    ASSERT_EQ(parser.Feed(Bytes(text.substr(i, 1))).state, expected) << i;
  }
  EXPECT_EQ(parser.request().target, (Authority{"10.0.0.5", 61000}));
}

TEST(ConnectRequest, IsBoundedInBytes) {
  const std::string head = "CONNECT vm1:5900 HTTP/1.0\r\nX: ";
  const std::string tail = "\r\n\r\n";
  const size_t most = kMaxConnectRequestBytes - head.size() - tail.size();
  EXPECT_EQ(ErrorOf(head + std::string(most, 'x') + tail), std::nullopt);
  EXPECT_EQ(ErrorOf(head + std::string(most + 1, 'x') + tail),
            ConnectStatus::kTooLarge);
  ConnectRequestParser parser;
  const std::string endless(100'000, 'x');
  const ConnectRequestParser::Step step = parser.Feed(Bytes(endless));
  EXPECT_EQ(step.state, State::kError);
  EXPECT_EQ(step.consumed, kMaxConnectRequestBytes);
  EXPECT_EQ(parser.error(), ConnectStatus::kTooLarge);
}

TEST(ConnectRequest, IsBoundedInHeaders) {
  std::string headers;
  for (size_t i = 1; i < kMaxConnectHeaders; ++i) {  // and Host
    headers += "X: y\r\n";
  }
  EXPECT_EQ(ErrorOf(WithHeaders(headers)), std::nullopt);
  EXPECT_EQ(ErrorOf(WithHeaders(headers + "X: y\r\n")),
            ConnectStatus::kTooLarge);
}

TEST(ConnectRequest, OtherProtocolsFailOnTheirFirstBytes) {
  using std::string_literals::operator""s;
  for (const std::string& bytes :
       {"\x16\x03\x01\x02\x00"s, "REDQ\x02\x00\x00\x00"s,
        "\r\n\r\n\0\r\nQUIT\n"s}) {
    EXPECT_EQ(ErrorOf(bytes), kBad);
  }
}

TEST(ConnectAnswer, SaysYesAsProxmoxDoes) {
  EXPECT_EQ(ConnectAnswer(ConnectStatus::kOk, 0), "HTTP/1.0 200 OK\r\n\r\n");
  EXPECT_EQ(ConnectAnswer(ConnectStatus::kOk, 1), "HTTP/1.1 200 OK\r\n\r\n");
}

TEST(ConnectAnswer, SaysNoInOneForm) {
  EXPECT_EQ(ConnectAnswer(ConnectStatus::kForbidden, 0),
            "HTTP/1.0 403 Forbidden\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 32\r\n"
            "Connection: close\r\n"
            "\r\n"
            "This connection is not allowed.\n");
  EXPECT_THAT(ConnectAnswer(ConnectStatus::kLoop, 1),
              EndsWith("\r\n\r\nproxy loop detected\n"));
}

TEST(ConnectAnswer, HasACodeForEveryStatus) {
  const std::vector<int> kCodes = {200, 400, 403, 407, 431, 500,
                                   501, 502, 503, 504, 505};
  ASSERT_EQ(kCodes.size(), kNumConnectStatuses);
  for (size_t i = 0; i < kNumConnectStatuses; ++i) {
    const auto status = static_cast<ConnectStatus>(i);
    const std::string answer = ConnectAnswer(status, 1);
    EXPECT_EQ(ConnectStatusCode(status), kCodes[i]);
    EXPECT_THAT(answer,
                StartsWith("HTTP/1.1 " + std::to_string(kCodes[i]) + " "));
    const bool login = status == ConnectStatus::kLogin;
    const char kChallenge[] = "Proxy-Authenticate: Basic realm=\"spicegate\"";
    EXPECT_EQ(answer.find(kChallenge) != std::string::npos, login);
    const size_t end = answer.find("\r\n\r\n");
    ASSERT_NE(end, std::string::npos);
    const size_t body_len = answer.size() - end - 4;
    if (status != ConnectStatus::kOk) {
      EXPECT_THAT(
          answer,
          HasSubstr("Content-Length: " + std::to_string(body_len) + "\r\n"));
    } else {
      EXPECT_THAT(answer, Not(HasSubstr("Content")));
    }
  }
}

}  // namespace
}  // namespace spicegate
