// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/qemu_process.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"

namespace spicegate {
namespace {

constexpr char kQemu[] = "qemu-system-x86_64";
constexpr int kStartTries = 3;
constexpr int kStartPolls = 1000;  // 10 ms each.

constexpr char kMachine[] =
    "-machine pc,accel=tcg -m 32 -nodefaults -no-user-config -display none "
    "-vga qxl";
constexpr char kEveryDevice[] =
    "-device virtio-serial-pci "
    "-chardev spiceport,id=wd,name=org.spice-space.webdav.0 "
    "-device virtserialport,chardev=wd,name=org.spice-space.webdav.0 "
    "-audiodev spice,id=snd0 -device intel-hda "
    "-device hda-duplex,audiodev=snd0 -device qemu-xhci,id=xhci "
    "-chardev spicevmc,id=ur0,name=usbredir "
    "-device usb-redir,chardev=ur0,bus=xhci.0";

void AppendWords(const std::string& text, std::vector<std::string>* argv) {
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    argv->push_back(word);
  }
}

PeerTask<bool> Listens(PeerLoop* loop, uint16_t port, ChildProcess* process) {
  PeerAddress address;
  address.port = port;
  for (int i = 0; i < kStartPolls && process->running(); ++i) {
    int error = 0;
    const std::unique_ptr<PeerStream> stream =
        co_await PeerStream::Connect(loop, address, &error);
    if (stream != nullptr) {
      co_return true;
    }
    co_await loop->Sleep(10);
  }
  co_return false;
}

}  // namespace

bool QemuProcess::Available() {
  std::istringstream path(std::getenv("PATH"));
  for (std::string directory; std::getline(path, directory, ':');) {
    if (access((directory + "/" + kQemu).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

bool QemuProcess::Start(const Options& options) {
  port_ = FreePort();
  tls_port_ = FreePort();
  std::vector<std::string> argv = {kQemu};
  AppendWords(kMachine, &argv);
  if (options.every_device) {
    AppendWords(kEveryDevice, &argv);
  }
  argv.insert(argv.end(),
              {"-object", "secret,id=spw,data=" + options.password, "-spice",
               "addr=127.0.0.1,port=" + std::to_string(port_) + ",tls-port=" +
                   std::to_string(tls_port_) + ",x509-dir=" + directory_ +
                   ",password-secret=spw" + options.spice_extra});
  process_ = std::make_unique<ChildProcess>(argv);
  PeerLoop loop;
  return loop.Run(Listens(&loop, port_, process_.get())) &&
         loop.Run(Listens(&loop, tls_port_, process_.get()));
}

QemuProcess::QemuProcess(const Options& options) : directory_(MakeTestDir()) {
  const PeerPki pki = MakePeerPki();
  WriteTestFile(directory_ + "/ca-cert.pem", pki.ca_certificate);
  WriteTestFile(directory_ + "/server-cert.pem", pki.certificate);
  WriteTestFile(directory_ + "/server-key.pem", pki.key);
  // A port may be taken between FreePort() and QEMU's bind.
  for (int i = 0; i < kStartTries; ++i) {
    if (Start(options)) {
      return;
    }
  }
  std::fprintf(stderr, "QEMU: %s\n", process_->errors().c_str());
  std::abort();
}

QemuProcess::~QemuProcess() {
  process_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

}  // namespace spicegate
