// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin_router.h"

#include <string>
#include <string_view>
#include <utility>

#include "gateway/base/log.h"
#include "gateway/control/address.h"
#include "gateway/control/metrics.h"

namespace spicegate {
namespace {

constexpr std::string_view kConsolesPath = "/v1/consoles";
constexpr std::string_view kTicketSuffix = "/ticket";
constexpr std::string_view kVvSuffix = ".vv";
constexpr std::string_view kPolicyParameter = "policy=";

HttpResponse Ok(std::string content_type, std::string body) {
  HttpResponse response;
  response.content_type = std::move(content_type);
  response.body = std::move(body);
  return response;
}

HttpResponse Json(int status, std::string body) {
  HttpResponse response = Ok("application/json", std::move(body));
  response.status = status;
  return response;
}

HttpResponse StatusError(const absl::Status& status) {
  const std::string text(status.message());
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return HttpError(404, text);
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return HttpError(503, text);
    default:
      return HttpError(500, text);
  }
}

HttpResponse MethodNotAllowed(const char* allowed) {
  HttpResponse response = HttpError(405, "method not allowed");
  response.headers.push_back({"Allow", allowed});
  return response;
}

// The host of a Host header: without port and brackets.
std::string_view HostOnly(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end == std::string_view::npos ? host : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

bool IsOwnHost(std::string_view host) {
  const std::string_view name = HostOnly(host);
  return name == "localhost" || IsNumericHost(name);
}

bool FromWebPage(const HttpRequest& request) {
  const std::string* site = request.Header("sec-fetch-site");
  const bool cross =
      site != nullptr && *site != "none" && *site != "same-origin";
  return cross || request.Header("origin") != nullptr;
}

// Reads "policy=NAME", or nothing. False for all else: who asked for something
// that is not understood must not get a ticket that allows more. NAME stays as
// it came; no policy's name needs percent signs.
bool ParsePolicyQuery(std::string_view query, std::string* policy) {
  if (query.empty()) {
    return true;
  }
  if (!query.starts_with(kPolicyParameter)) {
    return false;
  }
  query.remove_prefix(kPolicyParameter.size());
  *policy = query;
  return !query.empty() && query.find('&') == std::string_view::npos;
}

HttpResponse IssueTicket(const std::string& name, const std::string& policy,
                         AdminServices* services) {
  const absl::StatusOr<IssuedTicket> ticket =
      services->IssueTicket(name, policy);
  if (!ticket.ok()) {
    return StatusError(ticket.status());
  }
  std::string body = "{\"ticket\":";
  AppendJsonString(ticket->ticket, &body);
  body += ",\"console\":";
  AppendJsonString(name, &body);
  if (!policy.empty()) {
    body += ",\"policy\":";
    AppendJsonString(policy, &body);
  }
  body += ",\"expires_s\":" + std::to_string(ticket->expires_s) + "}\n";
  return Json(201, std::move(body));
}

HttpResponse GetVv(const Console& console, const std::string& policy,
                   AdminServices* services) {
  const absl::StatusOr<IssuedTicket> ticket =
      services->IssueTicket(console.name, policy);
  if (!ticket.ok()) {
    return StatusError(ticket.status());
  }
  HttpResponse response =
      Ok("application/x-virt-viewer", services->VvFile(console, *ticket));
  response.headers.push_back(
      {"Content-Disposition",
       "attachment; filename=\"" + console.name + ".vv\""});
  return response;
}

HttpResponse ListConsoles(const ConsoleTable& table) {
  std::string body = "{\"consoles\":[";
  const char* separator = "";
  for (const Console& console : table.consoles()) {
    body += separator;
    body += "{\"name\":";
    AppendJsonString(console.name, &body);
    body += ",\"title\":";
    AppendJsonString(console.DisplayTitle(), &body);
    body += '}';
    separator = ",";
  }
  return Json(200, body + "]}\n");
}

// `rest` is what follows "/v1/consoles/".
HttpResponse RouteConsole(const HttpRequest& request, std::string_view rest,
                          AdminServices* services) {
  const bool wants_ticket = rest.ends_with(kTicketSuffix);
  if (!wants_ticket && !rest.ends_with(kVvSuffix)) {
    return HttpError(404, "no such resource");
  }
  // Before the name is looked up, so that a wrong method is always a 405.
  const char* const method = wants_ticket ? "POST" : "GET";
  if (request.method != method) {
    return MethodNotAllowed(method);
  }
  rest.remove_suffix(wants_ticket ? kTicketSuffix.size() : kVvSuffix.size());
  const std::shared_ptr<const ConsoleTable> table = services->Consoles();
  const Console* console = IsConsoleName(rest) ? table->Find(rest) : nullptr;
  if (console == nullptr) {
    return HttpError(404, "no such console");
  }
  std::string policy;
  if (!ParsePolicyQuery(request.query, &policy)) {
    return HttpError(400, "expected no query but policy=NAME");
  }
  if (!policy.empty() && !services->HasPolicy(policy)) {
    return HttpError(404, "no such policy");
  }
  return wants_ticket ? IssueTicket(console->name, policy, services)
                      : GetVv(*console, policy, services);
}

HttpResponse Readiness(AdminServices* services) {
  const absl::Status status = services->Ready();
  return status.ok() ? Json(200, "{\"ready\":true}\n")
                     : HttpError(503, std::string(status.message()));
}

HttpResponse Liveness(AdminServices* services) {
  return services->Live() ? Json(200, "{\"live\":true}\n")
                          : HttpError(503, "a worker does not turn over");
}

HttpResponse RoutePure(const HttpRequest& request, AdminServices* services) {
  const std::string& path = request.path;
  const bool known = path == kConsolesPath || path == "/metrics" ||
                     path == "/livez" || path == "/readyz";
  if (!known) {
    return HttpError(404, "no such resource");
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return MethodNotAllowed("GET, HEAD");
  }
  if (path == kConsolesPath) {
    return ListConsoles(*services->Consoles());
  }
  if (path == "/metrics") {
    return Ok(kMetricsContentType, services->MetricsText());
  }
  return path == "/livez" ? Liveness(services) : Readiness(services);
}

}  // namespace

HttpResponse RouteAdminRequest(const HttpRequest& request,
                               AdminTransport transport,
                               AdminServices* services) {
  if (transport != AdminTransport::kUnix && FromWebPage(request)) {
    return HttpError(403, "requests of web pages are refused");
  }
  // HTTP/1.0 may come without; no browser speaks it.
  const std::string* host = request.Header("host");
  if (transport == AdminTransport::kLoopback && host != nullptr &&
      !IsOwnHost(*host)) {
    return HttpError(403, "the Host header names another host");
  }
  const std::string_view path = request.path;
  if (path.size() > kConsolesPath.size() + 1 &&
      path.starts_with(kConsolesPath) && path[kConsolesPath.size()] == '/') {
    return RouteConsole(request, path.substr(kConsolesPath.size() + 1),
                        services);
  }
  return RoutePure(request, services);
}

}  // namespace spicegate
