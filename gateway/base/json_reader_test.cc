// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/json_reader.h"

#include <gtest/gtest.h>

#include <map>

namespace spicegate {
namespace {

constexpr JsonObjectReader::Text kWord = {"a word", 5};
constexpr JsonObjectReader::Text kSecret = {"a secret of at most 5 bytes", 5,
                                            nullptr, /*secret=*/true};

struct Sample {
  bool flag = false;
  int64_t number = 7;
  uint16_t port = 1;
  std::string word = "none";
  std::string secret;
  std::vector<int64_t> items;
  std::vector<std::string> words = {"none"};
  std::map<std::string, int64_t> named;
  JsonObjectReader::PortRange range = {1, 2};
  std::vector<JsonObjectReader::PortRange> ranges;
  std::vector<std::pair<std::string, std::string>> texts = {{"a", "b"}};
};

// Reads a Sample and returns the error, "" for none.
std::string Read(const std::string& text, Sample* out) {
  const absl::StatusOr<JsonValue> root = ParseJson(text);
  EXPECT_TRUE(root.ok()) << root.status();
  absl::Status status;
  JsonObjectReader reader(*root, "", &status);
  reader.Bool("flag", &out->flag);
  reader.Int("number", -5, 5, &out->number);
  reader.Port("port", &out->port);
  reader.String("word", kWord, &out->word);
  reader.String("secret", kSecret, &out->secret);
  reader.Strings("words", 1, 2, kWord, &out->words);
  reader.Object("inner", [](JsonObjectReader& inner) {
    bool ignored = false;
    inner.Require("must", "true or false");
    inner.Bool("must", &ignored);
  });
  reader.Objects("list", 1, 2, [out](JsonObjectReader& item) {
    int64_t value = 0;
    item.Int("v", 0, 9, &value);
    out->items.push_back(value);
  });
  reader.Members("named", 2, kWord,
                 [out](const std::string& name, JsonObjectReader& item) {
                   item.Int("v", 0, 9, &out->named[name]);
                 });
  reader.Ports("range", &out->range);
  reader.PortRanges("ranges", 1, 3, &out->ranges);
  reader.StringMembers("texts", 2, kWord, kWord, &out->texts);
  reader.Finish();
  return std::string(status.message());
}

std::string ErrorOf(const std::string& text) {
  Sample ignored;
  return Read(text, &ignored);
}

TEST(JsonReader, LeavesAbsentKeysAlone) {
  Sample sample;
  EXPECT_EQ(Read("{}", &sample), "");
  EXPECT_EQ(sample.number, 7);
  EXPECT_EQ(sample.word, "none");
  EXPECT_EQ(sample.words, std::vector<std::string>{"none"});
}

TEST(JsonReader, ReadsEveryType) {
  Sample sample;
  EXPECT_EQ(Read(R"({"flag": true, "number": -5, "port": 65535,
                     "word": "abcde", "secret": "s",
                     "words": ["a", "b"],
                     "inner": {"must": true},
                     "list": [{"v": 3}, {"v": 4}]})",
                 &sample),
            "");
  EXPECT_TRUE(sample.flag);
  EXPECT_EQ(sample.number, -5);
  EXPECT_EQ(sample.port, 65535);
  EXPECT_EQ(sample.word, "abcde");
  EXPECT_EQ(sample.secret, "s");
  EXPECT_EQ(sample.words, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(sample.items, (std::vector<int64_t>{3, 4}));
}

TEST(JsonReader, ChecksEachStringOfAnArray) {
  EXPECT_EQ(ErrorOf(R"({"words": "a"})"),
            "words: expected an array of 1 to 2 strings, got \"a\"");
  EXPECT_EQ(ErrorOf(R"({"words": []})"),
            "words: expected an array of 1 to 2 strings, got 0");
  EXPECT_EQ(ErrorOf(R"({"words": ["a", "b", "c"]})"),
            "words: expected an array of 1 to 2 strings, got 3");
  EXPECT_EQ(ErrorOf(R"({"words": ["a", ""]})"),
            "words[1]: expected a word, got \"\"");
  EXPECT_EQ(ErrorOf(R"({"words": [1]})"), "words[0]: expected a word, got 1");
}

TEST(JsonReader, NamesPathExpectationAndValue) {
  EXPECT_EQ(ErrorOf("[]"), "expected an object, got an array");
  EXPECT_EQ(ErrorOf(R"({"flag": 1})"), "flag: expected true or false, got 1");
  EXPECT_EQ(ErrorOf(R"({"number": 6})"),
            "number: expected a whole number from -5 to 5, got 6");
  EXPECT_EQ(ErrorOf(R"({"number": 1.0})"),
            "number: expected a whole number from -5 to 5, got a number");
  EXPECT_EQ(ErrorOf(R"({"number": null})"),
            "number: expected a whole number from -5 to 5, got null");
  EXPECT_EQ(ErrorOf(R"({"port": 0})"),
            "port: expected a whole number from 1 to 65535, got 0");
  EXPECT_EQ(ErrorOf(R"({"word": "abcdef"})"),
            "word: expected a word, got \"abcdef\"");
  EXPECT_EQ(ErrorOf(R"({"word": ""})"), "word: expected a word, got \"\"");
  EXPECT_EQ(ErrorOf(R"({"word": "a\u0000b"})"),
            "word: expected a word, got \"a?b\"");
  EXPECT_EQ(ErrorOf(R"({"inner": true})"),
            "inner: expected an object, got true");
  EXPECT_EQ(ErrorOf(R"({"inner": {}})"),
            "inner.must: expected true or false, got nothing");
  EXPECT_EQ(ErrorOf(R"({"list": [{}, {"v": true}]})"),
            "list[1].v: expected a whole number from 0 to 9, got true");
  EXPECT_EQ(ErrorOf(R"({"list": [{}, 5]})"),
            "list[1]: expected an object, got 5");
  EXPECT_EQ(ErrorOf(R"({"list": []})"),
            "list: expected an array of 1 to 2 objects, got 0");
  EXPECT_EQ(ErrorOf(R"({"list": {}})"),
            "list: expected an array of 1 to 2 objects, got an object");
}

TEST(JsonReader, ReadsMembersOfAnyName) {
  Sample sample;
  EXPECT_EQ(Read(R"({"named": {}})", &sample), "");
  EXPECT_TRUE(sample.named.empty());
  EXPECT_EQ(Read(R"({"named": {"b": {"v": 3}, "a.c": {}}})", &sample), "");
  EXPECT_EQ(sample.named,
            (std::map<std::string, int64_t>{{"b", 3}, {"a.c", 0}}));
}

TEST(JsonReader, ChecksMembersOfAnyName) {
  EXPECT_EQ(ErrorOf(R"({"named": []})"),
            "named: expected an object, got an array");
  EXPECT_EQ(ErrorOf(R"({"named": {"abcdef": {}}})"),
            "named: expected each key a word, got \"abcdef\"");
  EXPECT_EQ(ErrorOf(R"({"named": {"": {}}})"),
            "named: expected each key a word, got \"\"");
  EXPECT_EQ(ErrorOf(R"({"named": {"a": {}, "b": {}, "c": {}}})"),
            "named: expected an object of at most 2 members, got 3");
  EXPECT_EQ(ErrorOf(R"({"named": {"a": 1}})"),
            "named.a: expected an object, got 1");
  EXPECT_EQ(ErrorOf(R"({"named": {"a": {}, "b": {"v": 10}}})"),
            "named.b.v: expected a whole number from 0 to 9, got 10");
  EXPECT_EQ(ErrorOf(R"({"named": {"a": {"w": 1}}})"),
            "named.a: expected one of the keys v, got \"w\"");
}

TEST(JsonReader, ReadsPortsAndRangesOfThem) {
  Sample sample;
  EXPECT_EQ(Read(R"({"range": "61000-61999",
                     "ranges": [3128, "5900-5900", "1-65535"]})",
                 &sample),
            "");
  EXPECT_EQ(sample.range, JsonObjectReader::PortRange(61000, 61999));
  EXPECT_EQ(sample.ranges, (std::vector<JsonObjectReader::PortRange>{
                               {3128, 3128}, {5900, 5900}, {1, 65535}}));
  EXPECT_EQ(Read(R"({"range": 5900})", &sample), "");
  EXPECT_EQ(sample.range, JsonObjectReader::PortRange(5900, 5900));
}

TEST(JsonReader, ChecksPortsAndRangesOfThem) {
  for (const char* bad : {"0", "65536", "-1", "1.5", "\"5900\"", "\"2-1\"",
                          "\"0-1\"", "\"1-\"", "\"-1\"", "\"1-65536\"",
                          "\"1-2-3\"", "\"1 - 2\"", "\"+1-2\"", "null"}) {
    const std::string got = bad == std::string("1.5") ? "a number" : bad;
    EXPECT_EQ(ErrorOf(std::string("{\"range\": ") + bad + "}"),
              "range: expected a port from 1 to 65535, or a range such as "
              "\"5900-5999\", got " +
                  got);
  }
  EXPECT_EQ(ErrorOf(R"({"ranges": [1, "b"]})"),
            "ranges[1]: expected a port from 1 to 65535, or a range such as "
            "\"5900-5999\", got \"b\"");
  EXPECT_EQ(ErrorOf(R"({"ranges": []})"),
            "ranges: expected an array of 1 to 3 ports, got 0");
}

TEST(JsonReader, ReadsMembersThatAreStrings) {
  Sample sample;
  EXPECT_EQ(Read(R"({"texts": {"b": "1", "a": "2"}})", &sample), "");
  EXPECT_EQ(sample.texts, (std::vector<std::pair<std::string, std::string>>{
                              {"b", "1"}, {"a", "2"}}));
  EXPECT_EQ(Read(R"({"texts": {}})", &sample), "");
  EXPECT_TRUE(sample.texts.empty());
  EXPECT_EQ(ErrorOf(R"({"texts": {"a": 1}})"),
            "texts.a: expected a word, got 1");
  EXPECT_EQ(ErrorOf(R"({"texts": {"abcdef": "a"}})"),
            "texts: expected each key a word, got \"abcdef\"");
  EXPECT_EQ(ErrorOf(R"({"texts": {"a": "", "b": "", "c": ""}})"),
            "texts: expected an object of at most 2 members, got 3");
}

TEST(JsonReader, RefusesUnknownKeys) {
  EXPECT_EQ(ErrorOf(R"({"flags": true})"),
            "expected one of the keys flag, number, port, word, secret, "
            "words, inner, list, named, range, ranges, texts, got \"flags\"");
  EXPECT_EQ(ErrorOf(R"({"list": [{"w": 1}]})"),
            "list[0]: expected one of the keys v, got \"w\"");
}

TEST(JsonReader, TheFirstErrorWins) {
  EXPECT_EQ(ErrorOf(R"({"list": 5, "flag": 3, "unknown": 1})"),
            "flag: expected true or false, got 3");
}

TEST(JsonReader, NeverShowsSecrets) {
  EXPECT_EQ(ErrorOf(R"({"secret": "hunter2"})"),
            "secret: expected a secret of at most 5 bytes, got one of 7 "
            "bytes");
  EXPECT_EQ(ErrorOf(R"({"secret": 424242})"),
            "secret: expected a secret of at most 5 bytes, got a number");
}

TEST(JsonReader, ShowsLongValuesByLength) {
  EXPECT_EQ(ErrorOf("{\"word\": \"" + std::string(61, 'x') + "\"}"),
            "word: expected a word, got a string of 61 bytes");
}

}  // namespace
}  // namespace spicegate
