// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/metrics.h"

#include <prometheus/text_serializer.h>

#include <array>
#include <sstream>
#include <string_view>

#include "gateway/base/close_reason.h"
#include "gateway/control/cloud_metrics.h"
#include "gateway/control/connect_metrics.h"
#include "gateway/control/guard_metrics.h"
#include "gateway/control/metric_families.h"

namespace spicegate {
namespace {

using prometheus::MetricType;

constexpr std::array<std::string_view, kNumSafeEnds> kSafeEndNames = {
    "not_needed", "waited", "server_ended", "timed_out"};
constexpr std::array<std::string_view, kNumEarlyDialOutcomes> kEarlyDialNames =
    {"used", "dropped", "refused"};
// By OffloadDirections.
constexpr std::array<std::string_view, kNumTlsOffloads> kOffloadNames = {
    "none", "send", "receive", "both"};
constexpr std::array<std::string_view, kNumTlsHandshakeOutcomes>
    kHandshakeNames = {"full", "resumed", "failed"};
constexpr std::array<std::string_view, kNumTlsLegs> kLegNames = {"client",
                                                                 "server"};
constexpr std::array<std::string_view, kNumTlsVersions> kVersionNames = {"1.2",
                                                                         "1.3"};
constexpr std::array<std::string_view, kNumTlsSuites> kSuiteNames = {
    "aes128_gcm", "aes256_gcm", "chacha20_poly1305", "other"};

// One series for each close reason.
template <typename Pick>
void AddByReason(const Workers& workers, const Pick& pick, Families* out) {
  for (size_t i = 0; i < kNumCloseReasons; ++i) {
    const auto counter = [&](const WorkerCounters& w) -> const Counter& {
      return pick(w)[i];
    };
    out->Add(Sum(workers, counter),
             {Named("reason", CloseReasonName(static_cast<CloseReason>(i)))});
  }
}

void AddLinks(const Workers& workers, Families* out) {
  out->Counter("spicegate_links_accepted_total", "Client connections accepted.",
               Sum(
                   workers, [](auto& w) -> auto& { return w.links_accepted; }));
  out->Gauge("spicegate_links_open", "Client connections now, in any state.",
             Sum(
                 workers, [](auto& w) -> auto& { return w.links_open; }));
  out->Begin(MetricType::Counter, "spicegate_links_refused_total",
             "Client connections that did not become a channel, by reason.");
  AddByReason(
      workers, [](auto& w) -> auto& { return w.links_refused; }, out);
  out->Counter("spicegate_accept_pauses_total",
               "Times a listener paused for want of file descriptors.",
               Sum(
                   workers, [](auto& w) -> auto& { return w.accept_pauses; }));
}

void AddSessions(const Workers& workers, Families* out) {
  out->Gauge("spicegate_sessions_open", "Sessions now.",
             Sum(
                 workers, [](auto& w) -> auto& { return w.sessions_open; }));
  out->Counter(
      "spicegate_sessions_opened_total", "Sessions begun.",
      Sum(
          workers, [](auto& w) -> auto& { return w.sessions_opened; }));
}

void AddChannels(const Workers& workers, Families* out) {
  out->Begin(MetricType::Counter, "spicegate_channels_opened_total",
             "Channels relayed since the start, by type.");
  AddByRelayed(
      workers, [](auto& w, size_t i) -> auto& { return w.channels_opened[i]; },
      {}, out);
  out->Begin(MetricType::Gauge, "spicegate_channels_open",
             "Channels relayed now, by type.");
  AddByRelayed(
      workers, [](auto& w, size_t i) -> auto& { return w.channels_open[i]; },
      {}, out);
  out->Begin(MetricType::Counter, "spicegate_channels_closed_total",
             "Channels that ended, by reason.");
  AddByReason(
      workers, [](auto& w) -> auto& { return w.channels_closed; }, out);
  out->Begin(MetricType::Counter, "spicegate_channel_bytes_total",
             "Bytes relayed inside channels, by type and direction.");
  AddByRelayed(
      workers,
      [](auto& w, size_t i) -> auto& { return w.bytes_client_to_server[i]; },
      {{"direction", "client_to_server"}}, out);
  AddByRelayed(
      workers,
      [](auto& w, size_t i) -> auto& { return w.bytes_server_to_client[i]; },
      {{"direction", "server_to_client"}}, out);
}

void AddSafeEnds(const Workers& workers, Families* out) {
  out->Begin(MetricType::Counter, "spicegate_display_safe_end_total",
             "Ends of display channels by what made the end safe for the "
             "server; timed_out was not safe.");
  for (size_t i = 0; i < kNumSafeEnds; ++i) {
    out->Add(
        Sum(
            workers, [i](auto& w) -> auto& { return w.display_safe_end[i]; }),
        {Named("outcome", kSafeEndNames[i])});
  }
}

void AddEarlyDials(const Workers& workers, Families* out) {
  out->Begin(MetricType::Counter, "spicegate_early_dials_total",
             "Servers dialled before the ticket of a session's further channel "
             "was here, by what became of it.");
  for (size_t i = 0; i < kNumEarlyDialOutcomes; ++i) {
    out->Add(Sum(
                 workers, [i](auto& w) -> auto& { return w.early_dials[i]; }),
             {Named("outcome", kEarlyDialNames[i])});
  }
}

void AddTlsConnections(const Workers& workers,
                       TlsConnectionCounters WorkerCounters::*counters,
                       Families* out) {
  for (size_t leg = 0; leg < kNumTlsLegs; ++leg) {
    for (size_t version = 0; version < kNumTlsVersions; ++version) {
      for (size_t suite = 0; suite < kNumTlsSuites; ++suite) {
        for (size_t offload = 0; offload < kNumTlsOffloads; ++offload) {
          const auto pick = [=](auto& w) -> auto& {
            return (w.*counters)[leg][version][suite][offload];
          };
          out->Add(Sum(workers, pick),
                   {Named("leg", kLegNames[leg]),
                    Named("version", kVersionNames[version]),
                    Named("cipher", kSuiteNames[suite]),
                    Named("offload", kOffloadNames[offload])});
        }
      }
    }
  }
}

void AddTls(const Workers& workers, Families* out) {
  out->Begin(MetricType::Gauge, "spicegate_tls_connections",
             "Relayed TLS connections now, by leg, version, cipher and the "
             "directions whose records the kernel makes.");
  AddTlsConnections(workers, &WorkerCounters::tls_connections_open, out);
  out->Begin(MetricType::Counter, "spicegate_tls_connections_total",
             "TLS connections that came to be relayed, likewise.");
  AddTlsConnections(workers, &WorkerCounters::tls_connections, out);
  out->Begin(MetricType::Counter, "spicegate_tls_handshakes_total",
             "TLS handshakes, by leg and outcome.");
  for (size_t leg = 0; leg < kNumTlsLegs; ++leg) {
    for (size_t i = 0; i < kNumTlsHandshakeOutcomes; ++i) {
      const auto pick = [=](auto& w) -> auto& {
        return w.tls_handshakes[leg][i];
      };
      out->Add(Sum(workers, pick), {Named("leg", kLegNames[leg]),
                                    Named("outcome", kHandshakeNames[i])});
    }
  }
  out->Begin(MetricType::Counter, "spicegate_tls_truncated_total",
             "Relayed TLS connections that their peer ended without "
             "close_notify.");
  for (size_t leg = 0; leg < kNumTlsLegs; ++leg) {
    out->Add(
        Sum(
            workers, [=](auto& w) -> auto& { return w.tls_truncated[leg]; }),
        {Named("leg", kLegNames[leg])});
  }
}

void AddResources(const Workers& workers, Families* out) {
  out->Gauge(
      "spicegate_relay_buffer_bytes",
      "Relay buffers that hold bytes not yet taken, each counted whole.",
      Sum(
          workers, [](auto& w) -> auto& { return w.relay_buffer_bytes; }));
  out->Begin(MetricType::Counter, "spicegate_relay_bytes_total",
             "Bytes relayed, by the way they went.");
  out->Add(Sum(
               workers, [](auto& w) -> auto& { return w.bytes_copied; }),
           {{"way", "copied"}});
  out->Add(Sum(
               workers, [](auto& w) -> auto& { return w.bytes_spliced; }),
           {{"way", "spliced"}});
  out->Gauge("spicegate_relay_pipes_in_use",
             "Pipes that bytes are passing through.",
             Sum(
                 workers, [](auto& w) -> auto& { return w.pipes_in_use; }));
  out->Counter("spicegate_relay_pipe_shortages_total",
               "Times bulk was copied because there was no pipe to be had.",
               Sum(
                   workers, [](auto& w) -> auto& { return w.pipe_shortages; }));
  out->Gauge("spicegate_ops_in_flight", "Kernel operations not yet completed.",
             Sum(
                 workers, [](auto& w) -> auto& { return w.ops_in_flight; }));
  out->Counter(
      "spicegate_completions_dropped_total",
      "Completions for operations that were over already; anything but 0 is "
      "a bug.",
      Sum(
          workers, [](auto& w) -> auto& { return w.completions_dropped; }));
  out->Gauge("spicegate_workers", "Worker threads.",
             static_cast<double>(workers.size()));
}

void AddSpins(const Workers& workers, Families* out) {
  out->Begin(MetricType::Counter, "spicegate_spins_total",
             "Searches for interactive work before a sleep, by outcome.");
  out->Add(Sum(
               workers, [](auto& w) -> auto& { return w.spins_hit; }),
           {{"outcome", "hit"}});
  out->Add(Sum(
               workers, [](auto& w) -> auto& { return w.spins_missed; }),
           {{"outcome", "miss"}});
  out->Counter("spicegate_spin_seconds_total", "Time spent in those searches.",
               Sum(
                   workers, [](auto& w) -> auto& { return w.spin_us; }) /
                   1e6);
}

void AddValues(const ProcessValues& values, Families* out) {
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  out->Counter("spicegate_tickets_issued_total", "Tickets issued.",
               number(values.tickets_issued));
  out->Gauge("spicegate_tickets", "Tickets issued and not yet over.",
             number(values.tickets_live));
  out->Gauge("spicegate_consoles", "Consoles in the directory.",
             number(values.consoles));
  out->Counter("spicegate_consoles_reloads_total",
               "Times a changed consoles file, or sockets that came or "
               "went, were taken over.",
               number(values.console_reloads));
  out->Counter("spicegate_consoles_reload_failures_total",
               "Times a changed consoles file was refused and the old one "
               "kept.",
               number(values.console_reload_failures));
  out->Counter("spicegate_log_lines_dropped_total",
               "Log lines lost because the reader was too slow.",
               number(values.log_lines_dropped));
  if (!values.io_features.empty()) {
    out->Begin(MetricType::Gauge, "spicegate_io_feature",
               "Kernel features, 1 when available.");
    for (const auto& [feature, in_use] : values.io_features) {
      out->Add(in_use ? 1 : 0, {{"feature", feature}});
    }
  }
  out->Begin(MetricType::Gauge, "spicegate_build_info",
             "Always 1; the version is in the label.");
  out->Add(1, {{"version", values.version}});
}

void AddCertificates(const CertificateValues& values, Families* out) {
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  if (values.expiry_unix_s == 0) {
    return;
  }
  out->Gauge("spicegate_tls_certificate_expiry_timestamp_seconds",
             "When the first certificate shown to clients ends, since 1970.",
             number(values.expiry_unix_s));
  out->Counter("spicegate_tls_certificate_reloads_total",
               "Times changed certificates were taken over.",
               number(values.reloads));
  out->Counter("spicegate_tls_certificate_reload_failures_total",
               "Times changed certificates were refused and the old ones kept.",
               number(values.reload_failures));
  out->Gauge("spicegate_tls_certificate_refused",
             "1 while the files of certificates and keys are of no use and "
             "older ones are shown.",
             values.refused ? 1 : 0);
  out->Counter("spicegate_tls_ticket_key_reloads_total",
               "Times a changed file of ticket keys was taken over.",
               number(values.ticket_key_reloads));
  out->Counter("spicegate_tls_ticket_key_reload_failures_total",
               "Times a changed file of ticket keys was refused and the old "
               "keys kept.",
               number(values.ticket_key_reload_failures));
  out->Gauge("spicegate_tls_ticket_keys_refused",
             "1 while the file of ticket keys is of no use and older ones are "
             "used.",
             values.ticket_keys_refused ? 1 : 0);
}

// The names and help texts that Prometheus' own client libraries use.
void AddProcess(const ProcessStats& stats, Families* out) {
  const auto gauge = [out](const char* name, const char* help, double value) {
    if (value >= 0) {
      out->Gauge(name, help, value);
    }
  };
  if (stats.cpu_seconds >= 0) {
    out->Counter("process_cpu_seconds_total",
                 "Total user and system CPU time spent in seconds.",
                 stats.cpu_seconds);
  }
  gauge("process_open_fds", "Number of open file descriptors.",
        static_cast<double>(stats.open_fds));
  gauge("process_max_fds", "Maximum number of open file descriptors.",
        static_cast<double>(stats.max_fds));
  gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
        static_cast<double>(stats.resident_memory_bytes));
  gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.",
        static_cast<double>(stats.virtual_memory_bytes));
  gauge("process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        stats.start_time_seconds);
}

}  // namespace

std::string MetricsText(const std::vector<const WorkerCounters*>& workers,
                        const ProcessValues& values) {
  Families families;
  AddLinks(workers, &families);
  AddConnect(workers, &families);
  AddSessions(workers, &families);
  AddChannels(workers, &families);
  AddSafeEnds(workers, &families);
  AddEarlyDials(workers, &families);
  AddGuard(workers, &families);
  AddMigrations(workers, &families);
  AddTls(workers, &families);
  AddResources(workers, &families);
  AddSpins(workers, &families);
  AddCertificates(values.certificates, &families);
  AddQmp(values.qmp, &families);
  AddPortal(values.portal, &families);
  AddClouds(values.clouds, &families);
  AddValues(values, &families);
  AddProcess(values.process, &families);
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families.list());
  return out.str();
}

}  // namespace spicegate
