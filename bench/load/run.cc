// SPDX-License-Identifier: Apache-2.0
#include "bench/load/run.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "bench/load/cpu_watch.h"

namespace spicegate {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// From the first connect to the last channel; nobody needs as long.
constexpr int64_t kSetUpNs = 120 * kSecondNs;
// From the end of the window until everything under way has arrived.
constexpr int64_t kGraceNs = 20 * kSecondNs;
// What both sides may take to notice each other's end.
constexpr int64_t kSettleNs = 2 * kSecondNs;
// The longest sleep of a loop that looks at flags.
constexpr int64_t kNapNs = kSecondNs / 10;
// A run that goes wrong this often has told enough.
constexpr uint64_t kTooManyErrors = 1'000;
// Messages of the session scenario, whatever --write-bytes says.
constexpr int64_t kLongestOtherMessage = 65'536;

volatile sig_atomic_t stop_asked = 0;

void AskToStop(int) { stop_asked = 1; }

int64_t Ns(double seconds) {
  return static_cast<int64_t>(seconds * static_cast<double>(kSecondNs));
}

Totals Difference(const Totals& end, const Totals& begin) {
  return {.flood_sent = end.flood_sent - begin.flood_sent,
          .flood_received = end.flood_received - begin.flood_received,
          .flood_messages = end.flood_messages - begin.flood_messages,
          .round_trips = end.round_trips - begin.round_trips,
          .sessions = end.sessions - begin.sessions,
          .channels = end.channels - begin.channels,
          .connections = end.connections - begin.connections};
}

}  // namespace

// A line on stdin, or its end.
class Run::Stdin final : public Watched {
 public:
  explicit Stdin(Loop* loop) : loop_(loop) {
    // Files and /dev/null cannot be waited for: they have ended.
    ended_ = !loop_->Watch(STDIN_FILENO, EPOLLIN, this);
  }
  ~Stdin() override {
    if (!ended_) {
      loop_->Unwatch(STDIN_FILENO);
    }
  }
  bool ended() const { return ended_; }

  void OnEvents(uint32_t) override {
    std::array<char, 256> dropped;
    (void)!read(STDIN_FILENO, dropped.data(), dropped.size());
    ended_ = true;
    loop_->Unwatch(STDIN_FILENO);
  }

 private:
  Loop* const loop_;
  bool ended_ = false;
};

Run::Run(LoadOptions options, int64_t max_descriptors)
    : options_(std::move(options)),
      pattern_(static_cast<size_t>(
          std::max(options_.write_bytes, kLongestOtherMessage))),
      shared_{.loop = &loop_,
              .pattern = &pattern_,
              .meter = &meter_,
              .verify = options_.verify},
      tickets_(options_.ticket) {
  result_.lowered = LowerTo(max_descriptors, &options_);
}

Run::~Run() = default;

bool Run::good() const {
  return meter_.num_errors == 0 && meter_.num_checksum_errors == 0;
}

template <typename Until>
bool Run::TurnUntil(int64_t deadline_ns, bool spin, Until until) {
  while (!until()) {
    const int64_t now_ns = NowNs();
    if (now_ns >= deadline_ns || meter_.num_errors > kTooManyErrors) {
      return false;
    }
    loop_.Turn(now_ns, spin ? 0 : std::min(deadline_ns, now_ns + kNapNs));
    if (scenario_ != nullptr) {
      scenario_->CleanUp();
    }
  }
  return true;
}

// ---- Begin.

std::string Run::Listen() {
  server_ = std::make_unique<Server>(
      &shared_,
      ServerOptions{.ticket = options_.ticket, .tls = options_.serve_tls});
  for (const bool raw : {false, true}) {
    const auto& address = raw ? options_.serve_raw : options_.serve;
    if (!address.has_value()) {
      continue;
    }
    Address bound;
    const std::string error = server_->Listen(*address, raw, &bound);
    if (!error.empty()) {
      return error;
    }
    if (!options_.target.has_value() && raw == options_.raw) {
      client_.target = bound;
      options_.tls = options_.serve_tls;
    }
    Say("{\"event\":\"listening\",\"address\":" + JsonText(bound.ToString()) +
        ",\"raw\":" + (raw ? "true" : "false") + "}");
  }
  return "";
}

std::string Run::PrepareViewers() {
  if (options_.target.has_value()) {
    client_.target = *options_.target;
  }
  client_.tls =
      options_.tls ? TlsContext::Client(options_.tls_options) : nullptr;
  if (options_.tls && client_.tls == nullptr) {
    return "--tls: BoringSSL does not take it";
  }
  if (client_.target.len == 0) {
    return "--target: where to connect is needed";
  }
  client_.connect = options_.connect;
  client_.raw = options_.raw;
  if (options_.admin.has_value() && !options_.raw) {
    const std::string error =
        tickets_.Mint(*options_.admin, TicketsOf(options_), options_.consoles);
    if (!error.empty()) {
      return error;
    }
  }
  scenario_ = MakeScenario({.shared = &shared_,
                            .options = &options_,
                            .client = &client_,
                            .tickets = &tickets_});
  return "";
}

std::string Run::Prepare() {
  signal(SIGPIPE, SIG_IGN);
  if (!result_.lowered.empty()) {
    Say("{\"event\":\"lowered\"," + result_.lowered + "}");
  }
  if (options_.role != Role::kClient) {
    const std::string error = Listen();
    if (!error.empty()) {
      return error;
    }
  }
  return options_.role == Role::kServer ? "" : PrepareViewers();
}

std::string Run::Execute() {
  const std::string error = Prepare();
  if (!error.empty()) {
    return error;
  }
  if (options_.role == Role::kServer) {
    Serve();
  } else {
    Drive();
  }
  result_.load_average = LoadAverage();
  if (server_ != nullptr) {
    result_.server = server_->bytes();
  }
  result_.client = meter_.client;
  CheckTls();
  return "";
}

// The server alone: until it is told to stop.
void Run::Serve() {
  signal(SIGTERM, AskToStop);
  signal(SIGINT, AskToStop);
  BeginWindow();
  const int64_t until_ns =
      options_.hold >= 0 ? NowNs() + Ns(options_.hold) : INT64_MAX;
  TurnUntil(until_ns, false, [] { return stop_asked != 0; });
  EndWindow();
}

// ---- The phases of a run with viewers.

void Run::BeginWindow() {
  begin_ = meter_.totals;
  begin_own_cpu_ns_ = OwnCpuTimeNs();
  begin_watched_cpu_ns_ = CpuTimeNs(options_.watch_pids);
  meter_.begin_ns = NowNs();
  meter_.end_ns = INT64_MAX;
}

void Run::EndWindow() {
  const std::optional<int64_t> watched_ns = CpuTimeNs(options_.watch_pids);
  meter_.end_ns = NowNs();
  result_.own_cpu_ns = OwnCpuTimeNs() - begin_own_cpu_ns_;
  result_.window = Difference(meter_.totals, begin_);
  result_.seconds = static_cast<double>(meter_.end_ns - meter_.begin_ns) /
                    static_cast<double>(kSecondNs);
  if (watched_ns.has_value() && begin_watched_cpu_ns_.has_value()) {
    result_.watched_cpu_ns = *watched_ns - *begin_watched_cpu_ns_;
  } else {
    meter_.Error("a process of --watch-pid is gone");
  }
}

void Run::Measure() {
  const auto never = [] { return false; };
  TurnUntil(NowNs() + Ns(options_.warmup), options_.spin, never);
  Say("{\"event\":\"measuring\"}");
  BeginWindow();
  TurnUntil(NowNs() + Ns(options_.seconds), options_.spin, never);
  EndWindow();
}

// Nothing happens: what it costs to be there.
void Run::Hold() {
  BeginWindow();
  Rest();
  EndWindow();
}

void Run::Rest() {
  Stdin input(&loop_);
  Say("{\"event\":\"ready\",\"channels\":" +
      std::to_string(meter_.totals.channels) + "}");
  const bool by_time = options_.hold >= 0;
  const int64_t until_ns = by_time ? NowNs() + Ns(options_.hold) : INT64_MAX;
  TurnUntil(until_ns, false, [&] { return !by_time && input.ended(); });
}

// Many come at once: what that costs. False when they do not all get in.
bool Run::Burst() {
  BeginWindow();
  scenario_->StartTraffic();
  TurnUntil(NowNs() + kSetUpNs, options_.spin,
            [this] { return scenario_->ready() || meter_.num_errors > 0; });
  EndWindow();
  if (scenario_->ready()) {
    Rest();
  }
  return scenario_->ready();
}

bool Run::FinishScenario() {
  const int64_t deadline_ns = NowNs() + kGraceNs;
  if (options_.scenario == ScenarioKind::kIdle ||
      options_.scenario == ScenarioKind::kTunnels) {
    scenario_->Probe();
    if (!TurnUntil(deadline_ns, options_.spin,
                   [this] { return scenario_->probed(); })) {
      return false;
    }
  }
  scenario_->Finish();
  return TurnUntil(deadline_ns, options_.spin,
                   [this] { return scenario_->finished(); });
}

void Run::Drive() {
  // The set-up's latencies count where nothing else is measured.
  const bool tunnels = options_.scenario == ScenarioKind::kTunnels;
  const bool repeats = options_.scenario == ScenarioKind::kStorm ||
                       options_.scenario == ScenarioKind::kChurn;
  meter_.end_ns = repeats || tunnels ? 0 : INT64_MAX;
  scenario_->Start();
  TurnUntil(NowNs() + kSetUpNs, options_.spin,
            [this] { return scenario_->ready() || meter_.num_errors > 0; });
  bool good = scenario_->ready();
  meter_.end_ns = 0;
  if (good && tunnels) {
    good = Burst() && FinishScenario();
  } else if (good) {
    scenario_->StartTraffic();
    if (options_.scenario == ScenarioKind::kIdle) {
      Hold();
    } else {
      Measure();
    }
    good = FinishScenario();
  }
  if (!good) {
    meter_.Error(scenario_->Missing());
  }
  const bool counts = good && scenario_->counts_agree();
  scenario_.reset();
  if (counts && options_.role == Role::kBoth) {
    CheckCounts();
  }
}

void Run::CheckTls() {
  if (client_.tls == nullptr) {
    return;
  }
  result_.tls = client_.tls->counts();
  if (result_.tls.unwanted > 0) {
    meter_.Error(std::to_string(result_.tls.unwanted) +
                 " handshakes with another suite than --tls-suite, such as " +
                 result_.tls.last_unwanted);
  }
}

// Everything has ended: what one side sent is what the other one received.
void Run::CheckCounts() {
  TurnUntil(NowNs() + kSettleNs, options_.spin,
            [this] { return server_->num_channels() == 0; });
  const SideBytes server = server_->bytes();
  if (server.sent != meter_.client.received ||
      server.received != meter_.client.sent) {
    meter_.Error("server sent " + std::to_string(server.sent) +
                 ", viewers received " +
                 std::to_string(meter_.client.received) + "; viewers sent " +
                 std::to_string(meter_.client.sent) + ", server received " +
                 std::to_string(server.received));
  }
}

}  // namespace spicegate
