// SPDX-License-Identifier: Apache-2.0
#include "tests/tls/openssl_peer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <utility>

namespace spicegate {
namespace {

constexpr size_t kCarryLen = 64 * 1024;
// A program that has been started listens after some milliseconds.
constexpr int kConnectTries = 3000;
constexpr int64_t kConnectPollMs = 10;

// The programs take an EAGAIN on their standard input or output for its end.
int MakeBlocking(const PeerStream& stream) {
  fcntl(stream.fd(), F_SETFL, 0);
  return stream.fd();
}

std::string AllErrors(
    const std::vector<std::unique_ptr<ChildProcess>>& processes) {
  std::string text;
  for (const auto& process : processes) {
    text += process->errors();
  }
  return text;
}

}  // namespace

bool HaveOpenssl() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/openssl").c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

OpensslViewer::OpensslViewer(PeerLoop* loop, const std::string& directory,
                             uint16_t tls_port)
    : loop_(loop),
      tls_port_(tls_port),
      listener_(loop, {.unix_path = directory + "/viewer.sock"}) {
  loop_->Spawn(AcceptAll());
}

PeerTask<void> OpensslViewer::AcceptAll() {
  for (;;) {
    const std::unique_ptr<PeerStream> inner = co_await listener_.Accept();
    if (inner == nullptr) {
      co_return;
    }
    std::vector<std::string> command = {
        "openssl",
        "s_client",
        "-quiet",
        "-no_ign_eof",
        "-nocommands",
        "-connect",
        "127.0.0.1:" + std::to_string(tls_port_)};
    command.insert(command.end(), suite_.begin(), suite_.end());
    clients_.push_back(
        std::make_unique<ChildProcess>(command, MakeBlocking(*inner)));
  }
}

std::string OpensslViewer::Complaints() { return AllErrors(clients_); }

OpensslServer::OpensslServer(PeerLoop* loop, const std::string& directory,
                             const PeerPki& pki,
                             const std::string& plain_unix_path)
    : loop_(loop),
      directory_(directory),
      plain_unix_path_(plain_unix_path),
      listener_(loop, {}) {
  WriteTestFile(directory_ + "/server.pem", pki.certificate + pki.key);
  loop_->Spawn(AcceptAll());
}

PeerTask<void> OpensslServer::AcceptAll() {
  for (;;) {
    std::unique_ptr<PeerStream> outer = co_await listener_.Accept();
    if (outer == nullptr) {
      co_return;
    }
    loop_->Spawn(Serve(std::move(outer)));
  }
}

PeerTask<bool> OpensslServer::Start(const std::string& path) {
  int error = 0;
  const PeerAddress plain = {.unix_path = plain_unix_path_};
  const std::unique_ptr<PeerStream> inner =
      co_await PeerStream::Connect(loop_, plain, &error);
  if (inner == nullptr) {
    co_return false;
  }
  std::vector<std::string> command = {
      "openssl",  "s_server", "-quiet",
      "-naccept", "1",        "-unix",
      path,       "-cert",    directory_ + "/server.pem"};
  command.insert(command.end(), suite_.begin(), suite_.end());
  servers_.push_back(
      std::make_unique<ChildProcess>(command, MakeBlocking(*inner)));
  co_return true;
}

PeerTask<void> OpensslServer::Carry(PeerStream* from, PeerStream* to,
                                    PeerJoin* join) {
  std::vector<uint8_t> buffer(kCarryLen);
  int64_t n = co_await from->Read(buffer);
  while (n > 0) {
    const auto bytes = std::span(buffer).first(static_cast<size_t>(n));
    const int written = co_await to->Write(bytes);
    n = written == 0 ? co_await from->Read(buffer) : written;
  }
  if (n == 0) {
    to->ShutdownWrite();
  } else {
    from->Close();
    to->Close();
  }
  join->Done();
}

PeerTask<void> OpensslServer::Serve(std::unique_ptr<PeerStream> outer) {
  // s_server ends at once when the whole path has more than 31 characters: it
  // writes it where the name of a service belongs.
  PeerAddress address;
  address.unix_path = directory_ + "/" + std::to_string(num_started_++);
  const bool started = co_await Start(address.unix_path);
  std::unique_ptr<PeerStream> inner;
  for (int i = 0; started && inner == nullptr && i < kConnectTries; ++i) {
    int error = 0;
    inner = co_await PeerStream::Connect(loop_, address, &error);
    if (inner == nullptr) {
      co_await loop_->Sleep(kConnectPollMs);
    }
  }
  if (inner == nullptr) {
    co_return;
  }
  outer->set_timeout_ms(600'000);
  inner->set_timeout_ms(600'000);
  PeerJoin join(loop_);
  join.Add();
  join.Add();
  loop_->Spawn(Carry(outer.get(), inner.get(), &join));
  loop_->Spawn(Carry(inner.get(), outer.get(), &join));
  co_await join.Wait();
}

std::string OpensslServer::Complaints() { return AllErrors(servers_); }

}  // namespace spicegate
