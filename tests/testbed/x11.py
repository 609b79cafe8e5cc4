# SPDX-License-Identifier: Apache-2.0
"""The X selections of a Display: the clipboard, and files dropped on a window.

Wire format: the X11 core protocol, little endian, and version 5 of the
drag-and-drop protocol (freedesktop.org's XDND). No authentication: made for
viewer.Display, which asks for none.
"""

import select
import socket
import struct
import threading
import time

_ERROR, _REPLY = 0, 1
_SELECTION_REQUEST, _SELECTION_NOTIFY, _CLIENT_MESSAGE = 30, 31, 33
_GENERIC_EVENT = 35
_SENT = 0x80  # set in the type of an event that a client has sent

_CREATE_WINDOW, _INTERN_ATOM, _CHANGE_PROPERTY = 1, 16, 18
_GET_PROPERTY, _SET_OWNER, _CONVERT, _SEND_EVENT = 20, 22, 24, 25

_ANY_TYPE, _ATOM = 0, 4
_MAX_WORDS = 1 << 20  # of one property
_XDND_VERSION = 5
_LIMIT_S = 15

UTF8 = "UTF8_STRING"
_URI_LIST = "text/uri-list"


class Connection:
    """One client of an X server, with one window that is never shown.

    Selection requests are answered from what offer() has noted, but only while
    one of the waiting calls runs. Not for more than one thread.

    Attributes:
      window: the window's id.
    """

    def __init__(self, display_name):
        """Connects to ":N"; OSError when nobody is there."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_LIMIT_S)
        self._socket.connect(f"/tmp/.X11-unix/X{int(display_name[1:])}")
        self._sequence = 0
        self._events = []
        self._atoms = {}
        self._offers = {}  # (selection, target) -> (type, format, bytes)
        root, ids = self._set_up()
        self.window = ids + 1
        place = (0, 0, 1, 1, 0)  # x, y, width, height, border
        body = struct.pack("<IIhhHHH", self.window, root, *place)
        self._send(_CREATE_WINDOW, 0, body + struct.pack("<HII", 0, 0, 0))

    def close(self):
        self._socket.close()

    def atom(self, name):
        if name not in self._atoms:
            text = name.encode()
            padding = bytes(-len(text) % 4)
            body = struct.pack("<HH", len(text), 0) + text + padding
            reply = self._ask(_INTERN_ATOM, 0, body)
            self._atoms[name] = struct.unpack_from("<I", reply, 8)[0]
        return self._atoms[name]

    def offer(self, selection, contents):
        """Becomes the selection's owner: {name of a target: bytes}."""
        owned = self.atom(selection)
        targets = [self.atom(name) for name in contents]
        listed = struct.pack(f"<{len(targets)}I", *targets)
        self._offers[owned, self.atom("TARGETS")] = (_ATOM, 32, listed)
        for target, data in zip(targets, contents.values()):
            self._offers[owned, target] = (target, 8, data)
        self._send(_SET_OWNER, 0, struct.pack("<III", self.window, owned, 0))

    def read(self, selection, target, limit_s=_LIMIT_S):
        """What the selection's owner gives for this target, or None."""
        place = self.atom("SPICEGATE")
        ids = [self.window, self.atom(selection), self.atom(target), place, 0]
        self._send(_CONVERT, 0, struct.pack("<5I", *ids))
        event = self.wait_event(_SELECTION_NOTIFY, limit_s)
        if struct.unpack_from("<I", event, 20)[0] == 0:
            return None
        return self._property(place)

    def message(self, window, kind, *words):
        """Sends a ClientMessage of five 32-bit words to a window."""
        words += (0,) * (5 - len(words))
        head = struct.pack("<BBH", _CLIENT_MESSAGE, 32, 0)
        self._send_event(
            window,
            head + struct.pack("<7I", window, self.atom(kind), *words),
        )

    def wait_event(self, kind, limit_s=_LIMIT_S):
        """The next event of this type; TimeoutError after limit_s."""
        end = time.monotonic() + limit_s
        while True:
            for event in self._events:
                if event[0] & ~_SENT == kind:
                    self._events.remove(event)
                    return event
            if not self._readable(end - time.monotonic()):
                raise TimeoutError(f"no X event {kind} within {limit_s} s")
            self._read_packet()

    def wait_message(self, kind, limit_s=_LIMIT_S):
        """The words of the next ClientMessage of this name."""
        wanted = self.atom(kind)
        while True:
            event = self.wait_event(_CLIENT_MESSAGE, limit_s)
            if struct.unpack_from("<I", event, 8)[0] == wanted:
                return struct.unpack_from("<5I", event, 12)

    def serve(self, limit_s):
        """Answers selection requests for so long."""
        end = time.monotonic() + limit_s
        while self._readable(end - time.monotonic()):
            self._read_packet()

    def _set_up(self):
        """Returns the root window and the base of our ids."""
        self._socket.sendall(struct.pack("<BxHHHH2x", ord("l"), 11, 0, 0, 0))
        status, size = struct.unpack("<B5xH", self._receive(8))
        body = self._receive(4 * size)
        if status != 1:
            raise ConnectionError(f"refused by the X server: {body!r}")
        ids, vendor_len, num_formats = struct.unpack_from("<4xI8xH3xB", body)
        roots_at = 32 + (vendor_len + 3) // 4 * 4 + 8 * num_formats
        return struct.unpack_from("<I", body, roots_at)[0], ids

    def _send(self, opcode, detail, body):
        """Sends one request; `body` must be whole words."""
        words = 1 + len(body) // 4
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._socket.sendall(struct.pack("<BBH", opcode, detail, words) + body)

    def _ask(self, opcode, detail, body):
        self._send(opcode, detail, body)
        while True:
            packet = self._read_packet()
            if packet and packet[0] == _REPLY:
                return packet

    def _send_event(self, window, event):
        self._send(_SEND_EVENT, 0, struct.pack("<II", window, 0) + event)

    def _property(self, name):
        """Value of a property of our window, which is deleted."""
        body = [self.window, name, _ANY_TYPE, 0, _MAX_WORDS]
        reply = self._ask(_GET_PROPERTY, 1, struct.pack("<5I", *body))
        kind, left, count = struct.unpack_from("<III", reply, 8)
        if left or kind == self.atom("INCR"):
            raise ValueError("a selection in pieces")
        return reply[32 : 32 + count * reply[1] // 8]

    def _answer(self, event):
        """Gives a requestor what was offered, or tells it there is nothing."""
        ids = struct.unpack_from("<4I", event, 12)
        requestor, selection, target, place = ids
        offered = self._offers.get((selection, target))
        if offered:
            kind, bits, data = offered
            head = [requestor, place, kind, bits, len(data) * 8 // bits]
            padded = data + bytes(-len(data) % 4)
            body = struct.pack("<IIIB3xI", *head) + padded
            self._send(_CHANGE_PROPERTY, 0, body)
        note = [0, requestor, selection, target, place if offered else 0]
        head = struct.pack("<B3x", _SELECTION_NOTIFY)
        self._send_event(requestor, head + struct.pack("<5I8x", *note))

    def _read_packet(self):
        """Reads one packet; returns it if it is a reply, keeps events."""
        packet = self._receive(32)
        kind = packet[0] & ~_SENT
        if kind == _ERROR:
            raise ConnectionError(f"X error {packet[1]}, request {packet[10]}")
        if kind in (_REPLY, _GENERIC_EVENT):
            size = struct.unpack_from("<I", packet, 4)[0]
            packet += self._receive(4 * size)
        if kind == _SELECTION_REQUEST:
            self._answer(packet)
        elif kind != _REPLY:
            self._events.append(packet)
        return packet if kind == _REPLY else None

    def _readable(self, limit_s):
        return bool(select.select([self._socket], [], [], max(0, limit_s))[0])

    def _receive(self, length):
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                raise EOFError("the X server has gone")
            data += piece
        return data


class Clipboard:
    """A program that owns the clipboard, served by a thread of its own."""

    def __init__(self, display_name, text):
        """Takes the clipboard; it is ours once this returns."""
        self._connection = Connection(display_name)
        self._connection.offer("CLIPBOARD", {UTF8: text.encode()})
        self._connection.read("CLIPBOARD", "TARGETS")  # it is ours now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def _run(self):
        while not self._stop.is_set():
            self._connection.serve(0.1)


def clipboard_text(display_name, limit_s=_LIMIT_S):
    """What pasting would give now; None where there is no text."""
    connection = Connection(display_name)
    try:
        data = connection.read("CLIPBOARD", UTF8, limit_s)
        return None if data is None else data.decode()
    finally:
        connection.close()


def drop_files(display_name, window, paths, at, limit_s=_LIMIT_S):
    """Drops files on a window, as a file manager does.

    Args:
      window: id of the top-level window.
      paths: absolute paths.
      at: (x, y) of the place on the screen.
    Raises TimeoutError when the window takes no files there.
    """
    uris = "".join(f"file://{path}\r\n" for path in paths)
    connection = Connection(display_name)
    try:
        connection.offer("XdndSelection", {_URI_LIST: uris.encode()})
        _drop(connection, window, at, limit_s)
    finally:
        connection.close()


def _drop(source, window, at, limit_s):
    copy = source.atom("XdndActionCopy")
    kind = source.atom(_URI_LIST)
    version = _XDND_VERSION << 24
    source.message(window, "XdndEnter", source.window, version, kind)
    end = time.monotonic() + limit_s
    while True:  # the window says no until it has looked at what is offered
        place = at[0] << 16 | at[1]
        source.message(window, "XdndPosition", source.window, 0, place, 0, copy)
        if source.wait_message("XdndStatus", limit_s)[1] & 1:
            break
        if time.monotonic() > end:
            raise TimeoutError(f"window {window} takes no files")
    source.message(window, "XdndDrop", source.window)
    source.wait_message("XdndFinished", limit_s)
