// SPDX-License-Identifier: Apache-2.0
#include "bench/load/options.h"

#include <charconv>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "bench/load/ping_pong.h"

namespace spicegate {
namespace {

// Echoed as one message, buffered whole on both sides.
constexpr int64_t kMaxPingLen = 60'000;

// One flag: whether it has a value, and what it does. "" or what was expected.
struct Flag {
  bool has_value = true;
  std::function<std::string(LoadOptions*, const std::string&)> set;
};

template <typename T>
bool ParseNumber(const std::string& text, T* out) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stop == end;
}

Flag Switch(bool LoadOptions::*member, bool value = true) {
  return {.has_value = false,
          .set = [member, value](LoadOptions* options, const std::string&) {
            options->*member = value;
            return std::string();
          }};
}

Flag Text(std::string LoadOptions::*member) {
  return {.set = [member](LoadOptions* options, const std::string& value) {
    options->*member = value;
    return std::string();
  }};
}

Flag Number(int64_t LoadOptions::*member, int64_t least, int64_t most) {
  return {.set = [=](LoadOptions* options, const std::string& value) {
    const bool good = ParseNumber(value, &(options->*member)) &&
                      options->*member >= least && options->*member <= most;
    return good ? std::string()
                : "a number from " + std::to_string(least) + " to " +
                      std::to_string(most);
  }};
}

Flag Seconds(double LoadOptions::*member) {
  return {.set = [=](LoadOptions* options, const std::string& value) {
    const bool good = ParseNumber(value, &(options->*member)) &&
                      options->*member >= 0 && options->*member <= 86'400;
    return std::string(good ? "" : "seconds, at most a day");
  }};
}

Flag Where(std::optional<Address> LoadOptions::*member) {
  return {.set = [=](LoadOptions* options, const std::string& value) {
    options->*member = ParseAddress(value);
    const bool good = (options->*member).has_value();
    return std::string(good ? "" : "IPV4:PORT, [IPV6]:PORT or unix:PATH");
  }};
}

template <typename T>
Flag Choice(T LoadOptions::*member, std::map<std::string, T> choices) {
  return {.set = [=](LoadOptions* options, const std::string& value) {
    std::string expected;
    for (const auto& [name, choice] : choices) {
      if (value == name) {
        options->*member = choice;
        return std::string();
      }
      expected += (expected.empty() ? "" : ", ") + name;
    }
    return "one of " + expected;
  }};
}

Flag TlsVersion() {
  return {.set = [](LoadOptions* options, const std::string& value) {
    const bool is_12 = value == "1.2";
    options->tls_options.version = is_12 ? 0x0303 : 0x0304;
    return std::string(is_12 || value == "1.3" ? "" : "1.2 or 1.3");
  }};
}

Flag TlsSuite() {
  return {.set = [](LoadOptions* options, const std::string& value) {
    TlsCipher& cipher = options->tls_options.cipher;
    cipher = value == "aes128_gcm"          ? TlsCipher::kAes128Gcm
             : value == "aes256_gcm"        ? TlsCipher::kAes256Gcm
             : value == "chacha20_poly1305" ? TlsCipher::kChaCha20Poly1305
                                            : TlsCipher::kAny;
    return std::string(cipher != TlsCipher::kAny
                           ? ""
                           : "one of aes128_gcm, aes256_gcm, "
                             "chacha20_poly1305");
  }};
}

Flag TlsResume() {
  return {.has_value = false, .set = [](LoadOptions* options, const auto&) {
            options->tls_options.resume = true;
            return std::string();
          }};
}

Flag WatchPid() {
  return {.set = [](LoadOptions* options, const std::string& value) {
    pid_t pid = 0;
    const bool good = ParseNumber(value, &pid) && pid > 0;
    options->watch_pids.push_back(pid);
    return std::string(good ? "" : "a process id");
  }};
}

const std::map<std::string, ScenarioKind>& Scenarios() {
  static const auto* const kScenarios = new std::map<std::string, ScenarioKind>{
      {"bulk", ScenarioKind::kBulk},
      {"pingpong", ScenarioKind::kPingpong},
      {"mixed", ScenarioKind::kMixed},
      {"storm", ScenarioKind::kStorm},
      {"churn", ScenarioKind::kChurn},
      {"idle", ScenarioKind::kIdle},
      {"session", ScenarioKind::kSession},
      {"tunnels", ScenarioKind::kTunnels},
  };
  return *kScenarios;
}

std::map<std::string, Flag> MakeFlags() {
  using O = LoadOptions;
  std::map<std::string, Flag> flags;
  flags["serve"] = Where(&O::serve);
  flags["serve-raw"] = Where(&O::serve_raw);
  flags["target"] = Where(&O::target);
  flags["admin"] = Where(&O::admin);
  flags["tls"] = Switch(&O::tls);
  flags["serve-tls"] = Switch(&O::serve_tls);
  flags["tls-version"] = TlsVersion();
  flags["tls-suite"] = TlsSuite();
  flags["tls-resume"] = TlsResume();
  flags["raw"] = Switch(&O::raw);
  flags["no-spin"] = Switch(&O::spin, false);
  flags["connect"] = Text(&O::connect);
  flags["ticket"] = Text(&O::ticket);
  flags["role"] = Choice<Role>(&O::role, {{"both", Role::kBoth},
                                          {"server", Role::kServer},
                                          {"client", Role::kClient}});
  flags["verify"] = Choice<Verify>(&O::verify, {{"none", Verify::kNone},
                                                {"stamps", Verify::kStamps},
                                                {"full", Verify::kFull}});
  flags["direction"] =
      Choice<bool>(&O::upload, {{"s2c", false}, {"c2s", true}});
  flags["seconds"] = Seconds(&O::seconds);
  flags["warmup"] = Seconds(&O::warmup);
  flags["hold"] = Seconds(&O::hold);
  flags["watch-pid"] = WatchPid();
  flags["seed"] = Number(&O::seed, 0, INT64_MAX);
  flags["consoles"] = Number(&O::consoles, 1, 100'000);
  flags["tickets"] = Number(&O::tickets, 0, 1'000'000);
  flags["streams"] = Number(&O::streams, 1, 10'000);
  flags["write-bytes"] =
      Number(&O::write_bytes, kMinFloodMessageLen, kMaxFloodMessageLen);
  flags["connections"] = Number(&O::connections, 1, 20'000);
  flags["message-bytes"] = Number(&O::message_bytes, kMinPingLen, kMaxPingLen);
  flags["rate"] = Number(&O::rate, 0, 100'000);
  flags["sessions"] = Number(&O::sessions, 1, 20'000);
  flags["floods"] = Number(&O::floods, 0, 1'000);
  flags["channels"] = Number(&O::channels, 1, 100'000);
  flags["burst"] = Number(&O::burst, 1, 100'000);
  flags["stalled"] = Number(&O::stalled, 0, 100'000);
  flags["concurrency"] = Number(&O::concurrency, 0, 10'000);
  return flags;
}

// What a scenario takes where nothing was said.
void SetDefaults(LoadOptions* options) {
  switch (options->scenario) {
    case ScenarioKind::kMixed:
      options->rate = 60;
      break;
    case ScenarioKind::kSession:
      options->rate = 60;
      options->sessions = 20;
      options->floods = 1;
      break;
    case ScenarioKind::kIdle:
      options->channels = 1'000;
      break;
    case ScenarioKind::kTunnels:
      options->channels = 2'000;
      options->raw = true;
      break;
    case ScenarioKind::kChurn:
      options->raw = true;
      break;
    default:
      break;
  }
}

std::string CheckTogether(LoadOptions* options) {
  if (options->raw && !options->serve_raw.has_value()) {
    options->serve_raw = std::exchange(options->serve, std::nullopt);
  }
  const bool serves = options->role != Role::kClient;
  if (serves && !options->serve.has_value() &&
      !options->serve_raw.has_value()) {
    return "--serve: where the synthetic server listens is needed";
  }
  if (!serves && !options->target.has_value()) {
    return "--target: where to connect is needed";
  }
  if (options->raw && options->scenario == ScenarioKind::kStorm) {
    return "--raw: storm is about links";
  }
  if (options->scenario == ScenarioKind::kTunnels &&
      options->burst > options->channels) {
    return "--burst: more than --channels";
  }
  if (options->stalled > options->channels) {
    return "--stalled: more than --channels";
  }
  return "";
}

std::string ParseFlags(const std::vector<std::string>& args,
                       LoadOptions* options) {
  static const auto* const kFlags =
      new std::map<std::string, Flag>(MakeFlags());
  for (size_t i = 1; i < args.size(); ++i) {
    const size_t equals = args[i].find('=');
    const std::string name = args[i].substr(0, equals);
    const auto flag = kFlags->find(name.size() > 2 ? name.substr(2) : "");
    if (name.substr(0, 2) != "--" || flag == kFlags->end()) {
      return args[i] + ": unknown";
    }
    std::string value;
    if (equals != std::string::npos) {
      value = args[i].substr(equals + 1);
    } else if (flag->second.has_value && ++i < args.size()) {
      value = args[i];
    }
    if (flag->second.has_value == value.empty()) {
      return name + (value.empty() ? ": needs a value" : ": takes no value");
    }
    const std::string expected = flag->second.set(options, value);
    if (!expected.empty()) {
      return name + ": expected " + expected;
    }
  }
  return "";
}

}  // namespace

const char* ScenarioName(ScenarioKind scenario) {
  for (const auto& [name, kind] : Scenarios()) {
    if (kind == scenario) {
      return name.c_str();
    }
  }
  return "";
}

ParsedOptions ParseOptions(const std::vector<std::string>& args) {
  ParsedOptions parsed;
  const auto scenario = Scenarios().find(args.empty() ? "" : args[0]);
  if (scenario == Scenarios().end()) {
    parsed.error =
        "expected bulk, pingpong, mixed, storm, churn, idle, session or "
        "tunnels";
    return parsed;
  }
  parsed.options.scenario = scenario->second;
  SetDefaults(&parsed.options);
  parsed.error = ParseFlags(args, &parsed.options);
  if (parsed.error.empty()) {
    parsed.error = CheckTogether(&parsed.options);
  }
  return parsed;
}

const char* UsageText() {
  return R"(spicegate-load SCENARIO [flags]

Scenarios
  bulk      --streams N --write-bytes B --direction s2c|c2s
  pingpong  --connections N --message-bytes B --rate HZ (0: closed loop)
  mixed     --sessions N --rate HZ beside --floods N --write-bytes B
  storm     sessions of --channels N, --concurrency C under way at a time
  churn     raw connections: one round trip each, --concurrency C at a time
  idle      --channels N in sessions of ten; --hold S, or a line on stdin
  session   --sessions N with everything that real ones have, --floods N
  tunnels   raw connections that stay: --channels N, the last --burst B of
            them within one second; then as idle, but --stalled S of them
            do not read what their servers send without end until then

Where
  --serve ADDR       the synthetic server: IPV4:PORT, [IPV6]:PORT, unix:PATH
  --serve-raw ADDR   the same without links, for --raw
  --target ADDR      where viewers connect; without it the server itself
  --role R           both, server or client
  --tls, --serve-tls TLS towards the target; at the server
  --tls-version V    1.2 or 1.3 and nothing else
  --tls-suite S      aes128_gcm, aes256_gcm or chacha20_poly1305; another
                     one is an error
  --tls-resume       resume sessions; otherwise all handshakes are full
  --connect H:P      HTTP CONNECT H:P first
  --raw              no SPICE link
  --admin ADDR       mint tickets there, consoles bench-00000 to --consoles N
  --ticket TEXT      what viewers present (without --admin) and servers expect

How
  --seconds S, --warmup S   measured window, and what comes before it
  --watch-pid PID           repeatable: CPU time within the window
  --verify V                none, stamps or full
  --tickets N, --seed N, --no-spin
)";
}

}  // namespace spicegate
