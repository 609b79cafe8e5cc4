// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/ticket_keys.h"

#include <openssl/aead.h>
#include <openssl/base64.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace spicegate {
namespace {

constexpr size_t kKeyLen = TicketKeys::kNameLen + TicketKeys::kSecretLen;
constexpr size_t kHeaderLen = TicketKeys::kNameLen + TicketKeys::kNonceLen;

// 48 bytes without padding; decoded into a buffer of as many.
constexpr size_t kLineLen = kKeyLen / 3 * 4;

bool InitAead(EVP_AEAD_CTX* context, std::span<const uint8_t> secret) {
  return EVP_AEAD_CTX_init(context, EVP_aead_xchacha20_poly1305(),
                           secret.data(), secret.size(),
                           EVP_AEAD_DEFAULT_TAG_LENGTH, nullptr) == 1;
}

std::string_view Trimmed(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) {
    return {};
  }
  return line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
}

absl::Status LineError(size_t number, const std::string& what) {
  return absl::InvalidArgumentError("line " + std::to_string(number) + ": " +
                                    what);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TicketKeys>> TicketKeys::Parse(
    const std::string& text) {
  std::shared_ptr<TicketKeys> keys(new TicketKeys);
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = Trimmed(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') {
      continue;
    }
    if (absl::Status status = keys->AddLine(line, number); !status.ok()) {
      return status;
    }
  }
  if (keys->keys_.empty()) {
    return absl::InvalidArgumentError(
        "expected at least one line with a key, got none");
  }
  return std::shared_ptr<const TicketKeys>(std::move(keys));
}

absl::Status TicketKeys::AddLine(std::string_view line, size_t number) {
  if (keys_.size() == kMaxKeys) {
    return LineError(number, "expected at most 16 keys");
  }
  std::array<uint8_t, kKeyLen> bytes;
  size_t len = 0;
  const bool decoded =
      line.size() == kLineLen &&
      EVP_DecodeBase64(bytes.data(), &len, bytes.size(),
                       reinterpret_cast<const uint8_t*>(line.data()),
                       line.size()) == 1 &&
      len == kKeyLen;
  if (!decoded) {
    ERR_clear_error();
    return LineError(number, "expected 48 bytes in base64");
  }
  const std::span<const uint8_t> name = std::span(bytes).first(kNameLen);
  const bool repeated = Find(name) != nullptr;
  if (!repeated) {
    Key& key = keys_.emplace_back();
    std::copy(name.begin(), name.end(), key.name.begin());
    std::copy(bytes.begin() + kNameLen, bytes.end(), key.secret.begin());
  }
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return repeated ? LineError(number,
                              "expected a key of its own, got one "
                              "with the name of another line's")
                  : absl::OkStatus();
}

std::shared_ptr<const TicketKeys> TicketKeys::Rotate(const TicketKeys* old) {
  std::shared_ptr<TicketKeys> keys(new TicketKeys);
  Key& key = keys->keys_.emplace_back();
  RAND_bytes(key.name.data(), key.name.size());
  RAND_bytes(key.secret.data(), key.secret.size());
  if (old != nullptr) {
    keys->keys_.push_back(old->keys_.front());
  }
  return keys;
}

TicketKeys::~TicketKeys() {
  OPENSSL_cleanse(keys_.data(), keys_.size() * sizeof(Key));
}

std::optional<size_t> TicketKeys::Seal(std::span<const uint8_t> plain,
                                       std::span<uint8_t> out) const {
  if (out.size() < plain.size() + kOverheadLen) {
    return std::nullopt;
  }
  const Key& key = keys_.front();
  std::copy(key.name.begin(), key.name.end(), out.begin());
  const std::span<uint8_t> nonce = out.subspan(kNameLen, kNonceLen);
  RAND_bytes(nonce.data(), nonce.size());
  const std::span<uint8_t> body = out.subspan(kHeaderLen);
  bssl::ScopedEVP_AEAD_CTX context;
  size_t len = 0;
  if (!InitAead(context.get(), key.secret) ||
      EVP_AEAD_CTX_seal(context.get(), body.data(), &len, body.size(),
                        nonce.data(), nonce.size(), plain.data(), plain.size(),
                        key.name.data(), key.name.size()) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return kHeaderLen + len;
}

std::optional<size_t> TicketKeys::Open(std::span<const uint8_t> sealed,
                                       std::span<uint8_t> out) const {
  const Key* const key =
      sealed.size() > kOverheadLen ? Find(sealed.first(kNameLen)) : nullptr;
  if (key == nullptr || out.size() < sealed.size()) {
    return std::nullopt;
  }
  const std::span<const uint8_t> nonce = sealed.subspan(kNameLen, kNonceLen);
  const std::span<const uint8_t> body = sealed.subspan(kHeaderLen);
  bssl::ScopedEVP_AEAD_CTX context;
  size_t len = 0;
  if (!InitAead(context.get(), key->secret) ||
      EVP_AEAD_CTX_open(context.get(), out.data(), &len, out.size(),
                        nonce.data(), nonce.size(), body.data(), body.size(),
                        key->name.data(), key->name.size()) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return len;
}

const TicketKeys::Key* TicketKeys::Find(std::span<const uint8_t> name) const {
  const auto found =
      std::find_if(keys_.begin(), keys_.end(), [&](const Key& key) {
        return std::equal(name.begin(), name.end(), key.name.begin());
      });
  return found != keys_.end() ? &*found : nullptr;
}

}  // namespace spicegate
