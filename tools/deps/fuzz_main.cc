// SPDX-License-Identifier: Apache-2.0
// main() of a fuzz target built without libFuzzer: every argument is a file of
// the corpus and goes through the target once. A crash, or a sanitizer's
// report, fails the test. With no file at all it fails too: a corpus that
// vanished must not look like a corpus that passed.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len);

namespace {

bool Replay(const char* path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path);
    return false;
  }
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  // An exact heap copy, so that ASan sees the first byte read past the end.
  std::vector<uint8_t> input(bytes.begin(), bytes.end());
  input.shrink_to_fit();
  LLVMFuzzerTestOneInput(input.data(), input.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  bool ok = argc > 1;
  for (int i = 1; i < argc; ++i) {
    ok = Replay(argv[i]) && ok;
  }
  std::printf("%d inputs replayed\n", argc - 1);
  return ok ? 0 : 1;
}
