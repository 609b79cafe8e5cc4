// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/http.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "gateway/base/ascii.h"
#include "gateway/base/http_text.h"
#include "gateway/base/log.h"

namespace spicegate {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr size_t kMaxMethodLen = 16;

// What may stand in a head at all: text, tabs and line ends. A TLS hello or
// binary noise fails on its first bytes.
bool IsHeadByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || c == '\t' || c == '\r' || c == '\n';
}

// Whether the comma-separated `list` has `word`, which is in lower case.
bool ListHas(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (AsciiLowered(std::string(HttpTrimmed(list.substr(0, comma)))) == word) {
      return true;
    }
    list.remove_prefix(comma == std::string_view::npos ? list.size()
                                                       : comma + 1);
  }
  return false;
}

}  // namespace

const std::string* HttpRequest::Header(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (header.name == name) {
      return &header.value;
    }
  }
  return nullptr;
}

size_t HttpRequestParser::Feed(std::string_view bytes) {
  size_t used = 0;
  if (state_ == State::kMore && !head_done_) {
    used = FeedHead(bytes);
  }
  if (state_ == State::kMore && head_done_) {
    used += FeedBody(bytes.substr(used));
  }
  return used;
}

size_t HttpRequestParser::FeedHead(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    const bool after_cr = !head_.empty() && head_.back() == '\r';
    if (!IsHeadByte(c) || after_cr != (c == '\n')) {
      Fail(400, "bad byte or line end in the head");
      return i + 1;
    }
    head_ += c;
    if (head_.ends_with(kHeadEnd)) {
      head_done_ = ParseHead();
      return i + 1;
    }
    if (head_.size() >= kMaxHttpHeadBytes) {
      const bool in_first_line = head_.find('\r') == std::string::npos;
      Fail(in_first_line ? 414 : 431, "head too long");
      return i + 1;
    }
  }
  return bytes.size();
}

size_t HttpRequestParser::FeedBody(std::string_view bytes) {
  const size_t len = std::min(bytes.size(), body_len_ - request_.body.size());
  request_.body += bytes.substr(0, len);
  if (request_.body.size() == body_len_) {
    state_ = State::kDone;
  }
  return len;
}

bool HttpRequestParser::ParseHead() {
  std::string_view rest = head_;
  rest.remove_suffix(2);  // the empty line
  bool first = true;
  while (!rest.empty()) {
    const size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    if (!(first ? ParseRequestLine(line) : ParseHeaderLine(line))) {
      return false;
    }
    first = false;
    rest.remove_prefix(end + 2);
  }
  return ApplyHeaders();
}

bool HttpRequestParser::ParseRequestLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return Fail(400, "bad request line");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view version = line.substr(last + 1);
  if (method.size() > kMaxMethodLen || !IsHttpToken(method)) {
    return Fail(400, "bad method");
  }
  if (version.size() != 8 || !version.starts_with("HTTP/")) {
    return Fail(400, "bad request line");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return Fail(505, "HTTP/1.0 or 1.1 only");
  }
  request_.method = method;
  request_.minor_version = version.back() - '0';
  return ParseTarget(line.substr(first + 1, last - first - 1));
}

bool HttpRequestParser::ParseTarget(std::string_view target) {
  if (target.size() > kMaxHttpTargetLen) {
    return Fail(414, "target too long");
  }
  const bool visible = std::all_of(target.begin(), target.end(), [](char c) {
    return c > 0x20 && c < 0x7f && c != '#';
  });
  if (target.empty() || target[0] != '/' || !visible) {
    return Fail(400, "bad target");
  }
  const size_t mark = target.find('?');
  request_.path = target.substr(0, mark);
  if (mark != std::string_view::npos) {
    request_.query = target.substr(mark + 1);
  }
  return true;
}

bool HttpRequestParser::ParseHeaderLine(std::string_view line) {
  // A line that begins with a space would continue the one before: no token.
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsHttpToken(line.substr(0, colon))) {
    return Fail(400, "bad header");
  }
  if (request_.headers.size() >= kMaxHttpHeaders) {
    return Fail(431, "too many headers");
  }
  request_.headers.push_back(
      {AsciiLowered(std::string(line.substr(0, colon))),
       std::string(HttpTrimmed(line.substr(colon + 1)))});
  return true;
}

bool HttpRequestParser::ApplyHeaders() {
  // Twice would be two opinions on where the body ends or who is asked.
  for (const char* single : {"host", "content-length", "origin"}) {
    const auto named = [single](const HttpHeader& header) {
      return header.name == single;
    };
    if (std::count_if(request_.headers.begin(), request_.headers.end(), named) >
        1) {
      return Fail(400, "a header stands twice");
    }
  }
  if (request_.minor_version == 1 && request_.Header("host") == nullptr) {
    return Fail(400, "no Host header");
  }
  if (request_.Header("transfer-encoding") != nullptr) {
    return Fail(501, "transfer codings are not supported");
  }
  if (request_.Header("expect") != nullptr) {
    return Fail(417, "expectations are not supported");
  }
  request_.keep_alive = request_.minor_version == 1;
  if (const std::string* connection = request_.Header("connection")) {
    request_.keep_alive = request_.minor_version == 1
                              ? !ListHas(*connection, "close")
                              : ListHas(*connection, "keep-alive");
  }
  const std::string* length = request_.Header("content-length");
  return length == nullptr || ApplyContentLength(*length);
}

bool HttpRequestParser::ApplyContentLength(const std::string& value) {
  const char* const end = value.data() + value.size();
  uint64_t len = 0;
  const auto [stopped, error] = std::from_chars(value.data(), end, len);
  if (error == std::errc::result_out_of_range) {
    return Fail(413, "body too long");
  }
  if (error != std::errc() || stopped != end) {
    return Fail(400, "bad Content-Length");
  }
  if (len > kMaxHttpBodyBytes) {
    return Fail(413, "body too long");
  }
  body_len_ = static_cast<size_t>(len);
  return true;
}

bool HttpRequestParser::Fail(int status, const char* text) {
  state_ = State::kError;
  error_status_ = status;
  error_text_ = text;
  return false;
}

void HttpRequestParser::Reset() { *this = HttpRequestParser(); }

std::string EncodeHttpResponse(const HttpResponse& response, bool keep_alive,
                               bool head_only) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " " +
                    HttpReason(response.status) + "\r\n";
  const auto add = [&out](const std::string& name, const std::string& value) {
    out += name + ": " + value + "\r\n";
  };
  if (!response.content_type.empty()) {
    add("Content-Type", response.content_type);
  }
  add("Content-Length", std::to_string(response.body.size()));
  // Tickets are in some of the answers.
  add("Cache-Control", "no-store");
  add("X-Content-Type-Options", "nosniff");
  for (const HttpHeader& header : response.headers) {
    add(header.name, header.value);
  }
  add("Connection", keep_alive ? "keep-alive" : "close");
  out += "\r\n";
  if (!head_only) {
    out += response.body;
  }
  return out;
}

const char* HttpReason(int status) {
  struct Entry {
    int status;
    const char* reason;
  };
  static constexpr std::array<Entry, 19> kReasons = {{
      {200, "OK"},
      {201, "Created"},
      {400, "Bad Request"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {417, "Expectation Failed"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  }};
  for (const Entry& entry : kReasons) {
    if (entry.status == status) {
      return entry.reason;
    }
  }
  return "Unknown";
}

HttpResponse HttpError(int status, std::string_view text) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/json";
  response.body = "{\"error\":";
  AppendJsonString(text, &response.body);
  response.body += "}\n";
  return response;
}

}  // namespace spicegate
