// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/session_client.h"

#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "proto/common_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;
using proto::Direction;

constexpr size_t kReadLen = 32 * 1024;
constexpr size_t kWriteLen = 16 * 1024;

std::string Describe(ChannelKey key, const std::string& what) {
  return std::string(proto::ChannelName(key.type)) + ":" +
         std::to_string(key.id) + ": " + what;
}

PeerTask<void> WriteAll(SpiceClient* client, TrafficWriter* writer,
                        std::string* error, PeerJoin* join) {
  while (!writer->done()) {
    const int written =
        co_await client->stream()->Write(writer->Next(kWriteLen));
    if (written != 0) {
      *error = std::string("write: ") + std::strerror(-written);
      break;
    }
  }
  join->Done();
}

// Reads until `reader` has all; "" or what went wrong.
PeerTask<std::string> ReadPattern(SpiceClient* client, TrafficReader* reader) {
  std::vector<uint8_t> buffer(kReadLen);
  while (!reader->done()) {
    const int64_t n = co_await client->stream()->Read(buffer);
    if (n <= 0) {
      co_return std::string(PeerEndName(EndOf(n))) + " after " +
          std::to_string(reader->body_bytes()) + " pattern bytes";
    }
    if (!reader->Feed(std::span(buffer).first(static_cast<size_t>(n)))) {
      co_return reader->error();
    }
  }
  co_return "";
}

// One session in flight.
struct Viewer {
  PeerLoop* loop;
  const SessionOptions* options;
  SessionReport report;
  uint32_t session_id = 0;

  explicit Viewer(PeerLoop* l, const SessionOptions* o) : loop(l), options(o) {}

  void Fail(ChannelKey key, const std::string& what) {
    if (report.error.empty()) {
      report.error = Describe(key, what);
    }
  }
  TrafficPlan PlanOf(ChannelKey key) const {
    return options->plan ? options->plan(key) : TrafficPlan{};
  }
};

// Opens a channel; "" or why not.
PeerTask<std::string> Open(Viewer* viewer, SpiceClient* client,
                           ChannelKey key) {
  client->set_timeout_ms(viewer->options->timeout_ms);
  LinkRequest request;
  request.channel = key;
  request.connection_id = viewer->session_id;
  request.password = viewer->options->password;
  const LinkOutcome outcome = co_await client->LinkTask(request);
  if (outcome.open) {
    ++viewer->report.num_channels;
    co_return "";
  }
  std::string what = "link refused:";
  if (outcome.reply_error().has_value()) {
    what += " reply " +
            std::to_string(static_cast<uint32_t>(*outcome.reply_error()));
  }
  if (outcome.result().has_value()) {
    what +=
        " result " + std::to_string(static_cast<uint32_t>(*outcome.result()));
  }
  co_return what + " " + PeerEndName(outcome.end);
}

// Patterns, and the accounting of the bytes behind the link.
PeerTask<void> Carry(Viewer* viewer, SpiceClient* client, ChannelKey key,
                     uint64_t read_before, uint64_t written_before) {
  const std::string error = co_await RunTraffic(
      client, key, viewer->options->console_seed, viewer->PlanOf(key));
  if (!error.empty()) {
    viewer->Fail(key, error);
  }
  ChannelBytes& bytes = viewer->report.bytes[static_cast<size_t>(key.type)];
  bytes.to_client += client->stream()->bytes_read() - read_before;
  bytes.to_server += client->stream()->bytes_written() - written_before;
}

PeerTask<void> RunSecondary(Viewer* viewer, ChannelKey key, PeerJoin* join) {
  SpiceClient client(viewer->loop, viewer->options->endpoint);
  const std::string error = co_await Open(viewer, &client, key);
  if (!error.empty()) {
    viewer->Fail(key, error);
  } else {
    const uint64_t read = client.stream()->bytes_read();
    const uint64_t written = client.stream()->bytes_written();
    if (key.type == ChannelType::kDisplay) {
      co_await SendDisplayInit(&client);
    }
    co_await Carry(viewer, &client, key, read, written);
  }
  join->Done();
}

}  // namespace

std::vector<ChannelKey> EveryChannel() {
  return {{ChannelType::kDisplay, 0}, {ChannelType::kInputs, 0},
          {ChannelType::kCursor, 0},  {ChannelType::kPlayback, 0},
          {ChannelType::kRecord, 0},  {ChannelType::kUsbredir, 0},
          {ChannelType::kWebdav, 0}};
}

TrafficPlan PlanFor(ChannelKey key, uint64_t bytes) {
  switch (key.type) {
    case ChannelType::kMain:
      return {.to_client_bytes = bytes, .to_server_bytes = bytes / 100};
    case ChannelType::kDisplay:
      return {.to_client_bytes = bytes * 4, .to_server_bytes = bytes / 50};
    case ChannelType::kPlayback:
      return {.to_client_bytes = bytes, .to_server_bytes = 24};
    case ChannelType::kRecord:
      return {.to_client_bytes = 5, .to_server_bytes = bytes};
    case ChannelType::kUsbredir:
    case ChannelType::kPort:
    case ChannelType::kWebdav:
      return {.to_client_bytes = bytes, .to_server_bytes = bytes};
    default:
      return {.to_client_bytes = bytes / 100, .to_server_bytes = bytes / 50};
  }
}

PeerTask<std::string> RunTraffic(SpiceClient* client, ChannelKey key,
                                 uint64_t console_seed, TrafficPlan plan) {
  TrafficWriter writer(
      TrafficSeed(console_seed, key, Direction::kClientToServer),
      ShapeOf(key.type, Direction::kClientToServer), plan.to_server_bytes);
  TrafficReader reader(
      TrafficSeed(console_seed, key, Direction::kServerToClient),
      ShapeOf(key.type, Direction::kServerToClient), plan.to_client_bytes,
      [](uint16_t, std::span<const uint8_t>) {});
  std::string write_error;
  PeerJoin join(client->loop());
  join.Add();
  client->loop()->Spawn(WriteAll(client, &writer, &write_error, &join));
  std::string error = co_await ReadPattern(client, &reader);
  if (!error.empty()) {
    client->stream()->Close();  // Frees a writer that waits.
  }
  co_await join.Wait();
  if (error.empty() && write_error.empty()) {
    // All is said: our FIN makes the server end, and its end is awaited, so
    // that nothing is cut off on the way.
    client->stream()->ShutdownWrite();
    std::vector<uint8_t> rest;
    const PeerEnd end = co_await ReadToEnd(client->stream(), &rest);
    if (end != PeerEnd::kFin) {
      error = std::string("ended with ") + PeerEndName(end);
    }
    if (!rest.empty() && !reader.Feed(rest)) {
      error = reader.error();
    }
  }
  co_return error.empty() ? write_error : error;
}

PeerTask<SessionReport> RunSession(PeerLoop* loop,
                                   const SessionOptions* options) {
  Viewer viewer(loop, options);
  const ChannelKey main_key;
  SpiceClient main(loop, options->endpoint);
  const std::string error = co_await Open(&viewer, &main, main_key);
  if (!error.empty()) {
    viewer.Fail(main_key, error);
    co_return viewer.report;
  }
  const uint64_t read = main.stream()->bytes_read();
  const uint64_t written = main.stream()->bytes_written();
  const std::optional<MainGreeting> greeting = co_await GreetMain(&main);
  if (!greeting.has_value()) {
    viewer.Fail(main_key, "no greeting");
    co_return viewer.report;
  }
  viewer.session_id = greeting->init.session_id;
  PeerJoin join(loop);
  for (const ChannelKey key : greeting->channels) {
    join.Add();
    loop->Spawn(RunSecondary(&viewer, key, &join));
  }
  co_await join.Wait();
  co_await Carry(&viewer, &main, main_key, read, written);
  co_return viewer.report;
}

}  // namespace spicegate
