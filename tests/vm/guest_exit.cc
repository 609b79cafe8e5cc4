// SPDX-License-Identifier: Apache-2.0
// Usage: guest_exit CODE. Ends the virtual machine so that QEMU exits with
// 2 * CODE + 1, by its device isa-debug-exit. Debian's cloud kernels have no
// /dev/port, hence a program.

#include <sys/io.h>
#include <unistd.h>

#include <cstdlib>

namespace {

// The runner gives the device this port.
constexpr unsigned short kPort = 0xf4;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    return 2;
  }
  sync();
  if (ioperm(kPort, 4, 1) != 0) {
    return 1;
  }
  outb(static_cast<unsigned char>(std::atoi(argv[1]) & 0x7f), kPort);
  return 1;
}
