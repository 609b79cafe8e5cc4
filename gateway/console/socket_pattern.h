// SPDX-License-Identifier: Apache-2.0
//
// Sockets by a pattern of their names, as hypervisors lay them out:
// /var/run/qemu-server/*.qmp, /var/lib/libvirt/qemu/domain-*/qmp.sock.
//
// Control thread only: it reads directories.
#ifndef SPICEGATE_GATEWAY_CONSOLE_SOCKET_PATTERN_H_
#define SPICEGATE_GATEWAY_CONSOLE_SOCKET_PATTERN_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace spicegate {

// Longest path of a unix socket: sockaddr_un has room for one byte more, the
// terminating zero.
inline constexpr size_t kMaxSocketPathLen = 107;

// Entries of a directory that are looked at, whatever their names. A Proxmox
// node has five for each desktop.
inline constexpr size_t kMaxDirectoryEntries = 500'000;

struct SocketMatch {
  std::string path;
  std::string middle;  // what the pattern's '*' stands for; may be empty

  bool operator==(const SocketMatch&) const = default;
};

// An absolute path of at most kMaxSocketPathLen bytes with exactly one '*', in
// the name of the socket or of one directory on the way to it.
bool IsSocketPattern(std::string_view pattern);

// The sockets that `pattern` (IsSocketPattern) matches, at most `max_matches`,
// in the order of their paths' bytes. As shells have it, '*' stands for any
// number of characters but, at the beginning of a name, not for a dot. Symbolic
// links are followed. A directory that cannot be read has none; nor have paths
// that are too long for a socket.
std::vector<SocketMatch> ListSockets(const std::string& pattern,
                                     size_t max_matches);

// The same as a parameter, so that tests need no directory.
using SocketList = std::function<std::vector<SocketMatch>(
    const std::string& pattern, size_t max_matches)>;

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_SOCKET_PATTERN_H_
