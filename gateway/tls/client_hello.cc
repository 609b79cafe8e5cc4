// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/client_hello.h"

#include <openssl/bytestring.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>

namespace spicegate {
namespace {

using Numbers = std::vector<uint16_t>;

constexpr uint8_t kHostName = 0;  // RFC 6066, section 3

// The body of an extension; empty when it is absent.
std::optional<CBS> Extension(const SSL_CLIENT_HELLO& hello, uint16_t type) {
  const uint8_t* data = nullptr;
  size_t len = 0;
  if (SSL_early_callback_ctx_extension_get(&hello, type, &data, &len) != 1) {
    return std::nullopt;
  }
  CBS body;
  CBS_init(&body, data, len);
  return body;
}

// All numbers of two bytes up to the end.
Numbers ReadNumbers(CBS list) {
  Numbers numbers;
  numbers.reserve(CBS_len(&list) / 2);
  uint16_t number = 0;
  while (CBS_get_u16(&list, &number) == 1) {
    numbers.push_back(number);
  }
  return numbers;
}

// The numbers of an extension that is one list behind its length in two bytes;
// nothing when it is absent.
std::optional<Numbers> ReadList(const SSL_CLIENT_HELLO& hello, uint16_t type) {
  std::optional<CBS> body = Extension(hello, type);
  CBS list;
  if (!body || CBS_get_u16_length_prefixed(&*body, &list) != 1) {
    return std::nullopt;
  }
  return ReadNumbers(list);
}

Numbers ReadSuites(const SSL_CLIENT_HELLO& hello) {
  CBS list;
  CBS_init(&list, hello.cipher_suites, hello.cipher_suites_len);
  return ReadNumbers(list);
}

bool OffersTls13(const SSL_CLIENT_HELLO& hello) {
  std::optional<CBS> body = Extension(hello, TLSEXT_TYPE_supported_versions);
  CBS list;
  if (!body || CBS_get_u8_length_prefixed(&*body, &list) != 1) {
    return false;
  }
  const Numbers versions = ReadNumbers(list);
  return std::find(versions.begin(), versions.end(), TLS1_3_VERSION) !=
         versions.end();
}

std::string ReadServerName(const SSL_CLIENT_HELLO& hello) {
  std::optional<CBS> body = Extension(hello, TLSEXT_TYPE_server_name);
  CBS list;
  CBS name;
  uint8_t type = 0;
  if (!body || CBS_get_u16_length_prefixed(&*body, &list) != 1 ||
      CBS_get_u8(&list, &type) != 1 || type != kHostName ||
      CBS_get_u16_length_prefixed(&list, &name) != 1) {
    return "";
  }
  return NormalServerName(std::string_view(
      reinterpret_cast<const char*>(CBS_data(&name)), CBS_len(&name)));
}

bool HasAny(const Numbers& numbers, std::initializer_list<uint16_t> wanted) {
  return std::any_of(wanted.begin(), wanted.end(), [&](uint16_t number) {
    return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
  });
}

// RFC 8446, section 4.2.3: ECDSA names its curve, RSA is PSS.
void OfferOfTls13(const Numbers& algorithms, ClientOffer* offer) {
  offer->p256 = HasAny(algorithms, {SSL_SIGN_ECDSA_SECP256R1_SHA256});
  offer->p384 = HasAny(algorithms, {SSL_SIGN_ECDSA_SECP384R1_SHA384});
  offer->rsa = HasAny(
      algorithms, {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA384,
                   SSL_SIGN_RSA_PSS_RSAE_SHA512});
}

// The number of a suite with an ECDSA or with an RSA key.
uint16_t NumberOf(TlsSuite suite, bool rsa) {
  switch (suite) {
    case TlsSuite::kAes128Gcm:
      return rsa ? 0xc02f : 0xc02b;
    case TlsSuite::kAes256Gcm:
      return rsa ? 0xc030 : 0xc02c;
    case TlsSuite::kChaCha20Poly1305:
      return rsa ? 0xcca8 : 0xcca9;
    case TlsSuite::kOther:
      break;
  }
  return 0;  // TLS_NULL_WITH_NULL_NULL, which nobody offers
}

// In TLS 1.2 an ECDSA key's curve is among the groups, and its hash is free.
void OfferOfTls12(const SSL_CLIENT_HELLO& hello, const Numbers& algorithms,
                  const std::vector<TlsSuite>& accepted, ClientOffer* offer) {
  const Numbers suites = ReadSuites(hello);
  const auto common = [&](bool rsa) {
    return std::any_of(accepted.begin(), accepted.end(), [&](TlsSuite suite) {
      return HasAny(suites, {NumberOf(suite, rsa)});
    });
  };
  const bool ecdsa = common(/*rsa=*/false) &&
                     HasAny(algorithms, {SSL_SIGN_ECDSA_SECP256R1_SHA256,
                                         SSL_SIGN_ECDSA_SECP384R1_SHA384});
  const Numbers groups =
      ReadList(hello, TLSEXT_TYPE_supported_groups).value_or(Numbers());
  offer->p256 = ecdsa && HasAny(groups, {SSL_CURVE_SECP256R1});
  offer->p384 = ecdsa && HasAny(groups, {SSL_CURVE_SECP384R1});
  offer->rsa =
      common(/*rsa=*/true) &&
      HasAny(algorithms,
             {SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_RSA_PKCS1_SHA384,
              SSL_SIGN_RSA_PKCS1_SHA512, SSL_SIGN_RSA_PSS_RSAE_SHA256,
              SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA512});
}

}  // namespace

std::string NormalServerName(std::string_view name) {
  std::string text(name);
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (text.ends_with('.')) {
    text.pop_back();
  }
  return text;
}

ClientOffer ReadClientOffer(const ssl_early_callback_ctx& hello,
                            const std::vector<TlsSuite>& tls12_suites) {
  ClientOffer offer;
  offer.server_name = ReadServerName(hello);
  const std::optional<Numbers> algorithms =
      ReadList(hello, TLSEXT_TYPE_signature_algorithms);
  if (!algorithms) {
    return offer;
  }
  if (OffersTls13(hello)) {
    OfferOfTls13(*algorithms, &offer);
  } else {
    OfferOfTls12(hello, *algorithms, tls12_suites, &offer);
  }
  return offer;
}

}  // namespace spicegate
