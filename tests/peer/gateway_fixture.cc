// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/gateway_fixture.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/peer/child_process.h"

namespace spicegate {
namespace {

constexpr int kPolls = 400;
constexpr int64_t kPollMs = 25;

std::string JsonString(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '\n') {
      json += "\\n";
    } else {
      json +=
          (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
    }
  }
  return json + "\"";
}

std::string ConsoleJson(const GatewayConsole& console) {
  std::string json = "{\"name\":" + JsonString(console.name);
  const auto add = [&json](const char* key, const std::string& value) {
    json += std::string(",\"") + key + "\":" + value;
  };
  if (!console.address.unix_path.empty()) {
    add("unix", JsonString(console.address.unix_path));
  } else {
    add("host", "\"127.0.0.1\"");
  }
  if (console.address.port != 0) {
    add("port", std::to_string(console.address.port));
  }
  if (console.tls_port != 0) {
    add("tls_port", std::to_string(console.tls_port));
    add("ca", JsonString(console.ca_pem));
  }
  if (!console.host_subject.empty()) {
    add("host_subject", JsonString(console.host_subject));
  }
  if (!console.password.empty()) {
    add("ticket", JsonString(console.password));
  }
  return json + "}";
}

std::string ConsolesJson(const std::vector<GatewayConsole>& consoles) {
  std::string json = "{\"consoles\":[";
  for (size_t i = 0; i < consoles.size(); ++i) {
    json += (i == 0 ? "\n" : ",\n") + ConsoleJson(consoles[i]);
  }
  return json + "]}\n";
}

std::string ConfigJson(const GatewayOptions& options,
                       const std::string& directory) {
  std::string limits;
  for (const auto& [name, value] : options.limits) {
    limits +=
        (limits.empty() ? "\"" : ",\"") + name + "\":" + std::to_string(value);
  }
  return "{\"workers\":" + std::to_string(options.workers) +
         ",\n\"listeners\":[{\"address\":\"127.0.0.1:0\"},"
         "{\"address\":\"127.0.0.1:0\",\"need_secured\":true},"
         "{\"address\":\"127.0.0.1:0\",\"tls\":true}" +
         (options.connect
              ? ",{\"address\":\"127.0.0.1:0\",\"protocol\":\"connect\"}"
              : "") +
         "],\n\"admin\":{\"address\":\"127.0.0.1:0\"},\n"
         "\"consoles\":" +
         JsonString(directory + "/consoles.json") +
         ",\n\"state_dir\":" + JsonString(directory + "/state") +
         ",\n\"guard\":" + (options.guard ? "\"enforce\"" : "\"off\"") +
         ",\n\"limits\":{" + limits + "}" + options.extra_json + "}\n";
}

// Labels in an order of their own, so that they can be compared.
std::string Sorted(const std::string& labels) {
  std::vector<std::string> parts;
  std::istringstream in(labels);
  for (std::string part; std::getline(in, part, ',');) {
    parts.push_back(part);
  }
  std::sort(parts.begin(), parts.end());
  std::string sorted;
  for (const std::string& part : parts) {
    sorted += part + ",";
  }
  return sorted;
}

PeerTask<AdminAnswer> RequestTask(PeerLoop* loop, PeerAddress address,
                                  std::string request) {
  AdminAnswer answer;
  int error = 0;
  std::unique_ptr<PeerStream> stream =
      co_await PeerStream::Connect(loop, address, &error);
  if (stream == nullptr) {
    co_return answer;
  }
  const auto bytes = proto::AsBytes(request);
  std::vector<uint8_t> received;
  if (co_await stream->Write(bytes) == 0) {
    co_await ReadToEnd(stream.get(), &received, 64 << 20);
  }
  const std::string text(received.begin(), received.end());
  const size_t body = text.find("\r\n\r\n");
  if (text.rfind("HTTP/1.1 ", 0) == 0 && body != std::string::npos) {
    answer.status = std::atoi(text.c_str() + 9);
    answer.body = text.substr(body + 4);
  }
  co_return answer;
}

}  // namespace

GatewayMetrics::GatewayMetrics(const std::string& text) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos) {
      continue;
    }
    const std::string series = line.substr(0, space);
    const size_t brace = series.find('{');
    const std::string labels =
        brace == std::string::npos
            ? ""
            : series.substr(brace + 1, series.size() - brace - 2);
    values_[series.substr(0, brace)][Sorted(labels)] =
        std::atof(line.c_str() + space + 1);
  }
}

double GatewayMetrics::Value(const std::string& name,
                             const std::string& labels) const {
  const auto family = values_.find(name);
  if (family == values_.end()) {
    return 0;
  }
  const auto series = family->second.find(Sorted(labels));
  return series == family->second.end() ? 0 : series->second;
}

double GatewayMetrics::Sum(const std::string& name) const {
  double sum = 0;
  const auto family = values_.find(name);
  if (family != values_.end()) {
    for (const auto& [labels, value] : family->second) {
      sum += value;
    }
  }
  return sum;
}

bool GatewayMetrics::Has(const std::string& name) const {
  return values_.count(name) != 0;
}

std::string GatewayMetrics::NonZero(const std::string& name) const {
  std::string text;
  const auto family = values_.find(name);
  if (family != values_.end()) {
    for (const auto& [labels, value] : family->second) {
      if (value != 0) {
        text += name + "{" + labels + "} " + std::to_string(value) + "\n";
      }
    }
  }
  return text;
}

AdminAnswer SendHttpRequest(PeerLoop* loop, uint16_t port,
                            const std::string& method,
                            const std::string& path) {
  PeerAddress address;
  address.port = port;
  return loop->Run(
      RequestTask(loop, address,
                  method + " " + path +
                      " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                      "Connection: close\r\n\r\n"));
}

Gateway::Gateway(const GatewayOptions& options)
    : directory_(MakeTestDir()), config_json_(ConfigJson(options, directory_)) {
  std::filesystem::create_directory(directory_ + "/state");
  WriteTestFile(directory_ + "/consoles.json", ConsolesJson(options.consoles));
  WriteTestFile(config_path(), config_json_);
}

Gateway::~Gateway() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void Gateway::NoteListener(uint16_t port, bool tls, bool need_secured) {
  (tls ? tls_port_ : need_secured ? need_secured_port_ : plain_port_) = port;
}

std::string Gateway::IssueTicket(const std::string& console) {
  PeerLoop loop;
  const AdminAnswer answer = SendHttpRequest(
      &loop, admin_port_, "POST", "/v1/consoles/" + console + "/ticket");
  EXPECT_EQ(answer.status, 201) << answer.body;
  const std::string key = "\"ticket\":";
  size_t at = answer.body.find(key);
  at = at == std::string::npos ? at : answer.body.find('"', at + key.size());
  if (at == std::string::npos) {
    ADD_FAILURE() << "no ticket in " << answer.body;
    return "";
  }
  return answer.body.substr(at + 1, answer.body.find('"', at + 1) - at - 1);
}

GatewayMetrics Gateway::Metrics() {
  PeerLoop loop;
  const AdminAnswer answer =
      SendHttpRequest(&loop, admin_port_, "GET", "/metrics");
  EXPECT_EQ(answer.status, 200);
  return GatewayMetrics(answer.body);
}

GatewayMetrics Gateway::WaitForMetrics(
    const std::function<bool(const GatewayMetrics&)>& reached) {
  GatewayMetrics metrics = Metrics();
  for (int i = 0; i < kPolls && !reached(metrics); ++i) {
    usleep(kPollMs * 1000);
    metrics = Metrics();
  }
  EXPECT_TRUE(reached(metrics));
  return metrics;
}

}  // namespace spicegate
