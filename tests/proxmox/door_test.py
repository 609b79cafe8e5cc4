# SPDX-License-Identifier: Apache-2.0
"""CONNECT requests, well-formed and not, and clients that take their time."""

import struct

from tests.proxmox import door_case
from tests.proxmox import proxy_headers as headers
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient

_DEADLINE_MS = 1500
_DRIBBLE_LIMIT_S = 60
_MAX_REQUEST_BYTES = 8192
_MAX_HEADERS = 64
_CONNECT = {"protocol": "connect"}
_BODIES = {
    400: b"This is not a valid CONNECT request.\n",
    403: b"This connection is not allowed.\n",
    431: b"The request is too long or has too many headers.\n",
    501: b"Only the method CONNECT is understood here.\n",
    505: b"Only HTTP/1.0 and HTTP/1.1 are understood here.\n",
}
_REASONS = {
    400: b"Bad Request",
    403: b"Forbidden",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    505: b"HTTP Version Not Supported",
}


def _answer(code, version="1.0"):
    body = _BODIES[code]
    return (
        b"HTTP/%s %d %s\r\n" % (version.encode(), code, _REASONS[code])
        + b"Content-Type: text/plain; charset=utf-8\r\n"
        + b"Content-Length: %d\r\n" % len(body)
        + b"Connection: close\r\n\r\n"
        + body
    )


class DoorTest(door_case.DoorCase):
    def setUp(self):
        super().setUp()
        self.start_doors(_CONNECT)
        self.port = self.ports[0]

    def _check_answers(self, requests):
        """requests: (name, bytes, status, version of the answer)."""
        expected = {}
        for name, request, code, version in requests:
            with self.subTest(name):
                client = self.dial(self.port, request)
                if code == 200:
                    client.sendall(door_case.HELLO)
                    ok = b"HTTP/%s 200 OK\r\n\r\n" % version.encode()
                    self.check_through(client, answer=ok)
                else:
                    self.assertEqual(
                        door_case.read_to_end(client),
                        (_answer(code, version), door_case.FIN),
                    )
                client.close()
            expected[str(code)] = expected.get(str(code), 0) + 1
        self.assertEqual(self.count("connect_answers", "code"), expected)

    def test_hosts(self):
        old, new = "1.0", "1.1"
        request = self.request
        here = self.echo.target
        far = "a" * 900
        colons = "pvespiceproxy:5F5E100:100:pve1::c2ln/+=:61000"
        host = f"Host: {here}"
        self._check_answers(
            [
                ("as GLib asks", request(), 200, old),
                ("as others ask", request(version=new), 200, new),
                ("no Host", request(host=""), 200, old),
                ("no Host in 1.1", request(host="", version=new), 400, new),
                ("another Host", request(host="example.org:1"), 200, old),
                ("Host without port", request(host="127.0.0.1"), 200, old),
                ("no bytes of Host", request("Host:", host=""), 400, old),
                ("a Host of two words", request(host="a b"), 400, old),
                ("Host twice", request(host), 400, old),
                ("long Host", request(host=far + ":1"), 200, old),
                ("long target", request(target=far + ":1"), 403, old),
                ("colons", request(target=colons), 403, old),
                ("colons only in Host", request(host=colons), 200, old),
                ("only colons", request(target=":::5900"), 400, old),
                ("IPv6", request(target="[2001:db8::1]:5900"), 403, old),
                ("bare IPv6", request(target="2001:db8::1:5900"), 400, old),
                ("no port", request(target="127.0.0.1"), 400, old),
                ("port 0", request(target="127.0.0.1:0"), 400, old),
                ("port 65536", request(target="127.0.0.1:65536"), 400, old),
                ("another port", request(target="127.0.0.1:1"), 403, old),
                ("a URL", request(target=f"http://{here}"), 400, old),
                ("a user", request(target=f"user@{here}"), 400, old),
                ("no target", b"CONNECT  HTTP/1.0\r\n\r\n", 400, old),
            ]
        )

    def test_lines(self):
        old, new = "1.0", "1.1"
        request = self.request
        get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        bare = request().replace(b"\r\n", b"\n")
        zero = request("X: a\0b")
        coded = request("Transfer-Encoding: chunked")
        self._check_answers(
            [
                ("GET", get, 501, new),
                ("HTTP/2.0", request(version="2.0"), 505, new),
                ("HTTP/0.9", request(version="0.9"), 505, new),
                ("HTTPS/1.0", request().replace(b"P/1", b"PS/1"), 400, new),
                ("LF alone", bare, 400, new),
                ("NUL", zero, 400, old),
                ("continued", request("X: a", " b"), 400, old),
                ("space before colon", request("X : a"), 400, old),
                ("no colon", request("X"), 400, old),
                ("a body", request("Content-Length: 5"), 400, old),
                ("no body", request("Content-Length: 0"), 200, old),
                ("coded", coded, 400, old),
                ("SPICE", b"REDQ\2\0\0\0\2\0\0\0\x12\0\0\0", 400, new),
                ("TLS", door_case.HELLO, 400, new),
                ("PROXY line", headers.line() + request(), 400, new),
                ("PROXY block", headers.block() + request(), 400, new),
            ]
        )

    def test_bounds(self):
        request = self.request
        others = [f"X-{i}: {i}" for i in range(_MAX_HEADERS)]
        fill = _MAX_REQUEST_BYTES - len(request("X: "))
        self._check_answers(
            [
                ("64 headers", request(*others[1:]), 200, "1.0"),
                ("65 headers", request(*others), 431, "1.0"),
                ("8 KiB", request("X: " + "x" * fill), 200, "1.0"),
                ("and 1", request("X: " + "x" * (fill + 1)), 431, "1.0"),
                ("one line", b"CONNECT " + b"x" * 9000, 431, "1.1"),
                # The answer must not be lost with what it leaves unread.
                ("32 KiB", request("X: " + "x" * 32768), 431, "1.0"),
            ]
        )

    def test_the_request_may_come_in_pieces(self):
        self.check_cut(self.port, self.request() + door_case.HELLO)
        client = self.dial(self.port)
        for byte in self.request() + door_case.HELLO:
            client.sendall(bytes([byte]))
        self.check_through(client)

    def test_bytes_behind_the_request_are_the_tunnels(self):
        more = door_case.HELLO * 1000
        client = self.dial(self.port, self.request() + more[:1400])
        client.sendall(more[1400:])
        self.check_through(client, echo=more)

    def test_other_bytes_behind_the_request_end_it(self):
        for first in [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x02", b"\0\0", b"RX"]:
            client = self.dial(self.port, self.request() + first)
            said, _ = door_case.read_to_end(client)
            self.assertIn(said, [door_case.OK, b""])  # a RST may overtake it
        self.check_refused("tunnel_protocol", 4)

    def test_half_a_request_is_nobodys(self):
        request = self.request()
        for length in range(0, len(request), 7):
            client = self.dial(self.port, request[:length])
            client.shutdown(door_case.SHUT_WR)
            said = door_case.read_to_end(client)
            self.assertEqual(said, (b"", door_case.FIN))
        self.check_refused("client_gone", len(range(0, len(request), 7)))
        self.assertEqual(self.count("connect_answers", "code"), {})


class _InOneBreath(spiceclient.Link):
    """Sends its link message with the request and waits for no answer."""

    def __init__(self, connected, request):
        super().__init__(connected=connected)
        self._request = request

    def send(self, data):
        super().send(self._request + data)
        self._request = b""

    def read_reply(self):
        answer = self.read(len(door_case.OK))
        if answer != door_case.OK:
            raise ValueError(f"not let through: {answer!r}")
        return super().read_reply()


class LinkInsideTest(door_case.DoorCase):
    def test_a_link_in_one_breath_with_the_request(self):
        vm = self.start_vm("vm")
        self.start_doors(_CONNECT, consoles=[vm.console()])
        ticket = self.made.ticket("vm")
        for target in (f"{ticket}:5900", f"[::1]:{vm.port}"):
            request = self.request(target=target)
            link = _InOneBreath(self.dial(self.ports[0]), request)
            self.addCleanup(link.close)
            if "[" in target:
                # What comes with a request that is refused is nobody's.
                with self.assertRaisesRegex(ValueError, "HTTP/1.0 403"):
                    link.hello(spiceclient.MAIN)
                continue
            reply = link.hello(spiceclient.MAIN)
            self.assertEqual(link.ticket(reply, ticket), spiceclient.OK)
            link.read_until(spiceclient.MAIN_INIT)
        self.assertEqual(
            self.count("connect_answers", "code"), {"200": 1, "403": 1}
        )


class SlowSenderTest(door_case.DoorCase):
    """A byte now and then, long before any silence would count."""

    def setUp(self):
        super().setUp()
        proxied = {"proxy_protocol": True}
        self.start_doors(
            _CONNECT,
            {**_CONNECT, "tls": True},
            {**_CONNECT, **proxied},
            {**proxied, "need_secured": False},
            {**proxied, "tls": True},
            limits={"preauth_deadline_ms": _DEADLINE_MS},
        )

    def _dribble(self, clients):
        """Sends a byte on each as long as it is taken, until all have ended.

        Returns how many bytes the most patient door took.
        """
        taken = [0] * len(clients)
        open_ones = dict(enumerate(clients))

        def step():
            for index, client in list(open_ones.items()):
                try:
                    client.send(b"x")
                    taken[index] += 1
                except OSError:
                    del open_ones[index]
            return not open_ones

        polling.until(step, "end of all slow clients", _DRIBBLE_LIMIT_S)
        return max(taken)

    def test_the_deadline_is_absolute(self):
        plain, tls, proxied, spice, spice_tls = self.ports
        long_block = headers.extended(headers.tlv(headers.NOOP, bytes(4000)))
        begun = headers.block() + b"CONNECT "
        link = b"REDQ" + struct.pack("<3I", 2, 2, 4000)
        # A hello of 16 KiB.
        tls_record = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc"
        requests = [
            (plain, b""),
            (plain, b"CONNECT a:1 HTTP/1.0\r\nX: "),
            (tls, tls_record),
            (proxied, begun),
            (spice, headers.line() + link),
            (spice_tls, headers.block() + tls_record),
        ]
        in_headers = [
            (proxied, long_block[:40]),
            (spice, long_block[:17]),
            (spice_tls, long_block[:200]),
        ]
        clients = [self.dial(*one) for one in requests + in_headers]
        self.assertGreater(self._dribble(clients), 5)
        self.check_refused("preauth_timeout", len(requests))
        self.check_refused("proxy_header", len(in_headers))

    def test_silence_has_the_same_deadline(self):
        plain, tls, proxied, spice, spice_tls = self.ports
        # Through the door, and then nothing or not enough in the tunnel.
        inside = [
            self.dial(plain, self.request()),
            self.dial(plain, self.request() + b"\x16"),
            self.dial(plain, self.request() + b"REDQ"),
        ]
        outside = [
            self.dial(plain),
            self.dial(plain, self.request()[:-1]),
            self.dial(tls),
            self.dial(proxied, headers.line()),
        ]
        in_headers = [
            self.dial(proxied),
            self.dial(spice, headers.line()[:-1]),
            self.dial(spice_tls, headers.block()[:-1]),
        ]
        for client in inside:
            self.assertEqual(
                door_case.read_to_end(client), (door_case.OK, door_case.FIN)
            )
        for client in outside + in_headers:
            self.assertEqual(
                door_case.read_to_end(client), (b"", door_case.FIN)
            )
        self.check_refused("preauth_timeout", len(inside) + len(outside))
        self.check_refused("proxy_header", len(in_headers))


if __name__ == "__main__":
    runner.main("qemu-system-x86_64")
