// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.0 and 1.1 as a server speaks it, as little of RFC 9112 as that needs
// and no leniency: one way to write a line end, no folded headers, no transfer
// codings, absolute bounds. Pure: bytes in, request out; no I/O, no clock.
#ifndef SPICEGATE_GATEWAY_HTTP_HTTP_H_
#define SPICEGATE_GATEWAY_HTTP_HTTP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spicegate {

// Request line and headers together. curl and Prometheus send 300 bytes.
inline constexpr size_t kMaxHttpHeadBytes = 8 * 1024;
inline constexpr size_t kMaxHttpTargetLen = 1024;
inline constexpr size_t kMaxHttpHeaders = 64;
// No request of ours needs a body.
inline constexpr size_t kMaxHttpBodyBytes = 4 * 1024;

struct HttpHeader {
  std::string name;  // lower case
  std::string value;
};

struct HttpRequest {
  std::string method;  // upper-case letters
  std::string path;    // begins with '/'; not percent-decoded
  std::string query;   // behind the first '?'
  int minor_version = 1;
  std::vector<HttpHeader> headers;
  std::string body;
  bool keep_alive = true;

  // The value of the first header `name` (lower case), or null.
  const std::string* Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::string body;
  std::vector<HttpHeader> headers;  // further ones, names as they are sent
};

// Parses requests off a connection, one at a time.
class HttpRequestParser {
 public:
  enum class State : uint8_t {
    kMore,   // feed more
    kDone,   // request() is complete; Reset before the next
    kError,  // answer error_status() and close: the stream cannot be resumed
  };

  // Takes bytes up to the end of the current request and returns how many;
  // the rest belongs to the next one. Takes nothing unless state() is kMore.
  size_t Feed(std::string_view bytes);

  State state() const { return state_; }
  const HttpRequest& request() const { return request_; }

  // 400, 413, 414, 417, 431, 501 or 505, and a few words on what was wrong.
  int error_status() const { return error_status_; }
  const char* error_text() const { return error_text_; }

  // True when nothing of a request has come yet.
  bool idle() const { return state_ == State::kMore && head_.empty(); }

  void Reset();

 private:
  size_t FeedHead(std::string_view bytes);
  size_t FeedBody(std::string_view bytes);
  bool ParseHead();
  bool ParseRequestLine(std::string_view line);
  bool ParseTarget(std::string_view target);
  bool ParseHeaderLine(std::string_view line);
  bool ApplyHeaders();
  bool ApplyContentLength(const std::string& value);
  bool Fail(int status, const char* text);

  State state_ = State::kMore;
  std::string head_;
  bool head_done_ = false;
  size_t body_len_ = 0;
  HttpRequest request_;
  int error_status_ = 0;
  const char* error_text_ = "";
};

// The bytes of `response`. `keep_alive` decides the Connection header;
// `head_only` leaves the body out but keeps its length, as HEAD wants it.
std::string EncodeHttpResponse(const HttpResponse& response, bool keep_alive,
                               bool head_only);

// "Not Found" for 404; "Unknown" for what we never send.
const char* HttpReason(int status);

// {"error": TEXT} with `status`.
HttpResponse HttpError(int status, std::string_view text);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_HTTP_H_
