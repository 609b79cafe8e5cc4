// SPDX-License-Identifier: Apache-2.0
//
// The system calls of TLS in the kernel (linux/tls.h, Documentation/networking/
// tls.rst), on plain descriptors: what UringDriver does, and the probe. The
// contract of each is IoDriver's. No state; any thread.
#ifndef SPICEGATE_GATEWAY_IO_TLS_SOCKET_H_
#define SPICEGATE_GATEWAY_IO_TLS_SOCKET_H_

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "gateway/io/driver.h"

namespace spicegate {

// Types of TLS records (RFC 8446, 5.1), as RecvTlsRecord gives them.
inline constexpr uint8_t kTlsRecordAlert = 21;
inline constexpr uint8_t kTlsRecordHandshake = 22;
inline constexpr uint8_t kTlsRecordData = 23;

int StartTlsOn(int fd);
int SetTlsKeyOn(int fd, TlsDirection direction, std::span<const uint8_t> key);
ssize_t RecvTlsRecordFrom(int fd, std::span<uint8_t> out, uint8_t* type);
ssize_t SendTlsRecordTo(int fd, uint8_t type, std::span<const uint8_t> in);
int64_t TcpBytesTakenBy(int fd);
int64_t NextTlsRecordOf(int fd, size_t key_len);
int ReadableWhenMoreOn(int fd);
void ReadableAsUsualOn(int fd);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_TLS_SOCKET_H_
