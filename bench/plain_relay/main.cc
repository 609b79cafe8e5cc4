// SPDX-License-Identifier: Apache-2.0
//
// Flags, signals, run. No logic.
#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/statusor.h"
#include "bench/plain_relay/plain_relay.h"
#include "gateway/io/uring_driver.h"
#include "gateway/tls/server_certificate.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/ticket_keys.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:0", "ADDRESS:PORT to accept at");
ABSL_FLAG(std::string, server, "", "ADDRESS:PORT or unix:PATH to connect to");
ABSL_FLAG(std::string, tls_certificate, "",
          "file with the certificate that clients are shown; none: plain");
ABSL_FLAG(std::string, tls_key, "", "file with its key");
ABSL_FLAG(int, cpu, -1, "processor to run on; -1: any");

namespace spicegate {
namespace {

// "127.0.0.1:80" or "[::1]:80". False when it is neither.
bool SplitAddress(const std::string& text, std::string* host, uint16_t* port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size()) {
    return false;
  }
  *host = text.substr(0, colon);
  if (host->size() > 2 && host->front() == '[' && host->back() == ']') {
    *host = host->substr(1, host->size() - 2);
  }
  char* end = nullptr;
  const unsigned long number = std::strtoul(&text[colon + 1], &end, 10);
  *port = static_cast<uint16_t>(number);
  return *end == '\0' && number <= UINT16_MAX;
}

bool ParseServer(const std::string& text, SocketAddress* address) {
  if (text.rfind("unix:", 0) == 0) {
    const absl::StatusOr<SocketAddress> unix_address =
        UnixAddress(text.substr(5));
    *address = unix_address.ok() ? *unix_address : SocketAddress{};
    return unix_address.ok();
  }
  std::string host;
  uint16_t port = 0;
  return SplitAddress(text, &host, &port) &&
         NumericAddress(host, port, address);
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

void PinTo(int cpu) {
  if (cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus);
  }
}

std::string FileText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// As the gateway: every suite, and tickets with keys of its own. Null: plain.
absl::StatusOr<std::shared_ptr<const ServerTlsContext>> MakeTls() {
  const std::string path = absl::GetFlag(FLAGS_tls_certificate);
  if (path.empty()) {
    return std::shared_ptr<const ServerTlsContext>();
  }
  auto certificate = ServerCertificate::Parse(
      FileText(path), FileText(absl::GetFlag(FLAGS_tls_key)), path);
  if (!certificate.ok()) {
    return certificate.status();
  }
  return ServerTlsContext::Create(
      {*std::move(certificate)},
      {.ticket_keys = std::make_shared<TicketKeyring>(
           TicketKeys::Rotate(/*old=*/nullptr))});
}

int StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int Refuse(int exit_code, const std::string& why) {
  std::fprintf(stderr, "plain-relay: %s\n", why.c_str());
  return exit_code;
}

int Main() {
  signal(SIGPIPE, SIG_IGN);  // splice(2) has no flag against it
  SocketAddress server;
  std::string host;
  uint16_t port = 0;
  if (!SplitAddress(absl::GetFlag(FLAGS_listen), &host, &port) ||
      !ParseServer(absl::GetFlag(FLAGS_server), &server)) {
    return Refuse(EX_USAGE, "needs --listen and --server addresses");
  }
  RaiseDescriptorLimit();
  PinTo(absl::GetFlag(FLAGS_cpu));
  const auto tls = MakeTls();
  if (!tls.ok()) {
    return Refuse(EX_USAGE, std::string(tls.status().message()));
  }
  const UniqueFd signals(StopSignals());
  auto driver = UringDriver::Create();
  auto listener = ListenTcp(host, port);
  if (!driver.ok() || !listener.ok()) {
    const absl::Status& status =
        driver.ok() ? listener.status() : driver.status();
    return Refuse(EX_UNAVAILABLE, std::string(status.message()));
  }
  const std::string address = AddressText(LocalAddress(listener->get()));
  PlainRelay relay(driver->get(), *std::move(listener), server, *tls);
  std::printf("{\"event\":\"listening\",\"address\":\"%s\"}\n",
              address.c_str());
  std::fflush(stdout);
  relay.Run(signals.get());
  std::printf("%s\n", relay.Summary().c_str());
  return EX_OK;
}

}  // namespace
}  // namespace spicegate

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "relays TCP with the gateway's own parts\n"
      "  plain-relay --listen ADDRESS:PORT --server ADDRESS:PORT [--cpu N]\n"
      "              [--tls_certificate FILE --tls_key FILE]");
  absl::ParseCommandLine(argc, argv);
  return spicegate::Main();
}
