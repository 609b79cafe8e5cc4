// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/portal_router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/portal/fake_portal_services.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "4f1c2a7e-0b7d-4a57-9a53-8d3b1c9e0f11";
constexpr char kLink[] = "/nova?token=4f1c2a7e-0b7d-4a57-9a53-8d3b1c9e0f11";
constexpr char kFile[] =
    "/nova-console.vv?token=4f1c2a7e-0b7d-4a57-9a53-8d3b1c9e0f11";
constexpr char kBrowser[] = "text/html,application/xhtml+xml,*/*;q=0.8";

std::string HeaderOf(const HttpResponse& response, const std::string& name) {
  std::string all;
  for (const HttpHeader& header : response.headers) {
    if (header.name == name) {
      all += all.empty() ? header.value : " and " + header.value;
    }
  }
  return all;
}

class PortalRouterTest : public ::testing::Test {
 protected:
  PortalRouterTest() {
    peer_.address = peer_.socket_address = "192.0.2.9:1234";
    peer_.tls = true;
  }

  static PortalOptions Options() {
    PortalOptions options;
    options.clouds = {{"prod", {"/nova", "/nova-console.vv"}, {}},
                      {"lab", {"/nova"}, {"lab.example.org"}}};
    options.trusted_proxies = *HostPatterns::Parse({"10.0.0.0/8"});
    options.portal_failures = 3;
    return options;
  }

  // The answer; of status 0 when there is none yet.
  HttpResponse Route(const std::string& target, const std::string& accept = "",
                     const std::string& method = "GET") {
    HttpRequest request;
    request.method = method;
    const size_t query = target.find('?');
    request.path = target.substr(0, query);
    request.query = query == std::string::npos ? "" : target.substr(query + 1);
    request.headers = headers_;
    request.headers.push_back({"host", host_});
    if (!accept.empty()) {
      request.headers.push_back({"accept", accept});
    }
    const size_t before = answers_.size();
    router_.Route(request, peer_, now_ms_, [this](HttpResponse response) {
      answers_.push_back(std::move(response));
    });
    HttpResponse none;
    none.status = 0;
    return answers_.size() == before ? none : answers_.back();
  }

  HttpResponse RouteError(absl::Status error, const std::string& accept = "") {
    services_.error = std::move(error);
    return Route(kLink, accept);
  }

  std::string host_ = "desk.example.org";
  std::vector<HttpHeader> headers_;
  HttpPeer peer_;
  int64_t now_ms_ = 5'000;
  FakePortalServices services_;
  PortalRouter router_{Options(), &services_};
  std::vector<HttpResponse> answers_;
};

TEST_F(PortalRouterTest, GivesProgramsTheFile) {
  for (const char* accept : {"", "*/*", "application/json"}) {
    const HttpResponse response = Route(kLink, accept);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.content_type, "application/x-virt-viewer");
    EXPECT_EQ(response.body, "[virt-viewer]\npassword=TICKET\n");
    EXPECT_EQ(HeaderOf(response, "Content-Disposition"),
              "attachment; filename=\"prod.vm-7.vv\"");
  }
}

TEST_F(PortalRouterTest, AsksTheCloudForTheUser) {
  Route(kLink);
  ASSERT_EQ(services_.asked.size(), 1U);
  EXPECT_EQ(services_.asked[0].cloud, "prod");
  EXPECT_EQ(services_.asked[0].token, kToken);
  EXPECT_EQ(services_.asked[0].source, "192.0.2.9");
  EXPECT_TRUE(services_.asked[0].issue);
}

TEST_F(PortalRouterTest, AsksTheCloudOfTheHostOnly) {
  host_ = "Lab.example.org:13002";
  Route(kLink);
  EXPECT_EQ(services_.clouds_seen, std::vector<std::string>{"lab"});
  ASSERT_EQ(services_.asked.size(), 1U);
  EXPECT_EQ(services_.asked[0].cloud, "lab");
}

TEST_F(PortalRouterTest, IgnoresTheForwardedHost) {
  headers_ = {{"x-forwarded-host", "lab.example.org"}};
  peer_.address = peer_.socket_address = "10.0.0.1:1";
  Route(kLink);
  EXPECT_EQ(services_.asked.at(0).cloud, "prod");
}

TEST_F(PortalRouterTest, GivesPeopleThePageAndNoTicket) {
  const HttpResponse response = Route(kLink, kBrowser);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(response.body, HasSubstr("data-code=\"ready\""));
  EXPECT_THAT(response.body, HasSubstr("Windows &lt;11&gt;"));
  EXPECT_THAT(response.body, Not(HasSubstr("password")));
  EXPECT_EQ(HeaderOf(response, "Content-Disposition"), "");
  EXPECT_FALSE(services_.asked.at(0).issue);
}

TEST_F(PortalRouterTest, GivesPeopleTheFileThatTheyAskFor) {
  for (const std::string& target :
       {std::string(kLink) + "&file=1", std::string(kFile)}) {
    const HttpResponse response = Route(target, kBrowser);
    EXPECT_EQ(response.content_type, "application/x-virt-viewer") << target;
    EXPECT_TRUE(services_.asked.back().issue);
  }
}

TEST_F(PortalRouterTest, MakesNoTicketForHead) {
  for (const char* accept : {"", kBrowser}) {
    const HttpResponse got = Route(kLink, accept);
    const HttpResponse head = Route(kLink, accept, "HEAD");
    EXPECT_FALSE(services_.asked.back().issue);
    EXPECT_EQ(head.status, got.status);
    EXPECT_EQ(head.content_type, got.content_type);
    EXPECT_EQ(head.body.size(), got.body.size());
    EXPECT_EQ(HeaderOf(head, "Content-Disposition"),
              HeaderOf(got, "Content-Disposition"));
  }
}

TEST_F(PortalRouterTest, KeepsOddNamesOutOfTheHeader) {
  services_.desktop.name = "a\"b\r\nX: y/\xc3\xa4";
  const HttpResponse response = Route(kLink);
  EXPECT_EQ(HeaderOf(response, "Content-Disposition"),
            "attachment; filename=\"a_b__X__y___.vv\"");
}

TEST_F(PortalRouterTest, RefusesWhatIsNoToken) {
  for (const char* target :
       {"/nova", "/nova?", "/nova?token=", "/nova?token=abc",
        "/nova?token=..%2f..%2f", "/nova?x=1"}) {
    const HttpResponse response = Route(target);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_THAT(response.body, HasSubstr("\"code\":\"bad_link\"")) << target;
  }
  EXPECT_EQ(Route(std::string(kLink) + "&token=" + kToken).status, 400);
  EXPECT_TRUE(services_.asked.empty());
}

struct ErrorCase {
  absl::Status status;
  int http_status;
  const char* code;
  const char* retry_after;
};

TEST_F(PortalRouterTest, SaysWhatWentWrong) {
  const std::vector<ErrorCase> cases = {
      {absl::NotFoundError("x"), 404, "expired_link", ""},
      {absl::FailedPreconditionError("x"), 409, "not_available", ""},
      {absl::PermissionDeniedError("x"), 502, "cloud_error", ""},
      {absl::UnavailableError("x"), 503, "busy", "5"},
      {absl::ResourceExhaustedError("x"), 503, "busy", "5"},
      {absl::DeadlineExceededError("x"), 504, "cloud_error", "5"},
      {absl::InternalError("x"), 502, "cloud_error", ""},
  };
  for (const ErrorCase& wanted : cases) {
    for (const char* accept : {"", kBrowser}) {
      const HttpResponse response = RouteError(wanted.status, accept);
      EXPECT_EQ(response.status, wanted.http_status);
      EXPECT_EQ(HeaderOf(response, "Retry-After"), wanted.retry_after);
      const std::string code(wanted.code);
      EXPECT_THAT(response.body,
                  HasSubstr(*accept == '\0' ? "\"code\":\"" + code + "\""
                                            : "data-code=\"" + code + "\""));
    }
    now_ms_ += 60'000;
  }
}

TEST_F(PortalRouterTest, AnswersJsonToWhoAsksForIt) {
  services_.error = absl::NotFoundError("");
  const HttpResponse response =
      Route(kLink, "application/json, text/html;q=0.5");
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body,
            "{\"error\":\"The link has expired or is unknown: ask your cloud "
            "for a new one.\",\"code\":\"expired_link\"}\n");
}

TEST_F(PortalRouterTest, ShowsPeopleErrorsOfTheFileToo) {
  services_.error = absl::NotFoundError("");
  EXPECT_THAT(Route(kFile, kBrowser).body, HasSubstr("<h1 id=\"title\">"));
}

TEST_F(PortalRouterTest, TellsTheCloudsWords) {
  EXPECT_THAT(RouteError(absl::PermissionDeniedError("too <old>")).body,
              HasSubstr("too <old>"));
  EXPECT_THAT(
      RouteError(absl::PermissionDeniedError("too <old>"), kBrowser).body,
      HasSubstr("too &lt;old&gt;"));
}

TEST_F(PortalRouterTest, NeverTellsTheTokenOfAnError) {
  std::string shouted(kToken);
  for (char& c : shouted) {
    c = static_cast<char>(toupper(c));
  }
  for (const std::string& token : {std::string(kToken), shouted}) {
    const absl::Status quoting = absl::UnavailableError("GET /" + token);
    EXPECT_THAT(RouteError(quoting).body, Not(HasSubstr(token)));
    EXPECT_THAT(RouteError(quoting, kBrowser).body, Not(HasSubstr(token)));
  }
}

TEST_F(PortalRouterTest, AnswersTheFrontPage) {
  EXPECT_EQ(Route("/").body, "{\"ready\":true}\n");
  EXPECT_THAT(Route("/", kBrowser).body, HasSubstr("data-code=\"front\""));
  EXPECT_EQ(Route("/?x=1", "", "HEAD").status, 200);
  EXPECT_TRUE(services_.asked.empty());
}

TEST_F(PortalRouterTest, SendsNobodyIntoADrainingGateway) {
  services_.ready = false;
  for (const char* target : {"/", kLink}) {
    const HttpResponse response = Route(target);
    EXPECT_EQ(response.status, 503);
    EXPECT_EQ(HeaderOf(response, "Retry-After"), "5");
  }
  EXPECT_TRUE(services_.asked.empty());
}

TEST_F(PortalRouterTest, KnowsNoOtherPaths) {
  for (const char* target : {"/favicon.ico", "/robots.txt", "/nova/", "//"}) {
    const HttpResponse response = Route(target);
    EXPECT_EQ(response.status, 404);
    EXPECT_THAT(response.body, HasSubstr("\"not_found\""));
  }
}

TEST_F(PortalRouterTest, KnowsNoOtherMethods) {
  for (const char* target : {"/", "/nova", kLink}) {
    for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get"}) {
      const HttpResponse response = Route(target, "", method);
      EXPECT_EQ(response.status, 405);
      EXPECT_EQ(HeaderOf(response, "Allow"), "GET, HEAD");
    }
  }
  EXPECT_TRUE(services_.asked.empty());
}

TEST_F(PortalRouterTest, NeedsHttps) {
  peer_.tls = false;
  for (const char* target : {"/", kLink, "/favicon.ico"}) {
    const HttpResponse response = Route(target);
    EXPECT_EQ(response.status, 403);
    EXPECT_THAT(response.body, HasSubstr("\"https_needed\""));
    EXPECT_EQ(HeaderOf(response, "Strict-Transport-Security"), "");
  }
  EXPECT_TRUE(services_.asked.empty());
}

TEST_F(PortalRouterTest, BelievesABalancer) {
  peer_.tls = false;
  peer_.address = peer_.socket_address = "10.0.0.1:1";
  headers_ = {{"x-forwarded-for", "198.51.100.7"},
              {"x-forwarded-proto", "https"}};
  const HttpResponse response = Route(kLink);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(services_.asked.at(0).source, "198.51.100.7");
  EXPECT_EQ(HeaderOf(response, "Strict-Transport-Security"),
            "max-age=31536000");
}

TEST_F(PortalRouterTest, ThrottlesWhoGuesses) {
  services_.error = absl::NotFoundError("");
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Route(kLink).status, 404);
  }
  services_.error = absl::OkStatus();
  const HttpResponse response = Route(kLink);
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(HeaderOf(response, "Retry-After"), "6");
  EXPECT_EQ(services_.asked.size(), 4U);
  EXPECT_EQ(router_.stats().throttled, 1U);
  peer_.address = peer_.socket_address = "192.0.2.10:1234";
  EXPECT_EQ(Route(kLink).status, 200);
  peer_.address = peer_.socket_address = "192.0.2.9:77";
  now_ms_ += 6'000;
  EXPECT_EQ(Route(kLink).status, 200);
}

// Pages of a balancer's users are their own sources.
TEST_F(PortalRouterTest, ThrottlesTheUserNotTheBalancer) {
  peer_.address = peer_.socket_address = "10.0.0.1:1";
  headers_ = {{"x-forwarded-for", "198.51.100.7"}};
  services_.error = absl::NotFoundError("");
  for (int i = 0; i < 4; ++i) {
    Route(kLink);
  }
  EXPECT_EQ(Route(kLink).status, 429);
  headers_ = {{"x-forwarded-for", "198.51.100.8"}};
  EXPECT_EQ(Route(kLink).status, 404);
}

TEST_F(PortalRouterTest, CountsNoOtherErrorAsAGuess) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(RouteError(absl::UnavailableError("")).status, 503);
    EXPECT_EQ(Route("/nova?token=abc").status, 400);
  }
}

TEST_F(PortalRouterTest, AnswersLate) {
  services_.hold = true;
  EXPECT_EQ(Route(kLink).status, 0);
  ASSERT_EQ(services_.held.size(), 1U);
  services_.held[0](services_.Result(services_.asked[0]));
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_EQ(answers_[0].status, 200);
}

TEST_F(PortalRouterTest, BoundsLookupsOfOneSource) {
  services_.hold = true;
  for (int64_t i = 0; i < kMaxSourceLookups; ++i) {
    ASSERT_EQ(Route(kLink).status, 0);
  }
  EXPECT_EQ(Route(kLink).status, 503);
  EXPECT_EQ(services_.asked.size(), static_cast<size_t>(kMaxSourceLookups));
  services_.held[0](services_.Result(services_.asked[0]));
  EXPECT_EQ(Route(kLink).status, 0);
}

TEST_F(PortalRouterTest, CountsAnswers) {
  Route(kLink);
  Route(kLink);
  Route(kLink, kBrowser);
  Route("/nova");
  Route("/");
  Route("/favicon.ico");
  const std::map<std::pair<std::string, int>, uint64_t> wanted = {
      {{"file", 200}, 2},  {{"page", 200}, 1},  {{"error", 400}, 1},
      {{"other", 200}, 1}, {{"other", 404}, 1},
  };
  EXPECT_EQ(router_.stats().answers, wanted);
}

// As they go over the wire, each once.
void ExpectPortalHeaders(const HttpResponse& response, bool https) {
  const std::string wire = EncodeHttpResponse(response, true, true);
  std::vector<std::string> wanted = {
      "Cache-Control: no-store",
      "Pragma: no-cache",
      "Referrer-Policy: no-referrer",
      "X-Robots-Tag: noindex, nofollow, noarchive",
      "X-Content-Type-Options: nosniff",
      "X-Frame-Options: DENY",
      "Content-Security-Policy: default-src 'none'; style-src '" +
          std::string(kPortalStyleHash) +
          "'; img-src data:; form-action 'none'; base-uri 'none'; "
          "frame-ancestors 'none'",
      "Vary: Accept",
      "Cross-Origin-Resource-Policy: same-origin",
  };
  if (https) {
    wanted.push_back("Strict-Transport-Security: max-age=31536000");
  }
  for (const std::string& line : wanted) {
    const std::string name = "\r\n" + line.substr(0, line.find(':') + 1);
    EXPECT_THAT(wire, HasSubstr("\r\n" + line + "\r\n"));
    EXPECT_EQ(wire.find(name), wire.rfind(name)) << name;
  }
  EXPECT_THAT(wire, Not(HasSubstr("Set-Cookie")));
}

TEST_F(PortalRouterTest, SendsItsHeadersAlways) {
  for (const char* accept : {"", kBrowser}) {
    for (const char* target : {kLink, kFile, "/", "/nova", "/favicon.ico"}) {
      ExpectPortalHeaders(Route(target, accept), true);
      ExpectPortalHeaders(Route(target, accept, "HEAD"), true);
      ExpectPortalHeaders(Route(target, accept, "POST"), true);
    }
    ExpectPortalHeaders(RouteError(absl::UnavailableError(""), accept), true);
  }
  peer_.tls = false;
  ExpectPortalHeaders(Route(kLink), false);
}

TEST(PortalHttpErrorTest, HasThePortalsForm) {
  const HttpResponse plain = PortalHttpError(414, "head too long");
  EXPECT_EQ(plain.status, 414);
  EXPECT_EQ(plain.content_type, "application/json");
  EXPECT_THAT(plain.body, HasSubstr("head too long"));
  EXPECT_THAT(plain.body, HasSubstr("\"code\":\"bad_request\""));
  ExpectPortalHeaders(plain, false);
  EXPECT_EQ(HeaderOf(plain, "Strict-Transport-Security"), "");
  ExpectPortalHeaders(PortalHttpErrorTls(400, "x"), true);
}

TEST(PortalLateAnswerTest, SaysThatTheCloudIsSilent) {
  const HttpResponse late = PortalLateAnswer(true);
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(HeaderOf(late, "Retry-After"), "5");
  EXPECT_THAT(late.body, HasSubstr("\"code\":\"cloud_error\""));
  ExpectPortalHeaders(late, true);
}

}  // namespace
}  // namespace spicegate
