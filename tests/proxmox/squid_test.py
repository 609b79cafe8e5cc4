# SPDX-License-Identifier: Apache-2.0
"""squid and the gateway with the same list let the same requests through.

Both are asked everything in squid_rows, in a network of their own. Whom a
tunnel leads to is asked of whoever listens there, and nobody else is connected
to.
"""

import select
import socket
import threading

from tests.proxmox import squid_rows
from tests.testbed import case
from tests.testbed import own_network
from tests.testbed import runner
from tests.testbed import squid

_MIN_ROWS = 40
_LIMIT_S = 20
# Begins like TLS: what else comes through a tunnel the gateway looks into.
_QUESTION = b"\x16\x03\x01\0\x0dwho are you?\n"
_REFUSALS = {400, 403, 407, 431, 501, 505}
_FAILURES = {500, 502, 503, 504}  # let through, and nobody there


class _Everywhere:
    """Listens at all addresses; tells who asks where he has come to.

    Attributes:
      num_accepted: connections so far.
    """

    def __init__(self, ports):
        self.num_accepted = 0
        self._listeners = [
            socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True
            )
            for port in ports
        ]
        for listener in self._listeners:
            threading.Thread(
                target=self._serve, args=(listener,), daemon=True
            ).start()

    def close(self):
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.num_accepted += 1
            with client:
                client.settimeout(_LIMIT_S)
                address, port = client.getsockname()[:2]
                place = f"{address.removeprefix('::ffff:')} {port}\n"
                try:
                    _read_until(client, _QUESTION)
                    client.sendall(place.encode())
                except OSError:
                    pass  # a connection without a tunnel


def _read_until(connected, end):
    """Everything up to a read that brings `end`, or to the end."""
    got = b""
    while end not in got:
        piece = connected.recv(65536)
        if not piece:
            break
        got += piece
    return got


def _send(connected, request):
    """Sends as much as is taken: a proxy may answer before it has read all."""
    connected.setblocking(False)
    left = memoryview(request)
    try:
        while left and not select.select([connected], [], [], 0)[0]:
            if select.select([], [connected], [], _LIMIT_S)[1]:
                left = left[connected.send(left) :]
    except OSError:
        pass
    connected.settimeout(_LIMIT_S)


def _ask(port, request):
    """(status code, place it leads to or NOBODY or REFUSED)."""
    with socket.create_connection(("127.0.0.1", port), _LIMIT_S) as asked:
        _send(asked, request)
        head = _read_until(asked, b"\r\n\r\n")
        code = int(head.split(b" ", 2)[1])
        if code in _REFUSALS:
            return code, squid_rows.REFUSED
        if code in _FAILURES:
            return code, squid_rows.NOBODY
        asked.sendall(_QUESTION)
        return code, _read_until(asked, b"\n").decode().rstrip("\n")


class SquidTest(case.Case):
    def setUp(self):
        super().setUp()
        self.everywhere = _Everywhere(squid_rows.PORTS)
        self.addCleanup(self.everywhere.close)

    def test_list(self):
        rows = squid_rows.LISTED
        self.assertGreaterEqual(sum(not row.why for row in rows), _MIN_ROWS)
        self._compare(
            squid_rows.LISTED_HOSTS, squid_rows.LISTED_PORTS, rows
        )

    def test_loopback(self):
        self._compare(
            squid_rows.LOOPBACK_HOSTS,
            squid_rows.LOOPBACK_PORTS,
            squid_rows.LOOPBACK,
        )

    def test_everything(self):
        self._compare(
            squid_rows.WIDE_HOSTS, squid_rows.WIDE_PORTS, squid_rows.WIDE
        )

    def test_its_own_ports(self):
        """A list that holds all of this machine: no way round to itself."""
        hosts = ["10.77.0.0/24", "fd77::/64", "127.0.0.0/8", "::1"]
        made = self._start_gateway(
            hosts,
            ["1-65535"],
            {"address": "*:0", "protocol": "connect"},
            {"address": "127.0.0.1:0", "need_secured": False},
        )
        own = [made.connect_port, made.port, made.admin]
        places = ["10.77.0.1", "10.77.0.5", "hv1.example.org", "[fd77::5]"]
        places += ["localhost", "[::1]", "[::ffff:10.77.0.5]"]
        for host in places:
            _, got = _ask(made.connect_port, squid_rows.connect(f"{host}:5900"))
            self.assertRegex(got, " 5900$", host)
        asked = [(host, own[0]) for host in places]
        asked += [("127.0.0.1", port) for port in own]
        for host, port in asked:
            with self.subTest(f"{host}:{port}"):
                self._check(
                    made.connect_port,
                    squid_rows.connect(f"{host}:{port}"),
                    squid_rows.REFUSED,
                )

    def _compare(self, hosts, ports, rows):
        other = squid.Squid(self.directory, _squid_lines(hosts, ports))
        self.addCleanup(other.stop)
        made = self._start_gateway(hosts, ports)
        for row in rows:
            with self.subTest(row.what, proxy="squid"):
                self._check(other.port, row.request, row.squid)
            with self.subTest(row.what, proxy="gateway"):
                self._check(made.connect_port, row.request, row.gateway)

    def _check(self, port, request, place):
        num_before = self.everywhere.num_accepted
        code, got = _ask(port, request)
        self.assertEqual(got, place, code)
        if place in (squid_rows.REFUSED, squid_rows.NOBODY):
            self.assertEqual(self.everywhere.num_accepted, num_before)

    def _start_gateway(self, hosts, ports, *listeners):
        listeners = listeners or [
            {"address": "127.0.0.1:0", "protocol": "connect"}
        ]
        return self.start_gateway(
            [],
            listeners=list(listeners),
            connect={"allow": [{"hosts": list(hosts), "ports": list(ports)}]},
        )


def _squid_lines(hosts, ports):
    """The same list for squid: with what its documentation recommends.

    That is, nothing but CONNECT and never this machine, unless it is listed.
    """
    networks = [host for host in hosts if "/" in host]
    names = [host for host in hosts if "/" not in host]
    lines = [
        "http_access deny !CONNECT",
        "acl ports port " + " ".join(map(str, ports)),
        "acl to_link_local dst 169.254.0.0/16 fe80::/10",
        "http_access deny to_link_local",
    ]
    if hosts != squid_rows.LOOPBACK_HOSTS:
        lines.append("http_access deny to_localhost")
    if networks:
        lines.append("acl networks dst " + " ".join(networks))
        lines.append("http_access allow ports networks")
    if names:
        lines.append("acl names dstdomain -n " + " ".join(names))
        lines.append("http_access allow ports names")
    return lines + ["http_access deny all"]


if __name__ == "__main__":
    own_network.enter(squid_rows.ADDRESSES, squid_rows.NAMES)
    runner.main("squid")
