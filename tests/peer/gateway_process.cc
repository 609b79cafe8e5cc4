// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/gateway_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace spicegate {
namespace {

// Sanitizers and a busy machine make all of these slow.
constexpr int64_t kStartMs = 60'000;
constexpr int64_t kStopMs = 60'000;

bool HasEvent(const std::string& line, const std::string& event) {
  return line.find("\"event\":\"" + event + "\"") != std::string::npos;
}

uint16_t PortIn(const std::string& line) {
  const std::string key = "\"address\":\"";
  const size_t start = line.find(key) + key.size();
  const size_t colon = line.rfind(':', line.find('"', start));
  return static_cast<uint16_t>(std::atoi(line.c_str() + colon + 1));
}

}  // namespace

GatewayProcess::GatewayProcess(const GatewayOptions& options)
    : Gateway(options),
      process_(std::make_unique<ChildProcess>(std::vector<std::string>{
          TestDataPath("gateway/spicegate"), "--config", config_path()})) {
  const bool ready = process_->ReadErrorsUntil(
      [](const std::string& log) {
        const size_t at = log.find("\"event\":\"ready\"");
        return at != std::string::npos && log.find('\n', at) != log.npos;
      },
      kStartMs);
  if (!ready) {
    std::fprintf(stderr, "the gateway did not start:\n%s\n",
                 process_->errors().c_str());
    std::abort();
  }
  ReadListeners(process_->errors());
}

GatewayProcess::~GatewayProcess() {
  if (testing::Test::HasFailure() && process_ != nullptr) {
    std::fprintf(stderr, "log of the gateway:\n%s\n",
                 process_->errors().c_str());
  }
}

void GatewayProcess::ReadListeners(const std::string& log) {
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    if (HasEvent(line, "listening") &&
        line.find("\"protocol\":\"connect\"") != line.npos) {
      NoteConnectListener(PortIn(line));
    } else if (HasEvent(line, "listening")) {
      NoteListener(PortIn(line), line.find("\"tls\":true") != line.npos,
                   line.find("\"need_secured\":true") != line.npos);
    } else if (HasEvent(line, "admin_listening")) {
      set_admin_port(PortIn(line));
    }
  }
}

void GatewayProcess::Stop() {
  process_->Signal(SIGTERM);
  const std::optional<int> status = process_->WaitForExit(kStopMs);
  EXPECT_EQ(status, 0) << process_->errors();
}

}  // namespace spicegate
