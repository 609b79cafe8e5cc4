// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/certificate_check.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <optional>
#include <utility>

#include "gateway/tls/peer_identity.h"
#include "gateway/tls/pem.h"

namespace spicegate {
namespace {

constexpr int64_t kDayS = 86'400;

std::string DateOf(int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&time, &parts) != nullptr) {
    std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts);
  }
  return text;
}

std::string NameOf(const X509* certificate) {
  const std::string subject = SubjectOf(certificate);
  return subject.empty() ? "" : " (" + subject + ")";
}

bool IsSignedBy(X509* certificate, X509* issuer) {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(issuer));
  const bool is_signed = key != nullptr &&
                         X509_NAME_cmp(X509_get_issuer_name(certificate),
                                       X509_get_subject_name(issuer)) == 0 &&
                         X509_verify(certificate, key.get()) == 1;
  ERR_clear_error();
  return is_signed;
}

// The dates of a chain have findings of their own.
int WhateverTheTime(int ok, X509_STORE_CTX* verification) {
  const int error = X509_STORE_CTX_get_error(verification);
  return error == X509_V_ERR_CERT_HAS_EXPIRED ||
                 error == X509_V_ERR_CERT_NOT_YET_VALID
             ? 1
             : ok;
}

// Collects what is found about one certificate.
class Checker {
 public:
  Checker(const ServerCertificate& certificate, int64_t now_unix_s,
          CertificateFindings* findings)
      : certificate_(certificate),
        now_unix_s_(now_unix_s),
        findings_(findings) {}

  void CheckItself();
  void CheckAsViewer(const ViewerExpectations& viewers);
  void CheckAsProxy(const ViewerExpectations& viewers);

 private:
  void Warn(const std::string& text) {
    findings_->warnings.push_back(Labelled(text));
  }
  std::string Labelled(const std::string& text) const {
    return certificate_.label.empty() ? text : certificate_.label + ": " + text;
  }

  void CheckDates(X509* certificate, const std::string& which);
  void CheckChain();
  void CheckTrust(const std::string& ca_pem);
  void CheckSubject(const std::string& host_subject);
  void CheckHost(const std::string& host);

  const ServerCertificate& certificate_;
  const int64_t now_unix_s_;
  CertificateFindings* const findings_;
};

void Checker::CheckItself() {
  for (size_t i = 0; i < certificate_.chain.size(); ++i) {
    X509* const x509 = certificate_.chain[i].get();
    CheckDates(x509, i == 0 ? "the certificate"
                            : "certificate " + std::to_string(i + 1) +
                                  " of the chain" + NameOf(x509));
  }
  CheckChain();
  if (X509_check_purpose(certificate_.leaf(), X509_PURPOSE_SSL_SERVER, 0) !=
      1) {
    Warn("the certificate's extensions confine it to other uses than a server");
  }
  ERR_clear_error();
}

void Checker::CheckDates(X509* certificate, const std::string& which) {
  const std::optional<int64_t> begin = NotBeforeUnixS(certificate);
  const std::optional<int64_t> end = NotAfterUnixS(certificate);
  if (begin && *begin > now_unix_s_) {
    Warn(which + " is not valid before " + DateOf(*begin));
  }
  if (end && *end <= now_unix_s_) {
    Warn(which + " expired on " + DateOf(*end));
  } else if (end && *end - now_unix_s_ <= kExpiryWarningS) {
    Warn(which + " expires in " + std::to_string((*end - now_unix_s_) / kDayS) +
         " days, on " + DateOf(*end));
  }
}

void Checker::CheckChain() {
  const std::vector<X509Ptr>& chain = certificate_.chain;
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    if (!IsSignedBy(chain[i].get(), chain[i + 1].get())) {
      Warn("certificate " + std::to_string(i + 2) + NameOf(chain[i + 1].get()) +
           " did not sign certificate " + std::to_string(i + 1) +
           NameOf(chain[i].get()) +
           ": the chain is out of order or lacks one between them");
    }
  }
}

void Checker::CheckAsViewer(const ViewerExpectations& viewers) {
  CheckTrust(viewers.ca_pem);
  if (!viewers.host_subject.empty()) {
    CheckSubject(viewers.host_subject);
  } else if (!viewers.host.empty()) {
    CheckHost(viewers.host);
  }
}

// What viewers verify with; the dates were looked at already.
void Checker::CheckTrust(const std::string& ca_pem) {
  if (ca_pem.empty()) {
    if (certificate_.chain.size() == 1 && !certificate_.is_self_signed) {
      Warn(
          "the file has no certificate of the issuer, and there is no "
          "public.ca_file: viewers must know the issuer already");
    }
    return;
  }
  const auto anchors = ParseCertificates(ca_pem);
  const bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  const bssl::UniquePtr<X509_STORE_CTX> verification(X509_STORE_CTX_new());
  const bssl::UniquePtr<STACK_OF(X509)> others(sk_X509_new_null());
  if (!anchors.ok()) {
    return;  // an error elsewhere
  }
  for (const auto& anchor : *anchors) {
    X509_STORE_add_cert(store.get(), anchor.get());
  }
  for (const X509Ptr& certificate : certificate_.chain) {
    bssl::PushToStack(others.get(), bssl::UpRef(certificate.get()));
  }
  if (X509_STORE_CTX_init(verification.get(), store.get(), certificate_.leaf(),
                          others.get()) == 1) {
    X509_STORE_CTX_set_verify_cb(verification.get(), WhateverTheTime);
    if (X509_verify_cert(verification.get()) != 1) {
      Warn(
          std::string("does not lead to the CA that .vv files give viewers: ") +
          X509_verify_cert_error_string(
              X509_STORE_CTX_get_error(verification.get())));
    }
  }
  ERR_clear_error();
}

void Checker::CheckSubject(const std::string& host_subject) {
  const auto subject = PeerSubject::Parse(host_subject);
  if (!subject.ok()) {
    Warn("public.host_subject cannot be matched by any certificate: " +
         std::string(subject.status().message()));
  } else if (!subject->Matches(certificate_.leaf())) {
    Warn("the subject is " + SubjectOf(certificate_.leaf()) +
         ", not public.host_subject " + host_subject);
  }
}

void Checker::CheckHost(const std::string& host) {
  const PeerHost wanted(host);
  if (wanted.Matches(certificate_.leaf())) {
    return;
  }
  if (wanted.is_address()) {
    Warn("viewers connect to the address " + host +
         ", which is not among the iPAddress names of the certificate");
  } else {
    Warn("viewers connect to " + host +
         ", which is not among the names of the certificate");
  }
}

// A viewer that goes through an https proxy resolves its name and compares
// the certificate with the address; it sends no server_name. Without such a
// proxy this is only worth a note.
void Checker::CheckAsProxy(const ViewerExpectations& viewers) {
  const bool is_proxy = !viewers.proxy_host.empty();
  const PeerHost host(is_proxy ? viewers.proxy_host : viewers.host);
  if (!host.is_address() && !HasAddressName(certificate_.leaf())) {
    std::vector<std::string>* const findings =
        is_proxy ? &findings_->warnings : &findings_->notes;
    findings->push_back(Labelled(
        "no iPAddress among the certificate's names: a viewer that uses this "
        "gateway as https proxy (CONNECT over TLS) compares the proxy's "
        "address with them and refuses"));
  } else if (is_proxy && host.is_address() &&
             !host.Matches(certificate_.leaf())) {
    Warn("viewers find the https proxy (CONNECT over TLS) at the address " +
         host.text() +
         ", which is not among the iPAddress names of the certificate");
  }
}

}  // namespace

CertificateFindings CheckCertificates(const ServerTlsContext& context,
                                      const ViewerExpectations& viewers,
                                      int64_t now_unix_s) {
  CertificateFindings findings;
  for (const auto& certificate : context.certificates()) {
    Checker(*certificate, now_unix_s, &findings).CheckItself();
  }
  const PeerHost host(viewers.host);
  const std::string server_name = host.is_address() ? "" : host.text();
  for (const auto& certificate : context.ShownTo(server_name)) {
    Checker(*certificate, now_unix_s, &findings).CheckAsViewer(viewers);
  }
  for (const auto& certificate : context.ShownTo("")) {
    Checker(*certificate, now_unix_s, &findings).CheckAsProxy(viewers);
  }
  return findings;
}

std::vector<std::string> CertificateWarnings(
    const ServerCertificate& certificate, int64_t now_unix_s) {
  CertificateFindings findings;
  Checker(certificate, now_unix_s, &findings).CheckItself();
  return std::move(findings.warnings);
}

}  // namespace spicegate
