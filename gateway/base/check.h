// SPDX-License-Identifier: Apache-2.0
//
// CHECK and DCHECK state our own invariants. They are never used for bytes
// from a peer or for an answer that the kernel documents: those are handled,
// with a CloseReason or an absl::Status.
#ifndef SPICEGATE_GATEWAY_BASE_CHECK_H_
#define SPICEGATE_GATEWAY_BASE_CHECK_H_

namespace spicegate {

// Writes one line about the broken invariant to stderr and aborts. Callable
// from any thread; allocates nothing.
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);

}  // namespace spicegate

// Always evaluated, in every build.
#define CHECK(condition)                             \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::spicegate::CheckFailed(__FILE__, __LINE__, #condition))

// Evaluated in builds without NDEBUG: tests, sanitizers, development.
#ifdef NDEBUG
#define DCHECK(condition) static_cast<void>(sizeof(!(condition)))
#else
#define DCHECK(condition) CHECK(condition)
#endif

#endif  // SPICEGATE_GATEWAY_BASE_CHECK_H_
