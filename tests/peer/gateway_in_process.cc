// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/gateway_in_process.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "gateway/control/config.h"

namespace spicegate {

GatewayInProcess::GatewayInProcess(const GatewayOptions& options)
    : Gateway(options) {
  std::promise<Server*> started;
  control_ = std::thread([this, &started] { RunControl(&started); });
  server_ = started.get_future().get();
}

GatewayInProcess::~GatewayInProcess() { Stop(); }

void GatewayInProcess::RunControl(std::promise<Server*>* started) {
  auto config = ParseConfig(config_json(), config_path());
  if (!config.ok()) {
    std::fprintf(stderr, "%s\n", config.status().ToString().c_str());
    std::abort();
  }
  Server server(*std::move(config));
  if (const auto status = server.Start(); !status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::abort();
  }
  for (const BoundListener& listener : server.listeners()) {
    if (listener.protocol == ListenerProtocol::kConnect) {
      NoteConnectListener(listener.address.port);
    } else {
      NoteListener(listener.address.port, listener.tls, listener.need_secured);
    }
  }
  const std::string& admin = server.admin_address();
  set_admin_port(
      static_cast<uint16_t>(std::atoi(admin.c_str() + admin.rfind(':') + 1)));
  started->set_value(&server);
  server.Run(-1);
  // Whoever asked for the stop may still be inside the server.
  stop_requested_.get_future().wait();
}

void GatewayInProcess::Stop() {
  if (control_.joinable()) {
    server_->RequestStop();
    stop_requested_.set_value();
    control_.join();
  }
}

}  // namespace spicegate
