// SPDX-License-Identifier: Apache-2.0
//
// One call as libcurl makes it: its options, what came, and what that means.
#ifndef SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_TRANSFER_H_
#define SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_TRANSFER_H_

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {

// Of everything before the body: status lines, headers, 1xx answers, and
// trailers behind it. Tokens of clouds are some KB.
inline constexpr size_t kMaxHttpAnswerHeaderBytes = 64 * 1024;

class HttpTransfer {
 public:
  // `deadline_ms` is monotonic.
  HttpTransfer(HttpCall call, HttpClient::Done done, int64_t deadline_ms);
  // Overwrites the secrets that it has. The handle is in no multi handle then.
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // Whether the call can be made at all: InvalidArgument. Call it first.
  absl::Status Check();

  // The handle, ready to be added to a multi handle; once, after Check.
  CURL* Prepare(const std::string& user_agent, int64_t now_ms);

  // What has come of it, as HttpClient::Done says. libcurl has ended it.
  absl::StatusOr<HttpAnswer> Result(CURLcode code);

  // Its time is over, wherever it was.
  absl::Status Expired() const;

  // "https://keystone.example.org:5000", of a call that is all right.
  const std::string& origin() const { return origin_; }
  int64_t deadline_ms() const { return deadline_ms_; }
  CURL* handle() const { return handle_; }
  uint64_t NumConnections() const;
  HttpClient::Done TakeDone() { return std::move(done_); }

 private:
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);

  absl::Status CheckUrl();
  void SetTransport();
  void SetRequest(const std::string& user_agent);
  void SetTrust();
  void AddHeader(const std::string& name, const std::string& value);
  bool TakeHeaderLine(std::string_view line);
  bool TakeBody(std::string_view bytes);
  absl::Status Error(CURLcode code) const;
  absl::Status TrustError(CURLcode code) const;
  std::string Say(const std::string& what) const;

  HttpCall call_;
  HttpClient::Done done_;
  const int64_t deadline_ms_;
  std::string origin_;
  std::string place_;  // "keystone.example.org:5000", for people
  CURL* handle_ = nullptr;
  curl_slist* headers_ = nullptr;
  HttpAnswer answer_;
  size_t header_bytes_ = 0;
  bool headers_done_ = false;  // of the final answer
  bool too_much_ = false;
  char detail_[CURL_ERROR_SIZE] = {};
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_TRANSFER_H_
