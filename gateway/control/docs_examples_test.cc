// SPDX-License-Identifier: Apache-2.0
//
// Every JSON example of the documentation is what the gateway takes: a
// configuration, a part of one, or a consoles file.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "gateway/base/json.h"
#include "gateway/console/file_directory.h"
#include "gateway/control/config.h"

namespace spicegate {
namespace {

struct Example {
  std::string text;
  int line = 0;
};

// What stands between ```json and ``` on a page.
std::vector<Example> ExamplesOf(const std::string& page) {
  std::ifstream in(page);
  EXPECT_TRUE(in.good()) << page;
  std::vector<Example> examples;
  bool inside = false;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const size_t start = line.find_first_not_of(' ');
    const bool fence =
        start != std::string::npos && line.compare(start, 3, "```") == 0;
    if (fence && line.substr(start) == "```json") {
      inside = true;
      examples.push_back({"", number});
    } else if (fence) {
      inside = false;
    } else if (inside) {
      examples.back().text += line + "\n";
    }
  }
  return examples;
}

// A part of a configuration stands without the braces around it.
std::string Whole(const std::string& text) {
  return text[text.find_first_not_of(" \n")] == '"' ? "{" + text + "}" : text;
}

bool IsConsolesFile(const std::string& text) {
  const auto root = ParseJson(text);
  const JsonValue* consoles = root.ok() ? root->Find("consoles") : nullptr;
  return root.ok() && ((consoles != nullptr &&
                        consoles->type() == JsonValue::Type::kArray) ||
                       root->Find("qmp") != nullptr);
}

absl::Status Judge(const std::string& text) {
  if (!IsConsolesFile(text)) {
    return ParseConfig(text, "example").status();
  }
  const FileFetch fetch = [](const std::string&) {
    return absl::StatusOr<std::string>("-----BEGIN CERTIFICATE-----");
  };
  return ParseConsoles(text, "example", {}, fetch, nullptr).status();
}

class DocsExamplesTest : public testing::TestWithParam<const char*> {};

TEST_P(DocsExamplesTest, AreTaken) {
  const std::vector<Example> examples = ExamplesOf(GetParam());
  EXPECT_FALSE(examples.empty());
  for (const Example& example : examples) {
    EXPECT_EQ(Judge(Whole(example.text)), absl::OkStatus())
        << GetParam() << ":" << example.line;
  }
}

INSTANTIATE_TEST_SUITE_P(Pages, DocsExamplesTest,
                         testing::Values("README.md", "docs/brokers.md",
                                         "docs/configuration.md",
                                         "docs/openstack.md",
                                         "docs/proxmox.md"));

TEST(DocsExamples, AreReallyLookedAt) {
  EXPECT_FALSE(Judge(R"({"portal": {}})").ok());
  EXPECT_FALSE(Judge(R"({"consoles": [{"name": "a"}]})").ok());
}

}  // namespace
}  // namespace spicegate
