# SPDX-License-Identifier: Apache-2.0
"""Many people at the portal at once, each from an address of its own."""

import dataclasses
import http.client
import random
import socket
import ssl
import threading
import time
import uuid

from tests.testbed import gateway
from tests.testbed import portal

_LIMIT_S = 60


def address(number):
    """Of 127.0.0.0/8, another for each number below 62500."""
    return f"127.77.{number // 250}.{number % 250 + 1}"


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    began: float
    took_s: float

    def password(self):
        """Of the connection file that it is."""
        return gateway.vv_entries(self.body)["password"]


class Visitor:
    """One connection to a portal, kept open. close() it."""

    def __init__(self, port, ca_path=None, source="127.0.0.1", headers=None):
        """Connects with the first request.

        Args:
          ca_path: whose certificates are trusted; None: no TLS.
          source: its address.
          headers: of each request.
        """
        self._headers = headers or {}
        how = {"timeout": _LIMIT_S, "source_address": (source, 0)}
        if ca_path:
            context = ssl.create_default_context(cafile=ca_path)
            self._http = http.client.HTTPSConnection(
                "127.0.0.1", port, context=context, **how
            )
        else:
            self._http = http.client.HTTPConnection("127.0.0.1", port, **how)

    def ask(self, path, method="GET", **headers):
        began = time.monotonic()
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        self._http.request(method, path, headers={**self._headers, **named})
        answer = self._http.getresponse()
        body = answer.read()
        names = {k.lower(): v for k, v in answer.getheaders()}
        took_s = time.monotonic() - began
        return Answer(answer.status, names, body, began, took_s)

    def close(self):
        self._http.close()


@dataclasses.dataclass
class Visit:
    """What one person got; None where it did not come so far.

    Attributes:
      file: the first one.
      again: the same file, asked for at the same time a second time.
      error: what broke.
    """

    token: str
    source: str
    head: Answer | None = None
    page: Answer | None = None
    file: Answer | None = None
    again: Answer | None = None
    error: Exception | None = None

    def span_s(self):
        """From the first request to the last one's answer."""
        answers = [self.head, self.page, self.file, self.again]
        return max(a.began + a.took_s for a in answers if a) - min(
            a.began for a in answers if a
        )


def browse(visit, port, ca_path, path="/nova"):
    """A link's preview, the page, and the file twice, as people click."""
    url = f"{path}?token={visit.token}"
    visitors = [Visitor(port, ca_path, visit.source) for _ in range(2)]
    try:
        visit.head = visitors[0].ask(url, "HEAD", Accept=portal.BROWSER)
        visit.page = visitors[0].ask(url, Accept=portal.BROWSER)
        second = threading.Thread(
            target=_again, args=(visit, visitors[1], url + "&file=1")
        )
        second.start()
        visit.file = visitors[0].ask(url + "&file=1", Accept=portal.BROWSER)
        second.join()
    except (OSError, http.client.HTTPException) as error:
        visit.error = error
    finally:
        for visitor in visitors:
            visitor.close()


def _again(visit, visitor, url):
    try:
        visit.again = visitor.ask(url, Accept=portal.BROWSER)
    except (OSError, http.client.HTTPException) as error:
        visit.error = error


def run(visits, act, within_s, at_once):
    """act(visit) for each, spread over a time, so many at once at most.

    Returns when all have ended.
    """
    gate = threading.Semaphore(at_once)
    began = time.monotonic()

    def one(visit):
        with gate:
            act(visit)

    threads = []
    for number, visit in enumerate(visits):
        due = began + within_s * number / len(visits)
        time.sleep(max(0, due - time.monotonic()))
        threads.append(threading.Thread(target=one, args=(visit,)))
        threads[-1].start()
    for thread in threads:
        thread.join()


class Guesser:
    """Tries tokens as fast as it can, on threads of its own. stop() it.

    Attributes:
      statuses: {status: how often}.
      waits: the Retry-After of each 429, as text.
      began: when.
    """

    def __init__(self, num_threads, make_visitor, make_headers=None):
        """Begins at once.

        Args:
          make_visitor: () -> Visitor.
          make_headers: () -> headers of one request.
        """
        self.statuses = {}
        self.waits = set()
        self.began = time.monotonic()
        self._make = make_visitor
        self._headers = make_headers or (lambda: {})
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, daemon=True)
            for _ in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def total(self):
        with self._lock:
            return sum(self.statuses.values())

    def stop(self):
        """Returns for how long it has tried."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return time.monotonic() - self.began

    def _run(self):
        while not self._over.is_set():
            visitor = self._make()
            try:
                while not self._over.is_set():
                    self._try(visitor)
            except (OSError, http.client.HTTPException):
                self._note("gone", None)  # and begins anew
            finally:
                visitor.close()

    def _try(self, visitor):
        url = f"/nova?token={uuid.UUID(int=random.getrandbits(128))}"
        answer = visitor.ask(url, **self._headers())
        self._note(answer.status, answer.headers.get("retry-after"))

    def _note(self, status, wait):
        with self._lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 429:
                self.waits.add(wait)


class SlowClients:
    """Connections that begin and do not go on. close() them."""

    def __init__(self, port):
        self._port = port
        self._sockets = []

    def add_silent(self, count, source):
        """Connected, and that is all."""
        for _ in range(count):
            self._connect(source)

    def add_half_hello(self, count, source):
        """A ClientHello that breaks off."""
        for _ in range(count):
            # Handshake record of 512 bytes, a ClientHello in it.
            start = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
            self._connect(source).sendall(start)

    def add_half_request(self, count, source, ca_path=None):
        """A request whose headers never end."""
        head = b"GET /nova HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
        context = ca_path and ssl.create_default_context(cafile=ca_path)
        for _ in range(count):
            connected = self._connect(source)
            if context:
                connected = context.wrap_socket(
                    connected, server_hostname="localhost"
                )
                self._sockets[-1] = connected
            connected.sendall(head)

    def num_open(self):
        """How many the gateway has not closed yet."""
        return sum(_is_open(s) for s in self._sockets)

    def drip(self):
        """A byte more on each that is still open, as slow ones do."""
        for connected in self._sockets:
            try:
                connected.sendall(b"x")
            except OSError:
                pass  # closed, which is what it is for

    def close(self):
        for connected in self._sockets:
            connected.close()
        self._sockets = []

    def _connect(self, source):
        connected = socket.create_connection(
            ("127.0.0.1", self._port), _LIMIT_S, (source, 0)
        )
        self._sockets.append(connected)
        return connected


def _is_open(connected):
    connected.settimeout(0.001)
    try:
        return connected.recv(65536) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def percentile(values, share):
    """The smallest that so many of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, round(share * len(ordered)) - 1)]
