// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_QMP_QMP_PASSWORD_H_
#define SPICEGATE_GATEWAY_QMP_QMP_PASSWORD_H_

#include <cstddef>
#include <string>
#include <utility>

#include "gateway/console/console.h"

namespace spicegate {

// Of a password that the gateway makes: log2(62^40) = 238 bits.
inline constexpr size_t kQmpPasswordLen = 40;
static_assert(kQmpPasswordLen <= kMaxServerTicketLen);

// A server's password; wiped when it goes or another takes its place. Each copy
// is wiped for itself.
class QmpPassword {
 public:
  QmpPassword() = default;
  explicit QmpPassword(std::string text) : text_(std::move(text)) {}
  QmpPassword(const QmpPassword&) = default;
  QmpPassword(QmpPassword&& other) noexcept { text_.swap(other.text_); }
  QmpPassword& operator=(QmpPassword other) noexcept {
    text_.swap(other.text_);
    return *this;
  }
  ~QmpPassword();

  // kQmpPasswordLen characters of [0-9A-Za-z], each equally likely, from the
  // kernel's generator. Does not fail, and does not block once the machine has
  // booted.
  static QmpPassword Random();

  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }

  friend bool operator==(const QmpPassword&, const QmpPassword&) = default;

 private:
  std::string text_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_PASSWORD_H_
