// SPDX-License-Identifier: Apache-2.0
#include "tests/load/tunnel_peers.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "tests/peer/traffic.h"

namespace spicegate {
namespace {

// An order and a report as they are sent: the beginning of a TLS record, then
// this machine's own numbers.
constexpr std::array<uint8_t, 8> kBeginning = {0x16, 0x03, 0x03, 0x00,
                                               0x18, 0x01, 0x00, 0x00};
constexpr size_t kOrderLen = kBeginning.size() + 4 * sizeof(uint64_t);
constexpr std::string_view kOk = "HTTP/1.0 200 OK\r\n\r\n";
// Longer than a test may take: tunnels are silent for as long as others move.
constexpr int64_t kPatienceMs = 900'000;

using OrderBytes = std::array<uint8_t, kOrderLen>;

OrderBytes Encode(const TunnelOrder& order) {
  OrderBytes bytes;
  const std::array<uint64_t, 4> numbers = {static_cast<uint64_t>(order.kind),
                                           order.seed, order.to_client_bytes,
                                           order.to_server_bytes};
  std::copy(kBeginning.begin(), kBeginning.end(), bytes.begin());
  std::memcpy(bytes.data() + kBeginning.size(), numbers.data(),
              sizeof(numbers));
  return bytes;
}

// False when it does not begin as it has to.
bool Decode(const OrderBytes& bytes, TunnelOrder* order) {
  std::array<uint64_t, 4> numbers;
  std::memcpy(numbers.data(), bytes.data() + kBeginning.size(),
              sizeof(numbers));
  order->kind = static_cast<TunnelOrder::Kind>(numbers[0]);
  order->seed = numbers[1];
  order->to_client_bytes = numbers[2];
  order->to_server_bytes = numbers[3];
  return std::equal(kBeginning.begin(), kBeginning.end(), bytes.begin());
}

uint64_t SeedToClient(const TunnelOrder& order) { return 2 * order.seed; }
uint64_t SeedToServer(const TunnelOrder& order) { return 2 * order.seed + 1; }

// Thousands of tunnels move at once, so that little of each is in memory.
size_t PieceLen(uint64_t total) {
  return std::clamp<uint64_t>(total / 16, 4096, 65536);
}

// The next piece of a pattern.
std::span<const uint8_t> NextPiece(uint64_t seed, uint64_t done, uint64_t total,
                                   std::vector<uint8_t>* buffer) {
  const auto piece = std::span(*buffer).first(
      static_cast<size_t>(std::min<uint64_t>(buffer->size(), total - done)));
  FillPattern(seed, done, piece);
  return piece;
}

// Bytes of the pattern that have come, up to `total`, the first wrong one or
// the end; *end stays kOpen unless it was the end.
PeerTask<uint64_t> ReadPattern(PeerStream* stream, uint64_t seed,
                               uint64_t total, PeerEnd* end) {
  std::vector<uint8_t> buffer(PieceLen(total));
  uint64_t matched = 0;
  while (matched < total) {
    const auto piece = std::span(buffer).first(static_cast<size_t>(
        std::min<uint64_t>(buffer.size(), total - matched)));
    const int64_t n = co_await stream->Read(piece);
    if (n <= 0) {
      *end = EndOf(n);
      break;
    }
    const auto got = piece.first(static_cast<size_t>(n));
    const size_t good = MatchPattern(seed, matched, got);
    matched += good;
    if (good < got.size()) {
      break;
    }
  }
  co_return matched;
}

// kOpen when something else than an end comes next.
PeerTask<PeerEnd> NextIsEnd(PeerStream* stream) {
  std::array<uint8_t, 1> byte;
  co_return EndOf(co_await stream->Read(byte));
}

std::string Short(const char* what, uint64_t is, uint64_t wanted) {
  return std::string(what) + ": " + std::to_string(is) + " of " +
         std::to_string(wanted) + " bytes are right";
}

}  // namespace

// ---- Server.

TunnelServer::TunnelServer(PeerLoop* loop) : loop_(loop), listener_(loop, {}) {
  loop_->Spawn(AcceptAll());
}

TunnelBooks TunnelServer::BooksOf(uint64_t seed) {
  const std::lock_guard lock(mutex_);
  return books_[seed];
}

PeerTask<void> TunnelServer::AcceptAll() {
  for (;;) {
    std::unique_ptr<PeerStream> stream = co_await listener_.Accept();
    if (stream == nullptr) {
      co_return;
    }
    stream->set_timeout_ms(kPatienceMs);
    loop_->Spawn(Serve(std::move(stream)));
  }
}

PeerTask<void> TunnelServer::Serve(std::unique_ptr<PeerStream> stream) {
  TunnelOrder order;
  for (;;) {
    OrderBytes bytes;
    const uint64_t before = order.seed;
    const int64_t n = co_await stream->ReadFull(bytes);
    if (n != static_cast<int64_t>(bytes.size())) {
      NoteEnd(before, EndOf(n > 0 ? 0 : n));
      co_return;
    }
    if (!Decode(bytes, &order) || !co_await Obey(stream.get(), &order)) {
      co_return;
    }
  }
}

PeerTask<bool> TunnelServer::Obey(PeerStream* stream,
                                  const TunnelOrder* order) {
  using Kind = TunnelOrder::Kind;
  switch (order->kind) {
    case Kind::kExchange:
      co_return co_await Exchange(stream, order);
    case Kind::kServerResets:
      stream->Reset();
      break;
    case Kind::kClientEndsFirst: {
      const uint64_t matched = co_await Read(stream, order);
      const PeerEnd end = co_await NextIsEnd(stream);
      NoteEnd(order->seed, end);
      if (matched == order->to_server_bytes && end == PeerEnd::kFin &&
          co_await Write(stream, order) == 0) {
        co_await Report(stream, order->seed);
      }
      break;
    }
    case Kind::kServerEndsFirst:
      co_await Write(stream, order);
      stream->ShutdownWrite();
      co_await Read(stream, order);
      NoteEnd(order->seed, co_await NextIsEnd(stream));
      break;
  }
  co_return false;
}

PeerTask<bool> TunnelServer::Exchange(PeerStream* stream,
                                      const TunnelOrder* order) {
  PeerJoin join(loop_);
  int error = 0;
  join.Add();
  loop_->Spawn(WriteBeside(stream, order, &error, &join));
  const uint64_t matched = co_await Read(stream, order);
  co_await join.Wait();
  co_return error == 0 && co_await Report(stream, order->seed) == 0 &&
      matched == order->to_server_bytes;
}

PeerTask<void> TunnelServer::WriteBeside(PeerStream* stream,
                                         const TunnelOrder* order, int* error,
                                         PeerJoin* join) {
  *error = co_await Write(stream, order);
  join->Done();
}

PeerTask<int> TunnelServer::Write(PeerStream* stream,
                                  const TunnelOrder* order) {
  const uint64_t total = order->to_client_bytes;
  std::vector<uint8_t> buffer(PieceLen(total));
  for (uint64_t done = 0; done < total;) {
    const auto piece = NextPiece(SeedToClient(*order), done, total, &buffer);
    const int error = co_await stream->Write(piece);
    if (error != 0) {
      co_return error;
    }
    done += piece.size();
    const std::lock_guard lock(mutex_);
    books_[order->seed].written = done;
  }
  co_return 0;
}

PeerTask<uint64_t> TunnelServer::Read(PeerStream* stream,
                                      const TunnelOrder* order) {
  PeerEnd end = PeerEnd::kOpen;
  const uint64_t matched = co_await ReadPattern(stream, SeedToServer(*order),
                                                order->to_server_bytes, &end);
  if (end != PeerEnd::kOpen) {
    NoteEnd(order->seed, end);
  }
  const std::lock_guard lock(mutex_);
  books_[order->seed].matched = matched;
  co_return matched;
}

// The client compares it with what it has sent.
PeerTask<int> TunnelServer::Report(PeerStream* stream, uint64_t seed) {
  TunnelOrder report;
  report.seed = seed;
  report.to_server_bytes = BooksOf(seed).matched;
  const OrderBytes bytes = Encode(report);
  co_return co_await stream->Write(bytes);
}

void TunnelServer::NoteEnd(uint64_t seed, PeerEnd end) {
  const std::lock_guard lock(mutex_);
  books_[seed].end = end;
}

// ---- Client.

PeerTask<int> TunnelClient::Connect(PeerAddress door, std::string target) {
  int error = 0;
  stream_ = co_await PeerStream::Connect(loop_, door, &error);
  if (stream_ == nullptr) {
    co_return 0;
  }
  stream_->set_timeout_ms(kPatienceMs);
  const std::string request =
      "CONNECT " + target + " HTTP/1.0\r\nHost: " + target + "\r\n\r\n";
  request_len_ = request.size();
  if (co_await stream_->Write(proto::AsBytes(request)) != 0) {
    co_return 0;
  }
  std::array<uint8_t, kOk.size()> answer;
  if (co_await stream_->ReadFull(answer) != int64_t{answer.size()}) {
    co_return 0;
  }
  answer_len_ = answer.size();
  const std::string text(answer.begin(), answer.end());
  if (text == kOk) {
    co_return 200;
  }
  // An error's text goes to its end, which is a FIN.
  std::vector<uint8_t> rest;
  const PeerEnd end = co_await ReadToEnd(stream_.get(), &rest);
  const bool good = text.starts_with("HTTP/1.0 ") && end == PeerEnd::kFin;
  co_return good ? std::atoi(text.c_str() + 9) : 0;
}

PeerTask<std::string> TunnelClient::Exchange(const TunnelOrder* order) {
  std::string error = co_await Ask(order);
  if (!error.empty()) {
    co_return error;
  }
  PeerJoin join(loop_);
  std::string send_error;
  join.Add();
  loop_->Spawn(SendBeside(order, &send_error, &join));
  error = co_await Receive(order);
  co_await join.Wait();
  if (error.empty() && send_error.empty()) {
    error = co_await ReceiveReport(order);
  }
  co_return error.empty() ? send_error : error;
}

PeerTask<void> TunnelClient::SendBeside(const TunnelOrder* order,
                                        std::string* error, PeerJoin* join) {
  *error = co_await Send(order);
  join->Done();
}

PeerTask<std::string> TunnelClient::Ask(const TunnelOrder* order) {
  const OrderBytes bytes = Encode(*order);
  const int error = co_await stream_->Write(bytes);
  co_return error == 0 ? "" : std::string("order: ") + std::strerror(-error);
}

PeerTask<std::string> TunnelClient::Send(const TunnelOrder* order) {
  const uint64_t total = order->to_server_bytes;
  std::vector<uint8_t> buffer(PieceLen(total));
  for (uint64_t done = 0; done < total;) {
    const auto piece = NextPiece(SeedToServer(*order), done, total, &buffer);
    const int error = co_await stream_->Write(piece);
    if (error != 0) {
      co_return std::string("sending: ") + std::strerror(-error);
    }
    done += piece.size();
  }
  co_return "";
}

PeerTask<std::string> TunnelClient::Receive(const TunnelOrder* order) {
  PeerEnd end = PeerEnd::kOpen;
  const uint64_t total = order->to_client_bytes;
  const uint64_t matched =
      co_await ReadPattern(stream_.get(), SeedToClient(*order), total, &end);
  co_return matched == total
      ? ""
      : Short("received", matched, total) + ", then " + PeerEndName(end);
}

PeerTask<std::string> TunnelClient::ReceiveReport(const TunnelOrder* order) {
  OrderBytes bytes;
  const int64_t n = co_await stream_->ReadFull(bytes);
  TunnelOrder report;
  if (n != int64_t{bytes.size()} || !Decode(bytes, &report) ||
      report.seed != order->seed) {
    co_return "no report";
  }
  co_return report.to_server_bytes == order->to_server_bytes
      ? ""
      : Short("sent", report.to_server_bytes, order->to_server_bytes);
}

PeerTask<PeerEnd> TunnelClient::ReceiveEnd() {
  co_return co_await NextIsEnd(stream_.get());
}

}  // namespace spicegate
