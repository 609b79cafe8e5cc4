// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spicegate {
namespace {

using ::testing::HasSubstr;

JsonValue Parse(const std::string& text) {
  absl::StatusOr<JsonValue> value = ParseJson(text);
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *std::move(value) : JsonValue();
}

std::string ErrorOf(const std::string& text) {
  const absl::Status status = ParseJson(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

std::string Nested(size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(Json, KeepsTypesApart) {
  EXPECT_EQ(Parse("null").type(), JsonValue::Type::kNull);
  EXPECT_TRUE(Parse("true").AsBool());
  EXPECT_FALSE(Parse("false").AsBool());
  EXPECT_EQ(Parse("-7").AsInt(), -7);
  EXPECT_EQ(Parse("9223372036854775807").AsInt(), INT64_MAX);
  EXPECT_EQ(Parse("1.5").AsDouble(), 1.5);
  // Written as a fraction, so no integer even if it has the value of one.
  EXPECT_EQ(Parse("2.0").type(), JsonValue::Type::kDouble);
  EXPECT_EQ(Parse("18446744073709551615").type(), JsonValue::Type::kDouble);
  EXPECT_EQ(Parse("\"a\\u00e4\\n\"").AsString(), "a\xc3\xa4\n");
}

TEST(Json, KeepsTheOrderOfMembers) {
  const JsonValue value = Parse("{\"z\": 1, \"a\": [2, {}], \"m\": 3}");
  ASSERT_EQ(value.Members().size(), 3U);
  EXPECT_EQ(value.Members()[0].first, "z");
  EXPECT_EQ(value.Members()[1].first, "a");
  EXPECT_EQ(value.Members()[2].first, "m");
  EXPECT_EQ(value.Find("a")->Items()[0].AsInt(), 2);
  EXPECT_EQ(value.Find("b"), nullptr);
}

TEST(Json, RefusesKeysThatStandTwice) {
  EXPECT_EQ(ErrorOf("{\"a\": 1, \"b\": {\"c\": 1, \"d\": 2, \"c\": 3}}"),
            "the key \"c\" stands twice in one object");
  // The same key in different spellings.
  EXPECT_THAT(ErrorOf("{\"a\": 1, \"\\u0061\": 2}"), HasSubstr("\"a\""));
}

TEST(Json, BoundsDepth) {
  EXPECT_TRUE(ParseJson(Nested(kMaxJsonDepth - 1)).ok());
  EXPECT_THAT(ErrorOf(Nested(kMaxJsonDepth + 1)),
              HasSubstr("inside each other"));
  EXPECT_THAT(ErrorOf(Nested(100'000)), HasSubstr("inside each other"));
}

TEST(Json, BoundsSize) {
  EXPECT_EQ(ErrorOf(std::string(kMaxJsonBytes + 1, ' ')),
            "the document is too long");
}

TEST(Json, NamesTheReason) {
  EXPECT_EQ(ErrorOf(""), "the document is empty");
  EXPECT_EQ(ErrorOf("  \n"), "the document is empty");
  EXPECT_THAT(ErrorOf("{\"a\": \"\xff\"}"), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(ErrorOf("{\"a\": \"b}"), HasSubstr("a string is not closed"));
  EXPECT_THAT(ErrorOf("{\"a\": \"b\nc\"}"), HasSubstr("inside a string"));
}

TEST(Json, NamesThePlace) {
  EXPECT_EQ(ErrorOf("{\n  \"a\": tru\n}"),
            "line 2, column 8: expected true, false or null");
  EXPECT_EQ(ErrorOf("[1, 2, 01]"),
            "line 1, column 8: not a number as JSON writes them");
  EXPECT_EQ(ErrorOf("{\n\"a\": 1\n\"b\": 2}"),
            "line 3, column 1: not valid JSON");
  EXPECT_EQ(ErrorOf("{\"a\": 1,}"), "line 1, column 9: not valid JSON");
  EXPECT_EQ(ErrorOf("{\"a\": 1"), "line 1, column 7: not valid JSON");
  EXPECT_EQ(ErrorOf("{} {}"), "line 1, column 4: not valid JSON");
  EXPECT_EQ(ErrorOf("[\"\\q\"]"),
            "line 1, column 6: a string with a bad escape");
}

TEST(Json, RefusesWhatOnlyLooksLikeJson) {
  for (const char* text :
       {"{a: 1}", "{'a': 1}", "[1,]", "// x\n{}", "{\"a\" 1}", "nul", "+1",
        "[1 2]", "\"\\ud800\"", "]", "NaN", "1e999"}) {
    EXPECT_FALSE(ParseJson(text).ok()) << text;
  }
}

}  // namespace
}  // namespace spicegate
