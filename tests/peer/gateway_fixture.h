// SPDX-License-Identifier: Apache-2.0
//
// A gateway for tests to talk to: on loopback, with the consoles that a test
// names, in this process or in one of its own. Tests see what everybody sees:
// listeners, the admin address, metrics.
#ifndef SPICEGATE_TESTS_PEER_GATEWAY_FIXTURE_H_
#define SPICEGATE_TESTS_PEER_GATEWAY_FIXTURE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/peer/peer_stream.h"
#include "tests/peer/spice_client.h"

namespace spicegate {

// A desktop behind the gateway.
struct GatewayConsole {
  std::string name;
  PeerAddress address = {};  // Plain TCP or unix; port 0 and no path: none.
  uint16_t tls_port = 0;
  std::string ca_pem = {};
  std::string host_subject = {};
  std::string password = {};
};

struct GatewayOptions {
  std::vector<GatewayConsole> consoles;
  int workers = 2;
  // Members of "limits", for example "server_link_ms": 500.
  std::map<std::string, int64_t> limits = {};
  // What synthetic peers send is no USB on a usbredir channel, and cut
  // anywhere.
  bool guard = false;
  // Whether there is a listener for HTTP CONNECT as well.
  bool connect = false;
  // More members of the configuration, as JSON text with a leading comma.
  std::string extra_json = {};
};

// The values of GET /metrics, one line each.
class GatewayMetrics {
 public:
  explicit GatewayMetrics(const std::string& text);

  // The value of `name` with exactly these labels, written as in
  // R"(channel="main",direction="client_to_server")", in any order; 0 for a
  // series that is not there.
  double Value(const std::string& name, const std::string& labels = "") const;
  // The sum of all series of `name`.
  double Sum(const std::string& name) const;
  // Whether any series of `name` is there.
  bool Has(const std::string& name) const;
  // All series of `name` that are not zero, for messages of failed tests.
  std::string NonZero(const std::string& name) const;

 private:
  // By name, then by sorted labels.
  std::map<std::string, std::map<std::string, double>> values_;
};

struct AdminAnswer {
  int status = 0;  // 0: no answer.
  std::string body;
};

// One request to an admin address on 127.0.0.1.
AdminAnswer SendHttpRequest(PeerLoop* loop, uint16_t port,
                            const std::string& method, const std::string& path);

// A running gateway with three listeners: plain, plain that answers
// NEED_SECURED, and TLS with a certificate of its own making.
class Gateway {
 public:
  virtual ~Gateway();

  PeerEndpoint plain() const { return {.address = {.port = plain_port_}}; }
  PeerEndpoint need_secured() const {
    return {.address = {.port = need_secured_port_}};
  }
  PeerEndpoint tls() const {
    return {.address = {.port = tls_port_}, .tls = &client_tls_};
  }
  // Only with GatewayOptions::connect.
  PeerAddress connect() const { return {.port = connect_port_}; }
  uint16_t admin_port() const { return admin_port_; }

  // A new ticket for a console; fails the test when there is none.
  std::string IssueTicket(const std::string& console);
  GatewayMetrics Metrics();
  // Polls until `reached` holds, ten seconds at most; returns the last values.
  GatewayMetrics WaitForMetrics(
      const std::function<bool(const GatewayMetrics&)>& reached);

  // Ends it the clean way; fails the test when it does not end so. Once.
  virtual void Stop() = 0;

 protected:
  explicit Gateway(const GatewayOptions& options);

  // "text" of the configuration file, which is written too.
  const std::string& config_json() const { return config_json_; }
  std::string config_path() const { return directory_ + "/config.json"; }
  void NoteListener(uint16_t port, bool tls, bool need_secured);
  void NoteConnectListener(uint16_t port) { connect_port_ = port; }
  void set_admin_port(uint16_t port) { admin_port_ = port; }

 private:
  std::string directory_;
  std::string config_json_;
  uint16_t plain_port_ = 0;
  uint16_t need_secured_port_ = 0;
  uint16_t tls_port_ = 0;
  uint16_t connect_port_ = 0;
  uint16_t admin_port_ = 0;
  const PeerTlsContext client_tls_ = PeerTlsContext::Client();
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_GATEWAY_FIXTURE_H_
