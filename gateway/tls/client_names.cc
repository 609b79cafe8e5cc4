// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/client_names.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/obj.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <string_view>

namespace spicegate {
namespace {

using Names = std::vector<std::string>;

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

struct FreeText {
  void operator()(unsigned char* text) const { OPENSSL_free(text); }
};

char Lower(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }

bool SameButCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Lower(x) == Lower(y); });
}

bool HasExact(const Names& names, std::string_view found) {
  return std::find(names.begin(), names.end(), found) != names.end();
}

bool HasInAnyCase(const Names& names, std::string_view found) {
  return std::any_of(names.begin(), names.end(), [found](const auto& name) {
    return SameButCase(name, found);
  });
}

std::string_view BytesOf(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

bool HasCommonName(const X509* certificate, const Names& names) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  int at = -1;
  while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, at);
    unsigned char* utf8 = nullptr;
    const int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    const std::unique_ptr<unsigned char, FreeText> text(utf8);
    if (len >= 0 && HasExact(names, {reinterpret_cast<const char*>(utf8),
                                     static_cast<size_t>(len)})) {
      return true;
    }
  }
  ERR_clear_error();
  return false;
}

bool HasAlternativeName(const X509* certificate, const Names& names) {
  const std::unique_ptr<GENERAL_NAMES, FreeNames> found(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(
          certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  for (size_t i = 0; found && i < sk_GENERAL_NAME_num(found.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(found.get(), i);
    if ((name->type == GEN_DNS &&
         HasInAnyCase(names, BytesOf(name->d.dNSName))) ||
        (name->type == GEN_URI &&
         HasExact(names, BytesOf(name->d.uniformResourceIdentifier)))) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool HasClientName(const x509_st* certificate, const Names& names) {
  return HasAlternativeName(certificate, names) ||
         HasCommonName(certificate, names);
}

}  // namespace spicegate
