// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin_router.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/base/address.h"
#include "gateway/base/log.h"
#include "gateway/control/metrics.h"

namespace spicegate {
namespace {

constexpr std::string_view kConsolesPath = "/v1/consoles";

// What can be done with one console.
struct Action {
  std::string_view suffix;  // behind the console's name
  const char* method;
  std::string_view parameters;  // of the query, separated by spaces
  void (*run)(const TicketRequest& request, AdminServices* services,
              const HttpRespond& respond);
};

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
    case absl::StatusCode::kFailedPrecondition:
      return HttpError(409, text);
    case absl::StatusCode::kUnimplemented:
      return HttpError(501, text);
    case absl::StatusCode::kDeadlineExceeded:
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

HttpResponse TicketResponse(const TicketRequest& request,
                            const IssuedTicket& ticket) {
  std::string body = "{\"ticket\":";
  AppendJsonString(ticket.ticket, &body);
  body += ",\"console\":";
  AppendJsonString(request.console, &body);
  if (!request.policy.empty()) {
    body += ",\"policy\":";
    AppendJsonString(request.policy, &body);
  }
  body += ",\"expires_s\":" + std::to_string(ticket.expires_s) + "}\n";
  return Json(201, std::move(body));
}

HttpResponse VvResponse(const TicketRequest& request, std::string file) {
  HttpResponse response = Ok("application/x-virt-viewer", std::move(file));
  response.headers.push_back(
      {"Content-Disposition",
       "attachment; filename=\"" + request.console + ".vv\""});
  return response;
}

HttpResponse DisconnectResponse(const std::string& console,
                                int64_t num_sessions) {
  std::string body = "{\"console\":";
  AppendJsonString(console, &body);
  body += ",\"sessions\":" + std::to_string(num_sessions) + "}\n";
  return Json(200, std::move(body));
}

void RunTicket(const TicketRequest& request, AdminServices* services,
               const HttpRespond& respond) {
  services->IssueTicket(
      request, [request, respond](const absl::StatusOr<IssuedTicket>& ticket) {
        respond(ticket.ok() ? TicketResponse(request, *ticket)
                            : StatusError(ticket.status()));
      });
}

void RunVv(const TicketRequest& request, AdminServices* services,
           const HttpRespond& respond) {
  services->IssueTicket(
      request,
      [request, services, respond](const absl::StatusOr<IssuedTicket>& ticket) {
        respond(ticket.ok()
                    ? VvResponse(request, services->VvFile(request, *ticket))
                    : StatusError(ticket.status()));
      });
}

void RunDisconnect(const TicketRequest& request, AdminServices* services,
                   const HttpRespond& respond) {
  const std::string console = request.console;
  services->Disconnect(
      console, [console, respond](const absl::StatusOr<int64_t>& num_sessions) {
        respond(num_sessions.ok() ? DisconnectResponse(console, *num_sessions)
                                  : StatusError(num_sessions.status()));
      });
}

constexpr Action kActions[] = {
    {"/ticket", "POST", "policy continues", RunTicket},
    {".vv", "GET", "policy via continues", RunVv},
    {"/disconnect", "POST", "", RunDisconnect},
};

bool HasWord(std::string_view words, std::string_view word) {
  for (size_t at = 0; at < words.size();) {
    const size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) {
      return true;
    }
    at = end + 1;
  }
  return false;
}

// Where the value of a parameter goes; null for one that `action` has not.
std::string* FieldOf(const Action& action, std::string_view name,
                     TicketRequest* request) {
  if (!HasWord(action.parameters, name)) {
    return nullptr;
  }
  return name == "policy" ? &request->policy
         : name == "via"  ? &request->via
                          : &request->continues;
}

// Takes "NAME=VALUE" into `request`. Values stay as they came; none that is any
// good needs percent signs.
bool ParseParameter(std::string_view parameter, const Action& action,
                    TicketRequest* request) {
  const size_t equals = parameter.find('=');
  if (equals == std::string_view::npos || equals + 1 == parameter.size()) {
    return false;
  }
  std::string* field = FieldOf(action, parameter.substr(0, equals), request);
  if (field == nullptr || !field->empty()) {
    return false;
  }
  *field = parameter.substr(equals + 1);
  return field != &request->via || *field == "connect" || *field == "tunnel";
}

// False for all that is not understood: who asked for more than we know must
// not get a ticket that allows more.
bool ParseQuery(std::string_view query, const Action& action,
                TicketRequest* request) {
  while (!query.empty()) {
    const size_t end = query.find('&');
    if (end == query.size() - 1 ||
        !ParseParameter(query.substr(0, end), action, request)) {
      return false;
    }
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
  }
  return true;
}

HttpResponse QueryError(const Action& action) {
  return HttpError(400, action.parameters.empty()
                            ? "expected no query"
                            : "expected no query but, each once, of: " +
                                  std::string(action.parameters));
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

const Action* FindAction(std::string_view rest) {
  const auto* const found = std::find_if(
      std::begin(kActions), std::end(kActions),
      [rest](const Action& action) { return rest.ends_with(action.suffix); });
  return found == std::end(kActions) ? nullptr : found;
}

// Looks up what the parameters name. 200: all is there.
HttpResponse CheckNames(const TicketRequest& request, const ConsoleTable& table,
                        AdminServices* services) {
  if (!request.policy.empty() && !services->HasPolicy(request.policy)) {
    return HttpError(404, "no such policy");
  }
  if (request.continues.empty()) {
    return Ok("", "");
  }
  if (request.continues == request.console) {
    return HttpError(409, "a console does not continue itself");
  }
  return table.Find(request.continues) != nullptr
             ? Ok("", "")
             : HttpError(404, "no such console to continue");
}

// `rest` is what follows "/v1/consoles/".
void RouteConsole(const HttpRequest& request, std::string_view rest,
                  AdminServices* services, const HttpRespond& respond) {
  const Action* const action = FindAction(rest);
  if (action == nullptr) {
    return respond(HttpError(404, "no such resource"));
  }
  // Before the name is looked up, so that a wrong method is always a 405.
  if (request.method != action->method) {
    return respond(MethodNotAllowed(action->method));
  }
  rest.remove_suffix(action->suffix.size());
  const std::shared_ptr<const ConsoleTable> table = services->Consoles();
  const std::string name(rest);
  const bool known = action->run == RunDisconnect
                         ? services->CanDisconnect(name)
                         : table->Find(name) != nullptr;
  if (!IsConsoleName(name) || !known) {
    return respond(HttpError(404, "no such console"));
  }
  TicketRequest wish;
  wish.console = rest;
  if (!ParseQuery(request.query, *action, &wish)) {
    return respond(QueryError(*action));
  }
  HttpResponse checked = CheckNames(wish, *table, services);
  if (checked.status != 200) {
    return respond(std::move(checked));
  }
  action->run(wish, services, respond);
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

void RouteAdminRequest(const HttpRequest& request, HttpTransport transport,
                       AdminServices* services, const HttpRespond& respond) {
  if (transport != HttpTransport::kUnix && FromWebPage(request)) {
    return respond(HttpError(403, "requests of web pages are refused"));
  }
  // HTTP/1.0 may come without; no browser speaks it.
  const std::string* host = request.Header("host");
  if (transport == HttpTransport::kLoopback && host != nullptr &&
      !IsOwnHost(*host)) {
    return respond(HttpError(403, "the Host header names another host"));
  }
  const std::string_view path = request.path;
  if (path.size() > kConsolesPath.size() + 1 &&
      path.starts_with(kConsolesPath) && path[kConsolesPath.size()] == '/') {
    RouteConsole(request, path.substr(kConsolesPath.size() + 1), services,
                 respond);
    return;
  }
  respond(RoutePure(request, services));
}

}  // namespace spicegate
