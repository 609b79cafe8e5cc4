// SPDX-License-Identifier: Apache-2.0
#include "gateway/http_client/http_transfer.h"

#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/cord.h"
#include "gateway/base/ascii.h"
#include "gateway/base/check.h"
#include "gateway/base/http_text.h"

namespace spicegate {
namespace {

// What a name stands for may change any moment; asking for each call would
// make the resolver part of every deadline.
constexpr long kNameCacheS = 30;

// A kept connection that nobody used for this long is not used again, and none
// lives longer than this: a service behind a balancer or a new address is
// found again.
constexpr long kMaxKeptS = 30;
constexpr long kMaxConnectionAgeS = 300;

// The system's trust store. libcurl of this flavour would read every file of
// the folder for each connection instead.
constexpr char kSystemTrustFile[] = "/etc/ssl/certs/ca-certificates.crt";

template <typename T>
void Set(CURL* handle, CURLoption option, T value) {
  CHECK((curl_easy_setopt)(handle, option, value) == CURLE_OK);
}

void Wipe(std::string* secret) {
  explicit_bzero(secret->data(), secret->capacity());
  secret->clear();
}

curl_socket_t OpenSocket(void*, curlsocktype, curl_sockaddr* address) {
  return socket(address->family, address->socktype | SOCK_CLOEXEC,
                address->protocol);
}

// Anything else could begin another header.
bool IsHeaderValue(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) {
    return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f;
  });
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

std::string PartOf(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) {
    return {};
  }
  std::string result = text;
  curl_free(text);
  return result;
}

absl::Status NotSent(absl::Status status) {
  status.SetPayload(kNothingSent, absl::Cord("1"));
  return status;
}

}  // namespace

HttpTransfer::HttpTransfer(HttpCall call, HttpClient::Done done,
                           int64_t deadline_ms)
    : call_(std::move(call)),
      done_(std::move(done)),
      deadline_ms_(deadline_ms) {}

HttpTransfer::~HttpTransfer() {
  curl_easy_cleanup(handle_);
  for (curl_slist* header = headers_; header != nullptr;
       header = header->next) {
    explicit_bzero(header->data, strlen(header->data));
  }
  curl_slist_free_all(headers_);
  for (auto& [name, value] : call_.headers) {
    Wipe(&value);
  }
  for (auto& [name, value] : answer_.headers) {
    Wipe(&value);
  }
  Wipe(&call_.url);
  Wipe(&call_.body);
  Wipe(&answer_.body);
}

absl::Status HttpTransfer::Check() {
  if (call_.method != "GET" && call_.method != "POST") {
    return absl::InvalidArgumentError("neither GET nor POST");
  }
  for (const auto& [name, value] : call_.headers) {
    if (!IsHttpToken(name) || !IsHeaderValue(value)) {
      return absl::InvalidArgumentError("a header that cannot be sent");
    }
  }
  return CheckUrl();
}

absl::Status HttpTransfer::CheckUrl() {
  const std::unique_ptr<CURLU, UrlDeleter> url(curl_url());
  CHECK(url != nullptr);
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL,
                                      call_.url.c_str(), CURLU_DISALLOW_USER);
  const std::string scheme = PartOf(url.get(), CURLUPART_SCHEME);
  const std::string host = PartOf(url.get(), CURLUPART_HOST);
  if (code != CURLUE_OK || call_.url.find('\0') != std::string::npos ||
      (scheme != "http" && scheme != "https") || host.empty() ||
      call_.url.compare(scheme.size(), 4, ":///") == 0) {
    return absl::InvalidArgumentError("no URL of http: or https:");
  }
  place_ = host + ":" + PartOf(url.get(), CURLUPART_PORT);
  origin_ = scheme + "://" + place_;
  return absl::OkStatus();
}

CURL* HttpTransfer::Prepare(const std::string& user_agent, int64_t now_ms) {
  CHECK(handle_ == nullptr && !origin_.empty());
  handle_ = curl_easy_init();
  CHECK(handle_ != nullptr);
  const long left_ms = std::max<long>(1, deadline_ms_ - now_ms);
  Set(handle_, CURLOPT_TIMEOUT_MS, left_ms);
  Set(handle_, CURLOPT_CONNECTTIMEOUT_MS, left_ms);
  SetTransport();
  SetTrust();
  SetRequest(user_agent);
  return handle_;
}

void HttpTransfer::SetTransport() {
  Set(handle_, CURLOPT_NOSIGNAL, 1L);
  // Else giving a call up waits for the thread that resolves its name.
  Set(handle_, CURLOPT_QUICK_EXIT, 1L);
  Set(handle_, CURLOPT_DNS_CACHE_TIMEOUT, kNameCacheS);
  Set(handle_, CURLOPT_MAXAGE_CONN, kMaxKeptS);
  Set(handle_, CURLOPT_MAXLIFETIME_CONN, kMaxConnectionAgeS);
  Set(handle_, CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
  Set(handle_, CURLOPT_PROTOCOLS_STR, "http,https");
  Set(handle_, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  Set(handle_, CURLOPT_FOLLOWLOCATION, 0L);
  // Empty, not unset: no variable of the environment has a say.
  Set(handle_, CURLOPT_PROXY, "");
  Set(handle_, CURLOPT_NETRC, long{CURL_NETRC_IGNORED});
  Set(handle_, CURLOPT_ERRORBUFFER, detail_);
  Set(handle_, CURLOPT_PRIVATE, this);
}

void HttpTransfer::SetTrust() {
  Set(handle_, CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
  Set(handle_, CURLOPT_SSL_VERIFYPEER, 1L);
  Set(handle_, CURLOPT_SSL_VERIFYHOST, 2L);
  Set(handle_, CURLOPT_CAINFO,
      call_.ca_path.empty() ? kSystemTrustFile : call_.ca_path.c_str());
  // The system's folder would be trusted besides the file.
  Set(handle_, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
}

void HttpTransfer::SetRequest(const std::string& user_agent) {
  Set(handle_, CURLOPT_URL, call_.url.c_str());
  Set(handle_, CURLOPT_PATH_AS_IS, 1L);
  Set(handle_, CURLOPT_USERAGENT, user_agent.c_str());
  Set(handle_, CURLOPT_HEADERFUNCTION, &HttpTransfer::OnHeader);
  Set(handle_, CURLOPT_HEADERDATA, this);
  Set(handle_, CURLOPT_WRITEFUNCTION, &HttpTransfer::OnBody);
  Set(handle_, CURLOPT_WRITEDATA, this);
  if (call_.method == "POST") {
    Set(handle_, CURLOPT_POST, 1L);
    Set(handle_, CURLOPT_POSTFIELDSIZE_LARGE,
        static_cast<curl_off_t>(call_.body.size()));
    Set(handle_, CURLOPT_POSTFIELDS, call_.body.data());
    // No body waits for leave to be sent, and none is a form unless said so.
    headers_ = curl_slist_append(headers_, "Expect:");
    headers_ = curl_slist_append(headers_, "Content-Type:");
  }
  for (const auto& [name, value] : call_.headers) {
    AddHeader(name, value);
  }
  Set(handle_, CURLOPT_HTTPHEADER, headers_);
}

void HttpTransfer::AddHeader(const std::string& name,
                             const std::string& value) {
  std::string line = value.empty() ? name + ";" : name + ": " + value;
  headers_ = curl_slist_append(headers_, line.c_str());
  CHECK(headers_ != nullptr);
  Wipe(&line);
}

size_t HttpTransfer::OnHeader(char* data, size_t size, size_t count,
                              void* self) {
  const std::string_view line(data, size * count);
  return static_cast<HttpTransfer*>(self)->TakeHeaderLine(line) ? line.size()
                                                                : 0;
}

size_t HttpTransfer::OnBody(char* data, size_t size, size_t count, void* self) {
  const std::string_view bytes(data, size * count);
  return static_cast<HttpTransfer*>(self)->TakeBody(bytes) ? bytes.size() : 0;
}

bool HttpTransfer::TakeHeaderLine(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHttpAnswerHeaderBytes) {
    too_much_ = true;
    return false;
  }
  if (headers_done_) {
    return true;  // trailers
  }
  const std::string_view text = Trimmed(line);
  const size_t colon = text.find(':');
  if (text.empty()) {
    long status = 0;
    curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &status);
    headers_done_ = status >= 200;
    answer_.status = static_cast<int>(status);
    if (!headers_done_) {
      answer_.headers.clear();
    }
  } else if (line.front() == ' ' || line.front() == '\t') {
    if (!answer_.headers.empty()) {
      answer_.headers.back().second.append(" ").append(text);
    }
  } else if (colon != std::string_view::npos && line.rfind("HTTP/", 0) != 0) {
    answer_.headers.emplace_back(
        AsciiLowered(std::string(text.substr(0, colon))),
        Trimmed(text.substr(colon + 1)));
  }
  return true;
}

bool HttpTransfer::TakeBody(std::string_view bytes) {
  if (bytes.size() > call_.max_body_bytes - answer_.body.size()) {
    too_much_ = true;
    return false;
  }
  answer_.body.append(bytes);
  return true;
}

absl::StatusOr<HttpAnswer> HttpTransfer::Result(CURLcode code) {
  if (code != CURLE_OK) {
    return Error(code);
  }
  if (!headers_done_) {
    return absl::UnavailableError(Say("no answer of HTTP"));
  }
  return std::move(answer_);
}

std::string HttpTransfer::Say(const std::string& what) const {
  return place_ + ": " + what;
}

absl::Status HttpTransfer::Error(CURLcode code) const {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Expired();
    case CURLE_FILESIZE_EXCEEDED:
    case CURLE_OUT_OF_MEMORY:  // a header line beyond libcurl's own bound
      return absl::ResourceExhaustedError(Say("the answer is too long"));
    case CURLE_WRITE_ERROR:
      return too_much_
                 ? absl::ResourceExhaustedError(Say("the answer is too long"))
                 : absl::UnavailableError(Say("a broken answer"));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return TrustError(code);
    case CURLE_UNSUPPORTED_PROTOCOL:  // the answer's: the URL was checked
      return absl::UnavailableError(Say("no answer of HTTP"));
    case CURLE_URL_MALFORMAT:
      return absl::InvalidArgumentError("no URL of http: or https:");
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
      return NotSent(absl::UnavailableError(Say(curl_easy_strerror(code))));
    default:
      return absl::UnavailableError(Say(curl_easy_strerror(code)));
  }
}

absl::Status HttpTransfer::TrustError(CURLcode code) const {
  if (code == CURLE_SSL_CACERT_BADFILE) {
    return absl::FailedPreconditionError(
        Say((call_.ca_path.empty() ? kSystemTrustFile : call_.ca_path) +
            " cannot be read as a CA file"));
  }
  const std::string detail = *detail_ ? detail_ : curl_easy_strerror(code);
  return absl::FailedPreconditionError(Say(detail));
}

absl::Status HttpTransfer::Expired() const {
  if (handle_ == nullptr) {
    absl::Status status =
        absl::DeadlineExceededError(Say("too many calls before this one"));
    status.SetPayload(kNeverBegun, absl::Cord("1"));
    return status;
  }
  long sent_bytes = 0;
  curl_off_t resolved_us = 0;
  curl_easy_getinfo(handle_, CURLINFO_REQUEST_SIZE, &sent_bytes);
  curl_easy_getinfo(handle_, CURLINFO_NAMELOOKUP_TIME_T, &resolved_us);
  // On a connection that was kept there is neither name nor connecting.
  const char* what = sent_bytes > 0     ? "no answer in time"
                     : resolved_us == 0 ? "its name was not resolved in time"
                                        : "no connection in time";
  return absl::DeadlineExceededError(Say(what));
}

uint64_t HttpTransfer::NumConnections() const {
  long count = 0;
  if (handle_ != nullptr) {
    curl_easy_getinfo(handle_, CURLINFO_NUM_CONNECTS, &count);
  }
  return static_cast<uint64_t>(count);
}

}  // namespace spicegate
