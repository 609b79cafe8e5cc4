// SPDX-License-Identifier: Apache-2.0
//
// The keys of an established TLS connection in the form that the kernel takes.
#ifndef SPICEGATE_GATEWAY_TLS_RECORD_KEYS_H_
#define SPICEGATE_GATEWAY_TLS_RECORD_KEYS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/base/counters.h"
#include "gateway/io/driver.h"
#include "gateway/tls/tls_types.h"

struct ssl_st;

namespace spicegate {

// A tls12_crypto_info_* of linux/tls.h, which serves TLS 1.2 and 1.3. Wiped
// when it goes.
class KernelTlsKey {
 public:
  static constexpr size_t kMaxLen = 56;

  KernelTlsKey() = default;
  ~KernelTlsKey();
  KernelTlsKey(const KernelTlsKey&) = delete;
  KernelTlsKey& operator=(const KernelTlsKey&) = delete;

  // What a record is encrypted with. `nonce` has 12 bytes: the fixed part of
  // the nonce, of which TLS 1.2 with AES-GCM uses the first four.
  // False when the suite is none of the three that the kernel may know, or a
  // length is not its own.
  bool Set(TlsVersion version, TlsSuite suite, std::span<const uint8_t> key,
           std::span<const uint8_t> nonce, uint64_t sequence);

  std::span<const uint8_t> view() const { return {bytes_.data(), len_}; }

 private:
  std::array<uint8_t, kMaxLen> bytes_{};
  size_t len_ = 0;
};

// The key of one direction of `ssl`, beginning with the record that follows
// the last one BoringSSL has made or taken: after the last call that moves
// data. False when its suite is none of the three.
bool ExportKernelTlsKey(const ssl_st* ssl, TlsDirection direction,
                        KernelTlsKey* key);

// The version and suite of an established connection.
TlsVersion VersionOf(const ssl_st* ssl);
TlsSuite SuiteOf(const ssl_st* ssl);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_RECORD_KEYS_H_
