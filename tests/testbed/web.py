# SPDX-License-Identifier: Apache-2.0
"""One HTTP request to 127.0.0.1 or to a unix socket."""

import dataclasses
import http.client
import json
import socket


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def request(where, method, path, body=None, limit_s=10):
    """Sends one request and returns the Answer; OSError when nobody is there.

    Args:
      where: a TCP port of 127.0.0.1, or the path of a unix socket.
    """
    if isinstance(where, int):
        connection = http.client.HTTPConnection(
            "127.0.0.1", where, timeout=limit_s
        )
    else:
        connection = _UnixConnection(where, limit_s)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        headers = {k.lower(): v for k, v in answer.getheaders()}
        return Answer(answer.status, headers, answer.read())
    finally:
        connection.close()
