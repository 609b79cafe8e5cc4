// SPDX-License-Identifier: Apache-2.0
//
// Writes every page of the portal into the folder it is given, for
// portal_html_test.py and for whoever wants to see them: CODE_STATUS.html,
// ready.html and front.html; ready_hostile.html and error_hostile.html with
// what a cloud should not say. style_source.txt is the style's source in the
// Content-Security-Policy.
#include <cstdio>
#include <fstream>
#include <string>

#include "gateway/portal/portal_pages.h"

namespace {

using spicegate::PortalDesktop;
using spicegate::PortalError;

constexpr char kToken[] = "4f1c2a7e-0b7d-4a57-9a53-8d3b1c9e0f11";
constexpr char kHostile[] =
    "</bdi></main><script src='//x/'>\"&copy;\x01\xff\xc3 \xed\xa0\x80]]>"
    "<!-- \xef\xbf\xbe B\xc3\xbcro";

bool Write(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  return out.good();
}

bool WriteErrors(const std::string& folder) {
  bool ok = true;
  for (int i = 0; i <= static_cast<int>(PortalError::kBadRequest); ++i) {
    const auto error = static_cast<PortalError>(i);
    const spicegate::PortalErrorText& text = spicegate::TextOf(error);
    ok = Write(folder + text.code + "_" + std::to_string(text.status) + ".html",
               ErrorPage(error, "")) &&
         ok;
  }
  return ok;
}

bool WriteAll(const std::string& folder) {
  const PortalDesktop desktop = {"prod." + std::string(kToken), "Windows 11",
                                 "", 60};
  const PortalDesktop hostile = {kHostile, kHostile, "", 60};
  return Write(folder + "ready.html", ReadyPage(desktop, kToken)) &&
         Write(folder + "ready_hostile.html", ReadyPage(hostile, kHostile)) &&
         Write(folder + "error_hostile.html",
               ErrorPage(PortalError::kBusy, kHostile)) &&
         Write(folder + "front.html", spicegate::FrontPage()) &&
         Write(folder + "style_source.txt", spicegate::kPortalStyleHash) &&
         WriteErrors(folder);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: portal_pages_dump FOLDER\n");
    return 2;
  }
  return WriteAll(std::string(argv[1]) + "/") ? 0 : 1;
}
