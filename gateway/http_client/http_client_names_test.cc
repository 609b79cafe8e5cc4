// SPDX-License-Identifier: Apache-2.0
// Names that nobody resolves, or that stand for several addresses. The
// resolver's function is this file's own: libcurl's threads call it.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <condition_variable>
#include <mutex>
#include <string>

#include "gateway/http_client/http_client.h"
#include "gateway/http_client/http_server_fixture.h"

namespace spicegate {
namespace {

using GetAddrInfo = int(const char*, const char*, const addrinfo*, addrinfo**);

// Threads that ask for "hangs.test" wait here.
class Gate {
 public:
  void Wait() {
    std::unique_lock lock(mutex_);
    ++inside_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --inside_;
    changed_.notify_all();
  }
  void WaitForInside(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [=, this] { return inside_ == count; });
  }
  void SetOpen(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int inside_ = 0;
};

Gate* const gate = new Gate;

int Resolve(const char* name, const char* service, const addrinfo* hints,
            addrinfo** result) {
  static const auto real =
      reinterpret_cast<GetAddrInfo*>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string asked = name == nullptr ? "" : name;
  if (asked == "hangs.test") {
    gate->Wait();
    return EAI_AGAIN;
  }
  if (asked == "unknown.test") {
    return EAI_NONAME;
  }
  if (asked != "both.test") {
    return real(name, service, hints, result);
  }
  addrinfo numeric = *hints;
  numeric.ai_flags = AI_NUMERICHOST;
  const int code = real("::1", service, &numeric, result);
  return code != 0 ? code
                   : real("127.0.0.1", service, &numeric, &(*result)->ai_next);
}

}  // namespace
}  // namespace spicegate

extern "C" int getaddrinfo(const char* name, const char* service,
                           const addrinfo* hints, addrinfo** result) {
  return spicegate::Resolve(name, service, hints, result);
}

namespace spicegate {
namespace {

const char kOk[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

void Always(ScriptedConnection& peer, size_t) {
  while (!peer.ReadRequest().empty() && peer.Send(kOk)) {
  }
}

class HttpClientNames : public testing::Test {
 protected:
  HttpClientNames() { gate->SetOpen(false); }
  // No thread of libcurl's outlives the test.
  ~HttpClientNames() override {
    gate->SetOpen(true);
    gate->WaitForInside(0);
  }
};

TEST_F(HttpClientNames, OfNobody) {
  HttpClient client;
  const auto answer = Fetch(&client, CallTo("http://unknown.test:5000/v3"));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(answer.status().message().substr(0, 18), "unknown.test:5000:");
}

TEST_F(HttpClientNames, ThatHangEndAtTheDeadline) {
  HttpClient client;
  const auto answer = Fetch(&client, CallTo("http://hangs.test/v3", 1000));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answer.status().message(),
            "hangs.test:80: its name was not resolved in time");
  gate->WaitForInside(1);  // nobody waited for that thread
}

TEST_F(HttpClientNames, ThatHangHoldNobodyUp) {
  ScriptedServer server(Always);
  HttpClient client;
  for (int i = 0; i < 5; ++i) {
    client.Start(CallTo("http://hangs.test/"),
                 [](absl::StatusOr<HttpAnswer>) { ADD_FAILURE() << "called"; });
  }
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Fetch(&client, CallTo(server.Url())).ok());
  }
  gate->WaitForInside(5);
  client.Close();
  gate->WaitForInside(5);
  EXPECT_EQ(client.num_running(), 0u);
}

TEST_F(HttpClientNames, ThatHangDoNotKeepTheClientAlive) {
  {
    HttpClient client;
    client.Start(CallTo("http://hangs.test/"),
                 [](absl::StatusOr<HttpAnswer>) { ADD_FAILURE(); });
    Turn(&client, 0);
    Turn(&client, 0);
    gate->WaitForInside(1);
  }
  gate->WaitForInside(1);
}

TEST_F(HttpClientNames, OfSeveralAddressesTheOneThatAnswersIsTaken) {
  for (const char* ip : {"127.0.0.1", "::1"}) {
    ScriptedServer server(Always, ip);
    HttpClient client;
    const auto answer = Fetch(
        &client, CallTo("http://both.test:" + std::to_string(server.port())));
    ASSERT_TRUE(answer.ok()) << ip << answer.status();
    EXPECT_EQ(answer->body, "hi");
  }
}

}  // namespace
}  // namespace spicegate
