// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin_router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/control/fake_services.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AdminRouterTest : public ::testing::Test {
 protected:
  // The answer; of status 0 when there is none yet.
  HttpResponse Route(const std::string& method, const std::string& path,
                     std::vector<HttpHeader> headers = {},
                     HttpTransport transport = HttpTransport::kLoopback) {
    HttpRequest request;
    request.method = method;
    const size_t query = path.find('?');
    request.path = path.substr(0, query);
    request.query = query == std::string::npos ? "" : path.substr(query + 1);
    request.headers = std::move(headers);
    if (request.Header("host") == nullptr) {
      request.headers.push_back({"host", "localhost:9480"});
    }
    const size_t before = answers_.size();
    RouteAdminRequest(request, transport, &services_,
                      [this](HttpResponse response) {
                        answers_.push_back(std::move(response));
                      });
    HttpResponse none;
    none.status = 0;
    return answers_.size() == before ? none : answers_.back();
  }

  static std::string HeaderOf(const HttpResponse& response,
                              const std::string& name) {
    for (const HttpHeader& header : response.headers) {
      if (header.name == name) {
        return header.value;
      }
    }
    return "";
  }

  FakeServices services_;
  std::vector<HttpResponse> answers_;
};

TEST_F(AdminRouterTest, IssuesTickets) {
  const HttpResponse response = Route("POST", "/v1/consoles/vm1/ticket");
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body,
            "{\"ticket\":\"TICKET1\",\"console\":\"vm1\",\"expires_s\":60}\n");
  EXPECT_EQ(services_.issued, std::vector<std::string>{"vm1"});
}

TEST_F(AdminRouterTest, GivesConnectionFiles) {
  const HttpResponse response = Route("GET", "/v1/consoles/vm1.vv");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/x-virt-viewer");
  EXPECT_THAT(response.body, HasSubstr("password=TICKET1\n"));
  EXPECT_EQ(HeaderOf(response, "Content-Disposition"),
            "attachment; filename=\"vm1.vv\"");
}

TEST_F(AdminRouterTest, ATicketMayHaveAPolicy) {
  const HttpResponse response =
      Route("POST", "/v1/consoles/vm1/ticket?policy=kiosk");
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.body,
            "{\"ticket\":\"TICKET1\",\"console\":\"vm1\","
            "\"policy\":\"kiosk\",\"expires_s\":60}\n");
  EXPECT_EQ(Route("GET", "/v1/consoles/vm1.vv?policy=kiosk").status, 200);
  EXPECT_EQ(Route("GET", "/v1/consoles/vm1.vv?").status, 200);
  EXPECT_EQ(services_.issued,
            (std::vector<std::string>{"vm1+kiosk", "vm1+kiosk", "vm1"}));
}

TEST_F(AdminRouterTest, AnUnknownPolicyIs404) {
  for (const char* query :
       {"?policy=kiosk2", "?policy=Kiosk", "?policy=%6biosk", "?policy=kiosk+",
        "?policy=policy=kiosk"}) {
    const std::string path = std::string("/v1/consoles/vm1/ticket") + query;
    EXPECT_EQ(Route("POST", path).status, 404) << query;
    EXPECT_EQ(Route("POST", path).body, "{\"error\":\"no such policy\"}\n");
  }
  EXPECT_EQ(Route("GET", "/v1/consoles/vm1.vv?policy=x").status, 404);
  EXPECT_EQ(Route("GET", "/v1/consoles/vm1.vv?via=connect&policy=x").status,
            404);
  EXPECT_TRUE(services_.issued.empty());
}

// A ticket that allows more than was meant would be worse than none.
TEST_F(AdminRouterTest, AQueryThatIsNotUnderstoodIs400) {
  for (const char* query : {"?policy=",
                            "?policy",
                            "?Policy=kiosk",
                            "?police=kiosk",
                            "?a=b",
                            "?policy=kiosk&",
                            "?&policy=kiosk",
                            "?policy=kiosk&&continues=a.vv",
                            "?policy=kiosk&a=b",
                            "?a=b&policy=kiosk",
                            "?policy=kiosk&policy=kiosk",
                            "?policy=kiosk&continues=a.vv&policy=kiosk",
                            "?&",
                            "??policy=kiosk",
                            "?policy continues=a.vv",
                            "?=kiosk",
                            "?=",
                            "?continues=",
                            "?continues",
                            "?continues=a.vv&continues=a.vv",
                            "?via=",
                            "?via=Connect",
                            "?via=tunnels",
                            "?via=connect;policy=kiosk",
                            "?via=connect&via=tunnel",
                            "?via=connect&"}) {
    const std::string suffix = query;
    EXPECT_EQ(Route("POST", "/v1/consoles/vm1/ticket" + suffix).status, 400)
        << query;
    EXPECT_EQ(Route("GET", "/v1/consoles/vm1.vv" + suffix).status, 400)
        << query;
  }
  EXPECT_TRUE(services_.issued.empty());
}

TEST_F(AdminRouterTest, ParametersComeInAnyOrder) {
  const auto issued = [this](const char* method, const std::string& path) {
    EXPECT_NE(Route(method, path).status, 400) << path;
    return services_.issued.empty() ? "" : services_.issued.back();
  };
  EXPECT_EQ(issued("POST", "/v1/consoles/vm1/ticket?continues=a.vv"),
            "vm1<a.vv");
  EXPECT_EQ(
      issued("POST", "/v1/consoles/vm1/ticket?continues=a.vv&policy=kiosk"),
      "vm1+kiosk<a.vv");
  EXPECT_EQ(issued("GET", "/v1/consoles/vm1.vv?via=connect"), "vm1@connect");
  EXPECT_THAT(answers_.back().body, HasSubstr("\nvia=connect\n"));
  EXPECT_EQ(issued("GET", "/v1/consoles/vm1.vv?policy=kiosk&via=tunnel"),
            "vm1+kiosk@tunnel");
  EXPECT_EQ(
      issued("GET",
             "/v1/consoles/vm1.vv?via=tunnel&continues=a.vv&policy=kiosk"),
      "vm1+kiosk<a.vv@tunnel");
}

TEST_F(AdminRouterTest, EachActionHasItsOwnParameters) {
  EXPECT_EQ(Route("POST", "/v1/consoles/vm1/ticket?via=connect").status, 400);
  EXPECT_EQ(answers_.back().body,
            "{\"error\":\"expected no query but, each once, of: policy "
            "continues\"}\n");
  for (const char* query :
       {"?policy=kiosk", "?via=connect", "?continues=a.vv", "?a=b", "?&"}) {
    const std::string suffix = query;
    EXPECT_EQ(Route("POST", "/v1/consoles/vm1/disconnect" + suffix).status, 400)
        << query;
  }
  EXPECT_EQ(answers_.back().body, "{\"error\":\"expected no query\"}\n");
  EXPECT_TRUE(services_.issued.empty());
  EXPECT_TRUE(services_.disconnected.empty());
}

TEST_F(AdminRouterTest, AConsoleContinuesAnotherThatThereIs) {
  const auto status_with = [this](const char* other) {
    return Route("POST",
                 std::string("/v1/consoles/vm1/ticket?continues=") + other)
        .status;
  };
  EXPECT_EQ(status_with("vm2"), 404);
  EXPECT_EQ(answers_.back().body,
            "{\"error\":\"no such console to continue\"}\n");
  EXPECT_EQ(status_with("a%2evv"), 404);
  EXPECT_EQ(status_with("vm1"), 409);
  EXPECT_TRUE(services_.issued.empty());
  EXPECT_EQ(status_with("a.vv"), 201);
}

TEST_F(AdminRouterTest, DisconnectsConsoles) {
  const HttpResponse response = Route("POST", "/v1/consoles/vm1/disconnect");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, "{\"console\":\"vm1\",\"sessions\":2}\n");
  EXPECT_EQ(services_.disconnected, std::vector<std::string>{"vm1"});
  EXPECT_EQ(Route("POST", "/v1/consoles/vm2/disconnect").status, 404);
  // Consoles of clouds are in no table, and get no ticket here.
  EXPECT_EQ(Route("POST", "/v1/consoles/cloud.7/disconnect").status, 200);
  EXPECT_EQ(services_.disconnected.back(), "cloud.7");
  EXPECT_EQ(Route("POST", "/v1/consoles/cloud.7/ticket").status, 404);
  services_.disconnected.pop_back();
  EXPECT_EQ(Route("GET", "/v1/consoles/vm1/disconnect").status, 405);
  EXPECT_EQ(HeaderOf(answers_.back(), "Allow"), "POST");
  EXPECT_EQ(services_.disconnected.size(), 1U);
}

TEST_F(AdminRouterTest, AnswersWhenTheServiceIsDone) {
  services_.hold = true;
  EXPECT_EQ(Route("POST", "/v1/consoles/vm1/ticket").status, 0);
  EXPECT_EQ(Route("GET", "/v1/consoles/a.vv.vv").status, 0);
  EXPECT_EQ(Route("POST", "/v1/consoles/a.vv/disconnect").status, 0);
  EXPECT_TRUE(answers_.empty());
  // What asks nobody is not held up.
  EXPECT_EQ(Route("POST", "/v1/consoles/vm2/ticket").status, 404);
  ASSERT_EQ(services_.held.size(), 3U);
  services_.held[2]();
  EXPECT_EQ(answers_.back().body, "{\"console\":\"a.vv\",\"sessions\":2}\n");
  services_.held[1]();
  EXPECT_THAT(answers_.back().body, HasSubstr("title=a.vv\n"));
  EXPECT_EQ(HeaderOf(answers_.back(), "Content-Disposition"),
            "attachment; filename=\"a.vv.vv\"");
  services_.issue_error = absl::UnavailableError("QMP does not answer");
  services_.held[0]();
  EXPECT_EQ(answers_.back().status, 503);
  EXPECT_EQ(answers_.size(), 4U);
}

TEST_F(AdminRouterTest, ANameMayLookLikeASuffix) {
  EXPECT_EQ(Route("GET", "/v1/consoles/a.vv.vv").status, 200);
  EXPECT_EQ(Route("POST", "/v1/consoles/a.vv/ticket").status, 201);
  EXPECT_EQ(Route("GET", "/v1/consoles/a.vv").status, 404);
}

TEST_F(AdminRouterTest, ListsConsolesWithoutSecrets) {
  const HttpResponse response = Route("GET", "/v1/consoles");
  EXPECT_EQ(response.body,
            "{\"consoles\":[{\"name\":\"vm1\",\"title\":\"Windows "
            "\\\"11\\\"\"},{\"name\":\"a.vv\",\"title\":\"a.vv\"}]}\n");
}

TEST_F(AdminRouterTest, UnknownIs404) {
  for (const char* path :
       {"/v1/consoles/vm2/ticket", "/v1/consoles//ticket",
        "/v1/consoles/vm1%2f/ticket", "/v1/consoles/../vm1/ticket"}) {
    EXPECT_EQ(Route("POST", path).status, 404) << path;
  }
  for (const char* path :
       {"/", "/metrics/", "/v1", "/v1/consoles/", "/v1/consoles/vm1",
        "/v1/consolesx", "/v1/consoles/.vv", "/livez2",
        "/v1/consoles/ticket"}) {
    EXPECT_EQ(Route("GET", path).status, 404) << path;
  }
  EXPECT_TRUE(services_.issued.empty());
}

TEST_F(AdminRouterTest, WrongMethodsAre405WithAllow) {
  const auto allow = [this](const char* method, const char* path) {
    const HttpResponse response = Route(method, path);
    EXPECT_EQ(response.status, 405) << method << path;
    return HeaderOf(response, "Allow");
  };
  EXPECT_EQ(allow("GET", "/v1/consoles/vm1/ticket"), "POST");
  EXPECT_EQ(allow("POST", "/v1/consoles/vm1.vv"), "GET");
  // A HEAD would issue a ticket that nobody sees.
  EXPECT_EQ(allow("HEAD", "/v1/consoles/vm1.vv"), "GET");
  EXPECT_EQ(allow("POST", "/metrics"), "GET, HEAD");
  EXPECT_EQ(allow("DELETE", "/v1/consoles"), "GET, HEAD");
  EXPECT_EQ(allow("OPTIONS", "/livez"), "GET, HEAD");
  EXPECT_TRUE(services_.issued.empty());
}

TEST_F(AdminRouterTest, MapsErrorsOfTheServices) {
  const auto status_of = [this](absl::Status error) {
    services_.issue_error = std::move(error);
    const HttpResponse response = Route("POST", "/v1/consoles/vm1/ticket");
    EXPECT_EQ(response.body, "{\"error\":\"why\"}\n");
    EXPECT_EQ(Route("GET", "/v1/consoles/vm1.vv").status, response.status);
    EXPECT_EQ(Route("POST", "/v1/consoles/vm1/disconnect").status,
              response.status);
    return response.status;
  };
  EXPECT_EQ(status_of(absl::NotFoundError("why")), 404);
  EXPECT_EQ(status_of(absl::ResourceExhaustedError("why")), 503);
  EXPECT_EQ(status_of(absl::UnavailableError("why")), 503);
  EXPECT_EQ(status_of(absl::DeadlineExceededError("why")), 503);
  EXPECT_EQ(status_of(absl::FailedPreconditionError("why")), 409);
  EXPECT_EQ(status_of(absl::UnimplementedError("why")), 501);
  EXPECT_EQ(status_of(absl::InternalError("why")), 500);
}

TEST_F(AdminRouterTest, TellsHealth) {
  EXPECT_EQ(Route("GET", "/livez").status, 200);
  EXPECT_EQ(Route("HEAD", "/readyz").status, 200);
  services_.live = false;
  services_.ready = absl::UnavailableError("draining");
  EXPECT_EQ(Route("GET", "/livez").status, 503);
  EXPECT_EQ(Route("GET", "/readyz").status, 503);
  EXPECT_EQ(Route("GET", "/readyz").body, "{\"error\":\"draining\"}\n");
}

TEST_F(AdminRouterTest, ServesMetrics) {
  const HttpResponse response = Route("GET", "/metrics");
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(response.body, "# metrics\n");
}

TEST_F(AdminRouterTest, RefusesWhatAWebPageCouldSend) {
  const auto status_with = [this](const char* name, const char* value) {
    return Route("POST", "/v1/consoles/vm1/ticket", {{name, value}}).status;
  };
  EXPECT_EQ(status_with("origin", "https://evil.example"), 403);
  EXPECT_EQ(status_with("origin", "null"), 403);
  EXPECT_EQ(status_with("sec-fetch-site", "cross-site"), 403);
  EXPECT_EQ(status_with("sec-fetch-site", "same-site"), 403);
  EXPECT_EQ(status_with("host", "evil.example:9480"), 403);
  EXPECT_EQ(status_with("host", "127.0.0.1.evil.example"), 403);
  EXPECT_EQ(status_with("host", ""), 403);
  EXPECT_EQ(status_with("host", "[evil"), 403);
  EXPECT_TRUE(services_.issued.empty());
  EXPECT_EQ(status_with("sec-fetch-site", "none"), 201);
  EXPECT_EQ(status_with("host", "127.0.0.1:9480"), 201);
  EXPECT_EQ(status_with("host", "[::1]:9480"), 201);
  EXPECT_EQ(status_with("host", "localhost"), 201);
}

TEST_F(AdminRouterTest, AnAddressOfTheNetworkHasManyNames) {
  const auto status_with = [this](const char* name, const char* value) {
    return Route("POST", "/v1/consoles/vm1/ticket", {{name, value}},
                 HttpTransport::kNetwork)
        .status;
  };
  EXPECT_EQ(status_with("host", "gateway.example.org:9480"), 201);
  EXPECT_EQ(status_with("sec-fetch-site", "none"), 201);
  // A browser with a client certificate shows it for every page's requests.
  EXPECT_EQ(status_with("origin", "https://evil.example"), 403);
  EXPECT_EQ(status_with("origin", "null"), 403);
  EXPECT_EQ(status_with("sec-fetch-site", "cross-site"), 403);
  EXPECT_EQ(services_.issued.size(), 2U);
}

TEST_F(AdminRouterTest, AUnixSocketTakesAnyHost) {
  EXPECT_EQ(
      Route("GET", "/livez", {{"host", "spicegate"}}, HttpTransport::kUnix)
          .status,
      200);
}

}  // namespace
}  // namespace spicegate
