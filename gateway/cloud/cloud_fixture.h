// SPDX-License-Identifier: Apache-2.0
//
// For tests: clouds whose services answer what a test says, and a clock that
// stands still unless it is moved.
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_FIXTURE_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_FIXTURE_H_

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/cloud/cloud_set.h"

namespace spicegate {

// Keeps what it is to call until a test answers.
class FakeCaller : public HttpCaller {
 public:
  struct Made {
    HttpCall call;
    HttpClient::Done done;
  };

  void Start(HttpCall call, HttpClient::Done done) override {
    ++num_started;
    open.push_back({std::move(call), std::move(done)});
  }

  std::deque<Made> open;
  size_t num_started = 0;
};

class CloudFixture : public ::testing::Test {
 protected:
  using Result = std::optional<absl::StatusOr<CloudConsole>>;
  using Headers = std::vector<std::pair<std::string, std::string>>;

  static constexpr int64_t kIssuedUnixS = 1'787'310'000;

  CloudFixture() {
    secret_path_ = ::testing::TempDir() + "/secret.XXXXXX";
    close(mkstemp(secret_path_.data()));
    WriteSecret("sesame");
  }
  ~CloudFixture() override {
    http_.open.clear();
    std::remove(secret_path_.c_str());
  }

  void WriteSecret(const std::string& text) {
    std::ofstream(secret_path_, std::ios::trunc) << text << "\n";
  }

  CloudConfig Nova(const std::string& name = "prod") const {
    CloudConfig config;
    config.name = name;
    config.keystone.url = "https://" + name + ".keystone/v3";
    config.keystone.ca_path = "/keystone-ca.pem";
    config.keystone.user = "gate";
    config.keystone.project = "service";
    config.keystone.secret_path = secret_path_;
    config.compute.endpoint = "http://" + name + ".nova/v2.1";
    config.servers.ca_path = "/servers-ca.pem";
    return config;
  }

  CloudConfig Broker(const std::string& name = "broker") const {
    CloudConfig config;
    config.name = name;
    config.kind = CloudKind::kHttp;
    config.broker.url = "https://" + name + "/console";
    config.broker.secret_path = secret_path_;
    return config;
  }

  void Begin(std::vector<CloudConfig> configs) {
    CloudContext context;
    context.http = &http_;
    context.now_ms = [this] { return now_ms_; };
    context.wall_s = [this] { return wall_s_; };
    context.random = [this] { return random_; };
    clouds_ = std::make_unique<CloudSet>(std::move(configs), context);
  }

  // A token of Nova's and, with fewer letters than some, of a broker's.
  static std::string Token(int number) {
    std::string digits = std::to_string(number);
    digits.insert(0, 12 - digits.size(), '0');
    return "3f0a1c5e-6b7d-4e2f-9a8b-" + digits;
  }

  // Asks and gives where the answer will be.
  size_t Ask(int number, const std::string& cloud = "prod") {
    const size_t index = results_.size();
    results_.emplace_back();
    num_called_.push_back(0);
    clouds_->Resolve(cloud, Token(number),
                     [this, index](const absl::StatusOr<CloudConsole>& answer) {
                       results_[index] = answer;
                       ++num_called_[index];
                     });
    return index;
  }

  bool Waits(size_t index) const { return !results_[index].has_value(); }
  // kUnknown while it waits.
  absl::StatusCode Code(size_t index) const {
    return Waits(index) ? absl::StatusCode::kUnknown
                        : results_[index]->status().code();
  }

  // The first call that nobody has answered; without a URL where there is none.
  HttpCall Next() const {
    return http_.open.empty() ? HttpCall() : http_.open.front().call;
  }
  bool Idle() const { return http_.open.empty(); }
  bool NextIsKeystone() const {
    return Next().url.find("/auth/tokens") != std::string::npos;
  }
  bool NextIsNova() const {
    return Next().url.find("/os-console-auth-tokens/") != std::string::npos;
  }

  void Answer(absl::StatusOr<HttpAnswer> answer) {
    ASSERT_FALSE(http_.open.empty());
    const FakeCaller::Made made = std::move(http_.open.front());
    http_.open.pop_front();
    made.done(std::move(answer));
  }
  void Answer(int status, const std::string& body = "",
              const Headers& headers = {}) {
    HttpAnswer answer;
    answer.status = status;
    answer.body = body;
    answer.headers = headers;
    Answer(std::move(answer));
  }

  void AnswerToken(const std::string& token = "gate-1", int64_t life_s = 3600) {
    ASSERT_TRUE(NextIsKeystone()) << Next().url;
    Answer(201,
           R"({"token":{"issued_at":")" + Time(kIssuedUnixS) +
               R"(","expires_at":")" + Time(kIssuedUnixS + life_s) + R"("}})",
           {{"x-subject-token", token}});
  }

  void AnswerConsole(
      const std::string& ports = R"("port":5900,"tls_port":5901)",
      const std::string& host = "10.0.0.7") {
    ASSERT_TRUE(NextIsNova()) << Next().url;
    Answer(200, R"({"console":{"instance_uuid":")" + Token(7) +
                    R"(","host":")" + host + "\"," + ports +
                    R"(,"internal_access_path":null}})");
  }

  void AnswerNotFound() {
    Answer(404, R"({"itemNotFound":{"code":404,"message":"Token not found"}})");
  }

  // So many milliseconds go by, and what falls due in them is done when it
  // does.
  void Pass(int64_t ms) {
    const int64_t end_ms = now_ms_ + ms;
    for (int i = 0; i < 10'000 && clouds_->NextDeadlineMs() <= end_ms; ++i) {
      now_ms_ = std::max(now_ms_, clouds_->NextDeadlineMs());
      clouds_->HandleTime(now_ms_);
    }
    now_ms_ = end_ms;
    clouds_->HandleTime(now_ms_);
  }

  // A cloud that has its token: asks for number 1, which is found.
  void Warm() {
    Ask(1);
    AnswerToken();
    AnswerConsole();
    ASSERT_TRUE(Idle());
  }

  static std::string HeaderOf(const HttpCall& call, const std::string& name) {
    for (const auto& [key, value] : call.headers) {
      if (key == name) {
        return value;
      }
    }
    return "";
  }

  CloudStats Stats(size_t index = 0) const { return clouds_->stats()[index]; }

  static std::string Time(int64_t unix_s) {
    const time_t seconds = unix_s;
    struct tm parts {};
    gmtime_r(&seconds, &parts);
    char text[64];
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.000000Z", &parts);
    return text;
  }

  int64_t now_ms_ = 1'000'000;
  int64_t wall_s_ = kIssuedUnixS;
  double random_ = 0;
  std::string secret_path_;
  FakeCaller http_;
  std::vector<Result> results_;
  std::vector<int> num_called_;
  std::unique_ptr<CloudSet> clouds_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_FIXTURE_H_
