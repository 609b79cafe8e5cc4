// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/child_process.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace spicegate {
namespace {

using Clock = std::chrono::steady_clock;

// Between two looks at a child that says nothing.
constexpr int kPollMs = 5;

// In the child, between fork and exec.
[[noreturn]] void Become(const std::vector<std::string>& argv, int stdio_fd,
                         int error_fd, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    _exit(126);
  }
  const int null_fd = open("/dev/null", O_RDWR);
  dup2(stdio_fd >= 0 ? stdio_fd : null_fd, STDIN_FILENO);
  if (stdio_fd >= 0) {
    dup2(stdio_fd, STDOUT_FILENO);
  }
  dup2(error_fd, STDERR_FILENO);
  std::vector<char*> pointers;
  for (const std::string& argument : argv) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  execvp(pointers[0], pointers.data());
  std::perror(pointers[0]);
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& argv, int stdio_fd) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    std::perror("pipe2");
    std::abort();
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    Become(argv, stdio_fd, pipe_fds[1], parent);
  }
  close(pipe_fds[1]);
  error_fd_ = pipe_fds[0];
  fcntl(error_fd_, F_SETFL, O_NONBLOCK);
}

ChildProcess::~ChildProcess() {
  if (running()) {
    Signal(SIGKILL);
    Reap(0);
  }
  close(error_fd_);
}

void ChildProcess::ReadErrors(int wait_ms) {
  pollfd readable = {.fd = error_fd_, .events = POLLIN, .revents = 0};
  poll(&readable, 1, wait_ms);
  std::array<char, 4096> buffer;
  ssize_t n;
  while ((n = read(error_fd_, buffer.data(), buffer.size())) > 0) {
    errors_.append(buffer.data(), static_cast<size_t>(n));
  }
  if (n == 0 && wait_ms > 0) {
    usleep(static_cast<useconds_t>(wait_ms) * 1000);
  }
}

void ChildProcess::Reap(int options) {
  int status = 0;
  if (!status_.has_value() && waitpid(pid_, &status, options) == pid_) {
    status_ = status;
  }
}

bool ChildProcess::running() {
  Reap(WNOHANG);
  return !status_.has_value();
}

bool ChildProcess::ReadErrorsUntil(
    const std::function<bool(const std::string&)>& found, int64_t timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const bool alive = running();
    ReadErrors(alive ? kPollMs : 0);
    if (found(errors_)) {
      return true;
    }
    if (!alive || Clock::now() > deadline) {
      return false;
    }
  }
}

const std::string& ChildProcess::errors() {
  ReadErrors(0);
  return errors_;
}

void ChildProcess::Signal(int number) {
  if (running()) {
    kill(pid_, number);
  }
}

std::optional<int> ChildProcess::WaitForExit(int64_t timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (running() && Clock::now() < deadline) {
    ReadErrors(kPollMs);
  }
  ReadErrors(0);
  return status_;
}

uint64_t ChildProcess::resident_bytes() const {
  std::ifstream statm("/proc/" + std::to_string(pid_) + "/statm");
  uint64_t total_pages = 0;
  uint64_t resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t ChildProcess::private_bytes() const {
  std::ifstream rollup("/proc/" + std::to_string(pid_) + "/smaps_rollup");
  for (std::string word; rollup >> word;) {
    uint64_t kib = 0;
    if (word == "Pss_Anon:" && rollup >> kib) {
      return kib * 1024;
    }
  }
  return 0;
}

uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t len = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), len) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &len) != 0) {
    std::perror("FreePort");
    std::abort();
  }
  close(fd);
  return ntohs(address.sin_port);
}

std::string TestDataPath(const std::string& path) {
  const char* root = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (root == nullptr || workspace == nullptr) {
    return "bazel-bin/" + path;  // By hand, from the workspace root.
  }
  return std::string(root) + "/" + workspace + "/" + path;
}

std::string MakeTestDir() {
  // Short, because a unix socket's path has 107 bytes.
  std::string path = "/tmp/spicegate-test-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    std::perror("mkdtemp");
    std::abort();
  }
  return path;
}

void WriteTestFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file.good()) {
    std::fprintf(stderr, "%s: not written\n", path.c_str());
    std::abort();
  }
}

}  // namespace spicegate
