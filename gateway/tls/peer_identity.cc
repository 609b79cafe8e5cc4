// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/peer_identity.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/obj.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

namespace spicegate {
namespace {

// ---- host-subject.

// Walks a subject, character by character, escapes resolved.
class SubjectReader {
 public:
  explicit SubjectReader(std::string_view text) : text_(text) {}

  // Reads up to an unescaped `stop`, which is consumed, or to the end. False
  // for an escape that does not exist.
  bool ReadUntil(char stop, std::string* out, bool* stopped) {
    *stopped = false;
    while (at_ < text_.size()) {
      char c = text_[at_++];
      if (c == stop) {
        *stopped = true;
        return true;
      }
      if (c == '\\') {
        if (at_ == text_.size() || (text_[at_] != '\\' && text_[at_] != ',')) {
          return false;
        }
        c = text_[at_++];
      }
      out->push_back(c);
    }
    return true;
  }

  void SkipSpaces() {
    while (at_ < text_.size() && text_[at_] == ' ') {
      ++at_;
    }
  }

  bool at_end() const { return at_ == text_.size(); }

 private:
  const std::string_view text_;
  size_t at_ = 0;
};

absl::Status SubjectError(const std::string& what) {
  return absl::InvalidArgumentError("host-subject: " + what);
}

// Reads one KEY=value pair into `name`.
absl::Status ReadPair(SubjectReader* reader, X509_NAME* name) {
  std::string key;
  std::string value;
  bool stopped = false;
  if (!reader->ReadUntil('=', &key, &stopped)) {
    return SubjectError("only \\, and \\\\ are escapes");
  }
  if (!stopped) {
    return SubjectError("a key without =value");
  }
  if (!reader->ReadUntil(',', &value, &stopped)) {
    return SubjectError("only \\, and \\\\ are escapes");
  }
  if (value.empty()) {
    return SubjectError("an empty value");
  }
  const auto* data = reinterpret_cast<const uint8_t*>(value.data());
  if (!X509_NAME_add_entry_by_txt(name, key.c_str(), MBSTRING_UTF8, data,
                                  static_cast<int>(value.size()), -1, 0)) {
    ERR_clear_error();
    return SubjectError("an unknown key or a value that it cannot have");
  }
  return absl::OkStatus();
}

std::optional<std::string> Utf8Of(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int len = ASN1_STRING_to_UTF8(&utf8, string);
  if (len < 0) {
    ERR_clear_error();
    return std::nullopt;
  }
  std::string text(reinterpret_cast<char*>(utf8), static_cast<size_t>(len));
  OPENSSL_free(utf8);
  return text;
}

// The short name of an attribute, or its dotted OID.
std::string KeyOf(const ASN1_OBJECT* object) {
  const int nid = OBJ_obj2nid(object);
  if (nid != NID_undef) {
    return OBJ_nid2sn(nid);
  }
  char dotted[128];
  const int len = OBJ_obj2txt(dotted, sizeof(dotted), object, 1);
  return len > 0 && static_cast<size_t>(len) < sizeof(dotted) ? dotted : "";
}

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == ',') {
      out.push_back('\\');
    }
    out.push_back(c);
  }
  return out;
}

// ---- Host names.

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeNames>;

std::string_view BytesOf(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }

// Glob match of one label. On a mismatch the last star takes one character
// more: no recursion, so that a certificate full of stars costs nothing.
bool LabelMatches(std::string_view pattern, std::string_view label) {
  size_t p = 0;
  size_t at = 0;
  size_t star = std::string_view::npos;
  size_t star_at = 0;
  while (at < label.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_at = at;
    } else if (p < pattern.size() && Lower(pattern[p]) == Lower(label[at])) {
      ++p;
      ++at;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      at = ++star_at;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

// Cuts the first label off `name`.
std::string_view TakeLabel(std::string_view* name) {
  const size_t dot = std::min(name->find('.'), name->size());
  const std::string_view label = name->substr(0, dot);
  name->remove_prefix(std::min(dot + 1, name->size()));
  return label;
}

size_t CountDots(std::string_view name) {
  return static_cast<size_t>(std::count(name.begin(), name.end(), '.'));
}

// The subject alternative names; null, with -1 in *found when there are none.
NamesPtr SansOf(const x509_st* certificate, int* found) {
  NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, found, nullptr)));
  ERR_clear_error();
  return names;
}

bool CommonNameMatches(const x509_st* certificate, std::string_view host) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  int at = -1;
  while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, at);
    const auto name = Utf8Of(X509_NAME_ENTRY_get_data(entry));
    if (name && HostNameMatches(*name, host)) {
      return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<PeerSubject> PeerSubject::Parse(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    return SubjectError("a NUL character");
  }
  X509NamePtr name(X509_NAME_new());
  SubjectReader reader(text);
  for (reader.SkipSpaces(); !reader.at_end(); reader.SkipSpaces()) {
    const absl::Status pair = ReadPair(&reader, name.get());
    if (!pair.ok()) {
      return pair;
    }
  }
  if (X509_NAME_entry_count(name.get()) == 0) {
    return SubjectError("empty");
  }
  // Makes the encodings now that a comparison would otherwise cache in the
  // name: several threads compare with it.
  if (i2d_X509_NAME(name.get(), nullptr) < 0) {
    ERR_clear_error();
    return SubjectError("a value that cannot be encoded");
  }
  return PeerSubject(std::move(name));
}

bool PeerSubject::Matches(const x509_st* certificate) const {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  return X509_NAME_entry_count(subject) == X509_NAME_entry_count(name_.get()) &&
         X509_NAME_cmp(subject, name_.get()) == 0;
}

std::string SubjectOf(const x509_st* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  std::string text;
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    const auto value = Utf8Of(X509_NAME_ENTRY_get_data(entry));
    if (!value) {
      return "";
    }
    text += i == 0 ? "" : ",";
    text += KeyOf(X509_NAME_ENTRY_get_object(entry)) + "=" + Escaped(*value);
  }
  const auto parsed = PeerSubject::Parse(text);
  return parsed.ok() && parsed->Matches(certificate) ? text : "";
}

PeerHost::PeerHost(std::string_view host) : text_(host) {
  if (inet_pton(AF_INET, text_.c_str(), address_.data()) == 1) {
    address_len_ = 4;
  } else if (inet_pton(AF_INET6, text_.c_str(), address_.data()) == 1) {
    address_len_ = 16;
  } else if (text_.ends_with('.')) {
    text_.pop_back();
  }
}

bool PeerHost::Matches(const x509_st* certificate) const {
  int found = 0;
  const NamesPtr names = SansOf(certificate, &found);
  if (names == nullptr && found != -1) {
    return false;  // repeated, or it does not parse
  }
  bool any = false;
  for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    any = any || name->type == GEN_DNS || name->type == GEN_IPADD;
    if (name->type == GEN_DNS && !is_address() &&
        HostNameMatches(BytesOf(name->d.dNSName), text_)) {
      return true;
    }
    if (name->type == GEN_IPADD && IsAddress(BytesOf(name->d.iPAddress))) {
      return true;
    }
  }
  return !any && !is_address() && CommonNameMatches(certificate, text_);
}

bool PeerHost::IsAddress(std::string_view bytes) const {
  return is_address() && bytes.size() == address_len_ &&
         std::memcmp(bytes.data(), address_.data(), address_len_) == 0;
}

std::vector<std::string> DnsNamesOf(const x509_st* certificate) {
  std::vector<std::string> all;
  int found = 0;
  const NamesPtr names = SansOf(certificate, &found);
  for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      std::string& added = all.emplace_back(BytesOf(name->d.dNSName));
      std::transform(added.begin(), added.end(), added.begin(), Lower);
    }
  }
  return all;
}

bool HasAddressName(const x509_st* certificate) {
  int found = 0;
  const NamesPtr names = SansOf(certificate, &found);
  for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    if (sk_GENERAL_NAME_value(names.get(), i)->type == GEN_IPADD) {
      return true;
    }
  }
  return false;
}

bool HostNameMatches(std::string_view pattern, std::string_view host) {
  if (pattern.empty() || host.empty() ||
      CountDots(pattern) != CountDots(host) ||
      pattern.find('\0') != std::string_view::npos) {
    return false;
  }
  while (!pattern.empty() || !host.empty()) {
    if (!LabelMatches(TakeLabel(&pattern), TakeLabel(&host))) {
      return false;
    }
  }
  return true;
}

}  // namespace spicegate
