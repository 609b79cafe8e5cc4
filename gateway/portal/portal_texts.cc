// SPDX-License-Identifier: Apache-2.0
//
// The portal's errors, as people and programs read them.
#include <iterator>

#include "gateway/base/check.h"
#include "gateway/portal/portal_pages.h"

namespace spicegate {
namespace {

constexpr char kNewLink[] =
    "<li>Ask your cloud for a new link: open the console of your desktop again "
    "where you got this one, such as your cloud&#39;s dashboard. With "
    "OpenStack&#39;s command line: <code>openstack console url show "
    "--spice-direct SERVER</code></li>\n"
    "<li>Your desktop itself is not affected, and a window that is open "
    "already stays open.</li>\n";

constexpr char kWholeLink[] =
    "<li>Copy the whole link, from <code>https://</code> to its last letter, "
    "and open it again. Mail programs and chats like to break long "
    "links.</li>\n"
    "<li>If that does not help, ask your cloud for a new one.</li>\n";

constexpr char kWait[] =
    "<li>Try again in a few seconds. Your link is still good for as long as "
    "your cloud lets it be.</li>\n"
    "<li>If it goes on for minutes, tell your administrator.</li>\n";

constexpr char kTell[] =
    "<li>Tell your administrator that the gateway was refused by the cloud: "
    "its log says why. A new link does not help.</li>\n";

constexpr char kSilent[] =
    "<li>Try again in a moment. If it stays like this, tell your "
    "administrator.</li>\n";

constexpr char kTooManyHtml[] =
    "<li>Wait a minute, then ask your cloud for a new link and open "
    "that.</li>\n"
    "<li>Others who share your internet address may have opened the old links. "
    "They have to wait too.</li>\n";

constexpr char kNotAvailableHtml[] =
    "<li>Tell your administrator: the desktop or its host is not set up for a "
    "secure connection from here.</li>\n";

constexpr char kHttps[] =
    "<li>Open the link again with <code>https://</code> in front.</li>\n"
    "<li>If your link begins with that already, tell your administrator: the "
    "portal does not trust the balancer in front of it.</li>\n";

constexpr char kNowhere[] =
    "<li>Open the whole link that your cloud gave you.</li>\n";

constexpr char kBrowser[] =
    "<li>Open the link in a web browser, or load it with a plain GET.</li>\n";

// In the order of PortalError.
constexpr PortalErrorText kTexts[] = {
    {404, "expired_link", "This link has expired",
     "The link has expired or is unknown: ask your cloud for a new one.",
     kNewLink, false},
    {400, "bad_link", "This link is not complete",
     "The link has no usable token: a part of it may be missing.", kWholeLink,
     false},
    {503, "busy", "One moment, please",
     "The gateway or your cloud cannot answer right now: try again in a few "
     "seconds.",
     kWait, true},
    {502, "cloud_error", "Your cloud refused the gateway",
     "Your cloud does not tell the gateway where your desktop is: tell your "
     "administrator.",
     kTell, true},
    {504, "cloud_error", "Your cloud did not answer",
     "Your cloud did not answer the gateway in time: try again.", kSilent,
     true},
    {429, "too_many", "Too many links that do not work",
     "Too many expired or unknown links were opened from your address: wait a "
     "minute.",
     kTooManyHtml, true},
    {409, "not_available", "This desktop cannot be opened here",
     "The desktop exists, but the gateway may not or cannot connect to it: "
     "tell your administrator.",
     kNotAvailableHtml, false},
    {403, "https_needed", "This link needs a secure connection",
     "The portal answers over HTTPS only.", kHttps, false},
    {404, "not_found", "There is nothing here",
     "No cloud has links with this path and host name.", kNowhere, false},
    {405, "bad_method", "This cannot be done with a link",
     "Links can be read (GET, HEAD) and nothing else.", kBrowser, false},
    {400, "bad_request", "The request was not understood",
     "The request is not what the portal understands of HTTP.", kBrowser,
     false},
};

static_assert(std::size(kTexts) ==
              static_cast<size_t>(PortalError::kBadRequest) + 1);

}  // namespace

const PortalErrorText& TextOf(PortalError error) {
  const auto index = static_cast<size_t>(error);
  CHECK(index < std::size(kTexts));
  return kTexts[index];
}

}  // namespace spicegate
