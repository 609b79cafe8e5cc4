// SPDX-License-Identifier: Apache-2.0
//
// For tests: a QEMU that has a monitor and a SPICE server to speak of, on a
// real unix socket in the test's own thread. It moves when it is told to, and
// like QEMU it serves one client at a time.
#ifndef SPICEGATE_GATEWAY_QMP_FAKE_QMP_H_
#define SPICEGATE_GATEWAY_QMP_FAKE_QMP_H_

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gateway/base/json.h"
#include "gateway/base/unique_fd.h"

namespace spicegate {

class FakeQmp {
 public:
  FakeQmp() {
    EXPECT_NE(mkdtemp(directory_), nullptr);
    path_ = std::string(directory_) + "/qmp";
    Listen();
  }
  ~FakeQmp() {
    StopListening();
    rmdir(directory_);
  }
  FakeQmp(const FakeQmp&) = delete;
  FakeQmp& operator=(const FakeQmp&) = delete;

  const std::string& path() const { return path_; }

  void Listen() {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path_.data(), path_.size());
    listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address),
                   sizeof(address)),
              0);
    EXPECT_EQ(listen(listener_.get(), 4), 0);
  }
  // As a QEMU that ends: connections and socket go.
  void StopListening() {
    socket_.Reset();
    listener_.Reset();
    unlink(path_.c_str());
  }
  // Hangs up on who is connected.
  void HangUp() { socket_.Reset(); }
  bool connected() const { return socket_.valid(); }

  // Does all that is to do now; false when that was nothing.
  bool Turn() {
    if (!socket_.valid()) {
      return Accept();
    }
    char buffer[16384];
    const ssize_t len = recv(socket_.get(), buffer, sizeof(buffer), 0);
    if (len == 0) {
      socket_.Reset();
      input_.clear();
      return true;
    }
    if (len > 0) {
      input_.append(buffer, static_cast<size_t>(len));
    }
    return AnswerNext() || len > 0;
  }

  void Say(const std::string& line) {
    const std::string text = line + "\r\n";
    send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }

  // What it says of the channel of a client at 127.0.0.1:`port`.
  static std::string Event(const std::string& name, int port) {
    return "{\"event\":\"" + name +
           "\",\"data\":{\"server\":{\"auth\":"
           "\"spice\",\"host\":\"127.0.0.1\",\"port\":\"5900\",\"family\":"
           "\"ipv4\"},\"client\":" +
           Channel("127.0.0.1", port) + "}}";
  }

  // One entry of query-spice's channels.
  static std::string Channel(const std::string& host, int port) {
    const char* family = host.find(':') == std::string::npos ? "ipv4" : "ipv6";
    return "{\"host\":\"" + host + "\",\"port\":\"" + std::to_string(port) +
           "\",\"family\":\"" + family +
           "\",\"channel-type\":2,\"channel-id\":0,\"connection-id\":-5," +
           "\"tls\":false}";
  }

  // What it is.
  std::string host = "127.0.0.1";
  int port = 5900;
  int tls_port = 0;
  std::string auth = "spice";
  std::string channels;  // entries, with commas between them

  // What it does wrong.
  bool greets = true;
  bool answers = true;       // false: it reads commands and keeps still
  std::string refuses;       // a command that gets an error
  std::string dies_at;       // a command at which the connection ends
  std::string hangs_at;      // a command that gets no answer
  std::string error = "no";  // what the error says

  // What happens to its channels when it sets a password.
  std::string event;

  // What it was told, "set_password PASSWORD keep" for instance; what it has
  // from that.
  std::vector<std::string> commands;
  std::string password;
  int num_connections = 0;

  // Commands since the last call.
  std::vector<std::string> TakeCommands() {
    std::vector<std::string> taken;
    taken.swap(commands);
    return taken;
  }

 private:
  bool Accept() {
    socket_.Reset(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
    if (!socket_.valid()) {
      return false;
    }
    ++num_connections;
    input_.clear();
    if (greets) {
      Say("{\"QMP\": {\"version\": {}, \"capabilities\": []}}");
    }
    return true;
  }

  // Whether there was a command to answer.
  bool AnswerNext() {
    const size_t end = input_.find('\n');
    if (!answers || end == std::string::npos) {
      return false;
    }
    const auto parsed = ParseJson(input_.substr(0, end));
    input_.erase(0, end + 1);
    if (!parsed.ok()) {
      ADD_FAILURE() << parsed.status();
      return true;
    }
    Answer(parsed->Find("execute")->AsString(), parsed->Find("arguments"),
           std::to_string(parsed->Find("id")->AsInt()));
    return true;
  }

  void Answer(const std::string& name, const JsonValue* arguments,
              const std::string& id) {
    if (name != "qmp_capabilities") {
      commands.push_back(name + Text(arguments, "password") +
                         Text(arguments, "connected") +
                         Text(arguments, "time"));
    }
    if (name == dies_at) {
      socket_.Reset();
    } else if (name == hangs_at) {
      return;
    } else if (name == refuses) {
      Say("{\"error\":{\"class\":\"GenericError\",\"desc\":\"" + error +
          "\"},\"id\":" + id + "}");
    } else {
      if (name == "set_password") {
        password = arguments->Find("password")->AsString();
        if (!event.empty()) {
          Say(event);
          channels = "";
        }
      }
      Say("{\"return\":" + (name == "query-spice" ? Spice() : "{}") +
          ",\"id\":" + id + "}");
    }
  }

  static std::string Text(const JsonValue* arguments, const char* key) {
    const JsonValue* value =
        arguments == nullptr ? nullptr : arguments->Find(key);
    return value == nullptr ? "" : " " + value->AsString();
  }

  std::string Spice() const {
    std::string text = "{\"migrated\":false,\"enabled\":true,\"auth\":\"" +
                       auth + "\",\"compiled-version\":\"0.15.1\",\"host\":\"" +
                       host + "\",\"mouse-mode\":\"server\",\"channels\":[" +
                       channels + "]";
    if (port != 0) {
      text += ",\"port\":" + std::to_string(port);
    }
    if (tls_port != 0) {
      text += ",\"tls-port\":" + std::to_string(tls_port);
    }
    return text + "}";
  }

  char directory_[32] = "/tmp/qmp_fake.XXXXXX";
  std::string path_;
  UniqueFd listener_;
  UniqueFd socket_;
  std::string input_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_FAKE_QMP_H_
