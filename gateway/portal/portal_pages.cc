// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/portal_pages.h"

#include <algorithm>

#include "gateway/base/log.h"

namespace spicegate {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// The screen of a desktop, drawn twice: as the tab's icon and on the page.
constexpr char kIcon[] =
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 "
    "24 24' fill='none' stroke='%234a90e2' stroke-width='2'%3E%3Cpath d='M3 "
    "4h18v12H3zM8 20h8M12 16v4'/%3E%3C/svg%3E";
constexpr char kDrawing[] =
    "<svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" "
    "stroke-width=\"1.75\" stroke-linejoin=\"round\" aria-hidden=\"true\" "
    "focusable=\"false\"><path d=\"M3 4h18v12H3zM8 20h8M12 16v4\"/></svg>\n";

constexpr char kInstall[] = R"(<h2>If nothing opens the file</h2>
<p>You need Remote Viewer on this computer. It is free software:</p>
<dl id="install">
<dt>Debian, Ubuntu</dt>
<dd><code>sudo apt install virt-viewer</code></dd>
<dt>Fedora, RHEL, CentOS Stream</dt>
<dd><code>sudo dnf install virt-viewer</code></dd>
<dt>openSUSE</dt>
<dd><code>sudo zypper install virt-viewer</code></dd>
<dt>Windows</dt>
<dd>the virt-viewer installer (MSI) from virt-manager.org</dd>
</dl>
<p>Then download the connection file again.</p>
)";

// Length of the UTF-8 sequence that `text` begins with, as far as its first
// byte tells; 0 for none that could.
size_t SequenceLen(unsigned char first) {
  return first < 0x80                    ? 1
         : first >= 0xc2 && first < 0xe0 ? 2
         : first >= 0xe0 && first < 0xf0 ? 3
         : first >= 0xf0 && first < 0xf5 ? 4
                                         : 0;
}

// Takes one character off `text`; -1, and one byte, for what is not UTF-8.
int32_t TakeCharacter(std::string_view* text) {
  const auto first = static_cast<unsigned char>(text->front());
  const size_t len = SequenceLen(first);
  int32_t character = len == 1 ? first : first & (0x7f >> len);
  bool valid = len != 0 && len <= text->size();
  for (size_t i = 1; valid && i < len; ++i) {
    const auto byte = static_cast<unsigned char>((*text)[i]);
    valid = (byte & 0xc0) == 0x80;
    character = character << 6 | (byte & 0x3f);
  }
  static constexpr int32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  valid = valid && character >= kSmallest[len] && character <= 0x10ffff &&
          (character < 0xd800 || character > 0xdfff);
  text->remove_prefix(valid ? len : 1);
  return valid ? character : -1;
}

// Controls of C0 and C1, and what turns the direction of text around: a title
// must not make the words behind it read otherwise.
bool IsUnprintable(int32_t character) {
  return character < 0x20 || (character >= 0x7f && character < 0xa0) ||
         (character >= 0x202a && character <= 0x202e) ||
         (character >= 0x2066 && character <= 0x2069) ||
         (character & 0xfffe) == 0xfffe;
}

const char* EntityOf(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return nullptr;
  }
}

std::string Escaped(std::string_view text) {
  std::string out;
  const bool cut = text.size() > kMaxPortalTextLen;
  size_t len = std::min(text.size(), kMaxPortalTextLen);
  // Not inside of a character.
  while (cut && len > 0 && (static_cast<unsigned char>(text[len]) >> 6) == 2) {
    --len;
  }
  AppendEscapedHtml(text.substr(0, len), &out);
  return cut ? out + "..." : out;
}

// `text` as a value in a query, for an attribute. Tokens have none of the
// letters that need it.
std::string UrlValue(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                       c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

// "60 seconds", "5 minutes".
std::string Duration(int64_t seconds) {
  constexpr int64_t kInSecondsUpTo = 120;
  if (seconds > kInSecondsUpTo) {
    return std::to_string(seconds / 60) + " minutes";
  }
  return std::to_string(seconds) + (seconds == 1 ? " second" : " seconds");
}

std::string Page(const std::string& code, const std::string& title,
                 const std::string& head, const std::string& content) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
         "<meta charset=\"utf-8\"/>\n<title>" +
         title +
         "</title>\n"
         "<meta name=\"viewport\" "
         "content=\"width=device-width, initial-scale=1\"/>\n"
         "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
         "<meta name=\"referrer\" content=\"no-referrer\"/>\n"
         "<meta name=\"robots\" content=\"noindex, nofollow, noarchive\"/>\n" +
         head + "<link rel=\"icon\" href=\"" + kIcon + "\"/>\n<style>" +
         kPortalStyle +
         "</style>\n</head>\n<body>\n<main id=\"main\" "
         "data-code=\"" +
         code + "\">\n" + kDrawing + "<h1 id=\"title\">" + title + "</h1>\n" +
         content + "</main>\n</body>\n</html>\n";
}

}  // namespace

void AppendEscapedHtml(std::string_view text, std::string* out) {
  while (!text.empty()) {
    const std::string_view before = text;
    const int32_t character = TakeCharacter(&text);
    const std::string_view bytes =
        before.substr(0, before.size() - text.size());
    const char* const entity =
        bytes.size() == 1 ? EntityOf(bytes.front()) : nullptr;
    if (character < 0) {
      *out += kReplacement;
    } else if (IsUnprintable(character)) {
      *out += ' ';
    } else if (entity != nullptr) {
      *out += entity;
    } else {
      *out += bytes;
    }
  }
}

std::string ReadyPage(const PortalDesktop& desktop, std::string_view token) {
  const std::string link = "?token=" + UrlValue(token) + "&amp;file=1";
  const std::string title =
      Escaped(desktop.title.empty() ? desktop.name : desktop.title);
  const std::string duration =
      Duration(std::max<int64_t>(desktop.expires_s, 1));
  return Page(
      "ready", "Your desktop is ready",
      "<meta http-equiv=\"refresh\" content=\"0;url=" + link + "\"/>\n",
      "<p>The connection file for <strong id=\"desktop\"><bdi>" + title +
          "</bdi></strong> is on its way to your downloads. Open it, and the "
          "desktop appears in a window of its own.</p>\n"
          "<p><a id=\"download\" class=\"button\" href=\"" +
          link +
          "\">Download the connection file again</a></p>\n"
          "<p id=\"expiry\" class=\"soft\">The file opens the desktop one "
          "time, and only within <strong>" +
          duration +
          "</strong>. Later, download it again: this link works until "
          "your cloud lets it expire.</p>\n"
          "<h2>What to do</h2>\n<ol id=\"steps\">\n"
          "<li>Open <code><bdi>" +
          Escaped(desktop.name) +
          ".vv</bdi></code> from your browser&#39;s downloads. If you are "
          "asked for a program, choose Remote Viewer.</li>\n"
          "<li>If nothing was downloaded, use the button above.</li>\n"
          "<li>Do not pass the file on: it opens the desktop for whoever has "
          "it.</li>\n</ol>\n" +
          kInstall);
}

std::string ErrorPage(PortalError error, std::string_view detail) {
  const PortalErrorText& known = TextOf(error);
  std::string content = "<p id=\"reason\">";
  AppendEscapedHtml(known.text, &content);
  content += "</p>\n";
  if (!detail.empty()) {
    content += "<p id=\"detail\" class=\"soft\">The gateway was told: <bdi>" +
               Escaped(detail) + "</bdi></p>\n";
  }
  if (known.retry) {
    content +=
        "<p><a id=\"retry\" class=\"button\" href=\"\">Try again</a></p>\n";
  }
  content += "<h2>What to do</h2>\n<ul id=\"steps\">\n";
  content += known.html;
  content += "</ul>\n";
  return Page(known.code, known.title, "", content);
}

std::string ErrorJson(PortalError error, std::string_view detail) {
  const PortalErrorText& known = TextOf(error);
  std::string text = known.text;
  if (!detail.empty()) {
    text += " (" + std::string(detail.substr(0, kMaxPortalTextLen)) + ")";
  }
  std::string json = "{\"error\":";
  AppendJsonString(text, &json);
  json += ",\"code\":";
  AppendJsonString(known.code, &json);
  return json + "}\n";
}

std::string FrontPage() {
  return Page("front", "This is where desktops open", "",
              "<p>You need a link to open a desktop here. Your cloud gives you "
              "one for each desktop.</p>\n<h2>What to do</h2>\n"
              "<ul id=\"steps\">\n"
              "<li>Open the console of your desktop where you manage it, such "
              "as your cloud&#39;s dashboard.</li>\n"
              "<li>With OpenStack&#39;s command line: <code>openstack console "
              "url show --spice-direct SERVER</code></li>\n</ul>\n");
}

}  // namespace spicegate
