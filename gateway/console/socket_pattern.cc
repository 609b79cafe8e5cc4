// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/socket_pattern.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace spicegate {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

// What stands before and behind the '*'.
struct NameParts {
  std::string_view before;
  std::string_view behind;

  bool Match(std::string_view name) const {
    const bool is_hidden = name.starts_with('.') && before.empty();
    return !is_hidden && name.size() >= before.size() + behind.size() &&
           name.starts_with(before) && name.ends_with(behind);
  }
};

std::vector<std::string> MatchingNames(const std::string& directory,
                                       const NameParts& parts) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseDirectory> opened(opendir(directory.c_str()));
  if (opened == nullptr) {
    return names;
  }
  for (size_t i = 0; i < kMaxDirectoryEntries; ++i) {
    const dirent* entry = readdir(opened.get());
    if (entry == nullptr) {
      break;
    }
    if (parts.Match(entry->d_name)) {
      names.emplace_back(entry->d_name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool IsSocket(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

}  // namespace

bool IsSocketPattern(std::string_view pattern) {
  const size_t star = pattern.find('*');
  return pattern.starts_with('/') && !pattern.ends_with('/') &&
         pattern.size() <= kMaxSocketPathLen &&
         star != std::string_view::npos && star == pattern.rfind('*');
}

std::vector<SocketMatch> ListSockets(const std::string& pattern,
                                     size_t max_matches) {
  const std::string_view whole = pattern;
  const size_t star = whole.find('*');
  const size_t begin = whole.rfind('/', star) + 1;
  const size_t end = std::min(whole.find('/', star), whole.size());
  const std::string directory = pattern.substr(0, begin);
  const std::string_view below = whole.substr(end);
  const NameParts parts = {whole.substr(begin, star - begin),
                           whole.substr(star + 1, end - star - 1)};
  std::vector<SocketMatch> matches;
  for (const std::string& found : MatchingNames(directory, parts)) {
    if (matches.size() == max_matches) {
      break;
    }
    std::string path = directory + found + std::string(below);
    if (path.size() <= kMaxSocketPathLen && IsSocket(path)) {
      const size_t middle_len =
          found.size() - parts.before.size() - parts.behind.size();
      matches.push_back(
          {std::move(path), found.substr(parts.before.size(), middle_len)});
    }
  }
  return matches;
}

}  // namespace spicegate
