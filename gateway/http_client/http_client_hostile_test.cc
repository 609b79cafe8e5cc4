// SPDX-License-Identifier: Apache-2.0
// Servers that are slow, broken or of bad will, and those that are not there.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <vector>

#include "gateway/base/unique_fd.h"
#include "gateway/http_client/http_client.h"
#include "gateway/http_client/http_server_fixture.h"

namespace spicegate {
namespace {

using absl::StatusCode;

// Sends `text` to each request and closes.
ScriptedServer::Script Once(std::string text) {
  return [text](ScriptedConnection& peer, size_t) {
    peer.ReadRequest();
    peer.Send(text);
  };
}

// Sends `begin`, then `more` for as long as anybody takes it.
ScriptedServer::Script Endless(std::string begin, std::string more) {
  return [=](ScriptedConnection& peer, size_t) {
    peer.ReadRequest();
    peer.Send(begin);
    while (peer.Send(more)) {
    }
  };
}

StatusCode CodeOf(ScriptedServer::Script script) {
  ScriptedServer server(std::move(script));
  HttpClient client;
  HttpCall call = CallTo(server.Url("/secret-path?secret-query"));
  call.headers = {{"X-Auth-Token", "secret-token"}};
  const auto answer = Fetch(&client, call);
  const std::string message(answer.status().message().data(),
                            answer.status().message().size());
  EXPECT_EQ(message.find("secret"), std::string::npos) << message;
  if (!answer.ok()) {
    EXPECT_EQ(message.rfind("127.0.0.1:", 0), 0u) << message;
  }
  return answer.status().code();
}

TEST(HttpClientHostile, CutOff) {
  const std::vector<std::string> texts = {
      "",
      "HTTP/1.1 200 OK\r\n",
      "HTTP/1.1 200 OK\r\nContent-Le",
      "HTTP/1.1 100 Continue\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
  };
  for (const std::string& text : texts) {
    HttpClient client;
    ScriptedServer server(Once(text));
    const auto answer = Fetch(&client, CallTo(server.Url()));
    EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable) << text;
    EXPECT_FALSE(answer.status().GetPayload(kNothingSent).has_value()) << text;
  }
}

TEST(HttpClientHostile, Garbage) {
  const std::vector<std::string> texts = {
      "SSH-2.0-OpenSSH_9.2\r\n",
      "an answer of HTTP/0.9",
      std::string(1000, '\0'),
      "HTTP/7.3 200 OK\r\n\r\n",
      "HTTP/1.1 abc\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: a" + std::string("\0b\r\n\r\n", 6),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\nab",
  };
  for (const std::string& text : texts) {
    EXPECT_EQ(CodeOf(Once(text)), StatusCode::kUnavailable) << text;
  }
}

TEST(HttpClientHostile, LongAnswers) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string line(2000, 'x');
  EXPECT_EQ(CodeOf(Once(ok + "Content-Length: 10000000\r\n\r\n" +
                        std::string(10'000'000, 'b'))),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(Endless(ok + "\r\n", line)), StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(Endless(ok + "Transfer-Encoding: chunked\r\n\r\n",
                           "7d0\r\n" + line + "\r\n")),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(Endless(ok, "X: " + line + "\r\n")),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(Endless(ok + "X: ", line)), StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(Endless("", "HTTP/1.1 100 Continue\r\n\r\n")),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(Endless(ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n",
                           "X: " + line + "\r\n")),
            StatusCode::kResourceExhausted);
}

TEST(HttpClientHostile, TheBoundOfABodyIsExact) {
  const auto body = [](size_t len) {
    return Once("HTTP/1.1 200 OK\r\n\r\n" + std::string(len, 'x'));
  };
  EXPECT_EQ(CodeOf(body(64 * 1024)), StatusCode::kOk);
  EXPECT_EQ(CodeOf(body(64 * 1024 + 1)), StatusCode::kResourceExhausted);
}

TEST(HttpClientHostile, ABodyThatUnpacksToMoreIsBoundedToo) {
  // 1 MiB of zeros, deflated twice would be less; this is gzip's head alone.
  EXPECT_EQ(CodeOf(Once("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" +
                        std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10))),
            StatusCode::kOk);
}

TEST(HttpClientHostile, UpgradesAreNoAnswer) {
  EXPECT_NE(CodeOf(Once("HTTP/1.1 101 Switching Protocols\r\n"
                        "Upgrade: x\r\nConnection: upgrade\r\n\r\n")),
            StatusCode::kOk);
}

// The one deadline is for everything, however much comes meanwhile.
void ExpectExpired(ScriptedServer::Script script) {
  ScriptedServer server(std::move(script));
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(server.Url("/secret"), 1000));
  EXPECT_EQ(answer.status().code(), StatusCode::kDeadlineExceeded)
      << answer.status();
  EXPECT_EQ(answer.status().message(),
            server.Url("").substr(7) + ": no answer in time");
}

TEST(HttpClientHostile, Silent) {
  ExpectExpired([](ScriptedConnection& peer, size_t) { peer.WaitForEnd(); });
}

TEST(HttpClientHostile, SlowHeaders) {
  ExpectExpired([](ScriptedConnection& peer, size_t) {
    peer.ReadRequest();
    peer.Send("HTTP/1.1 200 OK\r\n");
    while (peer.Send("X: y\r\n")) {
      poll(nullptr, 0, 20);
    }
  });
}

TEST(HttpClientHostile, SlowBody) {
  ExpectExpired([](ScriptedConnection& peer, size_t) {
    peer.ReadRequest();
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
    while (peer.Send("z")) {
      poll(nullptr, 0, 20);
    }
  });
}

TEST(HttpClientHostile, TooLateToBeSent) {
  ScriptedServer silent(
      [](ScriptedConnection& peer, size_t) { peer.WaitForEnd(); });
  HttpClient client;
  for (size_t i = 0; i < kMaxHttpCallsPerOrigin; ++i) {
    client.Start(CallTo(silent.Url()), [](absl::StatusOr<HttpAnswer>) {});
  }
  const auto answer = Fetch(&client, CallTo(silent.Url(), 100));
  EXPECT_EQ(answer.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answer.status().message(),
            silent.Url("").substr(7) + ": too many calls before this one");
}

TEST(HttpClientHostile, Refused) {
  std::string url;
  {
    ScriptedServer gone([](ScriptedConnection&, size_t) {});
    url = gone.Url();
  }
  HttpClient client;
  const auto answer = Fetch(&client, CallTo(url));
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(answer.status().GetPayload(kNothingSent).has_value());
}

TEST(HttpClientHostile, NoRoute) {
  // Linux connects to no broadcast address and sends nothing for it.
  HttpClient client;
  const auto answer = Fetch(&client, CallTo("http://255.255.255.255:80/"));
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable)
      << answer.status();
}

TEST(HttpClientHostile, NobodyAccepts) {
  // A full queue: the kernel drops what would begin another connection.
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  socklen_t len = sizeof(address);
  ASSERT_EQ(bind(listener.get(), any, len), 0);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  ASSERT_EQ(getsockname(listener.get(), any, &len), 0);
  std::vector<UniqueFd> queued;
  for (int i = 0; i < 4; ++i) {
    queued.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    connect(queued.back().get(), any, len);
  }
  const std::string place =
      "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  HttpClient client;
  const auto answer = Fetch(&client, CallTo("http://" + place, 1000));
  EXPECT_EQ(answer.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answer.status().message(), place + ": no connection in time");
}

TEST(HttpClientHostile, WhatIsNoUrl) {
  const std::vector<std::string> urls = {
      "",
      "keystone",
      "/v3",
      "http://",
      "http:///v3",
      "ftp://127.0.0.1/",
      "file:///etc/passwd",
      "gopher://127.0.0.1/",
      "http://user:password@127.0.0.1/",
      "http://127.0.0.1:70000/",
      "http://127.0.0.1/a b",
      "http://127.0.0.1/a\r\nX: y",
      "http://[::1/",
      std::string("http://127.0.0.1/\0x", 19),
  };
  HttpClient client;
  for (const std::string& url : urls) {
    const auto answer = Fetch(&client, CallTo(url));
    EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument) << url;
  }
  EXPECT_EQ(client.num_connections(), 0u);
}

TEST(HttpClientHostile, WhatCannotBeAHeader) {
  const std::vector<std::pair<std::string, std::string>> headers = {
      {"X", "secret\r\nY: z"}, {"X", "secret\n"}, {"X", std::string("\0", 1)},
      {"X: y\r\nZ", "secret"}, {"X Y", "secret"}, {"", "secret"},
      {"X;", "secret"},        {"X:Y", "secret"},
  };
  HttpClient client;
  for (const auto& header : headers) {
    HttpCall call = CallTo("http://127.0.0.1:1/");
    call.headers = {header};
    const auto answer = Fetch(&client, call);
    EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(answer.status().ToString().find("secret"), std::string::npos);
  }
}

TEST(HttpClientHostile, AnAnswerBeforeTheQuestion) {
  // Behind the first answer lies another one: it is not the second call's.
  std::atomic<int> connections = 0;
  ScriptedServer server([&connections](ScriptedConnection& peer, size_t) {
    ++connections;
    peer.ReadRequest();
    peer.Send(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    peer.WaitForEnd();
  });
  HttpClient client;
  for (int i = 0; i < 3; ++i) {
    const auto answer = Fetch(&client, CallTo(server.Url()));
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->body, "1");
  }
  EXPECT_EQ(connections, 3);
}

}  // namespace
}  // namespace spicegate
