// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/self_signed.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "gateway/tls/boring.h"
#include "gateway/tls/peer_identity.h"
#include "gateway/tls/pem.h"
#include "gateway/tls/state_file.h"

namespace spicegate {
namespace {

constexpr int64_t kDayS = 86'400;
constexpr int64_t kLifeS = 10 * 365 * kDayS;

// X.520's bound for a common name.
constexpr size_t kMaxCommonNameLen = 64;
constexpr size_t kMaxDnsNameLen = 253;

struct FreeExtension {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
  void operator()(BASIC_CONSTRAINTS* b) const { BASIC_CONSTRAINTS_free(b); }
  void operator()(EXTENDED_KEY_USAGE* e) const { EXTENDED_KEY_USAGE_free(e); }
};

bool IsDnsName(const std::string& name) {
  constexpr char kAllowed[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !name.empty() && name.size() <= kMaxDnsNameLen &&
         name.find_first_not_of(kAllowed) == std::string::npos;
}

bssl::UniquePtr<EVP_PKEY> NewP256Key() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (ec == nullptr || key == nullptr || !EC_KEY_generate_key(ec.get()) ||
      !EVP_PKEY_set1_EC_KEY(key.get(), ec.get())) {
    return nullptr;
  }
  return key;
}

// 127 random bits, so that it is positive in 16 bytes.
bool SetRandomSerial(X509* certificate) {
  std::array<uint8_t, 16> random;
  RAND_bytes(random.data(), random.size());
  random[0] = (random[0] & 0x7f) | 0x40;
  const bssl::UniquePtr<BIGNUM> number(
      BN_bin2bn(random.data(), random.size(), nullptr));
  const bssl::UniquePtr<ASN1_INTEGER> serial(
      number != nullptr ? BN_to_ASN1_INTEGER(number.get(), nullptr) : nullptr);
  return serial != nullptr && X509_set_serialNumber(certificate, serial.get());
}

bool SetLife(X509* certificate, int64_t now_unix_s) {
  const bssl::UniquePtr<ASN1_TIME> from(
      ASN1_TIME_set(nullptr, now_unix_s - kDayS));
  const bssl::UniquePtr<ASN1_TIME> to(
      ASN1_TIME_set(nullptr, now_unix_s + kLifeS));
  return from != nullptr && to != nullptr &&
         X509_set1_notBefore(certificate, from.get()) &&
         X509_set1_notAfter(certificate, to.get());
}

bool SetName(X509* certificate, const std::string& first_name) {
  const std::string common_name =
      first_name.size() <= kMaxCommonNameLen ? first_name : "spicegate";
  const X509NamePtr name(X509_NAME_new());
  const auto* data = reinterpret_cast<const uint8_t*>(common_name.data());
  return name != nullptr &&
         X509_NAME_add_entry_by_txt(name.get(), "CN", MBSTRING_UTF8, data,
                                    static_cast<int>(common_name.size()), -1,
                                    0) &&
         X509_set_subject_name(certificate, name.get()) &&
         X509_set_issuer_name(certificate, name.get());
}

// A SAN of `name`; null when memory is out.
bssl::UniquePtr<GENERAL_NAME> NewSan(const std::string& name) {
  std::array<uint8_t, 16> address;
  size_t address_len = 0;
  if (inet_pton(AF_INET, name.c_str(), address.data()) == 1) {
    address_len = 4;
  } else if (inet_pton(AF_INET6, name.c_str(), address.data()) == 1) {
    address_len = 16;
  }
  const bool is_address = address_len != 0;
  bssl::UniquePtr<ASN1_STRING> value(ASN1_STRING_type_new(
      is_address ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING));
  bssl::UniquePtr<GENERAL_NAME> san(GENERAL_NAME_new());
  const void* data = is_address ? static_cast<const void*>(address.data())
                                : static_cast<const void*>(name.data());
  const size_t len = is_address ? address_len : name.size();
  if (value == nullptr || san == nullptr ||
      !ASN1_STRING_set(value.get(), data, static_cast<int>(len))) {
    return nullptr;
  }
  GENERAL_NAME_set0_value(san.get(), is_address ? GEN_IPADD : GEN_DNS,
                          value.release());
  return san;
}

bool AddSans(X509* certificate, const std::vector<std::string>& names) {
  const std::unique_ptr<GENERAL_NAMES, FreeExtension> sans(GENERAL_NAMES_new());
  for (const std::string& name : names) {
    bssl::UniquePtr<GENERAL_NAME> san = NewSan(name);
    if (sans == nullptr || san == nullptr ||
        !sk_GENERAL_NAME_push(sans.get(), san.get())) {
      return false;
    }
    san.release();  // the stack owns it now
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, sans.get(), 0,
                           0) == 1;
}

// No keyUsage: without keyCertSign in it older libraries do not take a
// certificate as its own anchor, with it the key could sign others.
bool AddUsage(X509* certificate) {
  const std::unique_ptr<BASIC_CONSTRAINTS, FreeExtension> basic(
      BASIC_CONSTRAINTS_new());
  const std::unique_ptr<EXTENDED_KEY_USAGE, FreeExtension> usage(
      EXTENDED_KEY_USAGE_new());
  return basic != nullptr && usage != nullptr &&
         sk_ASN1_OBJECT_push(usage.get(), OBJ_nid2obj(NID_server_auth)) &&
         X509_add1_ext_i2d(certificate, NID_basic_constraints, basic.get(), 1,
                           0) == 1 &&
         X509_add1_ext_i2d(certificate, NID_ext_key_usage, usage.get(), 0, 0) ==
             1;
}

// Viewers find a certificate in their store by it.
bool AddKeyId(X509* certificate) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  unsigned digest_len = 0;
  const bssl::UniquePtr<ASN1_OCTET_STRING> id(
      ASN1_STRING_type_new(V_ASN1_OCTET_STRING));
  // 160 bits of SHA-256 over the key (RFC 7093).
  return id != nullptr &&
         X509_pubkey_digest(certificate, EVP_sha256(), digest.data(),
                            &digest_len) &&
         ASN1_STRING_set(id.get(), digest.data(), 20) &&
         X509_add1_ext_i2d(certificate, NID_subject_key_identifier, id.get(), 0,
                           0) == 1;
}

bool HasEveryName(const X509* certificate,
                  const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!PeerHost(name).Matches(certificate)) {
      return false;
    }
  }
  return true;
}

// What a kept file says.
struct Kept {
  SelfSigned pair;
  bool usable;  // lives long enough and has the names
};

absl::StatusOr<Kept> ParseKept(const std::string& pem,
                               const std::vector<std::string>& names,
                               int64_t now_unix_s) {
  const auto certificates = ParseCertificates(pem);
  if (!certificates.ok()) {
    return certificates.status();
  }
  const auto key = ParsePrivateKey(pem);
  if (!key.ok()) {
    return key.status();
  }
  X509* const certificate = certificates->front().get();
  const std::optional<int64_t> not_after = NotAfterUnixS(certificate);
  if (!not_after || X509_check_private_key(certificate, key->get()) != 1) {
    TakeSslError();
    return absl::InvalidArgumentError("key and certificate do not match");
  }
  return Kept{{CertificateToPem(certificate), PrivateKeyToPem(key->get())},
              *not_after - now_unix_s > kSelfSignedRenewalS &&
                  HasEveryName(certificate, names)};
}

}  // namespace

absl::StatusOr<SelfSigned> MakeSelfSigned(const std::vector<std::string>& names,
                                          int64_t now_unix_s) {
  if (names.empty()) {
    return absl::InvalidArgumentError("no name for the certificate");
  }
  for (const std::string& name : names) {
    if (!IsDnsName(name) && !PeerHost(name).is_address()) {
      return absl::InvalidArgumentError("not a host name or address: " + name);
    }
  }
  const bssl::UniquePtr<EVP_PKEY> key = NewP256Key();
  const bssl::UniquePtr<X509> certificate(X509_new());
  X509* const x509 = certificate.get();
  const bool made = key != nullptr && x509 != nullptr &&
                    X509_set_version(x509, X509_VERSION_3) &&
                    SetRandomSerial(x509) && SetLife(x509, now_unix_s) &&
                    SetName(x509, names.front()) &&
                    X509_set_pubkey(x509, key.get()) && AddUsage(x509) &&
                    AddSans(x509, names) && AddKeyId(x509) &&
                    X509_sign(x509, key.get(), EVP_sha256()) != 0;
  if (!made) {
    return absl::InternalError("no certificate: " + TakeSslError());
  }
  return SelfSigned{CertificateToPem(x509), PrivateKeyToPem(key.get())};
}

absl::StatusOr<SelfSigned> LoadOrCreateSelfSigned(
    const std::string& state_dir, const std::vector<std::string>& names,
    int64_t now_unix_s) {
  if (state_dir.empty()) {
    return MakeSelfSigned(names, now_unix_s);
  }
  const std::string path = state_dir + "/" + kSelfSignedFile;
  const auto pem = ReadStateFile(path);
  if (pem.ok()) {
    auto kept = ParseKept(*pem, names, now_unix_s);
    if (!kept.ok()) {
      return absl::FailedPreconditionError(
          path + ": " + std::string(kept.status().message()) +
          "; delete the file to have a new one made");
    }
    if (kept->usable) {
      return std::move(kept->pair);
    }
  } else if (pem.status().code() != absl::StatusCode::kNotFound) {
    return pem.status();
  }
  auto made = MakeSelfSigned(names, now_unix_s);
  if (!made.ok()) {
    return made;
  }
  const absl::Status written =
      WriteStateFile(path, made->key_pem + made->certificate_pem);
  if (!written.ok()) {
    return written;
  }
  return made;
}

}  // namespace spicegate
