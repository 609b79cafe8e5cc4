// SPDX-License-Identifier: Apache-2.0
//
// Sizes and limits of the load tests.
#ifndef SPICEGATE_TESTS_LOAD_LOAD_ENVIRONMENT_H_
#define SPICEGATE_TESTS_LOAD_LOAD_ENVIRONMENT_H_

#include <cstdint>

namespace spicegate {

// The environment variable `name` as a number, or `fallback`.
uint64_t NumberFromEnv(const char* name, uint64_t fallback);

// As many descriptors as the system lets this process have.
void RaiseFileLimit();

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_LOAD_LOAD_ENVIRONMENT_H_
