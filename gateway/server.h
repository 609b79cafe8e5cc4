// SPDX-License-Identifier: Apache-2.0
//
// The whole gateway in one object: it owns the workers, what they share, and
// the control loop with the admin address. Nothing here is on the way of a
// byte.
#ifndef SPICEGATE_GATEWAY_SERVER_H_
#define SPICEGATE_GATEWAY_SERVER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/admin_tls.h"
#include "gateway/auth/vault.h"
#include "gateway/base/unique_fd.h"
#include "gateway/certificate.h"
#include "gateway/connect_setup.h"
#include "gateway/console/file_directory.h"
#include "gateway/console_access.h"
#include "gateway/control/admin.h"
#include "gateway/control/admin_services.h"
#include "gateway/control/config.h"
#include "gateway/control/connection_file.h"
#include "gateway/control_mail.h"
#include "gateway/io/probe.h"
#include "gateway/portal_server.h"
#include "gateway/portal_tls.h"
#include "gateway/server_link/resolver.h"
#include "gateway/tls/server_context.h"
#include "gateway/worker.h"

namespace spicegate {

// Everything that can be wrong with a configuration beyond its own text:
// certificates and keys, the consoles file with its CAs and subjects. The first
// mistake, or what an operator should know all the same. Reads files, changes
// nothing.
absl::StatusOr<CertificateFindings> CheckConfig(const Config& config);

// Start, Run and the destructor belong to one thread, the control thread.
class Server final : private AdminServices {
 public:
  explicit Server(Config config);
  // Stops what still runs.
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Probes the kernel, loads what the configuration names, listens and starts
  // the workers. FailedPrecondition and Unavailable name a limit of the system
  // and the value needed; InvalidArgument names a file.
  absl::Status Start();

  // The control loop: admin requests, reloads, rotation. Returns after
  // RequestStop, or SIGTERM or SIGINT from `signal_fd` (a signalfd, or -1),
  // once every channel has ended the way its server survives. SIGHUP reloads.
  void Run(int signal_fd);

  // Any thread; safe in a signal handler.
  void RequestStop();

  // After Start: where it really listens, ports chosen by the kernel included.
  const std::vector<BoundListener>& listeners() const { return bound_; }
  const std::string& admin_address() const { return admin_.address(); }
  const std::string& portal_address() const { return portal_.address(); }

  // After Start, for tests and metrics: one for each worker.
  std::vector<const WorkerCounters*> counters() const;

  // AdminServices.
  void IssueTicket(const TicketRequest& request, TicketDone done) override;
  std::string MetricsText() override;

 private:
  using ListenerSets = std::vector<std::vector<Worker::ListenerOptions>>;

  // AdminServices.
  std::shared_ptr<const ConsoleTable> Consoles() override;
  bool HasPolicy(const std::string& name) override;
  bool CanDisconnect(const std::string& console) override;
  std::string VvFile(const TicketRequest& request,
                     const IssuedTicket& ticket) override;
  // With SPICE, or where no listener speaks it by itself, inside CONNECT.
  std::string DirectFile(const IssuedTicket& ticket);
  std::string ConnectFile(const IssuedTicket& ticket, const std::string& via);
  void Disconnect(const std::string& console, DisconnectDone done) override;
  bool Live() override;
  absl::Status Ready() override;

  absl::Status Probe();
  // What the kernel's TLS can take over, and whether that is enough.
  absl::Status ProbeTls();
  absl::Status ListenAdmin();
  absl::Status ListenPortal();
  absl::Status LoadCertificate();
  absl::Status LoadPortalTls();
  absl::Status LoadConsoles();
  absl::Status LoadConnect();
  absl::Status Listen(ListenerSets* sets);
  PublicPlace ResolvePublicPlace() const;
  // Whether a console can be had in the way that is asked for.
  absl::Status CheckRequest(const TicketRequest& request) const;
  absl::StatusOr<IssuedTicket> IssueFor(const TicketRequest& request,
                                        Console console);
  absl::Status MakeLinkKey();
  absl::Status StartWorkers(ListenerSets sets);
  void LogProbe() const;

  void Tick();
  void ReloadConsoles();
  void RefreshAdminTls();
  void RefreshCertificates();
  void RefreshConnect();
  void RotateLinkKey();
  void TakeMail();
  // The consoles are `table` from now on.
  void UseConsoles(std::shared_ptr<const ConsoleTable> table,
                   std::shared_ptr<const TargetTable> targets);
  void HandleSignal(int signal_fd);
  void PostSettings();
  void StopWorkers();
  int64_t NextWakeMs() const;

  Config config_;
  ProbeReport probe_;
  int64_t num_workers_ = 1;
  UniqueFd stop_fd_;  // an eventfd
  bool stopping_ = false;

  TicketVault vault_;
  Resolver resolver_;
  Resolver strangers_resolver_;
  FileDirectory directory_;
  // The table that workers have; older than the directory's when that could
  // not be used.
  std::shared_ptr<const ConsoleTable> consoles_;
  WorkerSettings settings_;
  std::vector<BoundListener> bound_;
  CertificateStore certificates_;
  const std::string machine_name_;

  ControlMail mail_;
  SharedState shared_;
  ConsoleAccess console_access_;
  ConnectSetup connect_;
  std::vector<std::unique_ptr<Worker>> workers_;
  AdminTls admin_tls_;
  AdminServer admin_;
  PortalTls portal_tls_;
  PortalServer portal_;

  int64_t next_tick_ms_ = 0;
  int64_t next_purge_ms_ = 0;
  int64_t next_key_ms_ = 0;
  int64_t console_reloads_ = 0;
  int64_t console_reload_failures_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_H_
