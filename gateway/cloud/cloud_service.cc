// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/cloud_service.h"

#include <algorithm>
#include <random>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/cloud/cloud_errors.h"
#include "gateway/cloud/cloud_set.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {
namespace {

class ClientCaller : public HttpCaller {
 public:
  explicit ClientCaller(HttpClient* client) : client_(client) {}

  void Start(HttpCall call, HttpClient::Done done) override {
    client_->Start(std::move(call), std::move(done));
  }

 private:
  HttpClient* const client_;
};

// Of jitter, not of secrets.
std::function<double()> Jitter() {
  return [engine = std::minstd_rand(std::random_device{}())]() mutable {
    return static_cast<double>(engine() - std::minstd_rand::min()) /
           static_cast<double>(std::minstd_rand::max());
  };
}

}  // namespace

class CloudService::Impl {
 public:
  explicit Impl(std::vector<CloudConfig> clouds)
      : caller_(&client_),
        clouds_(std::move(clouds),
                CloudContext{.http = &caller_,
                             .now_ms = MonotonicMs,
                             .wall_s = [] { return WallClockMs() / 1000; },
                             .random = Jitter()}) {}
  ~Impl() { Close(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  HttpClient& client() { return client_; }
  CloudSet& clouds() { return clouds_; }
  bool closed() const { return closed_; }

  void Close() {
    if (!closed_) {
      closed_ = true;
      client_.Close();
    }
  }

 private:
  HttpClient client_;
  ClientCaller caller_;
  CloudSet clouds_;
  bool closed_ = false;
};

CloudService::CloudService(std::vector<CloudConfig> clouds)
    : impl_(std::make_unique<Impl>(std::move(clouds))) {}

CloudService::~CloudService() = default;

bool CloudService::IsToken(const std::string& cloud,
                           const std::string& token) const {
  return impl_->clouds().IsToken(cloud, token);
}

void CloudService::Resolve(const std::string& cloud, const std::string& token,
                           Done done) {
  if (impl_->closed()) {
    done(CloudBrokenError());
  } else {
    impl_->clouds().Resolve(cloud, token, std::move(done));
  }
}

void CloudService::AddPollFds(std::vector<pollfd>* fds) const {
  if (!impl_->closed()) {
    impl_->client().AddPollFds(fds);
  }
}

void CloudService::HandlePollFds(std::span<const pollfd> fds, int64_t now_ms) {
  if (!impl_->closed()) {
    impl_->client().HandlePollFds(fds, now_ms);
    impl_->clouds().HandleTime(now_ms);
  }
}

int64_t CloudService::NextDeadlineMs() const {
  return impl_->closed() ? INT64_MAX
                         : std::min(impl_->client().NextDeadlineMs(),
                                    impl_->clouds().NextDeadlineMs());
}

std::vector<CloudStats> CloudService::stats() const {
  return impl_->clouds().stats();
}

void CloudService::Close() { impl_->Close(); }

}  // namespace spicegate
