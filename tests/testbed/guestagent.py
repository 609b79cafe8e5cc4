# SPDX-License-Identifier: Apache-2.0
"""The guest's agent, played by a test, and a client's side of it.

Wire formats: VDAgent messages of the SPICE agent protocol; towards the guest
they are cut into VDI chunks, on the network into AGENT_DATA messages.
"""

import collections
import os
import socket
import struct
import threading
import time

from tests.testbed import polling
from tests.testbed import spiceclient

MOUSE_STATE, MONITORS_CONFIG, REPLY, CLIPBOARD = 1, 2, 3, 4
DISPLAY_CONFIG, ANNOUNCE, GRAB, REQUEST, RELEASE = 5, 6, 7, 8, 9
XFER_START, XFER_STATUS, XFER_DATA, CLIENT_GONE = 10, 11, 12, 13

# Capability bits.
CAP_MOUSE, CAP_MONITORS, CAP_CLIPBOARD, CAP_BY_DEMAND = 0, 1, 3, 5
CAP_SELECTION, CAP_XFER_DISABLED = 6, 13

TEXT = 1  # type of a clipboard's contents
XFER_CAN_SEND, XFER_CANCELLED, XFER_ERROR, XFER_SUCCESS = 0, 1, 2, 3

# Client messages of main, and server messages.
AGENT_START, AGENT_DATA = 106, 107
S_AGENT_DATA, S_AGENT_TOKEN = 109, 110

_PIECE_BYTES = 2048
_CLIENT_PORT = 1
_HEADER = struct.Struct("<IIQI")  # protocol 1, type, opaque, size
_CHUNK = struct.Struct("<II")  # port, size
_LIMIT_S = 30  # 16 bytes at a time through emulated serial ports

Message = collections.namedtuple("Message", "kind body")

# What Linux guests announce, as far as the tests here care.
CAPS = (
    CAP_MONITORS,
    CAP_CLIPBOARD,
    CAP_BY_DEMAND,
    CAP_SELECTION,
)


def caps_word(bits):
    return sum(1 << bit for bit in bits)


def encode(kind, body):
    return _HEADER.pack(1, kind, 0, len(body)) + body


def grab(*kinds):
    """Body of GRAB for the clipboard of CLIPBOARD_SELECTION."""
    return struct.pack(f"<B3x{len(kinds)}I", 0, *kinds)


def request(kind=TEXT):
    return struct.pack("<B3xI", 0, kind)


def contents(text, kind=TEXT):
    """Body of CLIPBOARD."""
    return struct.pack("<B3xI", 0, kind) + text.encode()


def announce(bits, ask=False):
    return struct.pack("<II", ask, caps_word(bits))


def devices(directory, other="spiceport,name=org.spice-space.webdav.0"):
    """QEMU arguments for guest "relay": the agent's port and another one.

    The guest's ends are the unix sockets agent.sock and other.sock in
    `directory`; each has to be connected, or what a viewer sends gets stuck.

    Args:
      other: a chardev of spice, without its id.
    """
    argv = []
    for index, spice in ((0, "spicevmc,name=vdagent"), (2, other)):
        end = ("agent.sock", None, "other.sock")[index]
        path = os.path.join(directory, end)
        argv += ["-chardev", f"{spice},id=spice{index}"]
        argv += ["-device", f"isa-serial,chardev=spice{index},index={index}"]
        argv += ["-chardev"]
        argv += [f"socket,id=end{index},path={path},server=on,wait=off"]
        argv += ["-device", f"isa-serial,chardev=end{index},index={index + 1}"]
    return argv


class _Assembler:
    """Turns pieces of the byte stream into messages."""

    def __init__(self):
        self._data = b""

    def feed(self, piece):
        """Adds bytes; returns the messages that are complete now."""
        self._data += piece
        messages = []
        while len(self._data) >= _HEADER.size:
            _, kind, _, size = _HEADER.unpack_from(self._data)
            end = _HEADER.size + size
            if len(self._data) < end:
                break
            messages.append(Message(kind, self._data[_HEADER.size : end]))
            self._data = self._data[end:]
        return messages


class Agent:
    """The guest's end of the agent's port: reads all, answers little.

    Answers a client's ANNOUNCE that asks, a REQUEST for the text it has, and
    XFER_START; says nothing else by itself.

    Attributes:
      received: every Message so far, oldest first; mouse states excluded.
      num_mouse_states: how many of those came.
      text: what it answers to a REQUEST.
    """

    def __init__(self, path, caps=CAPS):
        """Connects to the unix socket of qemu.Vm's relay and reads on."""
        self.received = []
        self.num_mouse_states = 0
        self.text = ""
        self._caps = caps
        self._files = {}  # id -> [bytes wanted, bytes]
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_LIMIT_S)
        self._socket.connect(path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        """Leaves; may be called again."""
        if self._thread.is_alive():
            self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join()
        self._socket.close()

    def send(self, kind, body=b""):
        """Sends one message to the client."""
        data = encode(kind, body)
        with self._lock:
            for at in range(0, len(data), _PIECE_BYTES):
                piece = data[at : at + _PIECE_BYTES]
                head = _CHUNK.pack(_CLIENT_PORT, len(piece))
                self._socket.sendall(head + piece)

    def of(self, *kinds):
        """What has been received of these types."""
        return [m for m in list(self.received) if m.kind in kinds]

    def wait(self, kind, count=1, limit_s=_LIMIT_S):
        """Waits for `count` messages of a type; returns the last body."""

        def look():
            found = self.of(kind)
            return found if len(found) >= count else None

        what = f"{count} agent messages of type {kind}"
        return polling.until(look, what, limit_s)[count - 1].body

    def files(self):
        """{id: bytes} of the files that have come completely."""
        return {
            number: bytes(data)
            for number, (size, data) in list(self._files.items())
            if len(data) == size
        }

    def _run(self):
        streams = collections.defaultdict(_Assembler)
        try:
            while True:
                port, size = _CHUNK.unpack(self._read(_CHUNK.size))
                for message in streams[port].feed(self._read(size)):
                    self._take(message)
        except (EOFError, OSError):
            pass

    def _read(self, length):
        data = b""
        while len(data) < length:
            try:
                piece = self._socket.recv(length - len(data))
            except TimeoutError:
                continue  # nobody has anything to say
            if not piece:
                raise EOFError
            data += piece
        return data

    def _take(self, message):
        if message.kind == MOUSE_STATE:
            self.num_mouse_states += 1
            return
        if message.kind == ANNOUNCE and message.body[:4] != bytes(4):
            self.send(ANNOUNCE, announce(self._caps))
        if message.kind == REQUEST and self.text:
            self.send(CLIPBOARD, contents(self.text))
        if message.kind == XFER_START:
            self._take_start(message.body)
        if message.kind == XFER_DATA:
            self._take_data(message.body)
        self.received.append(message)

    def _take_start(self, body):
        number = struct.unpack_from("<I", body)[0]
        lines = body[4:].rstrip(b"\0").decode().splitlines()
        sizes = [line for line in lines if line.startswith("size=")]
        size = int(sizes[0].removeprefix("size="))
        self._files[number] = [size, bytearray()]
        self._status(number, XFER_CAN_SEND)

    def _take_data(self, body):
        number, size = struct.unpack_from("<IQ", body)
        wanted, data = self._files[number]
        data += body[12 : 12 + size]
        if len(data) == wanted:
            self._status(number, XFER_SUCCESS)

    def _status(self, number, result):
        self.send(XFER_STATUS, struct.pack("<II", number, result))


class Talker:
    """What a client says to the agent and hears from it, on its main link.

    Keeps to the tokens as spice-gtk does: without one it waits.

    Attributes:
      received: every Message so far, oldest first.
      num_returned: tokens that came back.
    """

    def __init__(self, link, num_tokens=10):
        """Starts the conversation on an open main channel.

        Args:
          link: a spiceclient.Link whose INIT has been read.
          num_tokens: what INIT gave.
        """
        self.received = []
        self.num_returned = 0
        self._link = link
        self._tokens = num_tokens
        self._stream = _Assembler()
        link.send_message(AGENT_START, struct.pack("<I", 0xFFFFFFFF))

    def send(self, kind, body=b""):
        """Sends one message, piece by piece as the tokens allow."""
        data = encode(kind, body)
        for at in range(0, len(data), _PIECE_BYTES):
            self._read_until(lambda: self._tokens > 0, "a token")
            self._tokens -= 1
            self._link.send_message(AGENT_DATA, data[at : at + _PIECE_BYTES])

    def wait(self, kind, count=1):
        """Waits for `count` messages of a type; returns the last body."""

        def look():
            found = [m for m in self.received if m.kind == kind]
            return found if len(found) >= count else None

        self._read_until(look, f"{count} messages of type {kind}")
        return look()[count - 1].body

    def wait_returned(self, count):
        """Waits until so many tokens have come back in all."""
        self._read_until(lambda: self.num_returned >= count, "tokens")

    def _read_until(self, probe, what):
        end = time.monotonic() + _LIMIT_S
        while not probe():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {_LIMIT_S} s")
            self._read_one()

    def _read_one(self):
        kind, body = self._link.read_message()
        if kind == S_AGENT_TOKEN:
            count = struct.unpack("<I", body)[0]
            self.num_returned += count
            self._tokens += count
        elif kind == S_AGENT_DATA:
            self.received += self._stream.feed(body)
        elif kind == spiceclient.PING:
            self._link.send_message(spiceclient.PONG, body[:12])
