// SPDX-License-Identifier: Apache-2.0
//
// A Proxmox cluster, as far as it signs tickets for the proxy of its nodes:
//   pvespiceproxy:<time>:<vmid>:<node>:<port>::<signature>
#ifndef SPICEGATE_TESTS_LOAD_PROXMOX_SIGNER_H_
#define SPICEGATE_TESTS_LOAD_PROXMOX_SIGNER_H_

#include <cstdint>
#include <string>

namespace spicegate {

class ProxmoxSigner {
 public:
  // `key` is what the cluster's key file holds.
  explicit ProxmoxSigner(const std::string& key);

  // What CONNECT asks for: a ticket of just now for a machine on the node that
  // is asked, and the port it was signed for. The same for a few seconds, as
  // the channels of one viewer have one ticket.
  std::string Target(int vmid, uint16_t port) const;

 private:
  std::string secret_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_LOAD_PROXMOX_SIGNER_H_
