// SPDX-License-Identifier: Apache-2.0
#include "bench/load/meter.h"

namespace spicegate {
namespace {

constexpr size_t kMaxErrorTexts = 8;

}  // namespace

void Meter::Error(const std::string& what) {
  ++num_errors;
  if (first_errors.size() < kMaxErrorTexts) {
    first_errors.push_back(what);
  }
}

}  // namespace spicegate
