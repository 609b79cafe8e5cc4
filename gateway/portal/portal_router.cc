// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/portal_router.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/ascii.h"

namespace spicegate {
namespace {

constexpr char kHtml[] = "text/html; charset=utf-8";
constexpr char kJson[] = "application/json";
constexpr char kAllowed[] = "GET, HEAD";

// After which somebody who was told "busy" tries again.
constexpr int64_t kBusyRetryS = 5;

struct CloudError {
  PortalError error;
  int64_t retry_after_s;  // 0: no word of it
};

// What the services say of a lookup, for the one who opened the link.
CloudError ErrorOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kNotFound:
      return {PortalError::kExpiredLink, 0};
    case absl::StatusCode::kFailedPrecondition:
      return {PortalError::kNotAvailable, 0};
    case absl::StatusCode::kDeadlineExceeded:
      return {PortalError::kCloudSilent, kBusyRetryS};
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      return {PortalError::kBusy, kBusyRetryS};
    default:
      return {PortalError::kCloudRefused, 0};
  }
}

HttpResponse ErrorAnswer(PortalError error, std::string_view detail,
                         bool page) {
  HttpResponse response;
  response.status = TextOf(error).status;
  response.content_type = page ? kHtml : kJson;
  response.body = page ? ErrorPage(error, detail) : ErrorJson(error, detail);
  return response;
}

HttpResponse Html(std::string body) {
  HttpResponse response;
  response.content_type = kHtml;
  response.body = std::move(body);
  return response;
}

// `name` for a quoted string in a header.
std::string FileName(std::string name) {
  std::replace_if(
      name.begin(), name.end(),
      [](char c) {
        return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-');
      },
      '_');
  return name + ".vv";
}

HttpResponse FileAnswer(const PortalDesktop& desktop) {
  HttpResponse response;
  response.content_type = "application/x-virt-viewer";
  response.body = desktop.vv;
  response.headers.push_back(
      {"Content-Disposition",
       "attachment; filename=\"" + FileName(desktop.name) + "\""});
  return response;
}

// A cloud's words, unless they quote the link's secret.
std::string Detail(const absl::Status& status, const std::string& token) {
  const std::string text(status.message());
  const bool quotes =
      AsciiLowered(text).find(AsciiLowered(token)) != std::string::npos;
  return quotes || absl::IsNotFound(status) ? "" : text;
}

std::string ContentSecurityPolicy() {
  return std::string("default-src 'none'; style-src '") + kPortalStyleHash +
         "'; img-src data:; form-action 'none'; base-uri 'none'; "
         "frame-ancestors 'none'";
}

HttpResponse HttpErrorAnswer(int status, std::string_view text, bool https) {
  HttpResponse response = ErrorAnswer(PortalError::kBadRequest, text, false);
  response.status = status;
  AddPortalHeaders(https, &response);
  return response;
}

}  // namespace

void AddPortalHeaders(bool https, HttpResponse* response) {
  static const std::string kPolicy = ContentSecurityPolicy();
  const std::vector<HttpHeader> headers = {
      {"Pragma", "no-cache"},
      {"Referrer-Policy", "no-referrer"},
      {"X-Robots-Tag", "noindex, nofollow, noarchive"},
      {"X-Frame-Options", "DENY"},
      {"Content-Security-Policy", kPolicy},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      {"Vary", "Accept"},
  };
  response->headers.insert(response->headers.end(), headers.begin(),
                           headers.end());
  if (https) {
    response->headers.push_back(
        {"Strict-Transport-Security", "max-age=31536000"});
  }
}

HttpResponse PortalHttpError(int status, std::string_view text) {
  return HttpErrorAnswer(status, text, false);
}

HttpResponse PortalHttpErrorTls(int status, std::string_view text) {
  return HttpErrorAnswer(status, text, true);
}

HttpResponse PortalLateAnswer(bool https) {
  HttpResponse response = ErrorAnswer(PortalError::kCloudSilent, "", false);
  response.headers.push_back({"Retry-After", std::to_string(kBusyRetryS)});
  AddPortalHeaders(https, &response);
  return response;
}

PortalRouter::PortalRouter(PortalOptions options, PortalServices* services)
    : options_(std::move(options)),
      services_(services),
      limits_(options_.portal_failures) {}

void PortalRouter::Route(const HttpRequest& request, const HttpPeer& peer,
                         int64_t now_ms, const HttpRespond& respond) {
  Visit visit;
  visit.user = FindPortalUser(request, peer, options_.trusted_proxies);
  visit.page = WantsPage(request);
  visit.now_ms = now_ms;
  visit.respond = respond;
  if (!visit.user.welcome) {
    return Fail(visit, PortalError::kHttpsNeeded, "", 0);
  }
  const PortalCloud* const cloud =
      FindPortalCloud(options_.clouds, request.path, request.Header("host"));
  if (cloud == nullptr && request.path != "/") {
    return Refuse(visit, PortalError::kNoSuchPage);
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return Refuse(visit, PortalError::kBadMethod);
  }
  if (cloud == nullptr) {
    return Front(visit);
  }
  RouteLink(request, *cloud, std::move(visit));
}

void PortalRouter::RouteLink(const HttpRequest& request,
                             const PortalCloud& cloud, Visit visit) {
  PortalQuery query = ParsePortalQuery(request.query);
  if (query.token.empty() || !services_->IsToken(cloud.name, query.token)) {
    return Fail(visit, PortalError::kBadLink, "", 0);
  }
  const bool file = query.file || !visit.page || request.path.ends_with(".vv");
  visit.token = query.token;
  PortalRequest asked;
  asked.cloud = cloud.name;
  asked.token = std::move(query.token);
  asked.source = visit.user.source;
  asked.issue = file && request.method == "GET";
  Ask(asked, file, visit);
}

void PortalRouter::Ask(const PortalRequest& asked, bool file,
                       const Visit& visit) {
  if (!services_->Ready()) {
    return Fail(visit, PortalError::kBusy, "", kBusyRetryS);
  }
  switch (limits_.Begin(visit.user.address, visit.now_ms)) {
    case SourceLimits::Verdict::kThrottled:
      return Throttle(visit);
    case SourceLimits::Verdict::kBusy:
      return Fail(visit, PortalError::kBusy, "", kBusyRetryS);
    case SourceLimits::Verdict::kGo:
      break;
  }
  services_->Open(
      asked, [this, visit, file](const absl::StatusOr<PortalDesktop>& desktop) {
        Finish(visit, file, desktop);
      });
}

void PortalRouter::Finish(const Visit& visit, bool file,
                          const absl::StatusOr<PortalDesktop>& desktop) {
  const bool unknown = desktop.status().code() == absl::StatusCode::kNotFound;
  limits_.End(visit.user.address, unknown, visit.now_ms);
  if (!desktop.ok()) {
    const CloudError found = ErrorOf(desktop.status().code());
    return Fail(visit, found.error, Detail(desktop.status(), visit.token),
                found.retry_after_s);
  }
  if (file) {
    return Answer(visit, "file", FileAnswer(*desktop));
  }
  Answer(visit, "page", Html(ReadyPage(*desktop, visit.token)));
}

void PortalRouter::Front(const Visit& visit) {
  if (!services_->Ready()) {
    HttpResponse busy = ErrorAnswer(PortalError::kBusy, "", visit.page);
    busy.headers.push_back({"Retry-After", std::to_string(kBusyRetryS)});
    return Answer(visit, "other", std::move(busy));
  }
  HttpResponse response;
  if (visit.page) {
    response = Html(FrontPage());
  } else {
    response.content_type = kJson;
    response.body = "{\"ready\":true}\n";
  }
  Answer(visit, "other", std::move(response));
}

void PortalRouter::Throttle(const Visit& visit) {
  ++stats_.throttled;
  Fail(visit, PortalError::kTooMany, "",
       limits_.RetryAfterS(visit.user.address, visit.now_ms));
}

void PortalRouter::Fail(const Visit& visit, PortalError error,
                        std::string_view detail, int64_t retry_after_s) {
  HttpResponse response = ErrorAnswer(error, detail, visit.page);
  if (retry_after_s > 0) {
    response.headers.push_back({"Retry-After", std::to_string(retry_after_s)});
  }
  Answer(visit, "error", std::move(response));
}

void PortalRouter::Refuse(const Visit& visit, PortalError error) {
  HttpResponse response = ErrorAnswer(error, "", visit.page);
  if (error == PortalError::kBadMethod) {
    response.headers.push_back({"Allow", kAllowed});
  }
  Answer(visit, "other", std::move(response));
}

void PortalRouter::Answer(const Visit& visit, const char* kind,
                          HttpResponse response) {
  ++stats_.answers[{kind, response.status}];
  AddPortalHeaders(visit.user.https, &response);
  visit.respond(std::move(response));
}

}  // namespace spicegate
