// SPDX-License-Identifier: Apache-2.0
//
// The console directory `file`: consoles in one JSON file.
//
//   {"consoles": [{"name": "vm1", "title": "Windows 11", "host": "10.0.0.5",
//     "port": 5900, "tls_port": 5901, "unix": "/run/vm1.sock",
//     "ticket": "...", "ca": "PEM" | "ca_file": "FILE",
//     "host_subject": "O=Test,CN=vm.example.test",
//     "destination_ticket": "...", "policy": "NAME",
//     "guard": "enforce" | "count" | "off",
//     "qmp": "/run/vm1.qmp", "qmp_monitor": "shared" | "own"}],
//    "qmp": [{"sockets": "/run/qemu-server/*.qmp", "name": "vm-*", ...}]}
//
// `unix` excludes host and ports, `qmp` these all and the tickets; `tls_port`
// needs `ca` or `ca_file`. What stands in "qmp" at the top makes a console of
// each socket; '*' in its name and title is what it stands for in the socket's.
// Unknown keys are errors. Relative `ca_file` names start at the file's
// directory.
//
// Control thread only: everything here reads files.
#ifndef SPICEGATE_GATEWAY_CONSOLE_FILE_DIRECTORY_H_
#define SPICEGATE_GATEWAY_CONSOLE_FILE_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/console/console.h"
#include "gateway/console/console_patterns.h"
#include "gateway/console/policy.h"
#include "gateway/console/socket_pattern.h"
#include "gateway/console/watched_files.h"

namespace spicegate {

// A file of 100 000 consoles, a quarter of them with an inlined CA, is 60 MB.
inline constexpr size_t kMaxConsolesFileBytes = 64 * 1024 * 1024;

// One PEM bundle. The bundle of all public CAs is 220 kB.
inline constexpr size_t kMaxCaBytes = 1024 * 1024;

// Judges a PEM: OK, or why it cannot be a trust anchor. Given by the caller
// because this directory knows no TLS library.
using PemCheck = std::function<absl::Status(const std::string& pem)>;

// Gives the content of a file that a consoles file refers to.
using FileFetch =
    std::function<absl::StatusOr<std::string>(const std::string& path)>;

// What the configuration says for consoles.
struct ConsoleDefaults {
  // What "policy" may name. Null: no policies. Outlives whoever has this.
  const PolicySet* policies = nullptr;
  // Of consoles without "guard".
  GuardMode guard = GuardMode::kEnforce;
};

// Parses a whole consoles file. `file_name` stands in front of every error:
// "FILE: consoles[3].tls_port: expected a port from 1 to 65535, got 70000".
// `pem_check` may be null. Tickets never appear in an error.
absl::StatusOr<ConsolesFile> ParseConsoles(const std::string& text,
                                           const std::string& file_name,
                                           const ConsoleDefaults& defaults,
                                           const FileFetch& fetch,
                                           const PemCheck& pem_check);

class FileDirectory {
 public:
  enum class Reload : uint8_t {
    kUnchanged,
    kChanged,  // table() is a new one
    kRefused,  // error() says why; table() is the old one
  };

  // Nothing is read yet: table() is empty. `pem_check` may be null.
  FileDirectory(std::string path, const ConsoleDefaults& defaults,
                PemCheck pem_check, SocketList list_sockets = ListSockets);

  // The first reading. An absent file gives an empty table and is looked for
  // again by ReloadIfChanged. After an error the table is empty, and the file
  // is read again once it has changed.
  absl::Status Load();

  // Looks whether the file, or a ca_file it refers to, is another one than was
  // read last (device, inode, size, times), and reads it again if so. A bad
  // file is refused whole, and once: later calls say kUnchanged until it
  // changes again. A file that vanishes counts as bad, because many editors
  // replace a file by deleting it first; a file with no consoles empties the
  // table. Also looks for sockets that have come or gone, by the patterns of
  // the last good file.
  Reload ReloadIfChanged();

  // Never null.
  const std::shared_ptr<const ConsoleTable>& table() const { return table_; }

  // Why the file was refused last; OK after a successful reading.
  const absl::Status& error() const { return error_; }

  // The file was there when it was last looked at.
  bool present() const { return present_; }

  const std::string& path() const { return path_; }

 private:
  absl::StatusOr<ConsolesFile> Read();
  Reload ReloadFile();
  void MakeTable(PatternSockets sockets);

  const std::string path_;
  const ConsoleDefaults defaults_;
  const PemCheck pem_check_;
  const SocketList list_sockets_;
  ConsolesFile file_;       // the last good one; no consoles without patterns
  PatternSockets sockets_;  // that table_ was made of
  std::shared_ptr<const ConsoleTable> table_;
  absl::Status error_;
  bool present_ = false;
  // What the last reading, good or bad, was made of.
  WatchedFiles files_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_FILE_DIRECTORY_H_
