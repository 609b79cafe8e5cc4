# SPDX-License-Identifier: Apache-2.0
"""A desktop with everything a viewer can use, behind a gateway."""

import os
import socket
import struct

from tests.testbed import case
from tests.testbed import guestagent
from tests.testbed import metrics
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import viewer
from tests.testbed import x11

TITLE = "The desktop"
BASIC = {
    *((qemu.MAIN, 0), (qemu.DISPLAY, 0), (qemu.INPUTS, 0), (qemu.CURSOR, 0)),
}
TO_SERVER, TO_CLIENT = "client_to_server", "server_to_client"
# spicy's option: the guest gets every USB device that there is.
REDIRECT_ALL = "--spice-usbredir-redirect-on-connect=-1,-1,-1,-1,1"
REFUSALS = "spicegate_guard_refusals_total"
DROPS = "spicegate_policy_drops_total"
_OUR_REASONS = ("client_guard", "server_guard", "policy_refused")
_LIMIT_S = 20


def moved(reading, channel, direction):
    """Bytes of a channel's type so far, from metrics.Metrics."""
    return reading.sum(
        "spicegate_channel_bytes_total", channel=channel, direction=direction
    )


class DesktopCase(case.Case):
    """A Case whose guests have an agent and a shared folder's port.

    Attributes:
      agent: plays the guest's agent; set by start_agent_vm.
      port: the guest's end of the other port, a socket; likewise.
    """

    agent = None
    port = None

    def start_agent_vm(self, name="vm", **how):
        """A QEMU whose agent and whose webdav port are the test's own."""
        extra = guestagent.devices(self.directory)
        vm = self.start_vm(name, guest="relay", extra=extra, **how)
        self.connect_port()
        self.new_agent()
        return vm

    def connect_port(self):
        """Takes the guest's end of the other port."""
        self.port = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.port.close)
        self.port.settimeout(_LIMIT_S)
        self.port.connect(os.path.join(self.directory, "other.sock"))

    def new_agent(self, **how):
        """An agent in place of the one there was, which goes first."""
        if self.agent:
            self.agent.close()
        path = os.path.join(self.directory, "agent.sock")
        self.agent = guestagent.Agent(path, **how)
        self.addCleanup(self.agent.close)

    def start_display(self):
        display = viewer.Display(self.directory)
        self.addCleanup(display.stop)
        return display

    def start_spicy(self, display, target, *options, **env):
        """spicy with its window open and the keyboard its own."""
        window = viewer.Spicy(
            self.directory, display, target, TITLE, options, **env
        )
        return self._ready(window)

    def start_remote_viewer(self, display, body):
        """remote-viewer with this .vv file, likewise."""
        path = os.path.join(self.directory, "desktop.vv")
        with open(path, "wb") as stream:
            stream.write(body)
        window = viewer.RemoteViewer(self.directory, display, path, TITLE)
        return self._ready(window)

    def copy(self, display, text):
        """A program beside the viewer copies a text to the clipboard."""
        clipboard = x11.Clipboard(display.name, text)
        self.addCleanup(clipboard.close)

    def wait_paste(self, display, text):
        """Waits until such a program would paste this text."""
        polling.until(
            lambda: x11.clipboard_text(display.name) == text,
            f"clipboard {text!r}",
            _LIMIT_S,
            0.1,
        )

    def check_to_guest(self, display, text):
        """What the client copies can be pasted in the guest."""
        grabs = len(self.agent.of(guestagent.GRAB))
        replies = len(self.agent.of(guestagent.CLIPBOARD))
        self.copy(display, text)
        self.agent.wait(guestagent.GRAB, grabs + 1)
        self.agent.send(guestagent.REQUEST, guestagent.request())
        body = self.agent.wait(guestagent.CLIPBOARD, replies + 1)
        self.assertEqual(body, guestagent.contents(text))

    def check_from_guest(self, display, text):
        """What the guest copies can be pasted at the client."""
        self.agent.text = text
        self.agent.send(guestagent.GRAB, guestagent.grab(guestagent.TEXT))
        self.wait_paste(display, text)

    def drop_file(self, display, window, data):
        """Drops a file with these bytes onto the viewer's picture."""
        path = os.path.join(self.directory, "dropped.bin")
        with open(path, "wb") as stream:
            stream.write(data)
        at = (400, 300)
        x11.drop_files(display.name, window.window_id(), [path], at)

    def check_unrefused(self, gateway):
        """Neither guard nor policy has stood in the way of anything."""
        reading = gateway.metrics()
        self.assertEqual(_moving(reading, REFUSALS), set())
        self.assertEqual(_moving(reading, DROPS), set())
        closed = reading.by("spicegate_channels_closed_total", "reason")
        self.assertEqual({r: closed.get(r, 0) for r in _OUR_REASONS},
                         dict.fromkeys(_OUR_REASONS, 0))
        self.assertEqual(gateway.records("guard_refused"), [])

    def wait_moved(self, gateway, **least):
        """Waits until both directions of channels have carried so much.

        Args:
          least: by channel type, (bytes to the server, bytes to the client).
        """

        have = {}

        def look(reading):
            for channel in least:
                to_server = moved(reading, channel, TO_SERVER)
                have[channel] = to_server, moved(reading, channel, TO_CLIENT)
            return all(
                have[channel][0] >= to_server and have[channel][1] >= to_client
                for channel, (to_server, to_client) in least.items()
            )

        try:
            gateway.wait_metric(look, "bytes", _LIMIT_S)
        except TimeoutError:
            self.fail(f"wanted {least}, have {have}")

    def _ready(self, window):
        self.addCleanup(window.stop)
        window.wait_window()
        return window


def read_exactly(port, length):
    """Reads so many bytes from a socket."""
    data = b""
    while len(data) < length:
        piece = port.recv(length - len(data))
        if not piece:
            raise EOFError(f"only {data!r}")
        data += piece
    return data


def webdav_request(port, client, text):
    """Sends an HTTP request from the guest to the viewer's shared folder.

    Wire format of spice-webdavd: i64 client, u16 size, then the bytes.
    """
    data = text.encode()
    port.sendall(struct.pack("<qH", client, len(data)) + data)


def read_webdav(port, wanted):
    """Reads the answers until `wanted` has come; returns what was read."""
    data = b""
    while wanted not in data:
        piece = port.recv(4096)
        if not piece:
            raise EOFError(f"only {data!r}")
        data += piece
    return data


def _moving(reading: metrics.Metrics, name):
    """The samples of a metric that are not 0; the metric has to exist."""
    if f"# TYPE {name} " not in reading.text:
        raise AssertionError(f"no metric {name}")
    lines = reading.text.splitlines()
    return {
        line
        for line in lines
        if line.startswith(name + "{") and not line.endswith(" 0")
    }
