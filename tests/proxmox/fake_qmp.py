# SPDX-License-Identifier: Apache-2.0
"""A monitor with no QEMU behind it that fails in the way that is asked for."""

import json
import os
import socket
import threading

_GREETING = {"QMP": {"version": {}, "capabilities": []}}
_SPICE = {
    "enabled": True,
    "migrated": False,
    "auth": "spice",
    "host": "127.0.0.1",
    "channels": [],
    "mouse-mode": "server",
}
_STEP_S = 0.1
_LINE_BYTES = 2 * 1024 * 1024


class FakeQmp:
    """Answers everybody, one at a time, until close().

    Attributes:
      commands: names of the commands that it has been given, oldest first.
    """

    def __init__(self, path, port, fails_at=None, how="hang"):
        """Listens at once.

        Args:
          path: of its socket.
          port: where it says that its SPICE server listens.
          fails_at: "greeting", or the name of the first command that it does
            not answer; None: it answers all of them.
          how: what it does instead, and then says nothing more: "hang";
            "close" the connection, behind half an answer; "garbage"; "long",
            a line of 2 MiB.
        """
        self.commands = []
        self._spice = {**_SPICE, "port": port}
        self._fails_at = fails_at
        self._how = how
        self._ending = threading.Event()
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(8)
        self._listener.settimeout(_STEP_S)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        """Ends it; its socket file goes too."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._thread.join()
        self._listener.close()
        os.unlink(self._path)

    def _run(self):
        while not self._ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(_STEP_S)
                try:
                    self._serve(connection)
                except OSError:
                    pass  # the client has gone

    def _serve(self, connection):
        if self._fails_at == "greeting":
            self._fail(connection)
            return
        _say(connection, _GREETING)
        for request in self._lines(connection):
            name = request["execute"]
            self.commands.append(name)
            if name == self._fails_at:
                self._fail(connection)
                return
            spice = self._spice if name == "query-spice" else {}
            _say(connection, {"return": spice, "id": request["id"]})

    def _fail(self, connection):
        if self._how == "close":
            connection.sendall(b'{"return": {')
            return
        if self._how == "garbage":
            connection.sendall(b"\xff\x00 no\r\n")
        elif self._how == "long":
            connection.sendall(b"x" * _LINE_BYTES)
        for _ in self._lines(connection):
            pass

    def _lines(self, connection):
        """What the client says, until it or we end."""
        buffer = b""
        while not self._ending.is_set():
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                yield json.loads(line)
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                continue
            if not piece:
                return
            buffer += piece


def _say(connection, value):
    connection.sendall(json.dumps(value).encode() + b"\r\n")
