// SPDX-License-Identifier: Apache-2.0
#include "gateway/auth/proxmox_ticket.h"

#include <openssl/base64.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr std::string_view kPrefix = "pvespiceproxy:";
constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr size_t kTimeLen = 8;
constexpr size_t kMaxVmidLen = 9;   // 999999999
constexpr size_t kMaxNodeLen = 63;  // a DNS label
constexpr size_t kSignatureLen = 2 * SHA_DIGEST_LENGTH;

using Signature = std::array<char, kSignatureLen>;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); }

bool IsNodeChar(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || c == '-';
}

bool IsVmid(std::string_view text) {
  return !text.empty() && text.size() <= kMaxVmidLen &&
         std::all_of(text.begin(), text.end(), IsDigit);
}

bool IsNode(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNodeLen && text.front() != '-' &&
         text.back() != '-' &&
         std::all_of(text.begin(), text.end(), IsNodeChar);
}

// A port from 1 as Proxmox writes it, without leading zeros.
std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end || text.front() == '0') {
    return std::nullopt;
  }
  return port;
}

// Cuts `text` at its first colon: what stands before it.
std::string_view TakeField(std::string_view* text) {
  const size_t colon = text->find(':');
  const std::string_view field = text->substr(0, colon);
  text->remove_prefix(colon == std::string_view::npos ? text->size()
                                                      : colon + 1);
  return field;
}

// What stands before "::", without the prefix.
bool ParseSigned(std::string_view text, ProxmoxTicket* out) {
  const std::string_view issued = TakeField(&text);
  if (issued.size() != kTimeLen ||
      !std::all_of(issued.begin(), issued.end(), IsHex)) {
    return false;
  }
  std::from_chars(issued.data(), issued.data() + issued.size(), out->issued_s,
                  16);
  out->vmid = TakeField(&text);
  const bool has_port = text.find(':') != std::string_view::npos;
  out->node = TakeField(&text);
  out->port = has_port ? ParsePort(text) : std::nullopt;
  return IsVmid(out->vmid) && IsNode(out->node) &&
         out->port.has_value() == has_port;
}

Signature Sign(std::string_view text, std::string_view secret) {
  std::array<uint8_t, SHA_DIGEST_LENGTH> digest;
  SHA_CTX context;
  SHA1_Init(&context);
  SHA1_Update(&context, text.data(), text.size());
  SHA1_Update(&context, secret.data(), secret.size());
  SHA1_Final(digest.data(), &context);
  OPENSSL_cleanse(&context, sizeof(context));
  Signature signature;
  for (size_t i = 0; i < digest.size(); ++i) {
    signature[2 * i] = kHexDigits[digest[i] >> 4];
    signature[2 * i + 1] = kHexDigits[digest[i] & 15];
  }
  return signature;
}

ProxmoxVerdict JudgeAge(int64_t age_s) {
  return age_s >= kProxmoxMaxAgeS   ? ProxmoxVerdict::kTooOld
         : age_s <= kProxmoxMinAgeS ? ProxmoxVerdict::kTooEarly
                                    : ProxmoxVerdict::kOk;
}

}  // namespace

bool LooksLikeProxmoxTicket(std::string_view host) {
  return host.starts_with(kPrefix);
}

std::string ProxmoxSecret(std::string_view key_file_content) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  unsigned int len = 0;
  // Proxmox calls with one argument, which its library takes for the key.
  const uint8_t* const made =
      HMAC(EVP_sha256(), key_file_content.data(), key_file_content.size(),
           nullptr, 0, digest.data(), &len);
  CHECK(made != nullptr && len == digest.size());
  std::array<uint8_t, 4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1> base64;
  const size_t base64_len =
      EVP_EncodeBlock(base64.data(), digest.data(), digest.size());
  std::string secret(reinterpret_cast<const char*>(base64.data()), base64_len);
  secret.erase(secret.find('='));
  OPENSSL_cleanse(digest.data(), digest.size());
  OPENSSL_cleanse(base64.data(), base64.size());
  return secret;
}

absl::StatusOr<std::shared_ptr<const ProxmoxKey>> ProxmoxKey::FromFileContent(
    const std::string& content) {
  // HMAC fills a short key up with zeros, so that zeros are no key either.
  if (content.find_first_not_of('\0') == std::string::npos) {
    return absl::InvalidArgumentError("expected a key, got an empty file");
  }
  return FromSecret(ProxmoxSecret(content));
}

std::shared_ptr<const ProxmoxKey> ProxmoxKey::FromSecret(std::string secret) {
  CHECK(!secret.empty());
  return std::shared_ptr<const ProxmoxKey>(new ProxmoxKey(std::move(secret)));
}

ProxmoxKey::~ProxmoxKey() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

ProxmoxVerdict ProxmoxKey::Verify(std::string_view host, int64_t wall_s,
                                  ProxmoxTicket* out) const {
  if (!LooksLikeProxmoxTicket(host)) {
    return ProxmoxVerdict::kMalformed;
  }
  // Behind the prefix: its colon is no half of the two.
  const size_t end = host.find("::", kPrefix.size());
  if (end == std::string_view::npos) {
    return ProxmoxVerdict::kMalformed;
  }
  const std::string_view signed_text = host.substr(0, end);
  const std::string_view signature = host.substr(end + 2);
  if (signature.size() != kSignatureLen ||
      !std::all_of(signature.begin(), signature.end(), IsHex) ||
      !ParseSigned(signed_text.substr(kPrefix.size()), out)) {
    return ProxmoxVerdict::kMalformed;
  }
  const Signature own = Sign(signed_text, secret_);
  if (CRYPTO_memcmp(own.data(), signature.data(), own.size()) != 0) {
    return ProxmoxVerdict::kForged;
  }
  return JudgeAge(wall_s - out->issued_s);
}

}  // namespace spicegate
