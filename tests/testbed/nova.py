# SPDX-License-Identifier: Apache-2.0
"""Nova's API as far as it says where a console is, at microversion 2.99.

Debian's Nova is older than that. Whether a request may ask is decided by
nova_auth (with a real Keystone or without any), and nova_faults are the ways
in which an answer can go wrong.
"""

import collections
import dataclasses
import hashlib
import json
import re
import threading
import time
import uuid

from tests.testbed import nova_auth
from tests.testbed import web_server

SPICE_DIRECT = "spice-direct"
NOVNC = "novnc"
ABSENT = object()  # a key that is not there

_SHOW = "/os-console-auth-tokens/"
_MIN, _FIRST_SHOW, _FIRST_DIRECT = (2, 1), (2, 31), (2, 99)
_VERSION = re.compile(r"([1-9]\d*)\.([1-9]\d*|0)")
_FAULT_KEYS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}  # any other: computeFault


@dataclasses.dataclass
class Console:
    """What a console token stands for.

    Attributes:
      tls_port: None where libvirt has none. Only SPICE_DIRECT's is told.
      expires: of time.monotonic().
    """

    token: str
    instance: str
    host: str
    port: int
    tls_port: object
    kind: str
    expires: float

    def reply(self, version=_FIRST_DIRECT):
        """The answer's body as a dict."""
        console = {
            "instance_uuid": self.instance,
            "host": self.host,
            "port": self.port,
            "internal_access_path": None,
        }
        if self.kind == SPICE_DIRECT and version >= _FIRST_DIRECT:
            console["tls_port"] = self.tls_port
        return {"console": console}


@dataclasses.dataclass(frozen=True)
class Request:
    """One request for a console token, as it came."""

    method: str
    path: str
    headers: dict  # names in lower case
    token: str  # the console's; "" for any other path


class Nova(web_server.WebServer):
    """A server on loopback with the consoles that a test gives it."""

    def __init__(
        self,
        auth=None,
        host="127.0.0.1",
        certificate=None,
        newest=(2, 99),
        token_ttl_s=600,
    ):
        """Binds a port and starts to answer.

        Args:
          auth: of nova_auth; else anybody with nova_auth.FIXED_TOKEN may ask.
          host, certificate: see web_server.WebServer.
          newest: the microversion up to which it knows them.
        """
        self.auth = auth or nova_auth.FixedToken()
        self._newest = newest
        self._ttl_s = token_ttl_s
        self._lock = threading.Lock()
        self._consoles = {}  # by the token's SHA-256, as Nova has them
        self._faults = collections.defaultdict(list)  # by token; "" for all
        self._requests = []
        super().__init__(Handler, host, certificate)

    @property
    def url(self):
        """What an endpoint without a project in it looks like."""
        return f"{self.origin}/v2.1"

    def project_url(self, project_id="%(project_id)s"):
        """The catalog's form; Keystone puts the project in by itself."""
        return f"{self.url}/{project_id}"

    def add_console(
        self,
        host="127.0.0.1",
        port=5900,
        tls_port=None,
        kind=SPICE_DIRECT,
        instance=None,
        ttl_s=None,
    ):
        """A console token of a new instance, or of one that is named."""
        console = Console(
            token=str(uuid.uuid4()),
            instance=instance or str(uuid.uuid4()),
            host=host,
            port=port,
            tls_port=tls_port,
            kind=kind,
            expires=time.monotonic() + (ttl_s or self._ttl_s),
        )
        with self._lock:
            self._consoles[_digest(console.token)] = console
        return console

    def add_vm(self, vm, **more):
        """A console token of a qemu.Vm."""
        return self.add_console(
            port=vm.port, tls_port=vm.tls_port or None, **more
        )

    def forget(self, instance):
        """What Nova does once an instance has moved, or is deleted."""
        with self._lock:
            self._consoles = {
                digest: console
                for digest, console in self._consoles.items()
                if console.instance != instance
            }

    def misbehave(self, fault, token="", times=None):
        """From now on a fault instead of answers.

        Args:
          fault: of nova_faults.
          token: only for this console token; "" for every request.
          times: for so many requests; None until behave().
        """
        with self._lock:
            self._faults[token].append([fault, times])

    def behave(self):
        """No fault any more."""
        with self._lock:
            self._faults.clear()

    def requests(self, token=None):
        """The requests so far, for one console token or all."""
        with self._lock:
            return [r for r in self._requests if token in (None, r.token)]

    def count(self, token=None):
        return len(self.requests(token))

    def forget_requests(self):
        with self._lock:
            self._requests.clear()

    # What the handler asks; any thread.

    def note(self, request):
        """Counts a request; returns the fault that it meets, or None."""
        with self._lock:
            self._requests.append(request)
            for token in (request.token, ""):
                for entry in self._faults.get(token, ()):
                    if entry[1] is None:
                        return entry[0]
                    if entry[1] > 0:
                        entry[1] -= 1
                        return entry[0]
        return None

    def find(self, token):
        """The Console, or None: unknown or expired."""
        with self._lock:
            console = self._consoles.get(_digest(token))
        if console is None or console.expires < time.monotonic():
            return None
        return console

    def version_of(self, headers):
        """(version, error text): the microversion that a request asks for."""
        wanted = headers.get("x-openstack-nova-api-version", "2.1").strip()
        for entry in headers.get("openstack-api-version", "").split(","):
            service, _, version = entry.strip().partition(" ")
            if service.lower() == "compute":
                wanted = version.strip()
        if wanted == "latest":
            return self._newest, None
        match = _VERSION.fullmatch(wanted)
        if not match:
            return None, (
                400,
                f"API Version String {wanted} is of invalid format. Must be of"
                " format MajorNum.MinorNum.",
            )
        version = tuple(int(part) for part in match.groups())
        if not _MIN <= version <= self._newest:
            newest = ".".join(map(str, self._newest))
            return None, (
                406,
                f"Version {wanted} is not supported by the API. Minimum is"
                f" 2.1 and maximum is {newest}.",
            )
        return version, None


class Handler(web_server.Handler):
    """One connection; its public methods are for faults."""

    version = None

    def do_GET(self):
        path, _, query = self.path.partition("?")
        token = path.partition(_SHOW)[2]
        headers = {name.lower(): v for name, v in self.headers.items()}
        self.version = None
        self.take_body()
        fault = self.owner.note(
            Request(self.command, self.path, headers, token)
        )
        if fault:
            fault(self, token)
        else:
            self.serve(path, query, headers)

    do_HEAD = do_POST = do_DELETE = do_PUT = do_GET

    def serve(self, path, query, headers):
        """Nova's own order: who asks, which version, what, allowed, there."""
        refused = self.owner.auth.refuses(self.command, path, headers)
        if refused:
            self.answer(*refused)
            return
        version, error = self.owner.version_of(headers)
        if error:
            self.answer_fault(*error)
            return
        self.version = version
        project, _, token = path.removeprefix("/v2.1").partition(_SHOW)
        if not path.startswith("/v2.1/") or not token or "/" in token:
            self.answer_fault(404, "The resource could not be found.")
        elif self.command != "GET":
            self.answer_fault(405, "The method is not allowed here.")
        else:
            self._show(project.removeprefix("/"), token, query)

    def _show(self, project, token, query):
        error = self._objection(project, query)
        if error:
            self.answer_fault(*error)
            return
        console = self.owner.find(token)
        if console is None:
            self.answer_fault(404, "Token not found")
        else:
            self.answer_json(console.reply(self.version))

    def _objection(self, project, query):
        """(status, message) of what is wrong with a request, or None."""
        auth = self.owner.auth
        mine = auth.project_of(self.headers.get("X-Auth-Token", ""))
        if project and mine and project != mine:
            return 400, (
                f"Malformed request URL: URL's project_id '{project}' doesn't"
                f" match Context's project_id '{mine}'"
            )
        if self.version < _FIRST_SHOW:
            return 400, "The requested console type details are not accessible"
        if query and self.version >= _FIRST_DIRECT:
            name = query.partition("=")[0]
            return 400, (
                "Invalid input for query parameters: Additional properties are"
                f" not allowed ('{name}' was unexpected)"
            )
        if not auth.may_show(self.headers.get("X-Auth-Token", "")):
            return 403, (
                "Policy doesn't allow os_compute_api:os-console-auth-tokens to"
                " be performed."
            )
        return None

    def answer_fault(self, status, message, headers=()):
        """An error in Nova's format; Retry-After is in the body as well."""
        content = {"code": status, "message": message}
        retry = dict(headers).get("Retry-After")
        if retry and status in (413, 429):
            content["retryAfter"] = retry
        body = {_FAULT_KEYS.get(status, "computeFault"): content}
        self.answer_json(body, status, headers)

    def answer_json(self, body, status=200, headers=()):
        kind = "application/json"
        if status >= 400:
            kind += "; charset=UTF-8"
        own = [("Content-Type", kind)]
        self.answer(status, own + list(headers), json.dumps(body).encode())

    def head(self, status, headers, body_len):
        """With what Nova's middleware adds."""
        request_id = f"req-{uuid.uuid4()}"
        lines = list(headers)
        if self.version:
            version = ".".join(map(str, self.version))
            lines += [
                ("OpenStack-API-Version", f"compute {version}"),
                ("X-OpenStack-Nova-API-Version", version),
                ("Vary", "OpenStack-API-Version"),
                ("Vary", "X-OpenStack-Nova-API-Version"),
            ]
        lines += [
            ("x-openstack-request-id", request_id),
            ("x-compute-request-id", request_id),
        ]
        return super().head(status, lines, body_len)


def _digest(token):
    return hashlib.sha256(token.encode()).digest()
