# SPDX-License-Identifier: Apache-2.0
"""The gateway's HTTP client as a program, and what it says."""

import socket

from tests.testbed import locate
from tests.testbed import processes

_LIMIT_S = 60
_SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"


class Outcome:
    """What came of one call.

    Attributes:
      code: "OK" or the error's, such as "UNAVAILABLE".
      status: the answer's, or 0.
      num_connections: that the client had made until then.
      message: of the error.
    """

    def __init__(self, line):
        words = line.rstrip("\n").split(" ", 3)
        self.code = words[0]
        self.status = int(words[1])
        self.num_connections = int(words[2])
        self.message = words[3]


class Caller:
    """Calls through one client; close it."""

    def __init__(self, directory, system_trust=None):
        """Starts it.

        Args:
          directory: for its output.
          system_trust: a CA file that it sees as the system's.
        """
        self._talk, theirs = socket.socketpair()
        self._talk.settimeout(_LIMIT_S)
        program = locate.built("tests/http_client/http_caller")
        argv = [program]
        if system_trust:
            argv = processes.seeing(system_trust, _SYSTEM_TRUST, argv)
        self._child = processes.Child("caller", argv, directory, talk=theirs)
        theirs.close()
        self._lines = self._talk.makefile("r", encoding="utf-8")
        self._num_calls = 0
        self._early = {}

    def start(self, url, ca_file="-", deadline_ms=60_000):
        """Begins a call and returns its number."""
        self._num_calls += 1
        line = f"{self._num_calls} {url} {ca_file} {deadline_ms}\n"
        self._talk.sendall(line.encode())
        return self._num_calls

    def wait(self, number):
        """The outcome of a call that start() began."""
        while number not in self._early:
            done, rest = self.next()
            self._early[done] = rest
        return self._early.pop(number)

    def next(self):
        """(number, outcome) of whichever is done next."""
        line = self._lines.readline()
        if not line:
            raise EOFError("the caller has ended\n" + self._child.tail())
        number, rest = line.split(" ", 1)
        return int(number), Outcome(rest)

    def call(self, url, **how):
        return self.wait(self.start(url, **how))

    def close(self):
        """Ends the program with its input and returns the exit code."""
        self._talk.shutdown(socket.SHUT_WR)
        try:
            return self._child.wait(_LIMIT_S)
        finally:
            self._child.stop()
            self._lines.close()
            self._talk.close()
