# SPDX-License-Identifier: Apache-2.0
"""QEMU's machine protocol: JSON lines over a unix socket."""

import json
import socket
import time


class QmpError(Exception):
    """QEMU answered a command with an error."""


class Qmp:
    """One monitor connection. QEMU serves one at a time per socket.

    Attributes:
      events: every event seen so far, oldest first.
    """

    def __init__(self, path, limit_s=5):
        """Connects and negotiates; OSError while nobody listens."""
        self.events = []
        self._buffer = b""
        self._limit_s = limit_s
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(limit_s)
            self._socket.connect(path)
            self._greeting(time.monotonic() + limit_s)
            self.command("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def _greeting(self, end):
        # An event of the machine's start may be ahead of it.
        while "QMP" not in (line := self._line(end)):
            self.events.append(line)

    def close(self):
        self._socket.close()

    def command(self, name, limit_s=None, **arguments):
        """Runs one command and returns what it returned.

        Raises QmpError, TimeoutError when QEMU does not answer within the
        limit, EOFError or OSError when it is gone.
        """
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        end = time.monotonic() + (limit_s or self._limit_s)
        while True:
            answer = self._line(end)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QmpError(f"{name}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def _line(self, end):
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            data = self._socket.recv(65536)
            if not data:
                raise EOFError("QEMU closed its monitor")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)
