// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/portal_request.h"

#include <algorithm>

#include "gateway/base/ascii.h"

namespace spicegate {
namespace {

// A Host header without port and dot at the end, in lower case.
std::string HostName(std::string_view host) {
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  if (host.ends_with('.')) {
    host.remove_suffix(1);
  }
  return AsciiLowered(std::string(host));
}

bool Contains(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = AsciiLower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// False when a '%' has no two hex digits behind it.
bool PercentDecode(std::string_view text, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      *out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return false;
    }
    *out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

// Cuts the first element off a list and gives it without blanks around.
std::string_view TakeElement(std::string_view* list, char separator) {
  const size_t end = std::min(list->find(separator), list->size());
  std::string_view element = list->substr(0, end);
  list->remove_prefix(std::min(end + 1, list->size()));
  while (element.starts_with(' ') || element.starts_with('\t')) {
    element.remove_prefix(1);
  }
  while (element.ends_with(' ') || element.ends_with('\t')) {
    element.remove_suffix(1);
  }
  return element;
}

// "0.8" in thousandths; -1 for what is no qvalue.
int ParseQuality(std::string_view text) {
  const bool has_form =
      !text.empty() && text.size() <= 5 && (text[0] == '0' || text[0] == '1') &&
      (text.size() == 1 || text[1] == '.') &&
      std::all_of(text.begin() + std::min<size_t>(2, text.size()), text.end(),
                  [](char c) { return c >= '0' && c <= '9'; });
  if (!has_form) {
    return -1;
  }
  int quality = text[0] == '1' ? 1000 : 0;
  int weight = 100;
  for (const char digit : text.substr(std::min<size_t>(2, text.size()))) {
    quality += (digit - '0') * weight;
    weight /= 10;
  }
  return quality <= 1000 ? quality : -1;
}

// The quality among the parameters of one media range; 0 for a broken one.
int QualityOf(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::string_view parameter = TakeElement(&parameters, ';');
    if (parameter.starts_with("q=") || parameter.starts_with("Q=")) {
      return std::max(0, ParseQuality(parameter.substr(2)));
    }
  }
  return 1000;
}

struct Qualities {
  int html = 0;
  int machine = 0;  // JSON or a connection file
};

void AddAccept(std::string_view value, Qualities* qualities) {
  while (!value.empty()) {
    std::string_view range = TakeElement(&value, ',');
    const std::string type =
        AsciiLowered(std::string(TakeElement(&range, ';')));
    int* const best =
        type == "text/html" ? &qualities->html
        : type == "application/json" || type == "application/x-virt-viewer"
            ? &qualities->machine
            : nullptr;
    if (best != nullptr) {
      *best = std::max(*best, QualityOf(range));
    }
  }
}

}  // namespace

const PortalCloud* FindPortalCloud(const std::vector<PortalCloud>& clouds,
                                   std::string_view path,
                                   const std::string* host) {
  const std::string name = host == nullptr ? "" : HostName(*host);
  const PortalCloud* any_host = nullptr;
  for (const PortalCloud& cloud : clouds) {
    if (!Contains(cloud.paths, path)) {
      continue;
    }
    if (Contains(cloud.hosts, name)) {
      return &cloud;
    }
    if (cloud.hosts.empty() && any_host == nullptr) {
      any_host = &cloud;
    }
  }
  return any_host;
}

PortalQuery ParsePortalQuery(std::string_view query) {
  PortalQuery parsed;
  int num_tokens = 0;
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view parameter = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = std::min(parameter.find('='), parameter.size());
    const std::string_view value =
        parameter.substr(std::min(equals + 1, parameter.size()));
    std::string name;
    if (!PercentDecode(parameter.substr(0, equals), &name)) {
      continue;
    }
    if (name == "token") {
      ++num_tokens;
      if (!PercentDecode(value, &parsed.token)) {
        parsed.token.clear();
      }
    }
    parsed.file = parsed.file || (name == "file" && value == "1");
  }
  if (num_tokens != 1) {
    parsed.token.clear();
  }
  return parsed;
}

bool WantsPage(const HttpRequest& request) {
  Qualities qualities;
  for (const HttpHeader& header : request.headers) {
    if (header.name == "accept") {
      AddAccept(header.value, &qualities);
    }
  }
  return qualities.html > 0 && qualities.html >= qualities.machine;
}

}  // namespace spicegate
