// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/tls_socket.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace spicegate {
namespace {

// The kernel's ABI, for C libraries older than it.
constexpr int kTcpUlp = 31;
constexpr int kSolTls = 282;

int SetOption(int fd, int level, int option, const void* value, size_t len) {
  const int result =
      setsockopt(fd, level, option, value, static_cast<socklen_t>(len));
  return result == 0 ? 0 : -errno;
}

// A control message with room for a record's type.
struct RecordTypeBuffer {
  alignas(cmsghdr) char bytes[CMSG_SPACE(1)] = {};
};

// Repeats a call that a signal interrupted.
template <typename Call>
ssize_t Retried(Call call) {
  for (;;) {
    const ssize_t n = call();
    if (n >= 0 || errno != EINTR) {
      return n >= 0 ? n : -errno;
    }
  }
}

}  // namespace

int StartTlsOn(int fd) { return SetOption(fd, IPPROTO_TCP, kTcpUlp, "tls", 3); }

int SetTlsKeyOn(int fd, TlsDirection direction, std::span<const uint8_t> key) {
  const int option = direction == TlsDirection::kSend ? TLS_TX : TLS_RX;
  const int error = SetOption(fd, kSolTls, option, key.data(), key.size());
  if (error == 0 && direction == TlsDirection::kReceive) {
    // A hint for TLS 1.3, which padded records survive: what is not padded is
    // then decrypted to where it belongs at once.
    const int expected = 1;
    SetOption(fd, kSolTls, TLS_RX_EXPECT_NO_PAD, &expected, sizeof(expected));
  }
  return error;
}

ssize_t RecvTlsRecordFrom(int fd, std::span<uint8_t> out, uint8_t* type) {
  RecordTypeBuffer control;
  iovec part{out.data(), out.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  const ssize_t n =
      Retried([&] { return recvmsg(fd, &message, MSG_DONTWAIT); });
  *type = 0;
  if (n >= 0) {
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_level == kSolTls &&
        header->cmsg_type == TLS_GET_RECORD_TYPE) {
      *type = *CMSG_DATA(header);
    }
  }
  return n;
}

ssize_t SendTlsRecordTo(int fd, uint8_t type, std::span<const uint8_t> in) {
  RecordTypeBuffer control;
  iovec part{const_cast<uint8_t*>(in.data()), in.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_LEN(1);
  cmsghdr* const header = reinterpret_cast<cmsghdr*>(control.bytes);
  header->cmsg_level = kSolTls;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(1);
  *CMSG_DATA(header) = type;
  return Retried(
      [&] { return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

int64_t TcpBytesTakenBy(int fd) {
  // What is acknowledged between the two calls would count too few: they are
  // made until nothing was. A peer cannot keep that up, what it acknowledges
  // has an end; too few is a wait longer, never a byte lost.
  constexpr int kMaxRounds = 16;
  int64_t acked_before = -1;
  int num_unacked = 0;
  for (int i = 0; i < kMaxRounds; ++i) {
    tcp_info info{};
    socklen_t len = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
      return -errno;
    }
    const auto acked = static_cast<int64_t>(info.tcpi_bytes_acked);
    if (acked == acked_before) {
      return acked + num_unacked;
    }
    acked_before = acked;
    if (ioctl(fd, SIOCOUTQ, &num_unacked) != 0) {
      return -errno;
    }
  }
  return acked_before + num_unacked;
}

int64_t NextTlsRecordOf(int fd, size_t key_len) {
  // The number is at the end of each tls12_crypto_info_*.
  std::array<uint8_t, sizeof(tls12_crypto_info_aes_gcm_256)> info{};
  socklen_t len = static_cast<socklen_t>(key_len);
  if (key_len > info.size() ||
      getsockopt(fd, kSolTls, TLS_TX, info.data(), &len) != 0) {
    return -EINVAL;
  }
  uint64_t number = 0;
  for (size_t i = key_len - sizeof(number); i < key_len; ++i) {
    number = number << 8 | info[i];
  }
  explicit_bzero(info.data(), info.size());  // the key came along
  return static_cast<int64_t>(number);
}

int ReadableWhenMoreOn(int fd) {
  int num_unread = 0;
  if (ioctl(fd, FIONREAD, &num_unread) != 0) {
    return -errno;
  }
  if (num_unread <= 0) {
    return -EAGAIN;
  }
  const int low_water = num_unread + 1;
  return SetOption(fd, SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof(low_water));
}

void ReadableAsUsualOn(int fd) {
  const int low_water = 1;
  SetOption(fd, SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof(low_water));
}

}  // namespace spicegate
