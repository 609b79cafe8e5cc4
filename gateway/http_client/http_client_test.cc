// SPDX-License-Identifier: Apache-2.0
#include "gateway/http_client/http_client.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "gateway/http_client/http_server_fixture.h"

namespace spicegate {
namespace {

const char kOk[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

// Answers every request with `text`.
ScriptedServer::Script Always(std::string text) {
  return [text](ScriptedConnection& peer, size_t) {
    while (!peer.ReadRequest().empty() && peer.Send(text)) {
    }
  };
}

// Remembers the first request.
class Recorder {
 public:
  ScriptedServer::Script script() {
    return [this](ScriptedConnection& peer, size_t) {
      std::string request = peer.ReadRequest();
      {
        const std::lock_guard lock(mutex_);
        request_ = std::move(request);
      }
      peer.Send(kOk);
      peer.WaitForEnd();
    };
  }
  std::string request() {
    const std::lock_guard lock(mutex_);
    return request_;
  }

 private:
  std::mutex mutex_;
  std::string request_;
};

int NumFds() {
  int count = 0;
  DIR* const dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) {
    ++count;
  }
  closedir(dir);
  return count;
}

TEST(HttpClient, GetsAnAnswer) {
  ScriptedServer server(
      Always("HTTP/1.1 404 No\r\nX-One:  a b \r\nx-one: c\r\nEmpty:\r\n"
             "Content-Length: 2\r\n\r\nhi"));
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(server.Url("/v3/a?b=c")));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->body, "hi");
  const std::vector<std::pair<std::string, std::string>> headers = {
      {"x-one", "a b"}, {"x-one", "c"}, {"empty", ""}, {"content-length", "2"}};
  EXPECT_EQ(answer->headers, headers);
  EXPECT_EQ(*answer->Header("x-one"), "a b");
  EXPECT_EQ(answer->Header("location"), nullptr);
  EXPECT_EQ(client.num_running(), 0u);
}

TEST(HttpClient, SendsWhatItIsToldAndNothingElse) {
  Recorder recorder;
  ScriptedServer server(recorder.script());
  HttpClient client("spicegate/1.2");
  HttpCall call = CallTo(server.Url("/a/../b?x=%20"));
  call.headers = {{"X-Auth-Token", "secret"}, {"X-Empty", ""}};
  ASSERT_TRUE(Fetch(&client, call).ok());
  EXPECT_EQ(recorder.request(),
            "GET /a/../b?x=%20 HTTP/1.1\r\nHost: 127.0.0.1:" +
                std::to_string(server.port()) +
                "\r\nUser-Agent: spicegate/1.2\r\n"
                "Accept: */*\r\nX-Auth-Token: secret\r\n"
                "X-Empty:\r\n\r\n");
}

TEST(HttpClient, PostsABodyWithoutAskingFirst) {
  Recorder recorder;
  ScriptedServer server(recorder.script());
  HttpClient client;
  HttpCall call = CallTo(server.Url());
  call.method = "POST";
  call.headers = {{"Content-Type", "application/json"}};
  // libcurl would ask whether it may send so much.
  call.body = std::string(2'000'000, 'x') + std::string("\0y", 2);
  ASSERT_TRUE(Fetch(&client, call).ok());
  const std::string request = recorder.request();
  EXPECT_NE(request.find("Content-Type: application/json\r\n"),
            std::string::npos);
  EXPECT_EQ(request.find("Expect"), std::string::npos);
  EXPECT_EQ(request.substr(request.find("\r\n\r\n") + 4), call.body);
}

TEST(HttpClient, PostsAnEmptyBody) {
  Recorder recorder;
  ScriptedServer server(recorder.script());
  HttpClient client;
  HttpCall call = CallTo(server.Url());
  call.method = "POST";
  ASSERT_TRUE(Fetch(&client, call).ok());
  EXPECT_NE(recorder.request().find("Content-Length: 0\r\n"),
            std::string::npos);
  EXPECT_EQ(recorder.request().find("Content-Type"), std::string::npos);
}

TEST(HttpClient, FollowsNoRedirection) {
  Recorder elsewhere;
  ScriptedServer other(elsewhere.script());
  ScriptedServer server(Always("HTTP/1.1 302 Found\r\nLocation: " +
                               other.Url() + "\r\nContent-Length: 0\r\n\r\n"));
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(server.Url()));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 302);
  EXPECT_EQ(*answer->Header("location"), other.Url());
  EXPECT_EQ(elsewhere.request(), "");
}

TEST(HttpClient, OnlyTheFinalAnswersHeadersCount) {
  ScriptedServer server(Always(
      "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n"
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
      "HTTP/1.1 201 Made\r\nX-Late: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n1;ext=1\r\nd\r\n0\r\nX-Trailer: 1\r\n\r\n"));
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(server.Url()));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "abcd");
  EXPECT_EQ(answer->Header("x-early"), nullptr);
  EXPECT_EQ(answer->Header("link"), nullptr);
  EXPECT_EQ(answer->Header("x-trailer"), nullptr);
  EXPECT_NE(answer->Header("x-late"), nullptr);
}

TEST(HttpClient, TakesABodyThatEndsWithTheConnection) {
  ScriptedServer server([](ScriptedConnection& peer, size_t) {
    peer.ReadRequest();
    peer.Send("HTTP/1.1 200 OK\r\n\r\nto the end");
  });
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(server.Url()));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "to the end");
}

TEST(HttpClient, UnpacksNothing) {
  Recorder recorder;
  ScriptedServer server(
      Always("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
             "Content-Length: 2\r\n\r\nhi"));
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(server.Url()));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "hi");
}

TEST(HttpClient, UsesAConnectionAgain) {
  ScriptedServer server(Always(kOk));
  HttpClient client;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Fetch(&client, CallTo(server.Url())).ok());
  }
  EXPECT_EQ(client.num_connections(), 1u);
}

TEST(HttpClient, AConnectionThatTheServerClosedMeanwhileIsNoError) {
  // Closes each connection when the second request is there, or before.
  std::atomic<int> requests = 0;
  ScriptedServer server([&requests](ScriptedConnection& peer, size_t index) {
    if (!peer.ReadRequest().empty()) {
      ++requests;
      peer.Send(kOk);
      if (index % 2 == 0) {
        peer.ReadRequest();
      }
    }
  });
  HttpClient client;
  for (int i = 0; i < 6; ++i) {
    HttpCall call = CallTo(server.Url());
    call.method = i % 2 == 0 ? "GET" : "POST";
    call.body = "body";
    const auto answer = Fetch(&client, call);
    ASSERT_TRUE(answer.ok()) << i << answer.status();
    EXPECT_EQ(answer->body, "hi");
  }
  EXPECT_EQ(client.num_connections(), 6u);
  EXPECT_EQ(requests, 6);
}

TEST(HttpClient, ManyCallsAtOnceShareTheirConnections) {
  ScriptedServer server(Always(kOk));
  HttpClient client;
  size_t done = 0;
  for (int i = 0; i < 200; ++i) {
    client.Start(CallTo(server.Url()), [&done](absl::StatusOr<HttpAnswer> got) {
      EXPECT_TRUE(got.ok()) << got.status();
      ++done;
    });
  }
  EXPECT_EQ(client.num_running(), 200u);
  EXPECT_TRUE(RunUntil(&client, [&done] { return done == 200; }));
  EXPECT_LE(client.num_connections(), kMaxHttpCallsPerOrigin);
}

TEST(HttpClient, OneOriginDoesNotHoldUpAnother) {
  ScriptedServer silent(
      [](ScriptedConnection& peer, size_t) { peer.WaitForEnd(); });
  ScriptedServer server(Always(kOk));
  HttpClient client;
  for (int i = 0; i < 100; ++i) {
    client.Start(CallTo(silent.Url()), [](absl::StatusOr<HttpAnswer>) {});
  }
  EXPECT_TRUE(Fetch(&client, CallTo(server.Url())).ok());
  EXPECT_EQ(client.num_running(), 100u);
  client.Close();
  EXPECT_EQ(client.num_running(), 0u);
  EXPECT_EQ(client.NextDeadlineMs(), INT64_MAX);
  EXPECT_TRUE(Fetch(&client, CallTo(server.Url())).ok());
}

TEST(HttpClient, MoreCallsThanItHoldsEndAtOnce) {
  ScriptedServer silent(
      [](ScriptedConnection& peer, size_t) { peer.WaitForEnd(); });
  HttpClient client;
  for (size_t i = 0; i < kMaxHttpCalls; ++i) {
    client.Start(CallTo(silent.Url()), [](absl::StatusOr<HttpAnswer>) {});
  }
  const auto answer = Fetch(&client, CallTo(silent.Url()));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(HttpClient, ACallMayStartAnother) {
  ScriptedServer server(Always(kOk));
  HttpClient client;
  int done = 0;
  std::function<void(absl::StatusOr<HttpAnswer>)> again =
      [&](absl::StatusOr<HttpAnswer> got) {
        EXPECT_TRUE(got.ok()) << got.status();
        if (++done < 5) {
          client.Start(CallTo(server.Url()), again);
        }
      };
  client.Start(CallTo(server.Url()), again);
  EXPECT_TRUE(RunUntil(&client, [&done] { return done == 5; }));
  EXPECT_EQ(client.num_connections(), 1u);
}

TEST(HttpClient, Ipv6) {
  ScriptedServer server(Always(kOk), "::1");
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(server.Url()));
  EXPECT_TRUE(answer.ok()) << answer.status();
}

TEST(HttpClient, TheEnvironmentHasNoSay) {
  Recorder recorder;
  ScriptedServer proxy(recorder.script());
  ScriptedServer server(Always(kOk));
  for (const char* name : {"http_proxy", "https_proxy", "all_proxy"}) {
    setenv(name, proxy.Url().c_str(), 1);
  }
  HttpClient client;
  EXPECT_TRUE(Fetch(&client, CallTo(server.Url())).ok());
  EXPECT_EQ(recorder.request(), "");
  for (const char* name : {"http_proxy", "https_proxy", "all_proxy"}) {
    unsetenv(name);
  }
}

TEST(HttpClient, KeptConnectionsAreClosedAfterAWhile) {
  std::atomic<bool> closed = false;
  ScriptedServer server([&closed](ScriptedConnection& peer, size_t) {
    peer.ReadRequest();
    peer.Send(kOk);
    peer.WaitForEnd();
    closed = true;
  });
  HttpClient client;
  ASSERT_TRUE(Fetch(&client, CallTo(server.Url())).ok());
  const int64_t next_ms = client.NextDeadlineMs();
  EXPECT_GT(next_ms, MonotonicMs());
  client.HandlePollFds({}, next_ms - 1);
  EXPECT_NE(client.NextDeadlineMs(), INT64_MAX);
  client.HandlePollFds({}, next_ms);
  EXPECT_EQ(client.NextDeadlineMs(), INT64_MAX);
  EXPECT_TRUE(RunUntil(&client, [&closed] { return closed.load(); }));
}

TEST(HttpClient, LeavesNoDescriptors) {
  ScriptedServer silent(
      [](ScriptedConnection& peer, size_t) { peer.WaitForEnd(); });
  const int before = NumFds();
  for (int round = 0; round < 3; ++round) {
    HttpClient client;
    for (int i = 0; i < 20; ++i) {
      client.Start(CallTo(silent.Url()), [](absl::StatusOr<HttpAnswer>) {});
      client.Start(CallTo("http://localhost:1/"),
                   [](absl::StatusOr<HttpAnswer>) {});
    }
    for (int i = 0; i < 10; ++i) {
      Turn(&client, 10);
    }
  }
  // The server's ends stay with it.
  EXPECT_LE(NumFds() - before, 60);
}

}  // namespace
}  // namespace spicegate
