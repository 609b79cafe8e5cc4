// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/comparison.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace spicegate {
namespace {

__attribute__((format(printf, 1, 2))) std::string Format(const char* format,
                                                         ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

// Of one workload: runs by way, one for each round.
using Runs = std::vector<std::vector<RunResult>>;

Spread SpreadOf(const std::vector<RunResult>& runs,
                double (*value)(const RunResult&)) {
  std::vector<double> values;
  for (const RunResult& run : runs) {
    values.push_back(value(run));
  }
  return Spread::Of(std::move(values));
}

Spread RatioOf(const std::vector<RunResult>& runs,
               const std::vector<RunResult>& first,
               double (*value)(const RunResult&)) {
  std::vector<double> values;
  for (size_t i = 0; i < runs.size(); ++i) {
    values.push_back(value(runs[i]) / value(first[i]));
  }
  return Spread::Of(std::move(values));
}

double Cpu(const RunResult& run) { return run.cpu_ns_per_unit; }
double Rate(const RunResult& run) { return run.units_per_second; }
double P50(const RunResult& run) { return run.p50_us; }
double P99(const RunResult& run) { return run.p99_us; }

std::string WhyNotRun(const Way& way, const Workload& workload) {
  const std::string impossible = WhyImpossible(way);
  return impossible.empty() ? WhyPointless(way, workload) : impossible;
}

Runs RunRounds(const Question& question, const Workload& workload,
               int num_rounds, const RunOptions& options) {
  Runs runs(question.ways.size());
  for (int round = 0; round < num_rounds; ++round) {
    for (size_t i = 0; i < question.ways.size(); ++i) {
      if (WhyNotRun(question.ways[i], workload).empty()) {
        runs[i].push_back(RunOnce(question.ways[i], workload, options));
      }
    }
  }
  return runs;
}

Row RowOf(const Question& question, const Workload& workload, size_t way,
          const Runs& runs) {
  Row row;
  row.question = question.name;
  row.workload = workload.name;
  row.way = question.ways[way].name;
  row.not_run = WhyNotRun(question.ways[way], workload);
  if (!row.not_run.empty() || runs[0].empty()) {
    return row;
  }
  for (const RunResult& run : runs[way]) {
    row.num_wrong += run.num_wrong;
  }
  row.cpu = SpreadOf(runs[way], &Cpu);
  row.rate = SpreadOf(runs[way], &Rate);
  row.p50_us = SpreadOf(runs[way], &P50);
  row.p99_us = SpreadOf(runs[way], &P99);
  row.cpu_ratio = RatioOf(runs[way], runs[0], &Cpu);
  row.rate_ratio = RatioOf(runs[way], runs[0], &Rate);
  return row;
}

std::string LineOf(const Row& row) {
  if (!row.not_run.empty()) {
    return Format("  %-26s not run: %s\n", row.way.c_str(),
                  row.not_run.c_str());
  }
  std::string line =
      Format("  %-26s %5.2f [%4.2f-%4.2f] %7.2f [%4.2f-%4.2f]", row.way.c_str(),
             row.cpu_ratio.median, row.cpu_ratio.low, row.cpu_ratio.high,
             row.rate_ratio.median, row.rate_ratio.low, row.rate_ratio.high);
  if (row.p50_us.median > 0) {
    line += Format(" %8.0f ns %8.0f/s %7.1f %8.1f", row.cpu.median,
                   row.rate.median, row.p50_us.median, row.p99_us.median);
  } else {
    line +=
        Format(" %8.4f ns %6.2f GB/s", row.cpu.median, row.rate.median / 1e9);
  }
  return line + "\n";
}

std::string JsonOf(const char* name, const Spread& spread) {
  return Format(",\"%s\":{\"median\":%.6g,\"low\":%.6g,\"high\":%.6g}", name,
                spread.median, spread.low, spread.high);
}

}  // namespace

Spread Spread::Of(std::vector<double> values) {
  if (values.empty()) {
    return {};
  }
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return {values[n / 2], values[n / 4], values[n - 1 - n / 4]};
}

std::vector<Row> Compare(const Question& question, int num_rounds,
                         const RunOptions& options) {
  std::vector<Row> rows;
  for (const Workload& workload : question.workloads) {
    const Runs runs = RunRounds(question, workload, num_rounds, options);
    for (size_t i = 0; i < question.ways.size(); ++i) {
      rows.push_back(RowOf(question, workload, i, runs));
    }
  }
  return rows;
}

std::string TextOf(const std::vector<Row>& rows) {
  std::string text;
  std::string workload;
  for (const Row& row : rows) {
    if (row.workload != workload) {
      workload = row.workload;
      text += Format("%s: %s\n  %-26s %-17s %-19s %s\n", row.question.c_str(),
                     workload.c_str(), "", "CPU, ratio", "   rate, ratio",
                     row.p50_us.median > 0
                         ? "   CPU      rate       p50 us   p99 us"
                         : "   CPU a byte  rate");
    }
    text += LineOf(row);
  }
  return text;
}

std::string JsonOf(const std::vector<Row>& rows) {
  std::string text;
  for (const Row& row : rows) {
    text += Format("{\"question\":\"%s\",\"workload\":\"%s\",\"way\":\"%s\"",
                   row.question.c_str(), row.workload.c_str(), row.way.c_str());
    if (row.not_run.empty()) {
      text += JsonOf("cpu_ratio", row.cpu_ratio) +
              JsonOf("rate_ratio", row.rate_ratio) + JsonOf("cpu_ns", row.cpu) +
              JsonOf("per_second", row.rate) + JsonOf("p50_us", row.p50_us) +
              JsonOf("p99_us", row.p99_us);
    } else {
      text += ",\"not_run\":\"" + row.not_run + "\"";
    }
    text += "}\n";
  }
  return text;
}

}  // namespace spicegate
