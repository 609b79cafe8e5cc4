// SPDX-License-Identifier: Apache-2.0
#include "gateway/door/connect_request.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "absl/strings/escaping.h"
#include "gateway/base/http_text.h"

namespace spicegate {
namespace {

// Text and tabs: what a line may consist of. TLS, SPICE and other noise fail
// on their first bytes.
bool IsLineByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || c == '\t';
}

// Neither what no URI has in its host, nor what somebody else might read as the
// begin of another part ('@') or as another character ('%').
bool IsHostChar(char c) {
  return c > 0x20 && c < 0x7f &&
         std::string_view("\"#%<>?@[\\]^`{|}").find(c) ==
             std::string_view::npos;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  const auto same = [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  };
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), same);
}

bool IsIpv6(const std::string& text) {
  in6_addr address;
  return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// 1 to 65535 in digits; 0 for anything else.
uint16_t ParsePort(std::string_view text) {
  uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, port);
  return error == std::errc() && stopped == end ? port : 0;
}

// A host as it is written, brackets and all.
std::optional<std::string> ParseHost(std::string_view text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    std::string address(text.substr(1, text.size() - 2));
    return IsIpv6(address) ? std::optional(std::move(address)) : std::nullopt;
  }
  // A scheme makes a URL of it, which only other methods have.
  if (text.empty() || !std::all_of(text.begin(), text.end(), IsHostChar) ||
      text.find("://") != std::string_view::npos || IsIpv6(std::string(text))) {
    return std::nullopt;
  }
  return std::string(text);
}

// Splits at the last colon. A port is needed unless `port_optional`.
std::optional<Authority> ParseAuthority(std::string_view text,
                                        bool port_optional) {
  // Without brackets nobody can tell where an IPv6 address ends.
  if (IsIpv6(std::string(text))) {
    return std::nullopt;
  }
  const size_t colon = text.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && (text.empty() || text.back() != ']');
  if (!has_port && !port_optional) {
    return std::nullopt;
  }
  Authority authority;
  if (has_port) {
    authority.port = ParsePort(text.substr(colon + 1));
    if (authority.port == 0) {
      return std::nullopt;
    }
  }
  std::optional<std::string> host =
      ParseHost(has_port ? text.substr(0, colon) : text);
  if (!host.has_value()) {
    return std::nullopt;
  }
  authority.host = std::move(*host);
  return authority;
}

// The password in the credentials of the Basic scheme (RFC 7617), padded or
// not: everything behind the first colon.
std::optional<std::string> ParseBasic(std::string_view credentials) {
  constexpr std::string_view kScheme = "basic";
  if (credentials.size() <= kScheme.size() ||
      !EqualsIgnoringCase(credentials.substr(0, kScheme.size()), kScheme) ||
      credentials[kScheme.size()] != ' ') {
    return std::nullopt;
  }
  const std::string_view coded =
      HttpTrimmed(credentials.substr(kScheme.size()));
  std::string plain;
  // Base64Unescape by itself skips white space and takes '.' for '='.
  if (coded.find_first_of(" \t.") != std::string_view::npos ||
      !absl::Base64Unescape(absl::string_view(coded.data(), coded.size()),
                            &plain)) {
    return std::nullopt;
  }
  const size_t colon = plain.find(':');
  if (colon == std::string::npos ||
      std::any_of(plain.begin(), plain.end(),
                  [](char c) { return !IsLineByte(c) || c == '\t'; })) {
    return std::nullopt;
  }
  return plain.substr(colon + 1);
}

struct Wording {
  int code;
  const char* reason;
  const char* sentence;
};

// In the order of ConnectStatus. The sentences help people and tell nothing
// that a stranger could use.
constexpr std::array<Wording, kNumConnectStatuses> kWordings = {{
    {200, "OK", ""},
    {400, "Bad Request", "This is not a valid CONNECT request."},
    {403, "Forbidden", "This connection is not allowed."},
    {407, "Proxy Authentication Required",
     "This connection needs a user name and a valid ticket as password."},
    {431, "Request Header Fields Too Large",
     "The request is too long or has too many headers."},
    {500, "Internal Server Error", "proxy loop detected"},
    {501, "Not Implemented", "Only the method CONNECT is understood here."},
    {502, "Bad Gateway", "The desktop could not be reached."},
    {503, "Service Unavailable",
     "The gateway has no room for another connection."},
    {504, "Gateway Timeout", "The desktop did not answer in time."},
    {505, "HTTP Version Not Supported",
     "Only HTTP/1.0 and HTTP/1.1 are understood here."},
}};

const Wording& WordingOf(ConnectStatus status) {
  return kWordings[static_cast<size_t>(status)];
}

}  // namespace

ConnectRequestParser::Step ConnectRequestParser::Feed(
    std::span<const uint8_t> bytes) {
  size_t consumed = 0;
  while (consumed < bytes.size() && state_ == State::kMore) {
    const bool taken = TakeByte(static_cast<char>(bytes[consumed++]));
    if (taken && state_ == State::kMore &&
        ++num_bytes_ >= kMaxConnectRequestBytes) {
      Fail(ConnectStatus::kTooLarge);
    }
  }
  return {state_, consumed};
}

bool ConnectRequestParser::TakeByte(char c) {
  if (after_cr_) {
    after_cr_ = false;
    return c == '\n' ? ParseLine() : Fail(ConnectStatus::kBadRequest);
  }
  if (c == '\r') {
    after_cr_ = true;
    return true;
  }
  if (!IsLineByte(c)) {
    return Fail(ConnectStatus::kBadRequest);
  }
  line_ += c;
  return true;
}

bool ConnectRequestParser::ParseLine() {
  const std::string line = std::exchange(line_, {});
  if (!has_request_line_) {
    has_request_line_ = true;
    return ParseRequestLine(line);
  }
  return line.empty() ? Finish() : ParseHeader(line);
}

bool ConnectRequestParser::ParseRequestLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last ||
      !IsHttpToken(line.substr(0, first))) {
    return Fail(ConnectStatus::kBadRequest);
  }
  const std::string_view version = line.substr(last + 1);
  if (version.size() != 8 || !version.starts_with("HTTP/") ||
      !IsDigit(version[5]) || version[6] != '.' || !IsDigit(version[7])) {
    return Fail(ConnectStatus::kBadRequest);
  }
  if (version != "HTTP/1.0" && version != "HTTP/1.1") {
    return Fail(ConnectStatus::kVersion);
  }
  request_.minor_version = version.back() - '0';
  if (line.substr(0, first) != "CONNECT") {
    return Fail(ConnectStatus::kNotImplemented);
  }
  std::optional<Authority> target =
      ParseAuthority(line.substr(first + 1, last - first - 1),
                     /*port_optional=*/false);
  if (!target.has_value()) {
    return Fail(ConnectStatus::kBadRequest);
  }
  request_.target = std::move(*target);
  return true;
}

bool ConnectRequestParser::ParseHeader(std::string_view line) {
  // A line that begins with white space would continue the one before it: no
  // token.
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsHttpToken(line.substr(0, colon))) {
    return Fail(ConnectStatus::kBadRequest);
  }
  if (++num_headers_ > kMaxConnectHeaders) {
    return Fail(ConnectStatus::kTooLarge);
  }
  return ApplyHeader(line.substr(0, colon),
                     HttpTrimmed(line.substr(colon + 1)));
}

bool ConnectRequestParser::ApplyHeader(std::string_view name,
                                       std::string_view value) {
  if (EqualsIgnoringCase(name, "host")) {
    return ApplyHost(value);
  }
  if (EqualsIgnoringCase(name, "proxy-authorization")) {
    return ApplyAuthorization(value);
  }
  if (EqualsIgnoringCase(name, "pvedisableproxy")) {
    request_.pve_disable_proxy = true;
  }
  // CONNECT has no body: what follows is the tunnel's, whatever its length.
  if (EqualsIgnoringCase(name, "transfer-encoding") ||
      (EqualsIgnoringCase(name, "content-length") && value != "0")) {
    return Fail(ConnectStatus::kBadRequest);
  }
  return true;
}

bool ConnectRequestParser::ApplyHost(std::string_view value) {
  std::optional<Authority> host = ParseAuthority(value, /*port_optional=*/true);
  // Twice would be two opinions on where the client wants to go.
  if (request_.host_header.has_value() || !host.has_value()) {
    return Fail(ConnectStatus::kBadRequest);
  }
  request_.host_header = std::move(host);
  return true;
}

bool ConnectRequestParser::ApplyAuthorization(std::string_view value) {
  if (request_.has_credentials) {
    return Fail(ConnectStatus::kBadRequest);
  }
  request_.has_credentials = true;
  request_.basic_password = ParseBasic(value);
  return true;
}

bool ConnectRequestParser::Finish() {
  // RFC 9112, 3.2: from HTTP/1.1 on a request without Host is wrong.
  if (request_.minor_version == 1 && !request_.host_header.has_value()) {
    return Fail(ConnectStatus::kBadRequest);
  }
  state_ = State::kDone;
  return true;
}

bool ConnectRequestParser::Fail(ConnectStatus status) {
  state_ = State::kError;
  error_ = status;
  return false;
}

int ConnectStatusCode(ConnectStatus status) { return WordingOf(status).code; }

std::string ConnectAnswer(ConnectStatus status, int minor_version) {
  const Wording& wording = WordingOf(status);
  std::string answer = "HTTP/1." + std::to_string(minor_version) + " " +
                       std::to_string(wording.code) + " " + wording.reason +
                       "\r\n";
  if (status == ConnectStatus::kOk) {
    return answer + "\r\n";
  }
  if (status == ConnectStatus::kLogin) {
    answer += "Proxy-Authenticate: Basic realm=\"spicegate\"\r\n";
  }
  const std::string body = std::string(wording.sentence) + "\n";
  answer += "Content-Type: text/plain; charset=utf-8\r\n";
  answer += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  answer += "Connection: close\r\n\r\n";
  return answer + body;
}

}  // namespace spicegate
