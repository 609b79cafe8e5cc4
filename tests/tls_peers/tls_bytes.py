# SPDX-License-Identifier: Apache-2.0
"""TLS made by hand: hellos, records and alerts, good ones and others.

Wire format: RFC 5246 (TLS 1.2), RFC 8446 (TLS 1.3). No cryptography: these
clients say the first words of a handshake, or of something that is none, and
look at what comes back in the clear.
"""

import dataclasses
import os
import socket
import struct

# Record types.
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA, HEARTBEAT = 20, 21, 22, 23, 24
# Handshake messages.
CLIENT_HELLO, SERVER_HELLO, SERVER_KEY_EXCHANGE = 1, 2, 12
SERVER_HELLO_DONE = 14
# Alert descriptions.
UNEXPECTED_MESSAGE, RECORD_OVERFLOW, HANDSHAKE_FAILURE = 10, 22, 40
ILLEGAL_PARAMETER, DECODE_ERROR, PROTOCOL_VERSION = 47, 50, 70
INAPPROPRIATE_FALLBACK, UNRECOGNIZED_NAME = 86, 112
# Extensions.
SERVER_NAME, GROUPS, SIGNATURES, HEARTBEAT_EXTENSION, ALPN = 0, 10, 13, 15, 16
PADDING, EXTENDED_MASTER_SECRET, EARLY_DATA = 21, 23, 42
VERSIONS, PSK_MODES, KEY_SHARE, RENEGOTIATION_INFO = 43, 45, 51, 0xFF01

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x300, 0x301, 0x302, 0x303, 0x304
X25519, P256, P384, P521, SECP256K1 = 29, 23, 24, 25, 22

TLS12_SUITES = (0xC02F, 0xC030, 0xCCA8, 0xC02B, 0xC02C, 0xCCA9)
TLS13_SUITES = (0x1301, 0x1302, 0x1303)
SIGNAL_RENEGOTIATION, SIGNAL_FALLBACK = 0x00FF, 0x5600  # no real suites
_SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)

# HelloRetryRequest is a ServerHello with this random (RFC 8446 4.1.3).
RETRY_RANDOM = bytes.fromhex(
    "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"
)

# A point of the curve, for a key share that can be answered: its generator.
_P256_POINT = bytes.fromhex(
    "04"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)

_LIMIT_S = 20


def words(values):
    """A vector of 16-bit words with its 16-bit length."""
    return struct.pack(f">H{len(values)}H", 2 * len(values), *values)


def vector(data):
    """Bytes with their 16-bit length."""
    return struct.pack(">H", len(data)) + data


def server_name(name):
    return SERVER_NAME, vector(b"\0" + vector(name))


def alpn(*protocols):
    each = b"".join(bytes([len(name)]) + name for name in protocols)
    return ALPN, vector(each)


def versions(*offered):
    return VERSIONS, bytes([2 * len(offered)]) + struct.pack(
        f">{len(offered)}H", *offered
    )


def key_share(group):
    point = _P256_POINT if group == P256 else os.urandom(32)
    return KEY_SHARE, vector(struct.pack(">H", group) + vector(point))


def extensions12(groups=(X25519, P256, P384)):
    """What a TLS 1.2 client says at least."""
    return [
        (GROUPS, words(groups)),
        (SIGNATURES, words(_SIGNATURES)),
        (EXTENDED_MASTER_SECRET, b""),
        (RENEGOTIATION_INFO, b"\0"),
    ]


def extensions13(groups=(X25519, P256), share=X25519, offered=(TLS13, TLS12)):
    """What a TLS 1.3 client says at least."""
    return extensions12(groups) + [
        versions(*offered),
        (PSK_MODES, b"\x01\x01"),
        key_share(share),
    ]


@dataclasses.dataclass
class Hello:
    """A ClientHello; every field may be made wrong."""

    version: int = TLS12
    suites: tuple = TLS12_SUITES
    compression: bytes = b"\0"
    extensions: list = dataclasses.field(default_factory=extensions12)
    session_id: bytes = b""

    def message(self):
        """The handshake message, with its four bytes of header."""
        body = struct.pack(">H", self.version) + os.urandom(32)
        body += bytes([len(self.session_id)]) + self.session_id
        body += words(self.suites)
        body += bytes([len(self.compression)]) + self.compression
        if self.extensions:
            body += vector(
                b"".join(
                    struct.pack(">H", kind) + vector(data)
                    for kind, data in self.extensions
                )
            )
        return handshake(CLIENT_HELLO, body)

    def record(self, version=TLS10):
        return record(HANDSHAKE, self.message(), version)


def hello13(**changes):
    """A ClientHello that prefers TLS 1.3."""
    fields = {
        "suites": TLS13_SUITES + TLS12_SUITES,
        "extensions": extensions13(),
        "session_id": os.urandom(32),
    }
    fields.update(changes)
    return Hello(**fields)


def handshake(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def record(kind, body, version=TLS12):
    return struct.pack(">BHH", kind, version, len(body)) + body


def split(kind, data, size, version=TLS10):
    """`data` in records of at most `size` bytes each."""
    return b"".join(
        record(kind, data[at : at + size], version)
        for at in range(0, len(data), size)
    )


@dataclasses.dataclass(frozen=True)
class ServerHello:
    """A parsed ServerHello; `version` is the one that was negotiated."""

    version: int
    random: bytes
    suite: int
    compression: int
    extensions: dict

    def is_retry(self):
        return self.random == RETRY_RANDOM


def parse_server_hello(body):
    """Parses the message's body; ValueError when bytes are left over."""
    legacy, random, id_len = struct.unpack_from(">H32sB", body)
    at = 35 + id_len
    suite, compression = struct.unpack_from(">HB", body, at)
    at += 3
    found = {}
    if at < len(body):
        (total,) = struct.unpack_from(">H", body, at)
        at += 2
        if at + total != len(body):
            raise ValueError("bytes behind the extensions")
        while at < len(body):
            kind, length = struct.unpack_from(">HH", body, at)
            found[kind] = body[at + 4 : at + 4 + length]
            at += 4 + length
    (version,) = struct.unpack(">H", found.get(VERSIONS, body[:2]))
    return ServerHello(version, random, suite, compression, found)


@dataclasses.dataclass(frozen=True)
class End:
    """How the gateway ended a connection.

    Attributes:
      alert: (level, description), the last one that came, or None.
      closed: False when it was still open after the limit.
      num_bytes: all that came, alerts included.
    """

    alert: tuple | None
    closed: bool
    num_bytes: int


class Raw:
    """A TCP connection on which anything may be said."""

    def __init__(self, port):
        self.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=_LIMIT_S
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        """Sends all; nothing happens when the peer has closed already."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def finish(self):
        """Sends FIN, nothing more to say; the peer may be gone already."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def read_record(self):
        """(type, version, body) of the next record, None at the end."""
        head = self._read(5)
        if len(head) < 5:
            return None
        kind, version, length = struct.unpack(">BHH", head)
        return kind, version, self._read(length)

    def read_messages(self, until):
        """Handshake messages in the clear up to `until`: {type: body}.

        ConnectionError when the gateway sends something else or ends.
        """
        messages, pending = {}, b""
        while until not in messages:
            got = self.read_record()
            if got is None or got[0] != HANDSHAKE:
                raise ConnectionError(f"instead of a handshake: {got}")
            pending += got[2]
            while len(pending) >= 4:
                size = 4 + int.from_bytes(pending[1:4], "big")
                if len(pending) < size:
                    break
                messages[pending[0]] = pending[4:size]
                pending = pending[size:]
        return messages

    def read_server_hello(self):
        return parse_server_hello(
            self.read_messages(SERVER_HELLO)[SERVER_HELLO]
        )

    def end(self, limit_s=_LIMIT_S):
        """Reads to the end; returns the End."""
        self.socket.settimeout(limit_s)
        alert, num_bytes = None, 0
        try:
            while (got := self.read_record()) is not None:
                num_bytes += 5 + len(got[2])
                if got[0] == ALERT and len(got[2]) == 2:
                    alert = tuple(got[2])
        except TimeoutError:
            return End(alert, False, num_bytes)
        except ConnectionResetError:
            pass
        return End(alert, True, num_bytes + len(self._data))

    def _read(self, length):
        while len(self._data) < length:
            piece = self.socket.recv(65536)
            if not piece:
                break
            self._data += piece
        found, self._data = self._data[:length], self._data[length:]
        return found
