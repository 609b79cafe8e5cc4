# SPDX-License-Identifier: Apache-2.0
"""Wrong first words on a TLS listener: refused, and nobody else is hurt."""

import os
import random

from tests.testbed import polling
from tests.testbed import runner
from tests.tls_peers import peers_case
from tests.tls_peers import tls_bytes as tls

_FATAL = 2


def _large_hello(size):
    padding = [(tls.PADDING, bytes(size))]
    return tls.Hello(extensions=tls.extensions12() + padding).message()


def _hostile():
    """(name, bytes, alert or None for silence) of openings that are wrong."""
    return _no_hello() + _bad_hellos() + _other_records()


def _no_hello():
    sslv2 = bytes.fromhex("802e0100020015000000100100800200800300800400800500")
    return [
        ("SSLv2 hello", sslv2 + os.urandom(24), tls.PROTOCOL_VERSION),
        ("zeros", bytes(100), tls.PROTOCOL_VERSION),
        ("ones", b"\xff" * 100, tls.PROTOCOL_VERSION),
        ("SPICE", b"REDQ" + bytes(40), tls.PROTOCOL_VERSION),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None),
        ("CONNECT", b"CONNECT vm:5900 HTTP/1.1\r\n\r\n", None),
        ("SSH", b"SSH-2.0-x\r\n", tls.PROTOCOL_VERSION),
    ]


def _bad_hellos():
    body = tls.Hello().message()[4:]
    cut_name = tls.extensions12() + [(tls.SERVER_NAME, b"\0\5\0\0\x09ab")]
    long_name = tls.extensions12() + [tls.server_name(b"a" * 256)]
    twice = tls.extensions12() + [(tls.EXTENDED_MASTER_SECRET, b"")]
    record = tls.record
    return [
        (
            "64 KiB hello",
            tls.split(tls.HANDSHAKE, _large_hello(65000), 16384),
            tls.ILLEGAL_PARAMETER,
        ),
        (
            "hello that claims 16 MiB",
            record(tls.HANDSHAKE, b"\1\xff\xff\xff" + bytes(100)),
            tls.ILLEGAL_PARAMETER,
        ),
        (
            "64 KiB record",
            record(tls.HANDSHAKE, b"\1" + bytes(0xFFFE)),
            tls.RECORD_OVERFLOW,
        ),
        (
            "extension cut off",
            record(tls.HANDSHAKE, tls.handshake(1, body[:-3])),
            tls.DECODE_ERROR,
        ),
        (
            "bytes behind the hello",
            record(tls.HANDSHAKE, tls.handshake(1, body + b"xx")),
            tls.DECODE_ERROR,
        ),
        ("no suites", tls.Hello(suites=()).record(), tls.DECODE_ERROR),
        (
            "no compression method",
            tls.Hello(compression=b"").record(),
            tls.DECODE_ERROR,
        ),
        (
            "extension twice",
            tls.Hello(extensions=twice).record(),
            tls.DECODE_ERROR,
        ),
        (
            "name of 256 bytes",
            tls.Hello(extensions=long_name).record(),
            tls.UNRECOGNIZED_NAME,
        ),
        (
            "name cut off",
            tls.Hello(extensions=cut_name).record(),
            tls.DECODE_ERROR,
        ),
    ]


def _other_records():
    wrong = tls.UNEXPECTED_MESSAGE
    record = tls.record
    return [
        ("hello twice", tls.Hello().record() * 2, wrong),
        ("empty records", record(tls.HANDSHAKE, b"") * 1000, wrong),
        ("empty alerts", record(tls.ALERT, b"") * 10, tls.DECODE_ERROR),
        ("warnings", record(tls.ALERT, b"\1\x5a") * 1000, wrong),
        ("fatal alert", record(tls.ALERT, b"\2\x28"), None),
        ("close_notify", record(tls.ALERT, b"\1\0"), None),
        ("data first", record(tls.DATA, b"hello"), wrong),
        ("suite first", record(tls.CHANGE_CIPHER_SPEC, b"\1") * 100, wrong),
        ("heartbeat first", record(tls.HEARTBEAT, b"\1\x40\0"), wrong),
        (
            "finished first",
            record(tls.HANDSHAKE, tls.handshake(20, bytes(12))),
            wrong,
        ),
        (
            "a server's hello",
            record(tls.HANDSHAKE, tls.handshake(2, bytes(60))),
            wrong,
        ),
    ]


class HostileTest(peers_case.PeersCase):
    def test_wrong_openings(self):
        gateway = self.start_listener()
        for name, data, description in _hostile():
            with self.subTest(name):
                peers_case.wait_no_links(gateway)
                before = _refusals(gateway)
                with tls.Raw(gateway.tls_port) as raw:
                    raw.send(data)
                    end = raw.end()
                alert = description and (_FATAL, description)
                self.assertEqual((end.alert, end.closed), (alert, True))
                self._wait_refusals(gateway, before + 1)
                self.check_good_client(gateway)

    def test_large_hello_in_pieces(self):
        """As large as it may be, a few bytes a record: still a hello."""
        gateway = self.start_listener()
        data = tls.split(tls.HANDSHAKE, _large_hello(15000), 100)
        with tls.Raw(gateway.tls_port) as raw:
            raw.send(data)
            self.assertEqual(raw.read_server_hello().version, tls.TLS12)

    def test_dribbled_hello(self):
        """A byte at a time gains no time: the deadline is absolute."""
        limits = {"preauth_deadline_ms": 1500}
        gateway = self.start_listener(limits=limits)
        data = _large_hello(15000)
        data = tls.split(tls.HANDSHAKE, data, len(data))
        with tls.Raw(gateway.tls_port) as raw:
            raw.socket.settimeout(0.01)
            num_sent = self._dribble(raw, data)
        self.assertLess(num_sent, len(data))
        self._wait_refusals(gateway, 1, "preauth_timeout")
        self.check_good_client(gateway)

    def test_leaving_at_any_byte(self):
        gateway = self.start_listener()
        data = tls.hello13().record()
        for length in range(0, len(data), 7):
            with tls.Raw(gateway.tls_port) as raw:
                raw.send(data[:length])
                raw.finish()
                self.assertTrue(raw.end().closed)
            with tls.Raw(gateway.tls_port) as raw:
                raw.send(data[:length])
        peers_case.wait_no_links(gateway)
        self.check_good_client(gateway)

    def test_no_growth(self):
        """Hundreds of openings, wrong in every way: nothing is kept."""
        gateway = self.start_listener()
        openings = [data for _, data, _ in _hostile()]
        chosen = random.Random(4)
        self._storm(gateway, openings, chosen, 200)
        usage = peers_case.Usage(gateway)
        self._storm(gateway, openings, chosen, 600)
        usage.check_no_growth(self)
        self.check_good_client(gateway)

    def _storm(self, gateway, openings, chosen, count):
        for number in range(count):
            with tls.Raw(gateway.tls_port) as raw:
                if number % 2:
                    raw.send(chosen.choice(openings))
                else:
                    raw.send(_mutated(chosen))
                raw.finish()
                self.assertTrue(raw.end().closed)

    def _dribble(self, raw, data):
        for at in range(len(data)):
            try:
                if raw.socket.recv(100) == b"":
                    return at
            except TimeoutError:
                pass
            except ConnectionResetError:
                return at
            raw.send(data[at : at + 1])
        return len(data)

    def _wait_refusals(self, gateway, count, reason=None):
        polling.until(
            lambda: _refusals(gateway, reason) == count,
            f"{count} refusals, reason {reason}",
        )


def _refusals(gateway, reason=None):
    labels = {"reason": reason} if reason else {}
    return gateway.metrics().sum("spicegate_links_refused_total", **labels)


def _mutated(chosen):
    """A good hello with some bytes replaced."""
    data = bytearray(tls.hello13().record())
    for _ in range(chosen.randint(1, 12)):
        data[chosen.randrange(len(data))] = chosen.randrange(256)
    return bytes(data)


if __name__ == "__main__":
    runner.main()
