// SPDX-License-Identifier: Apache-2.0
//
// Compares ways of moving bytes between two sockets on this machine's kernel.
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sysexits.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "bench/ways/comparison.h"

ABSL_FLAG(std::string, question, "", "only this question; see --list");
ABSL_FLAG(std::string, way, "", "only this way, beside the first");
ABSL_FLAG(std::string, workload, "", "only this workload");
ABSL_FLAG(bool, list, false, "print the questions and end");
ABSL_FLAG(bool, json, false, "print JSON lines instead of tables");
ABSL_FLAG(int, rounds, 5, "runs of every way under every workload");
ABSL_FLAG(double, seconds, 0.5, "measured in each run");
ABSL_FLAG(double, warmup, 0.15, "seconds before it");
ABSL_FLAG(std::string, congestion, "cubic",
          "congestion control of all sockets; empty: the machine's default");
ABSL_FLAG(int, relay_cpu, 0, "processor of the relay");
ABSL_FLAG(int, load_cpu, 1, "processor of clients and servers");

namespace spicegate {
namespace {

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

void PrintMachine(int num_rounds) {
  utsname machine{};
  uname(&machine);
  double load = 0;
  getloadavg(&load, 1);
  std::printf(
      "Linux %s, load %.2f, %d rounds: medians [quartiles]; ratios are to the "
      "first line\n",
      machine.release, load, num_rounds);
}

// Leaves what the flags ask for.
void Narrow(Question* question) {
  const std::string way = absl::GetFlag(FLAGS_way);
  const std::string workload = absl::GetFlag(FLAGS_workload);
  const std::string first = question->ways.front().name;
  if (!way.empty()) {
    std::erase_if(question->ways, [&](const Way& w) {
      return w.name != way && w.name != first;
    });
  }
  if (!workload.empty()) {
    std::erase_if(question->workloads,
                  [&](const Workload& w) { return w.name != workload; });
  }
}

int Main() {
  RunOptions options;
  options.seconds = absl::GetFlag(FLAGS_seconds);
  options.warmup_seconds = absl::GetFlag(FLAGS_warmup);
  options.relay_cpu = absl::GetFlag(FLAGS_relay_cpu);
  options.load_cpu = absl::GetFlag(FLAGS_load_cpu);
  options.congestion_control = absl::GetFlag(FLAGS_congestion);
  const std::string wanted = absl::GetFlag(FLAGS_question);
  const bool json = absl::GetFlag(FLAGS_json);
  const int num_rounds = absl::GetFlag(FLAGS_rounds);
  bool any = false;
  bool all_exact = true;
  size_t num_rows = 0;
  RaiseDescriptorLimit();
  if (!json && !absl::GetFlag(FLAGS_list)) {
    PrintMachine(num_rounds);
  }
  for (Question question : Questions()) {
    if (!wanted.empty() && question.name != wanted) {
      continue;
    }
    any = true;
    if (absl::GetFlag(FLAGS_list)) {
      std::printf("%-10s %s\n", question.name.c_str(), question.about.c_str());
      continue;
    }
    Narrow(&question);
    const std::vector<Row> rows = Compare(question, num_rounds, options);
    std::printf("%s", json ? JsonOf(rows).c_str() : TextOf(rows).c_str());
    std::fflush(stdout);
    num_rows += rows.size();
    for (const Row& row : rows) {
      all_exact = all_exact && row.num_wrong == 0;
    }
  }
  if (!absl::GetFlag(FLAGS_list) && num_rows == 0) {
    std::fprintf(stderr, "ways: no such question or workload; see --list\n");
    return EX_USAGE;
  }
  if (!all_exact) {
    std::fprintf(stderr, "ways: bytes were lost or damaged\n");
    return EX_SOFTWARE;
  }
  return any ? EX_OK : EX_USAGE;
}

}  // namespace
}  // namespace spicegate

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "compares ways of moving bytes between two sockets\n"
      "  ways [--question NAME] [--rounds N] [--seconds S] [--json]");
  absl::ParseCommandLine(argc, argv);
  return spicegate::Main();
}
