// SPDX-License-Identifier: Apache-2.0
#include "proto/display_channel.h"

#include <gtest/gtest.h>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

TEST(DisplayInitTest, Layout) {
  const DisplayInit init = {.pixmap_cache_id = 1,
                            .pixmap_cache_px = 20971520,
                            .glz_dictionary_id = 2,
                            .glz_window_px = -3};
  const auto out = EncodeDisplayInit(init);
  EXPECT_EQ(ToHex(out),
            "01"
            "0000400100000000"
            "02"
            "fdffffff");
  EXPECT_EQ(ParseDisplayInit(out), init);
}

TEST(DisplayInitTest, DefaultIsAllZero) {
  EXPECT_EQ(ToHex(EncodeDisplayInit({})), std::string(28, '0'));
}

TEST(DisplayInitTest, ShortBody) {
  const auto out = EncodeDisplayInit({});
  for (size_t len = 0; len < kDisplayInitLen; ++len) {
    EXPECT_FALSE(ParseDisplayInit(Prefix(out, len)).has_value()) << len;
  }
}

}  // namespace
}  // namespace spicegate::proto
