// SPDX-License-Identifier: Apache-2.0
//
// A program under test, started by the test and gone with it.
#ifndef SPICEGATE_TESTS_PEER_CHILD_PROCESS_H_
#define SPICEGATE_TESTS_PEER_CHILD_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace spicegate {

// Starts on construction, is killed and reaped on destruction; the kernel kills
// it when the constructing thread ends first. Its stderr is collected.
class ChildProcess {
 public:
  // `stdio_fd`, if any, becomes its standard input and output; the caller
  // keeps it open until then, and should make it blocking. Else input is empty
  // and output is the test's.
  explicit ChildProcess(const std::vector<std::string>& argv,
                        int stdio_fd = -1);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Reads stderr until `found` holds for all of it; false when the child ends
  // or `timeout_ms` passes before.
  bool ReadErrorsUntil(const std::function<bool(const std::string&)>& found,
                       int64_t timeout_ms);
  // All of stderr so far.
  const std::string& errors();

  void Signal(int number);
  // The exit status as waitpid() tells it, once the child has ended; nothing
  // after `timeout_ms` without that. Goes on reading stderr meanwhile.
  std::optional<int> WaitForExit(int64_t timeout_ms);
  bool running();
  // Resident memory, 0 once it has ended.
  uint64_t resident_bytes() const;
  // The same without files, of which its share grows when others that have
  // mapped them end (Pss_Anon).
  uint64_t private_bytes() const;
  pid_t pid() const { return pid_; }

 private:
  void ReadErrors(int wait_ms);
  void Reap(int options);

  pid_t pid_ = -1;
  int error_fd_ = -1;
  std::string errors_;
  std::optional<int> status_;
};

// A free TCP port of 127.0.0.1. Another process may take it before it is used.
uint16_t FreePort();

// The path of a file among the test's data, from the workspace root.
std::string TestDataPath(const std::string& path);

// A new directory for this test's files.
std::string MakeTestDir();
void WriteTestFile(const std::string& path, const std::string& text);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_CHILD_PROCESS_H_
