// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gateway/base/clock.h"
#include "gateway/control/metrics.h"

namespace spicegate {
namespace {

// The first bytes of a file of /proc; empty when it cannot be read.
std::string ReadProc(const char* path) {
  char buffer[1024];
  size_t len = 0;
  if (std::FILE* file = std::fopen(path, "re")) {
    len = std::fread(buffer, 1, sizeof(buffer), file);
    std::fclose(file);
  }
  return std::string(buffer, len);
}

void ReadMemory(ProcessStats* stats) {
  long long total = 0;
  long long resident = 0;
  if (std::sscanf(ReadProc("/proc/self/statm").c_str(), "%lld %lld", &total,
                  &resident) == 2) {
    const int64_t page_bytes = sysconf(_SC_PAGESIZE);
    stats->virtual_memory_bytes = total * page_bytes;
    stats->resident_memory_bytes = resident * page_bytes;
  }
}

void ReadDescriptors(ProcessStats* stats) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
      limit.rlim_cur != RLIM_INFINITY) {
    stats->max_fds = static_cast<int64_t>(limit.rlim_cur);
  }
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) {
    return;
  }
  int64_t count = 0;
  while (readdir(directory) != nullptr) {
    ++count;
  }
  closedir(directory);
  stats->open_fds = count - 3;  // ".", ".." and the directory's own
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_usec) / 1e6;
}

void ReadCpu(ProcessStats* stats) {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    stats->cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  }
}

// Field 22 of /proc/self/stat (proc(5)), in clock ticks since boot. The second
// field is the program's name in parentheses and may hold anything.
double StartAfterBoot() {
  const std::string stat = ReadProc("/proc/self/stat");
  size_t at = stat.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) {
    at = stat.find(' ', at + 1);
  }
  if (at == std::string::npos) {
    return -1;
  }
  return std::strtod(stat.c_str() + at, nullptr) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

void ReadStart(ProcessStats* stats) {
  const double start = StartAfterBoot();
  timespec up{};
  if (start >= 0 && clock_gettime(CLOCK_BOOTTIME, &up) == 0) {
    const double boot = static_cast<double>(WallClockMs()) / 1e3 -
                        static_cast<double>(up.tv_sec) -
                        static_cast<double>(up.tv_nsec) / 1e9;
    stats->start_time_seconds = boot + start;
  }
}

}  // namespace

ProcessStats ReadProcessStats() {
  ProcessStats stats;
  ReadMemory(&stats);
  ReadDescriptors(&stats);
  ReadCpu(&stats);
  // Once: the sum above wobbles, and a start that moves looks like a restart.
  static const double start_time_seconds = [] {
    ProcessStats first;
    ReadStart(&first);
    return first.start_time_seconds;
  }();
  stats.start_time_seconds = start_time_seconds;
  return stats;
}

}  // namespace spicegate
