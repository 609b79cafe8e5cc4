# SPDX-License-Identifier: Apache-2.0
"""A broker that answers as it is told, well or not."""

import dataclasses
import http.server
import json
import threading
import time

NOT_FOUND = (404, {"error": "no such token"})


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict  # names in lower case
    body: bytes


class Broker:
    """On loopback. stop() it.

    Attributes:
      bearer: what it wants to hear; None: nothing.
      answers: by token: a console as a dict, (status, dict), bytes for a body
        of status 200, or what is called with the handler.
      requests: as they came.
    """

    def __init__(self, bearer=None):
        self.bearer = bearer
        self.answers = {}
        self.requests = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.broker = self
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        ).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}/console"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def tokens(self):
        """What it has been asked for."""
        return [json.loads(r.body)["token"] for r in self.requests]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A gateway that goes away has its reasons."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        broker = self.server.broker
        headers = {name.lower(): v for name, v in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        broker.requests.append(
            Request(self.command, self.path, headers, body)
        )
        wanted = broker.bearer and f"Bearer {broker.bearer}"
        if wanted and headers.get("authorization") != wanted:
            self.answer(401, {"error": "who are you?"})
            return
        found = broker.answers.get(json.loads(body)["token"], NOT_FOUND)
        if callable(found):
            found(self)
        elif isinstance(found, bytes):
            self.send(200, found)
        elif isinstance(found, tuple):
            self.answer(*found)
        else:
            self.answer(200, {"console": found})

    do_GET = do_POST

    def answer(self, status, content):
        self.send(status, json.dumps(content).encode())

    def send(self, status, body, length=None):
        """Args: length: what the header says in place of the truth."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        size = len(body) if length is None else length
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body)

    def cut(self):
        self.close_connection = True


def cut_at_once(handler):
    handler.cut()


def cut_in_body(handler):
    handler.send(200, b'{"console": {"id"', 1000)
    handler.cut()


def silent(handler):
    """Longer than any deadline for it."""
    time.sleep(15)
    handler.cut()


def redirect(location):
    def act(handler):
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return act
