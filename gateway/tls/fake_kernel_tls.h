// SPDX-License-Identifier: Apache-2.0
//
// A driver for tests with one socket whose records the kernel opens, as
// Linux 6.1 and 6.12 were measured to behave: joined data, control records that
// stop a plain read with EIO and a splice with EINVAL, a splice of an empty
// record that returns 0.
#ifndef SPICEGATE_GATEWAY_TLS_FAKE_KERNEL_TLS_H_
#define SPICEGATE_GATEWAY_TLS_FAKE_KERNEL_TLS_H_

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/io/driver.h"
#include "gateway/io/tls_socket.h"

namespace spicegate {

class FakeKernelTls final : public IoDriver {
 public:
  struct Record {
    uint8_t type = kTlsRecordData;
    std::string bytes;
  };

  // What is to come in, then.
  std::deque<Record> incoming;
  bool ended = false;        // behind what is incoming
  int receive_error = 0;     // instead of what is behind it
  size_t partial_bytes = 0;  // of a record that is not whole
  // Whole by the time the stream looks once more.
  std::vector<Record> completes_on_second_look;

  // What was sent, each call a record; and what sending does.
  std::vector<Record> sent;
  size_t send_room = SIZE_MAX;
  int send_error = 0;
  bool write_side_ended = false;

  // Keys: what setting them returns, and those that were set.
  int start_result = 0;
  int send_key_result = 0;
  int receive_key_result = 0;
  int64_t first_record = 0;
  std::string send_key;
  std::string receive_key;

  std::string pipe;  // what SpliceIn put there, and SpliceOut takes
  std::vector<size_t> splices_out;
  int num_low_water_calls = 0;

  void Incoming(std::string bytes, uint8_t type = kTlsRecordData) {
    incoming.push_back({type, std::move(bytes)});
  }

  int StartTls(int) override { return start_result; }

  int SetTlsKey(int, TlsDirection direction,
                std::span<const uint8_t> key) override {
    const bool sends = direction == TlsDirection::kSend;
    const int result = sends ? send_key_result : receive_key_result;
    if (result == 0) {
      (sends ? send_key : receive_key).assign(key.begin(), key.end());
    }
    return result;
  }

  ssize_t Recv(int, std::span<uint8_t> out) override {
    while (!incoming.empty() && IsData() && incoming.front().bytes.empty()) {
      incoming.pop_front();
    }
    if (incoming.empty()) {
      return Nothing();
    }
    if (!IsData()) {
      return -EIO;
    }
    size_t len = 0;
    while (len < out.size() && !incoming.empty() && IsData()) {
      len += Take(out.subspan(len));
    }
    return static_cast<ssize_t>(len);
  }

  ssize_t SpliceIn(int, const Pipe&, size_t max_bytes) override {
    if (incoming.empty()) {
      return Nothing();
    }
    if (!IsData()) {
      return -EINVAL;
    }
    std::vector<uint8_t> record(
        std::min(max_bytes, incoming.front().bytes.size()));
    if (record.empty()) {
      incoming.pop_front();
      return 0;
    }
    Take(record);
    pipe.append(record.begin(), record.end());
    return static_cast<ssize_t>(record.size());
  }

  ssize_t RecvTlsRecord(int, std::span<uint8_t> out, uint8_t* type) override {
    *type = 0;
    if (incoming.empty()) {
      return Nothing();
    }
    *type = incoming.front().type;
    if (incoming.front().bytes.empty()) {
      incoming.pop_front();
      return 0;
    }
    return static_cast<ssize_t>(Take(out));
  }

  int64_t now_ms = 1;
  // What TCP has; -1: it has everything.
  int64_t tcp_bytes_taken = -1;

  int64_t TcpBytesTaken(int) override { return tcp_bytes_taken; }
  int64_t NextTlsRecord(int, size_t) override {
    return first_record + static_cast<int64_t>(sent.size());
  }

  int ReadableWhenMore(int) override {
    ++num_low_water_calls;
    if (partial_bytes == 0) {
      return -EAGAIN;
    }
    for (Record& record : completes_on_second_look) {
      incoming.push_back(std::move(record));
    }
    completes_on_second_look.clear();
    return 0;
  }

  ssize_t Send(int, std::span<const uint8_t> in) override {
    return SendAs(kTlsRecordData, in);
  }

  ssize_t SendTlsRecord(int, uint8_t type,
                        std::span<const uint8_t> in) override {
    return SendAs(type, in);
  }

  ssize_t SpliceOut(const Pipe&, int, size_t max_bytes) override {
    splices_out.push_back(max_bytes);
    const std::string bytes = pipe.substr(0, max_bytes);
    const ssize_t n =
        SendAs(kTlsRecordData,
               {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    pipe.erase(0, n > 0 ? static_cast<size_t>(n) : 0);
    return n;
  }

  int ShutdownWrite(int) override {
    write_side_ended = true;
    return 0;
  }

  // ---- Not of interest here.
  OpId Poll(int, Ready, OpHandler*, uint32_t) override { return {}; }
  OpId Accept(int, OpHandler*, uint32_t) override { return {}; }
  OpId Connect(int, const sockaddr*, socklen_t, OpHandler*, uint32_t) override {
    return {};
  }
  void Cancel(OpId) override {}
  int OpenSocket(int) override { return -EMFILE; }
  int OpenPipe(size_t, Pipe*) override { return -EMFILE; }
  void ClosePipe(Pipe*) override {}
  void Close(int, bool) override {}
  void Wait(int64_t) override {}
  bool Spin(int64_t) override { return false; }
  unsigned Dispatch() override { return 0; }
  void Wake() override {}
  int64_t NowMs() const override { return now_ms; }
  size_t OpsInFlight() const override { return 0; }

 private:
  bool IsData() const { return incoming.front().type == kTlsRecordData; }

  ssize_t Nothing() const {
    if (receive_error != 0) {
      return receive_error;
    }
    return ended ? 0 : -EAGAIN;
  }

  // From the first record, which goes when it is empty.
  size_t Take(std::span<uint8_t> out) {
    std::string& bytes = incoming.front().bytes;
    const size_t n = std::min(out.size(), bytes.size());
    std::copy_n(bytes.begin(), n, out.begin());
    bytes.erase(0, n);
    if (bytes.empty()) {
      incoming.pop_front();
    }
    return n;
  }

  ssize_t SendAs(uint8_t type, std::span<const uint8_t> in) {
    if (send_error != 0) {
      return send_error;
    }
    const size_t n = std::min(in.size(), send_room);
    if (n == 0) {
      return -EAGAIN;
    }
    sent.push_back(
        {type, std::string(in.begin(), in.begin() + static_cast<long>(n))});
    return static_cast<ssize_t>(n);
  }
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_FAKE_KERNEL_TLS_H_
