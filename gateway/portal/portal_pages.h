// SPDX-License-Identifier: Apache-2.0
//
// What the portal says, to people as HTML and to programs as JSON. Pure.
//
// The pages are complete in themselves: no script, nothing fetched, light and
// dark as the browser wants it. They are HTML5 that an XML parser takes as
// well. What tests and browsers' users may rely on: the heading is h1#title,
// the file's link a#download, a link to try the same again a#retry, and the
// landmark is <main data-code=...>, with the code of the error, "ready" or
// "front".
#ifndef SPICEGATE_GATEWAY_PORTAL_PORTAL_PAGES_H_
#define SPICEGATE_GATEWAY_PORTAL_PORTAL_PAGES_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/portal/portal_services.h"

namespace spicegate {

enum class PortalError : uint8_t {
  kExpiredLink,   // 404 expired_link
  kBadLink,       // 400 bad_link
  kBusy,          // 503 busy
  kCloudRefused,  // 502 cloud_error: the operator has to do something
  kCloudSilent,   // 504 cloud_error
  kTooMany,       // 429 too_many
  kNotAvailable,  // 409 not_available
  kHttpsNeeded,   // 403 https_needed
  kNoSuchPage,    // 404 not_found: a path of no cloud
  kBadMethod,     // 405 bad_method
  kBadRequest,    // whatever the HTTP parser said, bad_request
};

struct PortalErrorText {
  int status;
  const char* code;   // in JSON, and data-code of the page
  const char* title;  // the page's heading
  const char* text;   // one sentence, for JSON and the page
  const char* html;   // what to do: the page's list, markup of ours
  bool retry;         // the same link may work in a moment
};

// Of kBadRequest, `status` is 400: the caller knows better.
const PortalErrorText& TextOf(PortalError error);

// Longest text from outside in a page, in bytes; the rest is cut off.
inline constexpr size_t kMaxPortalTextLen = 300;

// The page that hands out the file: the browser loads it by itself, and by a
// link. Both are relative to the page's own path. The only page with `token`.
std::string ReadyPage(const PortalDesktop& desktop, std::string_view token);

// `detail` says more than the error's own text, in a cloud's words (any bytes);
// empty: nothing.
std::string ErrorPage(PortalError error, std::string_view detail);

// {"error": ..., "code": ...}.
std::string ErrorJson(PortalError error, std::string_view detail);

// What somebody sees who comes without a link.
std::string FrontPage();

// The content of each page's style element, and its source expression for
// Content-Security-Policy.
extern const char kPortalStyle[];
inline constexpr char kPortalStyleHash[] =
    "sha256-L3ZKZ+F2xlh11B5jyrtcBOTreW88FgN4hbShtGihpzI=";

// `text` for an element's content or a quoted attribute: XML's five characters
// escaped, what is not UTF-8 or not to be printed replaced.
void AppendEscapedHtml(std::string_view text, std::string* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_PORTAL_PAGES_H_
