# SPDX-License-Identifier: Apache-2.0
"""A SPICE client that does exactly what it is told, also what none should.

Wire format: the SPICE protocol, version 2.2, with the mini data header. One
Link is one channel. Nothing is sent that the caller did not ask for: no ACK,
no PONG, no INIT.
"""

import dataclasses
import enum
import socket
import ssl
import struct

from tests.testbed import oaep

MAIN, DISPLAY, INPUTS, CURSOR = 1, 2, 3, 4
PLAYBACK, RECORD, SMARTCARD, USBREDIR, PORT, WEBDAV = 5, 6, 8, 9, 10, 11

OK, NEED_SECURED, PERMISSION_DENIED, BAD_CONNECTION_ID = 0, 5, 7, 8

# Client messages.
ACK_SYNC, ACK, PONG, FLUSH_MARK, MIGRATE_DATA = 1, 2, 3, 4, 5
DISPLAY_INIT = 101
MAIN_MIGRATE_CONNECTED, MAIN_ATTACH_CHANNELS = 102, 104
MAIN_MIGRATE_END, MAIN_DO_SEAMLESS, MAIN_CONNECTED_SEAMLESS = 109, 110, 111
# Server messages.
S_MIGRATE, S_MIGRATE_DATA, SET_ACK, PING = 1, 2, 3, 4
MAIN_MIGRATE_BEGIN, MAIN_INIT, MAIN_CHANNELS_LIST = 101, 103, 104
S_MAIN_MIGRATE_END, MAIN_BEGIN_SEAMLESS, MAIN_SEAMLESS_ACK = 112, 116, 117

# Common capabilities.
AUTH_SELECTION, MINI_HEADER = 0x01, 0x08
_COMMON_CAPS = AUTH_SELECTION | MINI_HEADER
_CHANNEL_CAPS = {MAIN: [0x0F], DISPLAY: [0x03BF], INPUTS: [], CURSOR: []}
_TICKET = 1  # authentication mechanism
_LIMIT_S = 15


class End(enum.Enum):
    """How a client leaves."""

    FIN = "fin"
    RST = "rst"
    HALF = "half-close"  # nothing more to say, but the socket stays open


@dataclasses.dataclass(frozen=True)
class Reply:
    """A link reply."""

    error: int
    public_key: bytes
    common_caps: tuple
    channel_caps: tuple


def display_init():
    """Body of DISPLAY_INIT with the sizes spice-gtk asks for."""
    return struct.pack("<BqBi", 1, 20971520, 1, 20971520)


def message(kind, body=b"", size=None):
    """One data message with its mini header.

    Args:
      size: what the header says instead of the truth.
    """
    return struct.pack("<HI", kind, len(body) if size is None else size) + body


def full_message(serial, kind, body=b"", sub_list=0):
    """The same with the full header of clients without MINI_HEADER."""
    return struct.pack("<QHII", serial, kind, len(body), sub_list) + body


class Link:
    """One connection of a client, step by step.

    Every reading call raises EOFError when the peer has closed, and
    TimeoutError after 15 s of silence.
    """

    def __init__(
        self,
        port=0,
        unix_path=None,
        tls=False,
        receive_bytes=None,
        connected=None,
    ):
        """Connects to 127.0.0.1:port or a unix socket.

        Args:
          tls: wrap in TLS; the server's certificate is not checked.
          receive_bytes: SO_RCVBUF, for a client that is slow on purpose.
          connected: a socket to use as it is, instead of all of the above;
            belongs to the Link from now on.
        """
        if connected:
            self.socket = connected
            self.socket.settimeout(_LIMIT_S)
            return
        family = socket.AF_UNIX if unix_path else socket.AF_INET
        self.socket = socket.socket(family)
        if receive_bytes:
            self.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes
            )
        self.socket.settimeout(_LIMIT_S)
        self.socket.connect(unix_path or ("127.0.0.1", port))
        if not unix_path:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)

    def hello(
        self, channel, channel_id=0, connection_id=0, common=_COMMON_CAPS
    ):
        """Sends the link message and returns the Reply."""
        caps = [common] + _CHANNEL_CAPS.get(channel, [])
        body = struct.pack(
            "<IBBIII",
            connection_id,
            channel,
            channel_id,
            1,
            len(caps) - 1,
            18,
        ) + struct.pack(f"<{len(caps)}I", *caps)
        self.send(struct.pack("<4sIII", b"REDQ", 2, 2, len(body)) + body)
        return self.read_reply()

    def read_reply(self):
        magic, _, _, size = struct.unpack("<4sIII", self.read(16))
        if magic != b"REDQ":
            raise ValueError(f"not a link reply: {magic!r}")
        body = self.read(size)
        error, key, num_common, num_channel, offset = struct.unpack_from(
            "<I162sIII", body
        )
        num_words = num_common + num_channel
        words = struct.unpack_from(f"<{num_words}I", body, offset)
        return Reply(error, key, words[:num_common], words[num_common:])

    def ticket(self, reply, password):
        """Sends the encrypted ticket and returns the link result."""
        self.send_ticket(reply, password)
        return self.result()

    def send_ticket(self, reply, password, behind=b"", selects=True):
        """Sends the encrypted ticket with `behind` in the same write.

        Args:
          selects: names the mechanism, as AUTH_SELECTION promises.
        """
        plain = password.encode() + b"\0"
        cipher = oaep.encrypt(reply.public_key, plain)
        mechanism = struct.pack("<I", _TICKET) if selects else b""
        self.send(mechanism + cipher + behind)

    def result(self):
        return struct.unpack("<I", self.read(4))[0]

    def send(self, data):
        self.socket.sendall(data)

    def send_message(self, kind, body=b""):
        self.send(message(kind, body))

    def read_message(self):
        """Returns (type, body) of the next data message."""
        kind, size = struct.unpack("<HI", self.read(6))
        return kind, self.read(size)

    def read_until(self, kind):
        """Reads messages until one of this type; returns its body."""
        while True:
            got, body = self.read_message()
            if got == kind:
                return body

    def read(self, length):
        data = bytearray()
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                raise EOFError(f"closed after {len(data)} of {length} bytes")
            data += piece
        return bytes(data)

    def closed_by_peer(self, limit_s=_LIMIT_S):
        """Reads and drops until the peer closes; False after limit_s."""
        self.socket.settimeout(limit_s)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def end(self, how):
        """Leaves in this way. After End.HALF call close() in the end."""
        if how is End.HALF:
            # The TCP layer's own half-close, below TLS as well.
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            return
        if how is End.RST:
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        self.close()

    def close(self):
        self.socket.close()


class Client:
    """A main channel and whatever else is opened, all with one password.

    Attributes:
      password, where: as given.
      connection_id: the session's, once open_main() has returned.
      links: every Link made by link(), oldest first.
    """

    def __init__(self, password, **where):
        """Notes the password and Link's arguments; connects nothing yet."""
        self.password = password
        self.where = where
        self.connection_id = 0
        self.links = []

    def link(self, channel, channel_id=0, **more):
        """Connects, links and presents the ticket; returns the Link.

        Raises PermissionError with the result when it is refused.
        """
        link = Link(**{**self.where, **more})
        self.links.append(link)
        reply = link.hello(channel, channel_id, self.connection_id)
        if reply.error != OK:
            raise PermissionError(f"link error {reply.error}")
        result = link.ticket(reply, self.password)
        if result != OK:
            raise PermissionError(f"link result {result}")
        return link

    def open_main(self):
        """Opens main and reads its INIT, which names the session."""
        link = self.link(MAIN)
        body = link.read_until(MAIN_INIT)
        self.connection_id = struct.unpack_from("<I", body)[0]
        return link

    def channels_list(self):
        """Asks main, which is open, for what there is: a set of (type, id)."""
        main = self.links[0]
        main.send_message(MAIN_ATTACH_CHANNELS)
        body = main.read_until(MAIN_CHANNELS_LIST)
        pairs = struct.unpack_from(f"<{2 * body[0]}B", body, 4)
        return set(zip(pairs[::2], pairs[1::2]))

    def close(self):
        for link in self.links:
            link.close()
        self.links = []
