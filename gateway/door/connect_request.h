// SPDX-License-Identifier: Apache-2.0
//
// HTTP CONNECT (RFC 9110, 9.3.6; RFC 9112), as much as viewers and proxies
// send in front of a SPICE connection, and the answers that stock viewers
// understand. Pure: bytes in, a request or a status out.
//
// Strict where a lenient reader would see another request than a proxy ahead
// of us has judged: lines end with CR LF and nothing else, no line is
// continued, a header that can mean only one thing stands once. Lenient in one
// respect: a host is whatever stands before the last colon, since brokers put
// signed tickets there, full of colons, slashes, plus and equal signs.
#ifndef SPICEGATE_GATEWAY_DOOR_CONNECT_REQUEST_H_
#define SPICEGATE_GATEWAY_DOOR_CONNECT_REQUEST_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/base/counters.h"

namespace spicegate {

// Request line, headers and the empty line behind them. A viewer sends 200
// bytes and at most two tickets; hosts beyond 900 characters break viewers.
inline constexpr size_t kMaxConnectRequestBytes = 8192;
inline constexpr size_t kMaxConnectHeaders = 64;

// HOST:PORT. An IPv6 address has lost its brackets, which it must have had;
// any other host is as the client wrote it, upper case and trailing dot too.
struct Authority {
  std::string host;   // never empty; visible ASCII
  uint16_t port = 0;  // 0: a Host header without one

  bool operator==(const Authority&) const = default;
};

struct ConnectRequest {
  int minor_version = 1;  // HTTP/1.0 or 1.1
  Authority target;       // has a port
  // Not compared with the target: Proxmox looks for its ticket here.
  std::optional<Authority> host_header;
  // The password of Proxy-Authorization: Basic. A secret: never logged.
  std::optional<std::string> basic_password;
  // Whether there was a Proxy-Authorization at all. Without a password it is
  // of another scheme or nobody can read it: wrong credentials, not none.
  bool has_credentials = false;
  // PVEDisableProxy was there: another Proxmox proxy sent this on to us, and
  // it must go no further (500, "proxy loop detected").
  bool pve_disable_proxy = false;
};

// Parses the one request of a connection.
class ConnectRequestParser {
 public:
  enum class State : uint8_t {
    kMore,   // feed more
    kDone,   // request() is complete; what follows is the tunnel's
    kError,  // answer error() and close
  };
  struct Step {
    State state;
    size_t consumed;  // of the bytes fed; all of them for kMore
  };

  // Takes bytes up to the end of the request. How they are cut into pieces
  // does not matter. Wrong lines are told as soon as they are complete, wrong
  // bytes at once. Takes nothing once the state is not kMore.
  Step Feed(std::span<const uint8_t> bytes);

  State state() const { return state_; }

  // kBadRequest, kTooLarge, kNotImplemented or kVersion.
  ConnectStatus error() const { return error_; }

  // After an error only minor_version counts: what to answer with. It is 1
  // where the client has not said a version that we know.
  const ConnectRequest& request() const { return request_; }
  ConnectRequest TakeRequest() { return std::move(request_); }

 private:
  bool TakeByte(char c);
  bool ParseLine();
  bool ParseRequestLine(std::string_view line);
  bool ParseHeader(std::string_view line);
  bool ApplyHeader(std::string_view name, std::string_view value);
  bool ApplyHost(std::string_view value);
  bool ApplyAuthorization(std::string_view value);
  bool Finish();
  bool Fail(ConnectStatus status);

  State state_ = State::kMore;
  ConnectStatus error_ = ConnectStatus::kBadRequest;
  ConnectRequest request_;
  std::string line_;  // without its line end
  bool after_cr_ = false;
  bool has_request_line_ = false;
  size_t num_bytes_ = 0;
  size_t num_headers_ = 0;
};

// 200 for kOk.
int ConnectStatusCode(ConnectStatus status);

// What the client is told: 200 as Proxmox's proxy says it, without any header;
// anything else with one sentence for people, after which the connection ends.
std::string ConnectAnswer(ConnectStatus status, int minor_version);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_DOOR_CONNECT_REQUEST_H_
