# SPDX-License-Identifier: Apache-2.0
"""A client that moves with its guest, as a viewer does, step by step.

It may stop at any step and do something else: nothing is sent that the caller
did not ask for, but for the ACKs of display and cursor at the source.
"""

import queue
import socket
import struct
import threading

from tests.testbed import spiceclient
from tests.testbed.spiceclient import CURSOR, DISPLAY, INPUTS, MAIN

NEED_FLUSH, NEED_DATA = 1, 2
CHANNELS = (DISPLAY, INPUTS, CURSOR)
_LIMIT_S = 15


class Migrant:
    """One session with main, display, inputs and cursor, and its move.

    Attributes:
      source, destination: {channel type: spiceclient.Link}.
      seamless: how the source announced it, once begun() has returned.
    """

    def __init__(self, password, source, destination, channels=CHANNELS):
        """Connects nothing yet.

        Args:
          source, destination: where, as of spiceclient.Link. The same for
            both when the gateway is there.
          channels: types beside main, of each the channel 0.
        """
        self.source = {}
        self.destination = {}
        self.seamless = None
        self._channels = channels
        self._client = spiceclient.Client(password, **source)
        self._mover = spiceclient.Client(password, **destination)
        self._readers = {}

    def open(self):
        """All channels at the source; the display has shown something."""
        self.source[MAIN] = self._client.open_main()
        for channel in self._channels:
            self.source[channel] = self._client.link(channel)
            if channel == DISPLAY:  # the cursor's link would wait for it
                self._start_display(self.source[DISPLAY])
            if channel in (DISPLAY, CURSOR):
                self._readers[channel] = _Reader(self.source[channel])
        if DISPLAY in self._channels:
            self._read(DISPLAY)
        return self

    def begun(self):
        """Waits for the announcement."""
        kind, _ = self._until(
            MAIN,
            spiceclient.MAIN_MIGRATE_BEGIN,
            spiceclient.MAIN_BEGIN_SEAMLESS,
        )
        self.seamless = kind == spiceclient.MAIN_BEGIN_SEAMLESS

    def link(self):
        """All links to the destination."""
        self._mover.connection_id = self._client.connection_id
        main = self._mover.link(MAIN)
        self.destination[MAIN] = main
        if self.seamless:
            main.send_message(
                spiceclient.MAIN_DO_SEAMLESS, struct.pack("<I", 1)
            )
            main.read_until(spiceclient.MAIN_SEAMLESS_ACK)
        for channel in self._channels:
            self.destination[channel] = self._mover.link(channel)

    def report(self):
        """Tells the source that all links are there."""
        self.source[MAIN].send_message(
            spiceclient.MAIN_CONNECTED_SEAMLESS
            if self.seamless
            else spiceclient.MAIN_MIGRATE_CONNECTED
        )

    def let_go(self, channel):
        """The source's MIGRATE, and our FLUSH_MARK if it asks for one.

        Returns MIGRATE_DATA's body, or None when there is none.
        """
        _, body = self._until(channel, spiceclient.S_MIGRATE)
        flags = struct.unpack("<I", body)[0]
        if flags & NEED_FLUSH:
            self.source[channel].send_message(spiceclient.FLUSH_MARK)
        if not flags & NEED_DATA:
            return None
        return self._until(channel, spiceclient.S_MIGRATE_DATA)[1]

    def move(self):
        """All of a seamless move; main is last."""
        for channel in (*self._channels, MAIN):
            data = self.let_go(channel)
            if data is not None:
                self.destination[channel].send_message(
                    spiceclient.MIGRATE_DATA, data
                )

    def take_over(self):
        """Semi-seamless: the source's MIGRATE_END, then ours."""
        self._until(MAIN, spiceclient.S_MAIN_MIGRATE_END)
        self.destination[MAIN].send_message(spiceclient.MAIN_MIGRATE_END)

    def restart(self):
        """All of a semi-seamless move; the display has shown something."""
        self.take_over()
        self._start_display(self.destination[DISPLAY])
        self.destination[DISPLAY].read_message()

    def closed_by_peer(self, leg, channel):
        """Waits until this link is closed; False when it stays open.

        Args:
          leg: "source" or "destination".
        """
        if leg == "source" and channel in self._readers:
            return self._readers[channel].wait_closed()
        return getattr(self, leg)[channel].closed_by_peer()

    def close(self):
        for reader in self._readers.values():
            reader.stop()
        self._client.close()
        self._mover.close()

    def _start_display(self, link):
        link.send_message(
            spiceclient.DISPLAY_INIT, spiceclient.display_init()
        )

    def _until(self, channel, *kinds):
        while True:
            kind, body = self._read(channel)
            if kind in kinds:
                return kind, body

    def _read(self, channel):
        """One message of the source."""
        if channel in self._readers:
            return self._readers[channel].read()
        return self.source[channel].read_message()


class _Reader:
    """Reads a source's channel all the time, and sends its ACKs.

    A source waits for them before it lets go of anything, its monitor too.
    """

    def __init__(self, link):
        self._link = link
        self._window = 0
        self._count = 0
        self._messages = queue.Queue()
        link.socket.settimeout(None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def read(self):
        """The next message; EOFError when there is none any more."""
        try:
            message = self._messages.get(timeout=_LIMIT_S)
        except queue.Empty:
            raise TimeoutError("the source says nothing") from None
        if message is None:
            raise EOFError("the source has closed")
        return message

    def wait_closed(self):
        """Whether the peer closes in good time."""
        self._thread.join(_LIMIT_S)
        return not self._thread.is_alive()

    def stop(self):
        """Nothing is read any more. The link is still to be closed."""
        try:
            self._link.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster
        self._thread.join()

    def _run(self):
        try:
            while True:
                self._take(*self._link.read_message())
        except (EOFError, OSError):
            self._messages.put(None)

    def _take(self, kind, body):
        self._messages.put((kind, body))
        if kind == spiceclient.SET_ACK:
            generation, self._window = struct.unpack("<II", body)
            self._count = 0
            self._link.send_message(
                spiceclient.ACK_SYNC, struct.pack("<I", generation)
            )
        elif self._window:
            self._count += 1
            if self._count == self._window:
                self._count = 0
                self._link.send_message(spiceclient.ACK)
