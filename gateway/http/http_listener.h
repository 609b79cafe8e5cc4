// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_HTTP_HTTP_LISTENER_H_
#define SPICEGATE_GATEWAY_HTTP_HTTP_LISTENER_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "gateway/base/address.h"
#include "gateway/base/unique_fd.h"
#include "gateway/http/http_handler.h"

namespace spicegate {

// A listening socket, and the file of a unix one. Control thread only.
class HttpListener {
 public:
  // Errors begin with `name`.
  HttpListener(std::string name, int backlog);
  ~HttpListener();
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

  // Call one of both, once. An address of any() is every address, IPv6 and
  // IPv4 alike where there is IPv6. A unix socket gets mode 0600; a socket
  // file that is left from before is replaced when nobody answers on it, and
  // nothing else is.
  absl::Status ListenTcp(const BindAddress& address);
  absl::Status ListenUnix(const std::string& path);

  // A connection, non-blocking; `peer` is its address as HttpPeer has it.
  // Invalid with errno where accept(2) fails.
  UniqueFd Accept(std::string* peer) const;

  // Closes, and removes the socket file when it is still ours. The destructor
  // does the same.
  void Close();

  int fd() const { return fd_.get(); }
  bool listening() const { return fd_.valid(); }
  // "127.0.0.1:9480" with the port that the kernel chose, or "unix:PATH".
  const std::string& address() const { return address_; }
  HttpTransport transport() const { return transport_; }

 private:
  absl::Status Error(const std::string& address, const std::string& what) const;
  // What went wrong, by errno.
  absl::Status ListenError(const std::string& address, const char* what,
                           int error) const;
  absl::Status RemoveStaleSocket(const std::string& path) const;

  const std::string name_;
  const int backlog_;
  UniqueFd fd_;
  std::string address_;
  HttpTransport transport_ = HttpTransport::kLoopback;
  std::string unix_path_;  // to remove, when it is still ours
  dev_t unix_device_ = 0;
  ino_t unix_inode_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_HTTP_LISTENER_H_
