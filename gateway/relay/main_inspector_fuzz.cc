// SPDX-License-Identifier: Apache-2.0
// Main from a hostile server. Byte 0: bit 0 the kind of headers, bits 1 and 2
// the side in a migration, bit 3 a migration that is not seamless, bit 4
// another place for clients, bits 5 to 7 policies; byte 1 is the length of
// pieces, the rest the stream. Cut or whole, the same has to happen; and where
// nothing is rewritten, what comes out is what went in.

#include <algorithm>
#include <cstdlib>

#include "gateway/relay/inspector_fixture.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

InspectorSetting SettingOf(uint8_t bits) {
  InspectorSetting setting;
  setting.kind =
      (bits & 1) != 0 ? proto::HeaderKind::kFull : proto::HeaderKind::kMini;
  setting.side = static_cast<MigrationSide>(std::min(bits >> 1 & 3, 2));
  setting.migration =
      (bits & 8) != 0 ? MigrationKind::kSemiSeamless : MigrationKind::kSeamless;
  if ((bits & 16) != 0) {
    setting.place =
        proto::DstInfo{.sport = 5931, .host = "gate", .cert_subject = "CN=g"};
  }
  setting.policy.refused_channels = (bits & 32) != 0 ? 0xfffc : 0;
  setting.policy.clipboard_to_guest = (bits & 64) == 0;
  setting.policy.clipboard_from_guest = (bits & 64) == 0;
  setting.policy.file_transfer = (bits & 128) == 0;
  return setting;
}

InspectorResult RunIn(const InspectorSetting& setting, proto::Bytes stream,
                      size_t step) {
  InspectorBench bench(setting);
  while (!stream.empty()) {
    const proto::Bytes piece = stream.first(std::min(step, stream.size()));
    stream = stream.subspan(piece.size());
    bench.pump().Feed(piece);
  }
  return bench.result();
}

void Check(uint8_t bits, size_t step, proto::Bytes stream) {
  const InspectorSetting setting = SettingOf(bits);
  const InspectorResult whole = RunIn(setting, stream, stream.size());
  Require(whole == RunIn(setting, stream, step));
  const bool rewrites = setting.policy != Policy{} ||
                        whole.log.find("migrate") != std::string::npos;
  Require(rewrites || proto::ToHex(stream).starts_with(whole.out));
}

}  // namespace
}  // namespace spicegate

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len >= 3) {
    spicegate::Check(data[0], data[1] + size_t{1}, {data + 2, len - 2});
  }
  return 0;
}
