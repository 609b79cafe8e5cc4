// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_VERSION_H_
#define SPICEGATE_GATEWAY_VERSION_H_

namespace spicegate {

// Semantic version of the next or current release; see CHANGELOG.md.
inline constexpr char kVersion[] = "0.1.0";

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_VERSION_H_
