# SPDX-License-Identifier: Apache-2.0
"""PROXY headers in front of every kind of door."""

import ssl
import struct

from tests.proxmox import door_case
from tests.proxmox import proxy_headers as headers
from tests.testbed import runner
from tests.testbed import spiceclient

_PROXIED = {"proxy_protocol": True}
_CONNECT = {"protocol": "connect", **_PROXIED}
_SPICE = {"need_secured": False, **_PROXIED}
_SPICE_TLS = {"tls": True, **_PROXIED}
_CONSOLE = "vm"
_INVALID_MAGIC = 2

# (name, header, who the client is then; None: whoever it is)
_GOOD = [
    ("line", headers.line(), headers.CLIENT),
    ("line, IPv6", headers.line(headers.SOURCE6), headers.CLIENT6),
    ("mapped", headers.line("::ffff:203.0.113.9"), headers.CLIENT),
    ("line, unknown", b"PROXY UNKNOWN\r\n", None),
    ("line, unknown and more", b"PROXY UNKNOWN a b 1 2\r\n", None),
    ("block", headers.block(), headers.CLIENT),
    (
        "block, IPv6",
        headers.block(
            headers.addresses(headers.SOURCE6), family=headers.TCP6
        ),
        headers.CLIENT6,
    ),
    ("unix", headers.block(bytes(216), family=headers.UNIX), None),
    ("unspecified", headers.block(b"", family=headers.UNSPECIFIED), None),
    ("local", headers.local(), None),
    ("local with addresses", headers.local(headers.addresses()), None),
    (
        "extended",
        headers.extended(
            headers.tlv(headers.ALPN, b"h2"),
            headers.tlv(headers.AUTHORITY, b"gate.example.org"),
            headers.tlv(headers.NOOP, bytes(9)),
            headers.tlv(headers.UNIQUE_ID, bytes(128)),
            headers.tls_of_client(),
            headers.tlv(0xE0, b"custom"),
        ),
        headers.CLIENT,
    ),
    ("checked", headers.checked(headers.tls_of_client()), headers.CLIENT),
    (
        "longest",
        headers.extended(headers.tlv(headers.NOOP, bytes(4096 - 16 - 12 - 3))),
        headers.CLIENT,
    ),
]

_WRONG_SUM = headers.checked()[:-1] + bytes([headers.checked()[-1] ^ 1])
_LINE_END = b" 10.0.0.1 1 1\r\n"

_JUNK = {
    "SPICE": b"REDQ\2\0\0\0\2\0\0\0\x12\0\0\0",
    "TLS": door_case.HELLO,
    "HTTP": b"CONNECT a:1 HTTP/1.0\r\n\r\n",
    "zeros": bytes(100),
    "LF alone": headers.line().replace(b"\r", b""),
    "CR alone": headers.line().replace(b"\n", b"x"),
    "lower case": headers.line().lower(),
    "UDP": headers.line().replace(b"TCP4", b"UDP4"),
    "port with a zero": headers.line().replace(b"40000", b"040000"),
    "port too large": headers.line().replace(b"40000", b"65536"),
    "address with a zero": b"PROXY TCP4 203.0.113.09" + _LINE_END,
    "name": b"PROXY TCP4 localhost" + _LINE_END,
    "IPv6 as IPv4": headers.line(headers.SOURCE6).replace(b"TCP6", b"TCP4"),
    "too long": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "version 1 in a block": headers.block(command=0x11),
    "command 2": headers.block(command=0x22),
    "datagrams": headers.block(family=headers.UDP4),
    "family 4": headers.block(family=0x41),
    "short addresses": headers.block(headers.addresses()[:-1]),
    "IPv4 as IPv6": headers.block(family=headers.TCP6),
    "half an extension": headers.extended(b"\x04\0"),
    "long extension": headers.extended(headers.tlv(4, b"abc", length=4)),
    "wrong sum": _WRONG_SUM,
    "sum of nothing": headers.extended(headers.tlv(headers.CRC32C)),
    "short TLS": headers.extended(headers.tlv(headers.SSL, b"\1\0\0\0")),
    "TLS cut off": headers.extended(
        headers.tlv(headers.SSL, bytes(5) + b"\x21\0\4T")
    ),
    "a long id": headers.extended(headers.tlv(5, bytes(129))),
    "4 KiB and 1": headers.block(bytes(4096 - 16 + 1)),
    "64 KiB": headers.local(bytes(65535)),
}


class ProxyHeaderTest(door_case.DoorCase):
    def _outcomes(self):
        return self.count("proxy_headers", "outcome")

    def _console_of(self, vm):
        console = vm.console()
        console["name"] = _CONSOLE
        return console

    def test_a_header_says_who_the_client_is(self):
        self.start_doors(_CONNECT)
        for name, header, client_address in _GOOD:
            with self.subTest(name):
                request = header + self.request() + door_case.HELLO
                client = self.dial(self.ports[0], request)
                self.check_through(client)
                address = "%s:%d" % client.getsockname()
                client.close()
                self.made.wait_record(
                    "session_end",
                    client=client_address or address,
                    kind="tunnel",
                )
        self.assertEqual(
            self._outcomes(), {"v1": 3, "v2": 5, "local": len(_GOOD) - 8}
        )

    def test_connect_over_tls_behind_a_header(self):
        self.start_doors({**_CONNECT, "tls": True})
        for name, header, _ in _GOOD:
            with self.subTest(name):
                client = _secured(self.dial(self.ports[0], header))
                client.sendall(self.request() + door_case.HELLO)
                self.check_through(client)

    def test_a_header_may_come_in_pieces(self):
        self.start_doors(_CONNECT)
        request = self.request() + door_case.HELLO
        for header in [
            headers.line(),
            headers.line(headers.SOURCE6),
            headers.block(),
            headers.checked(headers.tls_of_client()),
            headers.local(),
        ]:
            # Also behind its last byte, where nothing may have been read yet.
            last = len(header) + 2
            self.check_cut(self.ports[0], header + request, last)
            client = self.dial(self.ports[0])
            for byte in header:
                client.sendall(bytes([byte]))
            client.sendall(request)
            self.check_through(client)

    def test_junk_is_refused_without_a_word(self):
        self.start_doors(_CONNECT, _SPICE, _SPICE_TLS)
        for port in self.ports:
            for name, junk in _JUNK.items():
                with self.subTest(name):
                    client = self.dial(port, junk)
                    # What it has not read makes a RST of its FIN.
                    self.assertEqual(door_case.read_to_end(client)[0], b"")
                    client.close()
        count = len(self.ports) * len(_JUNK)
        self.check_refused("proxy_header", count)
        self.assertEqual(self._outcomes(), {"refused": count})

    def test_half_a_header_is_refused(self):
        self.start_doors(_CONNECT)
        count = 0
        for whole in (headers.line(), headers.checked()):
            for length in range(len(whole)):
                with self.dial(self.ports[0], whole[:length]) as client:
                    client.shutdown(door_case.SHUT_WR)
                    said = door_case.read_to_end(client)
                    self.assertEqual(said, (b"", door_case.FIN))
                count += 1
        self.check_refused("proxy_header", count)

    def test_health_checks(self):
        self.start_doors(_CONNECT, _SPICE, _SPICE_TLS)
        for port in self.ports:
            for look in (headers.local(), headers.local(headers.addresses())):
                client = self.dial(port, look)
                client.shutdown(door_case.SHUT_WR)
                said = door_case.read_to_end(client)
                self.assertEqual(said, (b"", door_case.FIN))
        count = 2 * len(self.ports)
        self.check_refused("health_check", count)
        self.assertEqual(self._outcomes(), {"local": count})
        # A balancer that hangs up as fast as it can.
        for port in self.ports:
            spiceclient.Link(connected=self.dial(port, headers.local())).end(
                spiceclient.End.RST
            )
        self.check_refused("health_check", count + len(self.ports))

    def test_spice_behind_a_header(self):
        vm = self.start_vm("vm")
        self.start_doors(_SPICE, _SPICE_TLS, consoles=[self._console_of(vm)])
        for tls, port in enumerate(self.ports):
            for name, header, client_address in _GOOD:
                if name not in ("line", "block, IPv6", "local", "checked"):
                    continue
                with self.subTest(name, tls=bool(tls)):
                    self._open_main(port, header, client_address, tls)

    def _open_main(self, port, header, client_address, tls):
        plain = self.dial(port, header)
        address = "%s:%d" % plain.getsockname()
        connected = _secured(plain) if tls else plain
        client = spiceclient.Client(self.made.ticket(_CONSOLE))
        main = client.link(spiceclient.MAIN, connected=connected)
        main.read_until(spiceclient.MAIN_INIT)
        client.close()
        self.made.wait_record(
            "session_end",
            console=_CONSOLE,
            client=client_address or address,
        )

    def test_a_wrong_ticket_is_the_clients_not_the_balancers(self):
        self.start_doors(_SPICE)
        link = spiceclient.Link(
            connected=self.dial(self.ports[0], headers.line())
        )
        reply = link.hello(spiceclient.MAIN)
        self.assertEqual(reply.error, spiceclient.OK)
        self.assertEqual(
            link.ticket(reply, "wrong"), spiceclient.PERMISSION_DENIED
        )
        self.made.wait_record(
            "channel_refused", reason="bad_ticket", client=headers.CLIENT
        )

    def test_a_header_is_never_guessed(self):
        self.start_doors({"protocol": "connect"}, {"need_secured": False})
        connect, spice = self.ports
        for header in (headers.line(), headers.block()):
            client = self.dial(connect, header + self.request())
            answer, _ = door_case.read_to_end(client)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
            client = self.dial(spice, header + b"REDQ")
            answer, _ = door_case.read_to_end(client)
            self.assertEqual(answer[:4], b"REDQ")
            error = struct.unpack_from("<I", answer, 16)[0]
            self.assertEqual(error, _INVALID_MAGIC)
        self.check_refused("bad_magic", 2)
        self.check_refused("connect_request", 2)
        self.assertEqual(self._outcomes(), {})


class ProxyFromTest(door_case.DoorCase):
    """Only some may send a header: those who do, not those it names."""

    def setUp(self):
        super().setUp()
        known = ["127.0.0.2", "127.0.7.0/24", "203.0.113.0/24"]
        self.start_doors({**_CONNECT, "proxy_from": known})
        self.port = self.ports[0]

    def test_those_who_may_are_served(self):
        for source in ("127.0.0.2", "127.0.7.200"):
            request = headers.block() + self.request() + door_case.HELLO
            self.check_through(self.dial(self.port, request, source=source))
        self.check_cut(
            self.port,
            headers.line() + self.request() + door_case.HELLO,
            len(headers.line()),
            source="127.0.0.2",
        )

    def test_others_are_refused_before_they_say_a_word(self):
        for source in ("127.0.0.1", "127.0.8.1"):
            client = self.dial(self.port, source=source)
            said = door_case.read_to_end(client)
            self.assertEqual(said, (b"", door_case.FIN))
            # The header says an address that may, from one that may not.
            client = self.dial(self.port, headers.line(), source=source)
            self.assertEqual(door_case.read_to_end(client)[0], b"")
        self.check_refused("proxy_header", 4)
        outcomes = self.count("proxy_headers", "outcome")
        self.assertEqual(outcomes, {"refused": 4})


def _secured(client):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(client)


if __name__ == "__main__":
    runner.main("qemu-system-x86_64")
