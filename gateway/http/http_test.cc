// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using State = HttpRequestParser::State;

HttpRequest Parse(std::string_view bytes) {
  HttpRequestParser parser;
  EXPECT_EQ(parser.Feed(bytes), bytes.size());
  EXPECT_EQ(parser.state(), State::kDone) << parser.error_text();
  return parser.request();
}

int ErrorOf(std::string_view bytes) {
  HttpRequestParser parser;
  parser.Feed(bytes);
  EXPECT_EQ(parser.state(), State::kError) << bytes;
  return parser.error_status();
}

TEST(HttpParser, ReadsARequest) {
  const HttpRequest request = Parse(
      "GET /v1/consoles/a.vv?x=%20&y HTTP/1.1\r\n"
      "Host: localhost:9480\r\n"
      "X-Odd:\t a b \t\r\n"
      "X-EMPTY:\r\n\r\n");
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/v1/consoles/a.vv");
  EXPECT_EQ(request.query, "x=%20&y");
  EXPECT_EQ(request.minor_version, 1);
  EXPECT_EQ(*request.Header("host"), "localhost:9480");
  EXPECT_EQ(*request.Header("x-odd"), "a b");
  EXPECT_EQ(*request.Header("x-empty"), "");
  EXPECT_EQ(request.Header("x-none"), nullptr);
  EXPECT_TRUE(request.keep_alive);
}

TEST(HttpParser, ReadsTheBodyAndNoMore) {
  HttpRequestParser parser;
  const std::string_view bytes =
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET";
  EXPECT_EQ(parser.Feed(bytes), bytes.size() - 3);
  EXPECT_EQ(parser.state(), State::kDone);
  EXPECT_EQ(parser.request().body, "abc");
  EXPECT_EQ(parser.Feed("more"), 0U);
}

TEST(HttpParser, TakesBytesAsTheyCome) {
  HttpRequestParser parser;
  const std::string bytes =
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
  EXPECT_TRUE(parser.idle());
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(parser.state(), State::kMore);
    EXPECT_EQ(parser.Feed(std::string_view(bytes).substr(i, 1)), 1U);
    EXPECT_FALSE(parser.idle());
  }
  EXPECT_EQ(parser.state(), State::kDone);
  parser.Reset();
  EXPECT_TRUE(parser.idle());
  EXPECT_EQ(parser.request().body, "");
}

TEST(HttpParser, KnowsWhenTheConnectionStays) {
  const auto keeps = [](const std::string& version, const std::string& header) {
    return Parse("GET / " + version + "\r\nHost: x\r\n" + header + "\r\n")
        .keep_alive;
  };
  EXPECT_TRUE(keeps("HTTP/1.1", ""));
  EXPECT_FALSE(keeps("HTTP/1.1", "Connection: close\r\n"));
  EXPECT_FALSE(keeps("HTTP/1.1", "Connection: x, CLOSE\r\n"));
  EXPECT_FALSE(keeps("HTTP/1.0", ""));
  EXPECT_TRUE(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

TEST(HttpParser, Http10NeedsNoHost) {
  EXPECT_EQ(Parse("GET / HTTP/1.0\r\n\r\n").minor_version, 0);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\n\r\n"), 400);
}

TEST(HttpParser, RefusesBadRequestLines) {
  for (const char* line :
       {"", "GET", "GET /", "GET / ", "GET /  HTTP/1.1", " GET / HTTP/1.1",
        "GET  / HTTP/1.1", "G(T / HTTP/1.1", "GET a HTTP/1.1",
        "GET http://h/ HTTP/1.1", "GET * HTTP/1.1", "GET /a b HTTP/1.1",
        "GET /#f HTTP/1.1", "GET / http/1.1", "GET / HTTP/1.10",
        "GET /\xc3\xa4 HTTP/1.1", "ABCDEFGHIJKLMNOPQ / HTTP/1.1"}) {
    EXPECT_EQ(ErrorOf(std::string(line) + "\r\nHost: x\r\n\r\n"), 400) << line;
  }
  EXPECT_EQ(ErrorOf("GET / HTTP/2.0\r\n\r\n"), 505);
}

TEST(HttpParser, RefusesBadHeaders) {
  for (const char* header :
       {"NoColon", ": empty", "Sp ace: x", "Trail : x", " folded: x",
        "Host: twice", "Content-Length: 1\r\nContent-Length: 1",
        "Origin: a\r\norigin: b", "Content-Length: -1", "Content-Length: +1",
        "Content-Length: 1, 1", "Content-Length: 0x1",
        "Content-Length:", "Content-Length: 1 1"}) {
    EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: x\r\n" + std::string(header) +
                      "\r\n\r\n"),
              400)
        << header;
  }
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: x\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n"),
            501);
  EXPECT_EQ(
      ErrorOf("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"),
      417);
}

TEST(HttpParser, RefusesOtherLineEndsAtOnce) {
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\n"), 400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\rHost"), 400);
  EXPECT_EQ(ErrorOf("\x16\x03\x01"), 400);
  EXPECT_EQ(ErrorOf(std::string_view("GET /\0", 6)), 400);
  EXPECT_EQ(ErrorOf("\r\n\r\n"), 400);
}

TEST(HttpParser, IsBounded) {
  const std::string start = "GET / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(ErrorOf(std::string(kMaxHttpHeadBytes, 'G')), 414);
  EXPECT_EQ(ErrorOf(start + "X: " + std::string(kMaxHttpHeadBytes, 'y')), 431);
  EXPECT_EQ(ErrorOf("GET /" + std::string(kMaxHttpTargetLen, 'a') +
                    " HTTP/1.1\r\n\r\n"),
            414);
  std::string many = start;
  for (size_t i = 0; i < kMaxHttpHeaders; ++i) {
    many += "X: y\r\n";
  }
  EXPECT_EQ(ErrorOf(many + "\r\n"), 431);
  EXPECT_EQ(ErrorOf(start + "Content-Length: " +
                    std::to_string(kMaxHttpBodyBytes + 1) + "\r\n\r\n"),
            413);
  EXPECT_EQ(ErrorOf(start + "Content-Length: 99999999999999999999\r\n\r\n"),
            413);
}

TEST(HttpResponse, IsEncoded) {
  HttpResponse response;
  response.status = 201;
  response.content_type = "text/plain";
  response.body = "hello";
  response.headers.push_back({"X-A", "b"});
  const std::string bytes = EncodeHttpResponse(response, true, false);
  EXPECT_EQ(bytes.find("HTTP/1.1 201 Created\r\n"), 0U);
  EXPECT_THAT(bytes, HasSubstr("\r\nContent-Length: 5\r\n"));
  EXPECT_THAT(bytes, HasSubstr("\r\nContent-Type: text/plain\r\n"));
  EXPECT_THAT(bytes, HasSubstr("\r\nX-A: b\r\n"));
  EXPECT_THAT(bytes, HasSubstr("\r\nConnection: keep-alive\r\n"));
  EXPECT_TRUE(bytes.ends_with("\r\n\r\nhello"));
}

TEST(HttpResponse, LeavesTheBodyOutForHead) {
  HttpResponse response;
  response.body = "hello";
  const std::string bytes = EncodeHttpResponse(response, false, true);
  EXPECT_THAT(bytes, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(bytes, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(bytes, Not(HasSubstr("hello")));
}

TEST(HttpResponse, ErrorsAreJson) {
  const HttpResponse response = HttpError(404, "no \"x\"");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, "{\"error\":\"no \\\"x\\\"\"}\n");
}

TEST(HttpResponse, EveryErrorHasItsReason) {
  for (const int status : {200, 201, 400, 403, 404, 405, 408, 413, 414, 417,
                           431, 500, 501, 503, 505}) {
    EXPECT_STRNE(HttpReason(status), "Unknown") << status;
  }
  EXPECT_STREQ(HttpReason(999), "Unknown");
}

}  // namespace
}  // namespace spicegate
