// SPDX-License-Identifier: Apache-2.0
#include "gateway/http_client/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/cord.h"
#include "gateway/base/check.h"
#include "gateway/base/clock.h"
#include "gateway/http_client/http_transfer.h"

namespace spicegate {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

using Transfers = std::deque<std::unique_ptr<HttpTransfer>>;

void InitializeOnce() {
  static const bool done = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  CHECK(done);
}

template <typename T>
void Set(CURLM* multi, CURLMoption option, T value) {
  CHECK((curl_multi_setopt)(multi, option, value) == CURLM_OK);
}

// Of poll(2), to and from libcurl's.
short PollEventsOf(int what) {
  return static_cast<short>(((what & CURL_POLL_IN) != 0 ? POLLIN : 0) |
                            ((what & CURL_POLL_OUT) != 0 ? POLLOUT : 0));
}

int CurlEventsOf(short revents) {
  return ((revents & POLLIN) != 0 ? CURL_CSELECT_IN : 0) |
         ((revents & POLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
         ((revents & ~(POLLIN | POLLOUT)) != 0 ? CURL_CSELECT_ERR : 0);
}

}  // namespace

const std::string* HttpAnswer::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) {
      return &value;
    }
  }
  return nullptr;
}

class HttpClient::Impl {
 public:
  explicit Impl(std::string user_agent) : user_agent_(std::move(user_agent)) {
    InitializeOnce();
  }
  ~Impl() { Close(); }

  void Start(HttpCall call, Done done);
  void AddPollFds(std::vector<pollfd>* fds) const;
  void HandlePollFds(std::span<const pollfd> fds, int64_t now_ms);
  int64_t NextDeadlineMs() const;
  void Close();

  size_t num_running() const {
    return waiting_.size() + running_.size() + finished_.size();
  }
  uint64_t num_connections() const;

 private:
  struct Finished {
    Done done;
    absl::StatusOr<HttpAnswer> result;
  };

  static int OnSocket(CURL* handle, curl_socket_t fd, int what, void* self,
                      void* socket);

  CURLM* Multi();
  void Act(curl_socket_t fd, int events);
  // Takes what libcurl is done with.
  void CollectEnded();
  void CollectExpired(int64_t now_ms);
  // Ends a running call.
  void Finish(CURL* handle, absl::StatusOr<HttpAnswer> result);
  // Hands waiting calls to libcurl, as many as their origins may have.
  void Admit(int64_t now_ms);
  // Closes kept connections that nobody has used for a while: libcurl only
  // looks at them when the next call comes.
  void CloseKept(int64_t now_ms);
  void UpdateTimer();
  void CallBack();

  const std::string user_agent_;
  CURLM* multi_ = nullptr;  // made anew after a quiet time
  std::map<curl_socket_t, short> sockets_;
  int64_t timer_ms_ = kNever;
  int64_t close_kept_ms_ = kNever;
  bool admit_ = false;  // there may be something to admit
  Transfers waiting_;
  absl::flat_hash_map<CURL*, std::unique_ptr<HttpTransfer>> running_;
  absl::flat_hash_map<std::string, size_t> running_at_;  // by origin
  std::vector<Finished> finished_;                       // not called yet
  uint64_t num_connections_ = 0;                         // of ended calls
  bool calling_back_ = false;
};

CURLM* HttpClient::Impl::Multi() {
  if (multi_ == nullptr) {
    multi_ = curl_multi_init();
    CHECK(multi_ != nullptr);
    Set(multi_, CURLMOPT_SOCKETFUNCTION, &Impl::OnSocket);
    Set(multi_, CURLMOPT_SOCKETDATA, this);
    Set(multi_, CURLMOPT_PIPELINING, long{CURLPIPE_NOTHING});
    Set(multi_, CURLMOPT_MAXCONNECTS, long{kMaxHttpConnections});
  }
  return multi_;
}

int HttpClient::Impl::OnSocket(CURL*, curl_socket_t fd, int what, void* self,
                               void*) {
  auto& sockets = static_cast<Impl*>(self)->sockets_;
  if (what == CURL_POLL_REMOVE) {
    sockets.erase(fd);
  } else {
    sockets[fd] = PollEventsOf(what);
  }
  return 0;
}

void HttpClient::Impl::Start(HttpCall call, Done done) {
  CHECK(call.deadline_ms > 0);
  const int64_t deadline_ms = MonotonicMs() + call.deadline_ms;
  auto transfer = std::make_unique<HttpTransfer>(std::move(call),
                                                 std::move(done), deadline_ms);
  absl::Status status = transfer->Check();
  if (status.ok() && num_running() >= kMaxHttpCalls) {
    status = absl::ResourceExhaustedError("too many calls under way");
    status.SetPayload(kNeverBegun, absl::Cord("1"));
  }
  if (!status.ok()) {
    finished_.push_back({transfer->TakeDone(), std::move(status)});
    return;
  }
  waiting_.push_back(std::move(transfer));
  admit_ = true;
}

void HttpClient::Impl::AddPollFds(std::vector<pollfd>* fds) const {
  for (const auto& [fd, events] : sockets_) {
    fds->push_back({fd, events, 0});
  }
}

void HttpClient::Impl::HandlePollFds(std::span<const pollfd> fds,
                                     int64_t now_ms) {
  for (const pollfd& entry : fds) {
    // What came before in this turn may have ended the socket.
    if (entry.revents != 0 && sockets_.contains(entry.fd)) {
      Act(entry.fd, CurlEventsOf(entry.revents));
    }
  }
  if (now_ms >= timer_ms_) {
    Act(CURL_SOCKET_TIMEOUT, 0);
  }
  CollectEnded();
  CollectExpired(now_ms);
  Admit(now_ms);
  CloseKept(now_ms);
  UpdateTimer();
  CallBack();
}

void HttpClient::Impl::Act(curl_socket_t fd, int events) {
  int running = 0;
  const CURLMcode code =
      curl_multi_socket_action(Multi(), fd, events, &running);
  CHECK(code == CURLM_OK || code == CURLM_BAD_SOCKET);
}

void HttpClient::Impl::CollectEnded() {
  int left = 0;
  while (multi_ != nullptr) {
    const CURLMsg* const message = curl_multi_info_read(multi_, &left);
    if (message == nullptr) {
      return;
    }
    if (message->msg == CURLMSG_DONE) {
      CURL* const handle = message->easy_handle;
      const CURLcode code = message->data.result;
      Finish(handle, running_.at(handle)->Result(code));
    }
  }
}

void HttpClient::Impl::CollectExpired(int64_t now_ms) {
  std::vector<CURL*> expired;
  for (const auto& [handle, transfer] : running_) {
    if (now_ms >= transfer->deadline_ms()) {
      expired.push_back(handle);
    }
  }
  for (CURL* handle : expired) {
    Finish(handle, running_.at(handle)->Expired());
  }
  Transfers in_time;
  for (auto& transfer : waiting_) {
    if (now_ms >= transfer->deadline_ms()) {
      finished_.push_back({transfer->TakeDone(), transfer->Expired()});
    } else {
      in_time.push_back(std::move(transfer));
    }
  }
  waiting_.swap(in_time);
}

void HttpClient::Impl::Finish(CURL* handle, absl::StatusOr<HttpAnswer> result) {
  const auto found = running_.find(handle);
  CHECK(found != running_.end());
  HttpTransfer* const transfer = found->second.get();
  num_connections_ += transfer->NumConnections();
  const auto at = running_at_.find(transfer->origin());
  if (--at->second == 0) {
    running_at_.erase(at);
  }
  finished_.push_back({transfer->TakeDone(), std::move(result)});
  CHECK(curl_multi_remove_handle(multi_, handle) == CURLM_OK);
  running_.erase(found);
  admit_ = true;
}

void HttpClient::Impl::Admit(int64_t now_ms) {
  Transfers later;
  for (auto& transfer : waiting_) {
    size_t& running = running_at_[transfer->origin()];
    if (running >= kMaxHttpCallsPerOrigin) {
      later.push_back(std::move(transfer));
      continue;
    }
    ++running;
    CURL* const handle = transfer->Prepare(user_agent_, now_ms);
    CHECK(curl_multi_add_handle(Multi(), handle) == CURLM_OK);
    running_.emplace(handle, std::move(transfer));
  }
  waiting_.swap(later);
  admit_ = false;
}

void HttpClient::Impl::CloseKept(int64_t now_ms) {
  if (!running_.empty()) {
    close_kept_ms_ = kNever;
  } else if (multi_ != nullptr && close_kept_ms_ == kNever) {
    close_kept_ms_ = now_ms + kHttpKeptMs;
  } else if (now_ms >= close_kept_ms_) {
    curl_multi_cleanup(multi_);
    multi_ = nullptr;
    close_kept_ms_ = kNever;
  }
}

// What libcurl's timer callback is told is relative to a clock of its own, and
// it is not told again when we come a moment early.
void HttpClient::Impl::UpdateTimer() {
  long wait_ms = -1;
  if (multi_ != nullptr) {
    CHECK(curl_multi_timeout(multi_, &wait_ms) == CURLM_OK);
  }
  timer_ms_ = wait_ms < 0 ? kNever : MonotonicMs() + wait_ms;
}

void HttpClient::Impl::CallBack() {
  calling_back_ = true;
  std::vector<Finished> finished;
  finished.swap(finished_);
  for (Finished& one : finished) {
    one.done(std::move(one.result));
  }
  calling_back_ = false;
}

int64_t HttpClient::Impl::NextDeadlineMs() const {
  if (admit_ || !finished_.empty()) {
    return 0;
  }
  int64_t next_ms = std::min(timer_ms_, close_kept_ms_);
  for (const auto& [handle, transfer] : running_) {
    next_ms = std::min(next_ms, transfer->deadline_ms());
  }
  for (const auto& transfer : waiting_) {
    next_ms = std::min(next_ms, transfer->deadline_ms());
  }
  return next_ms;
}

uint64_t HttpClient::Impl::num_connections() const {
  uint64_t count = num_connections_;
  for (const auto& [handle, transfer] : running_) {
    count += transfer->NumConnections();
  }
  return count;
}

void HttpClient::Impl::Close() {
  CHECK(!calling_back_);
  for (const auto& [handle, transfer] : running_) {
    num_connections_ += transfer->NumConnections();
    curl_multi_remove_handle(multi_, handle);
  }
  running_.clear();
  running_at_.clear();
  waiting_.clear();
  finished_.clear();
  if (multi_ != nullptr) {
    curl_multi_cleanup(multi_);
    multi_ = nullptr;
  }
  sockets_.clear();
  timer_ms_ = kNever;
  close_kept_ms_ = kNever;
  admit_ = false;
}

HttpClient::HttpClient(std::string user_agent)
    : impl_(std::make_unique<Impl>(std::move(user_agent))) {}

HttpClient::~HttpClient() = default;

void HttpClient::Start(HttpCall call, Done done) {
  impl_->Start(std::move(call), std::move(done));
}

void HttpClient::AddPollFds(std::vector<pollfd>* fds) const {
  impl_->AddPollFds(fds);
}

void HttpClient::HandlePollFds(std::span<const pollfd> fds, int64_t now_ms) {
  impl_->HandlePollFds(fds, now_ms);
}

int64_t HttpClient::NextDeadlineMs() const { return impl_->NextDeadlineMs(); }

size_t HttpClient::num_running() const { return impl_->num_running(); }

uint64_t HttpClient::num_connections() const {
  return impl_->num_connections();
}

void HttpClient::Close() { impl_->Close(); }

}  // namespace spicegate
