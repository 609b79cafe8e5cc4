// SPDX-License-Identifier: Apache-2.0
#include "gateway/server.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/base/limits.h"
#include "gateway/base/log.h"
#include "gateway/cloud_check.h"
#include "gateway/io/listen.h"
#include "gateway/tls/client_context.h"
#include "gateway/version.h"

namespace spicegate {
namespace {

// Looking for changed files and expired tickets.
constexpr int64_t kTickMs = 1'000;
constexpr int64_t kPurgeMs = 5'000;

std::vector<int> AllowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) {
        cpus.push_back(cpu);
      }
    }
  }
  if (cpus.empty()) {
    cpus.push_back(-1);
  }
  return cpus;
}

std::string MachineName() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof(name) - 1);
  return name[0] != '\0' ? name : "localhost";
}

absl::Status CheckPem(const std::string& pem) {
  return ClientTlsContext::Create(pem, "", "localhost").status();
}

TicketVault::Options VaultOptions(const Config& config) {
  TicketVault::Options options;
  options.first_use_ms = config.tickets.first_use_s * 1000;
  options.max_tickets = config.limits.max_tickets;
  return options;
}

const char* ListenerProtocolName(ListenerProtocol protocol) {
  return protocol == ListenerProtocol::kConnect ? "connect" : "spice";
}

// Of "HOST:PORT".
uint16_t PortOf(const std::string& address) {
  return static_cast<uint16_t>(
      std::strtoul(address.c_str() + address.rfind(':') + 1, nullptr, 10));
}

// Its server is dialled without a look at who answers.
bool IsUnverified(const Console& console) { return console.ca_pem.empty(); }

// What an operator should know about where migrations lead.
void NoteDestinations(const Config& config, const ConsoleTable& table,
                      std::vector<std::string>* notes) {
  const std::vector<Console>& all = table.consoles();
  const auto first = std::find_if(all.begin(), all.end(), IsUnverified);
  if (!config.migration_destinations.any() || first == all.end()) {
    return;
  }
  const auto num = std::count_if(first, all.end(), IsUnverified);
  const std::string others =
      num == 1 ? "" : " (and " + std::to_string(num - 1) + " more)";
  notes->push_back(
      "migration.destinations is not given, and console " + first->name +
      others +
      " has no CA: whatever host its server names as a migration's "
      "destination is dialled");
}

}  // namespace

absl::StatusOr<CertificateFindings> CheckConfig(const Config& config) {
  std::vector<BoundListener> listeners;
  for (const ListenerConfig& listener : config.listeners) {
    listeners.push_back({listener.address, listener.tls, listener.need_secured,
                         listener.protocol});
  }
  const PublicEndpoint endpoint =
      ResolvePublicEndpoint(config.public_address, listeners, MachineName());
  absl::StatusOr<CertificateFindings> findings =
      CheckCertificateFiles(config, endpoint.host);
  if (!findings.ok()) {
    return findings;
  }
  if (absl::Status status = CheckAdminTls(
          config.admin.tls, WallClockMs() / 1000, &findings->warnings);
      !status.ok()) {
    return status;
  }
  if (absl::Status status =
          CheckClouds(config, WallClockMs() / 1000, &*findings);
      !status.ok()) {
    return status;
  }
  FileDirectory directory(config.consoles_path,
                          {&config.policies, config.guard}, CheckPem);
  if (absl::Status status = directory.Load(); !status.ok()) {
    return status;
  }
  WatchedFiles files;
  if (auto key = LoadProxmoxKey(config.proxmox, &files); !key.ok()) {
    return key.status();
  }
  const absl::Status usable = TargetTable::Build(directory.table()).status();
  NoteDestinations(config, *directory.table(), &findings->notes);
  return usable.ok() ? std::move(findings) : usable;
}

Server::Server(Config config)
    : config_(std::move(config)),
      stop_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      vault_(VaultOptions(config_)),
      directory_(config_.consoles_path, {&config_.policies, config_.guard},
                 CheckPem),
      certificates_(config_),
      machine_name_(MachineName()),
      console_access_(&shared_),
      connect_(config_, machine_name_),
      admin_tls_(config_.admin.tls),
      admin_(static_cast<AdminServices*>(this)),
      portal_tls_(config_),
      portal_(
          config_, &vault_,
          [this](const IssuedTicket& ticket) { return DirectFile(ticket); },
          [this] { return Ready().ok(); }) {}

Server::~Server() { StopWorkers(); }

absl::Status Server::Start() {
  ListenerSets sets;
  // What only one process can have comes first, and the first client last: a
  // second gateway started by mistake takes nothing from the one that runs.
  for (const auto& step : std::initializer_list<std::function<absl::Status()>>{
           [this] { return Probe(); },
           [this] { return ProbeTls(); },
           [this] { return LoadConsoles(); },
           [this] { return portal_.Load(); },
           [this] { return ListenAdmin(); },
           [this] { return ListenPortal(); },
           [this, &sets] { return Listen(&sets); },
           [this] { return LoadCertificate(); },
           [this] { return LoadPortalTls(); },
           [this] { return LoadConnect(); },
           [this] { return MakeLinkKey(); },
           [this, &sets] { return StartWorkers(std::move(sets)); },
       }) {
    if (absl::Status status = step(); !status.ok()) {
      return status;
    }
  }
  LogLine(LogLevel::kInfo, "admin_listening")
      .Str("address", admin_.address())
      .Bool("tls", config_.admin.tls.enabled());
  LogLine(LogLevel::kInfo, "ready")
      .Str("version", kVersion)
      .Int("workers", num_workers_)
      .Int("consoles", static_cast<int64_t>(consoles_->size()));
  return absl::OkStatus();
}

absl::Status Server::Probe() {
  num_workers_ = config_.workers != 0
                     ? config_.workers
                     : static_cast<int64_t>(AllowedCpus().size());
  const IoNeeds needs{num_workers_, config_.limits.max_links,
                      PortalServer::MaxConnections(config_)};
  if (absl::Status status = ProbeIo(needs, &probe_); !status.ok()) {
    return status;
  }
  config_.limits.max_links = probe_.max_links;
  LogProbe();
  return absl::OkStatus();
}

absl::Status Server::ProbeTls() {
  const TlsConfig& tls = config_.tls;
  OffloadPolicy& policy = shared_.offload;
  policy.client = tls.client_offload;
  policy.server = tls.server_offload;
  if (tls.offload == TlsOffload::kOff) {
    return absl::OkStatus();
  }
  policy.support = ProbeKernelTls();
  const std::string missing = policy.support.Missing();
  if (tls.offload == TlsOffload::kRequired && !missing.empty()) {
    return absl::FailedPreconditionError(
        "tls.offload is \"required\", but this kernel's TLS lacks " + missing +
        " (is the module loaded? modprobe tls)");
  }
  LogLine(LogLevel::kInfo, "tls_probe")
      .Bool("kernel_tls", !policy.support.None())
      .Str("missing", missing);
  return absl::OkStatus();
}

void Server::LogProbe() const {
  const IoFeatures& features = probe_.features;
  LogLine(LogLevel::kInfo, "io_probe")
      .Str("driver", "io_uring")
      .Bool("single_issuer", features.single_issuer)
      .Bool("defer_taskrun", features.defer_taskrun)
      .Bool("multishot_accept", features.multishot_accept)
      .Bool("recvsend_bundle", features.recvsend_bundle)
      .Bool("kernel_tls", features.kernel_tls)
      .Int("nofile_limit", probe_.nofile_limit)
      .Int("nofile_needed", probe_.nofile_needed)
      .Int("memlock_limit_bytes", probe_.memlock_limit_bytes)
      .Int("memlock_needed_bytes", probe_.memlock_needed_bytes)
      .Int("max_links", probe_.max_links);
}

absl::Status Server::LoadCertificate() {
  if (!config_.HasTlsListener() && !config_.PortalNeedsCertificate()) {
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  if (!config_.public_address.host.empty()) {
    names.push_back(config_.public_address.host);
  }
  names.push_back(machine_name_);
  for (const BoundListener& listener : bound_) {
    if (!listener.address.any()) {
      names.push_back(listener.address.host);
    }
  }
  const PublicEndpoint endpoint =
      ResolvePublicEndpoint(config_.public_address, bound_, machine_name_);
  const absl::Status status = certificates_.Load(
      names, endpoint.host, WallClockMs() / 1000, MonotonicMs());
  settings_.tls = certificates_.context();
  return status;
}

absl::Status Server::LoadPortalTls() {
  if (!config_.portal.enabled || !config_.portal.tls) {
    return absl::OkStatus();
  }
  return portal_tls_.Load(certificates_.context(), WallClockMs() / 1000,
                          MonotonicMs());
}

absl::Status Server::LoadConsoles() {
  if (absl::Status status = directory_.Load(); !status.ok()) {
    return status;
  }
  auto targets = TargetTable::Build(directory_.table());
  if (!targets.ok()) {
    return absl::InvalidArgumentError(directory_.path() + ": " +
                                      std::string(targets.status().message()));
  }
  UseConsoles(directory_.table(), *std::move(targets));
  LogLine(directory_.present() ? LogLevel::kInfo : LogLevel::kWarning,
          "consoles_loaded")
      .Str("file", directory_.path())
      .Bool("present", directory_.present())
      .Int("consoles", static_cast<int64_t>(consoles_->size()));
  return absl::OkStatus();
}

void Server::UseConsoles(std::shared_ptr<const ConsoleTable> table,
                         std::shared_ptr<const TargetTable> targets) {
  consoles_ = std::move(table);
  settings_.targets = std::move(targets);
  console_access_.SetConsoles(consoles_);
}

absl::Status Server::LoadConnect() {
  if (config_.FirstConnectListener() == nullptr) {
    return absl::OkStatus();
  }
  std::vector<uint16_t> ports;
  for (const BoundListener& listener : bound_) {
    ports.push_back(listener.address.port);
  }
  if (config_.admin.unix_path.empty()) {
    ports.push_back(PortOf(admin_.address()));
  }
  const absl::Status status = connect_.Load(std::move(ports));
  settings_.connect = connect_.settings();
  settings_.own_places = connect_.own_places();
  return status;
}

void Server::RefreshConnect() {
  if (!connect_.Refresh()) {
    return;
  }
  settings_.connect = connect_.settings();
  settings_.own_places = connect_.own_places();
  PostSettings();
}

absl::Status Server::ListenAdmin() {
  if (!config_.admin.tls.enabled()) {
    return admin_.Listen(config_.admin);
  }
  if (absl::Status status = admin_tls_.Load(WallClockMs() / 1000);
      !status.ok()) {
    return status;
  }
  return admin_.Listen(config_.admin,
                       [this](int fd) { return admin_tls_.Open(fd); });
}

absl::Status Server::ListenPortal() {
  if (!portal_.enabled()) {
    return absl::OkStatus();
  }
  if (!config_.portal.tls) {
    return portal_.Listen(nullptr);
  }
  return portal_.Listen([this](int fd) { return portal_tls_.Open(fd); });
}

absl::Status Server::Listen(ListenerSets* sets) {
  sets->resize(static_cast<size_t>(num_workers_));
  for (const ListenerConfig& listener : config_.listeners) {
    // The first socket settles the port; the others share it.
    BoundListener bound{listener.address, listener.tls, listener.need_secured,
                        listener.protocol};
    BindAddress& address = bound.address;
    if (absl::Status status = CheckAddressIsFree(address.host, address.port);
        !status.ok()) {
      return status;
    }
    for (size_t i = 0; i < sets->size(); ++i) {
      absl::StatusOr<UniqueFd> fd = ListenTcp(address.host, address.port);
      if (!fd.ok()) {
        return fd.status();
      }
      if (i == 0) {
        address.port = FromSockaddr(LocalAddress(fd->get()).storage).port;
        LogLine(LogLevel::kInfo, "listening")
            .Str("address", FormatBindAddress(address))
            .Str("protocol", ListenerProtocolName(listener.protocol))
            .Bool("tls", listener.tls)
            .Bool("need_secured", listener.need_secured);
        bound_.push_back(bound);
      }
      (*sets)[i].push_back({*std::move(fd), listener.tls, listener.need_secured,
                            listener.protocol == ListenerProtocol::kConnect,
                            listener.proxy_protocol, listener.proxy_from});
    }
  }
  return absl::OkStatus();
}

PublicPlace Server::ResolvePublicPlace() const {
  const PublicEndpoint endpoint =
      ResolvePublicEndpoint(config_.public_address, bound_, machine_name_);
  return {endpoint.host, ResolvePlainPort(config_.public_address, bound_),
          endpoint.tls_port, config_.public_address.host_subject};
}

absl::Status Server::StartWorkers(ListenerSets sets) {
  shared_.limits = config_.limits;
  shared_.guard = config_.guard;
  shared_.control = &mail_;
  shared_.policies = config_.policies;
  shared_.migrations.destinations = config_.migration_destinations;
  shared_.migrations.place = ResolvePublicPlace();
  shared_.vault = &vault_;
  shared_.resolver = &resolver_;
  shared_.strangers_resolver = &strangers_resolver_;
  const std::vector<int> cpus = AllowedCpus();
  for (size_t i = 0; i < sets.size(); ++i) {
    Worker::Options options;
    options.index = static_cast<int>(i);
    options.spin_us = config_.relay.spin_us;
    options.max_pipes =
        config_.relay.splice ? static_cast<size_t>(probe_.max_pipes) : 0;
    // More workers than CPUs: a test or a wish; then none is pinned.
    options.cpu = sets.size() <= cpus.size() ? cpus[i] : -1;
    options.listeners = std::move(sets[i]);
    options.settings = settings_;
    workers_.push_back(std::make_unique<Worker>(std::move(options), &shared_));
    shared_.workers.push_back(workers_.back().get());
  }
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (absl::Status status = workers_[i]->Start(); !status.ok()) {
      // Those that were not started have nothing to stop.
      workers_.resize(i);
      return status;
    }
  }
  for (const auto& worker : workers_) {
    worker->Post(AcceptRequest{});
  }
  return absl::OkStatus();
}

void Server::Run(int signal_fd) {
  while (!stopping_) {
    std::vector<pollfd> fds = {{stop_fd_.get(), POLLIN, 0},
                               {signal_fd, POLLIN, 0},
                               {mail_.fd(), POLLIN, 0}};
    const size_t num_own = fds.size();
    QmpService* const qmp = console_access_.qmp();
    qmp->AddPollFds(&fds);
    const size_t num_qmp = fds.size() - num_own;
    admin_.AddPollFds(&fds);
    const size_t num_admin = fds.size() - num_own - num_qmp;
    portal_.AddPollFds(&fds);
    const int64_t wait_ms = std::max<int64_t>(NextWakeMs() - MonotonicMs(), 0);
    poll(fds.data(), fds.size(), static_cast<int>(wait_ms));
    const int64_t now_ms = MonotonicMs();
    // What workers and monitors say may be an answer that the admin address
    // has to give.
    if ((fds[2].revents & POLLIN) != 0) {
      TakeMail();
    }
    std::span<const pollfd> others = std::span(fds).subspan(num_own);
    qmp->HandlePollFds(others.first(num_qmp), now_ms);
    others = others.subspan(num_qmp);
    admin_.HandlePollFds(others.first(num_admin), now_ms);
    portal_.HandlePollFds(others.subspan(num_admin), now_ms);
    if ((fds[0].revents & POLLIN) != 0) {
      stopping_ = true;
    }
    if ((fds[1].revents & POLLIN) != 0) {
      HandleSignal(signal_fd);
    }
    if (now_ms >= next_tick_ms_) {
      Tick();
    }
  }
  StopWorkers();
}

void Server::RequestStop() {
  const uint64_t one = 1;
  const ssize_t n = write(stop_fd_.get(), &one, sizeof(one));
  static_cast<void>(n);
}

int64_t Server::NextWakeMs() const {
  return std::min({console_access_.qmp()->NextDeadlineMs(),
                   admin_.NextDeadlineMs(), portal_.NextDeadlineMs(),
                   next_tick_ms_});
}

void Server::HandleSignal(int signal_fd) {
  signalfd_siginfo info{};
  if (read(signal_fd, &info, sizeof(info)) != sizeof(info)) {
    return;
  }
  if (info.ssi_signo == SIGHUP) {
    ReloadConsoles();
    RefreshAdminTls();
    RefreshCertificates();
    return;
  }
  stopping_ = true;
  // Whoever asks a second time does not want to wait for channels.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Server::Tick() {
  const int64_t now_ms = MonotonicMs();
  next_tick_ms_ = now_ms + kTickMs;
  ReloadConsoles();
  RefreshAdminTls();
  RefreshCertificates();
  RefreshConnect();
  portal_.Refresh();
  if (now_ms >= next_purge_ms_) {
    next_purge_ms_ = now_ms + kPurgeMs;
    vault_.Purge(now_ms);
  }
  if (now_ms >= next_key_ms_) {
    RotateLinkKey();
  }
}

void Server::ReloadConsoles() {
  const FileDirectory::Reload reload = directory_.ReloadIfChanged();
  if (reload == FileDirectory::Reload::kUnchanged) {
    return;
  }
  absl::Status status = directory_.error();
  if (reload == FileDirectory::Reload::kChanged) {
    auto targets =
        TargetTable::Build(directory_.table(), settings_.targets.get());
    if (targets.ok()) {
      UseConsoles(directory_.table(), *std::move(targets));
      ++console_reloads_;
      PostSettings();
      LogLine(LogLevel::kInfo, "consoles_loaded")
          .Str("file", directory_.path())
          .Bool("present", true)
          .Int("consoles", static_cast<int64_t>(consoles_->size()));
      return;
    }
    status = absl::InvalidArgumentError(
        directory_.path() + ": " + std::string(targets.status().message()));
  }
  ++console_reload_failures_;
  LogLine(LogLevel::kError, "consoles_refused")
      .Str("file", directory_.path())
      .Str("error", std::string(status.message()))
      .Int("consoles_kept", static_cast<int64_t>(consoles_->size()));
}

void Server::RefreshCertificates() {
  const int64_t wall_s = WallClockMs() / 1000;
  if (certificates_.context() != nullptr &&
      certificates_.Refresh(wall_s, MonotonicMs())) {
    settings_.tls = certificates_.context();
    PostSettings();
  }
  if (config_.portal.enabled && config_.portal.tls) {
    portal_tls_.Refresh(certificates_.context(), wall_s, MonotonicMs());
  }
}

void Server::TakeMail() {
  for (ControlMessage& message : mail_.TakeAll()) {
    std::visit([this](auto& value) { console_access_.On(std::move(value)); },
               message);
  }
}

void Server::RefreshAdminTls() {
  if (admin_tls_.Refresh(WallClockMs() / 1000)) {
    admin_.RetireConnections(MonotonicMs());
  }
}

absl::Status Server::MakeLinkKey() {
  std::shared_ptr<const LinkKey> key = LinkKey::Generate();
  if (key == nullptr) {
    return absl::ResourceExhaustedError("no memory for a link key");
  }
  settings_.link_key = std::move(key);
  next_key_ms_ = MonotonicMs() + kLinkKeyLifeMs;
  return absl::OkStatus();
}

void Server::RotateLinkKey() {
  if (MakeLinkKey().ok()) {
    PostSettings();
    return;
  }
  // The old key is as good as it was; the next tick tries again.
  LogLine(LogLevel::kWarning, "link_key_kept");
}

void Server::PostSettings() {
  for (const auto& worker : workers_) {
    worker->Post(settings_);
  }
}

void Server::StopWorkers() {
  if (workers_.empty()) {
    return;
  }
  LogLine(LogLevel::kInfo, "stopping");
  admin_.Close();
  portal_.Close();
  for (const auto& worker : workers_) {
    worker->Post(StopRequest{});
  }
  for (const auto& worker : workers_) {
    worker->Join();
  }
  console_access_.qmp()->Close();
  resolver_.Stop();
  strangers_resolver_.Stop();
  for (const auto& worker : workers_) {
    worker->DropMail();
  }
  workers_.clear();
  shared_.workers.clear();
  LogLine(LogLevel::kInfo, "stopped");
}

std::vector<const WorkerCounters*> Server::counters() const {
  std::vector<const WorkerCounters*> counters;
  for (const auto& worker : workers_) {
    counters.push_back(&worker->counters());
  }
  return counters;
}

}  // namespace spicegate
