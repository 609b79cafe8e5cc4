// SPDX-License-Identifier: Apache-2.0
// What the words are. That the pages are sound HTML is portal_html_test.py's.
#include "gateway/portal/portal_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spicegate {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "4f1c2a7e-0b7d-4a57-9a53-8d3b1c9e0f11";

std::string Escape(std::string_view text) {
  std::string out;
  AppendEscapedHtml(text, &out);
  return out;
}

TEST(AppendEscapedHtmlTest, EscapesWhatMarkupIsMadeOf) {
  EXPECT_EQ(Escape("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(Escape("</title><script>"), "&lt;/title&gt;&lt;script&gt;");
  EXPECT_EQ(Escape(""), "");
}

TEST(AppendEscapedHtmlTest, KeepsUtf8) {
  for (const char* text : {"B\xc3\xbcro", "\xe6\xa1\x8c\xe9\x9d\xa2",
                           "\xf0\x9f\x96\xa5", "\xc2\xa0"}) {
    EXPECT_EQ(Escape(text), text);
  }
}

TEST(AppendEscapedHtmlTest, ReplacesWhatIsNotUtf8) {
  for (const char* bad : {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf",
                          "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80"}) {
    const std::string out = Escape(std::string(bad) + "<");
    EXPECT_THAT(out, testing::StartsWith("\xef\xbf\xbd")) << out;
    EXPECT_THAT(out, EndsWith("&lt;")) << out;
    EXPECT_EQ(out.find(bad[0] == '\xef' ? '\1' : bad[0]), std::string::npos);
  }
}

TEST(AppendEscapedHtmlTest, LeavesNothingThatDoesNotPrint) {
  EXPECT_EQ(Escape(std::string("a\0b", 3)), "a b");
  EXPECT_EQ(Escape("a\r\n\t\x1b\x7f"
                   "b"),
            "a     b");
  EXPECT_EQ(Escape("a\xc2\x85"
                   "b"),
            "a b");
  EXPECT_EQ(Escape("a\xe2\x80\xae"
                   "b"),
            "a b");
  EXPECT_EQ(Escape("a\xe2\x81\xa6"
                   "b"),
            "a b");
  EXPECT_EQ(Escape("a\xef\xbf\xbf"
                   "b"),
            "a b");
}

PortalDesktop Desktop() { return {"prod.vm-7", "Windows 11", "SECRET", 60}; }

TEST(ReadyPageTest, OffersTheFileTwice) {
  const std::string page = ReadyPage(Desktop(), kToken);
  const std::string link = "?token=" + std::string(kToken) + "&amp;file=1\"";
  EXPECT_THAT(page,
              HasSubstr("http-equiv=\"refresh\" content=\"0;url=" + link));
  EXPECT_THAT(page,
              HasSubstr("id=\"download\" class=\"button\" href=\"" + link));
  EXPECT_THAT(page, Not(HasSubstr("SECRET")));
}

TEST(ReadyPageTest, HasTheTokenInTheLinkOnly) {
  std::string page = ReadyPage(Desktop(), kToken);
  const std::string link = "?token=" + std::string(kToken) + "&amp;file=1\"";
  for (size_t at = 0; (at = page.find(link)) != std::string::npos;) {
    page.erase(at, link.size());
  }
  EXPECT_THAT(page, Not(HasSubstr(kToken)));
}

TEST(ReadyPageTest, NamesTheDesktopAndTheFile) {
  const std::string page = ReadyPage(Desktop(), kToken);
  EXPECT_THAT(page, HasSubstr("<bdi>Windows 11</bdi>"));
  EXPECT_THAT(page, HasSubstr("<bdi>prod.vm-7.vv</bdi>"));
  PortalDesktop untitled = Desktop();
  untitled.title.clear();
  EXPECT_THAT(ReadyPage(untitled, kToken), HasSubstr("<bdi>prod.vm-7</bdi>"));
}

TEST(ReadyPageTest, EscapesWhatTheCloudSays) {
  PortalDesktop hostile = Desktop();
  hostile.title = "<script>alert(1)</script>";
  hostile.name = "\"><img src=x>";
  const std::string page = ReadyPage(hostile, "a\"&<'\xff z");
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, HasSubstr("token=a%22%26%3C%27%FF%20z&amp;"));
}

TEST(ReadyPageTest, CutsLongTitlesBetweenCharacters) {
  PortalDesktop verbose = Desktop();
  verbose.title = std::string(kMaxPortalTextLen - 1, 'x') + "\xc3\xbcy";
  const std::string page = ReadyPage(verbose, kToken);
  EXPECT_THAT(page, HasSubstr("x...</bdi>"));
  EXPECT_THAT(page, Not(HasSubstr("\xef\xbf\xbd")));
  verbose.title = std::string(1000, '\x80');
  EXPECT_THAT(ReadyPage(verbose, kToken), HasSubstr("...</bdi>"));
}

TEST(ReadyPageTest, SaysForHowLongTheFileWorks) {
  const auto said = [](int64_t expires_s, const std::string& text) {
    PortalDesktop desktop = Desktop();
    desktop.expires_s = expires_s;
    EXPECT_THAT(ReadyPage(desktop, kToken),
                HasSubstr("within <strong>" + text + "</strong>"));
  };
  said(60, "60 seconds");
  said(120, "120 seconds");
  said(300, "5 minutes");
  said(359, "5 minutes");
  said(1, "1 second");
  said(0, "1 second");
}

TEST(ErrorPageTest, SaysWhatTheErrorIs) {
  for (int i = 0; i <= static_cast<int>(PortalError::kBadRequest); ++i) {
    const auto error = static_cast<PortalError>(i);
    const PortalErrorText& text = TextOf(error);
    const std::string page = ErrorPage(error, "");
    EXPECT_THAT(page, HasSubstr("data-code=\"" + std::string(text.code)));
    EXPECT_THAT(page, HasSubstr(">" + std::string(text.title) + "</h1>"));
    EXPECT_THAT(page, HasSubstr(">" + std::string(text.text) + "</p>"));
    EXPECT_EQ(page.find("id=\"retry\"") != std::string::npos, text.retry);
    EXPECT_THAT(page, Not(HasSubstr("id=\"detail\"")));
    EXPECT_GE(text.status, 400);
  }
}

TEST(ErrorPageTest, TellsTheDetailEscaped) {
  const std::string page = ErrorPage(PortalError::kBusy, "a <b>\n");
  EXPECT_THAT(page, HasSubstr("<bdi>a &lt;b&gt; </bdi>"));
}

TEST(ErrorJsonTest, HasTheCodeAndTheDetail) {
  EXPECT_EQ(ErrorJson(PortalError::kHttpsNeeded, ""),
            "{\"error\":\"The portal answers over HTTPS only.\","
            "\"code\":\"https_needed\"}\n");
  EXPECT_THAT(ErrorJson(PortalError::kHttpsNeeded, "a\"b\n"),
              HasSubstr("only. (a\\\"b\\n)\""));
}

}  // namespace
}  // namespace spicegate
