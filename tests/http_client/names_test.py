# SPDX-License-Identifier: Apache-2.0
"""The HTTP client with a name server that says nothing, and the real resolver.

Runs in a network of its own.
"""

import socket
import threading
import unittest

from tests.http_client import caller
from tests.testbed import own_network
from tests.testbed import processes
from tests.testbed import runner

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def _answer(listener):
    while True:
        peer = listener.accept()[0]
        with peer:
            peer.recv(4096)
            peer.sendall(_ANSWER)


class NamesTest(unittest.TestCase):
    """Calls to names that nobody answers for, beside calls that go well."""

    def setUp(self):
        super().setUp()
        self.caller = caller.Caller(processes.temporary_directory(self))
        self.addCleanup(self._end)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        threading.Thread(
            target=_answer, args=[listener], daemon=True
        ).start()

    def _end(self):
        self.assertEqual(self.caller.close(), 0)

    def test_a_silent_name_server_holds_nobody_up(self):
        hung = [
            self.caller.start(f"http://cloud{i}.example.test/")
            for i in range(10)
        ]
        short = self.caller.start("http://a.example.test/", deadline_ms=300)
        # Those end in ten seconds at the soonest; these are done before, also
        # the one that gives up while the resolver still waits for it.
        url = f"http://known.example.test:{self.port}/"
        known = [self.caller.start(url) for _ in range(20)]
        outcomes = dict(self.caller.next() for _ in [short, *known])
        self.assertEqual(sorted(outcomes), [short, *known])
        self.assertEqual(outcomes[short].code, "DEADLINE_EXCEEDED")
        self.assertEqual({outcomes[call].status for call in known}, {200})
        for call in hung:
            outcome = self.caller.wait(call)
            self.assertEqual(outcome.code, "UNAVAILABLE", outcome.message)


if __name__ == "__main__":
    own_network.enter([], {"known.example.test": "127.0.0.1"}, silent=True)
    runner.main()
