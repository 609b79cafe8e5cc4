// SPDX-License-Identifier: Apache-2.0
// gateway/http_client as a program. Reads lines "ID URL CA_FILE DEADLINE_MS"
// ("-": the system's trust store) and makes each call at once; as each is done
// writes "ID CODE STATUS NUM_CONNECTIONS MESSAGE", where CODE is OK or that of
// the error and STATUS the answer's or 0. Ends with its input, when all calls
// are done.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/base/clock.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {
namespace {

class Caller {
 public:
  int Run() {
    while (!at_end_ || client_.num_running() != 0) {
      Turn();
    }
    return 0;
  }

 private:
  void Turn() {
    std::vector<pollfd> fds = {{at_end_ ? -1 : STDIN_FILENO, POLLIN, 0}};
    client_.AddPollFds(&fds);
    const int64_t now_ms = MonotonicMs();
    const int64_t next_ms =
        std::clamp<int64_t>(client_.NextDeadlineMs(), now_ms, now_ms + 60'000);
    poll(fds.data(), fds.size(), static_cast<int>(next_ms - now_ms));
    if (fds[0].revents != 0) {
      Read();
    }
    client_.HandlePollFds(std::span(fds).subspan(1), MonotonicMs());
  }

  void Read() {
    char buffer[4096];
    const ssize_t len = read(STDIN_FILENO, buffer, sizeof(buffer));
    at_end_ = len <= 0;
    input_.append(buffer, static_cast<size_t>(std::max<ssize_t>(len, 0)));
    size_t end = 0;
    while ((end = input_.find('\n')) != std::string::npos) {
      Call(input_.substr(0, end));
      input_.erase(0, end + 1);
    }
  }

  void Call(const std::string& line) {
    std::istringstream words(line);
    std::string id;
    HttpCall call;
    words >> id >> call.url >> call.ca_path >> call.deadline_ms;
    if (call.ca_path == "-") {
      call.ca_path.clear();
    }
    client_.Start(
        std::move(call),
        [this, id](absl::StatusOr<HttpAnswer> answer) { Tell(id, answer); });
  }

  void Tell(const std::string& id, const absl::StatusOr<HttpAnswer>& answer) {
    const std::string code = absl::StatusCodeToString(answer.status().code());
    const std::string message(answer.status().message());
    std::printf("%s %s %d %llu %s\n", id.c_str(), code.c_str(),
                answer.ok() ? answer->status : 0,
                static_cast<unsigned long long>(client_.num_connections()),
                message.c_str());
    std::fflush(stdout);
  }

  HttpClient client_{"http_caller"};
  bool at_end_ = false;
  std::string input_;
};

}  // namespace
}  // namespace spicegate

int main() { return spicegate::Caller().Run(); }
