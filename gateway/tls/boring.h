// SPDX-License-Identifier: Apache-2.0
//
// What both contexts and the stream take from BoringSSL, without its headers:
// they stay inside gateway/tls and gateway/auth.
#ifndef SPICEGATE_GATEWAY_TLS_BORING_H_
#define SPICEGATE_GATEWAY_TLS_BORING_H_

#include <memory>
#include <string>

#include "gateway/tls/tls_types.h"

struct ssl_ctx_st;
struct ssl_st;
struct ssl_session_st;
struct evp_pkey_st;
struct x509_st;
struct X509_name_st;

namespace spicegate {

struct BoringFree {
  void operator()(ssl_ctx_st* context) const;
  void operator()(ssl_st* ssl) const;
  void operator()(ssl_session_st* session) const;
  void operator()(X509_name_st* name) const;
  void operator()(x509_st* certificate) const;
  void operator()(evp_pkey_st* key) const;
};

using SslContextPtr = std::unique_ptr<ssl_ctx_st, BoringFree>;
using SslPtr = std::unique_ptr<ssl_st, BoringFree>;
using SslSessionPtr = std::unique_ptr<ssl_session_st, BoringFree>;
using X509NamePtr = std::unique_ptr<X509_name_st, BoringFree>;
using X509Ptr = std::unique_ptr<x509_st, BoringFree>;
using PrivateKeyPtr = std::unique_ptr<evp_pkey_st, BoringFree>;

// The rules of both legs: TLS 1.2 (unless `min_version` says more) and 1.3,
// ECDHE with AES-GCM or ChaCha20 only, neither tickets nor a session cache,
// no renegotiation, partial writes. Null when memory is out.
SslContextPtr NewSslContext(TlsVersion min_version);

// The reason of this thread's oldest BoringSSL error, such as
// "WRONG_VERSION_NUMBER", or "unknown"; forgets all of them.
std::string TakeSslError();

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_BORING_H_
