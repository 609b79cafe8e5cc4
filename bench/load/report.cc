// SPDX-License-Identifier: Apache-2.0
#include "bench/load/report.h"

#include <array>
#include <cinttypes>
#include <cstdio>

namespace spicegate {
namespace {

constexpr std::array<double, 17> kCurve = {0,    10,   20,    30,    40,    50,
                                           60,   70,   80,    90,    95,    99,
                                           99.5, 99.9, 99.95, 99.99, 99.999};

std::string Number(double value, int digits) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string Us(double ns) { return Number(ns / 1000, 3); }

std::string Us(int64_t ns) { return Us(static_cast<double>(ns)); }

// Members of a JSON object, in the order they are added.
class Members {
 public:
  void Add(const char* name, const std::string& json) {
    text_ += text_.empty() ? "{\"" : ",\"";
    text_ += name;
    text_ += "\":" + json;
  }
  void Add(const char* name, uint64_t value) {
    Add(name, std::to_string(value));
  }
  // A number of the window, and what it is per second.
  void AddRate(const std::string& name, uint64_t value, double seconds) {
    Add(name.c_str(), value);
    Add((name + "_per_second").c_str(),
        Number(seconds > 0 ? static_cast<double>(value) / seconds : 0, 1));
  }
  std::string Close() const { return text_ + "}"; }

 private:
  std::string text_;
};

std::string Bytes(const SideBytes& bytes) {
  Members members;
  members.Add("sent", bytes.sent);
  members.Add("received", bytes.received);
  return members.Close();
}

// What of the command line a reader needs to know beside the figures.
void AddOptions(const LoadOptions& options, Members* members) {
  const auto number = [members](const char* name, int64_t value) {
    members->Add(name, static_cast<uint64_t>(value));
  };
  members->Add("scenario", JsonText(ScenarioName(options.scenario)));
  switch (options.scenario) {
    case ScenarioKind::kBulk:
      number("streams", options.streams);
      number("write_bytes", options.write_bytes);
      members->Add("direction", JsonText(options.upload ? "c2s" : "s2c"));
      break;
    case ScenarioKind::kMixed:
    case ScenarioKind::kSession:
      number("floods", options.floods);
      number("write_bytes", options.write_bytes);
      [[fallthrough]];
    case ScenarioKind::kPingpong:
      number("message_bytes", options.message_bytes);
      number("rate", options.rate);
      members->Add("coordinated_omission",
                   JsonText(options.rate > 0 ? "corrected" : "closed loop"));
      break;
    case ScenarioKind::kTunnels:
      number("burst", options.burst);
      number("stalled", options.stalled);
      break;
    default:
      break;
  }
  members->Add("raw", options.raw ? "true" : "false");
  members->Add("tls", options.tls ? "true" : "false");
}

std::string Handshakes(const TlsCounts& counts) {
  Members members;
  members.Add("full", counts.handshakes - counts.resumed);
  members.Add("resumed", counts.resumed);
  members.Add("last", JsonText(counts.last));
  return members.Close();
}

}  // namespace

std::string JsonText(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json += ' ';
    } else {
      json += c;
    }
  }
  return json + '"';
}

std::string HistogramJson(const Histogram& histogram) {
  Members members;
  members.Add("count", histogram.count());
  members.Add("p50", Us(histogram.Percentile(50)));
  members.Add("p90", Us(histogram.Percentile(90)));
  members.Add("p99", Us(histogram.Percentile(99)));
  members.Add("p99_9", Us(histogram.Percentile(99.9)));
  members.Add("max", Us(histogram.max()));
  members.Add("mean", Us(histogram.Mean()));
  std::string curve = "[";
  for (const double percentile : kCurve) {
    curve += "[" + Number(percentile, 3) + "," +
             Us(histogram.Percentile(percentile)) + "],";
  }
  members.Add("curve", curve + "[100," + Us(histogram.max()) + "]]");
  return members.Close();
}

std::string ResultJson(const LoadOptions& options, const Meter& meter,
                       const RunResult& result) {
  Members members;
  const Totals& window = result.window;
  members.Add("event", JsonText("result"));
  AddOptions(options, &members);
  members.Add("seconds", Number(result.seconds, 4));
  members.AddRate("bytes", window.flood_received, result.seconds);
  members.AddRate("messages", window.flood_messages, result.seconds);
  members.AddRate("round_trips", window.round_trips, result.seconds);
  // Where viewers stay, how many there were; none came within the window.
  const bool repeats = options.scenario == ScenarioKind::kStorm ||
                       options.scenario == ScenarioKind::kChurn ||
                       options.scenario == ScenarioKind::kTunnels;
  const Totals& opened = repeats ? window : meter.totals;
  const double seconds = repeats ? result.seconds : 0;
  members.AddRate("sessions", opened.sessions, seconds);
  members.AddRate("channels", opened.channels, seconds);
  members.AddRate("connections", opened.connections, seconds);
  members.Add("errors", meter.num_errors);
  members.Add("checksum_errors", meter.num_checksum_errors);
  members.Add("latency_us", HistogramJson(meter.latency));
  members.Add("setup_us", HistogramJson(meter.setup));
  members.Add("watched_cpu_ns", result.watched_cpu_ns.has_value()
                                    ? std::to_string(*result.watched_cpu_ns)
                                    : "null");
  members.Add("own_cpu_ns", static_cast<uint64_t>(result.own_cpu_ns));
  if (options.tls) {
    members.Add("handshakes", Handshakes(result.tls));
  }
  members.Add("server_bytes", Bytes(result.server));
  members.Add("client_bytes", Bytes(result.client));
  members.Add("load_average", Number(result.load_average, 2));
  if (!result.lowered.empty()) {
    members.Add("lowered", "{" + result.lowered + "}");
  }
  std::string errors;
  for (const std::string& error : meter.first_errors) {
    errors += (errors.empty() ? "" : ",") + JsonText(error);
  }
  members.Add("first_errors", "[" + errors + "]");
  return members.Close();
}

void Say(const std::string& json) {
  std::printf("%s\n", json.c_str());
  std::fflush(stdout);
}

}  // namespace spicegate
