# SPDX-License-Identifier: Apache-2.0
"""A person's way: fetch the .vv file, open it, look, type."""

import collections
import os

from tests.testbed import case
from tests.testbed import gateway
from tests.testbed import picture
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_TITLE = "The desktop"
_KEY_A = b"\x1e\x9e"  # set 1: pressed, released
_SQUARE_PIXELS = 256 * 256

# Channel types of QEMU's query-spice by the gateway's names.
_NAMES = {
    qemu.MAIN: "main",
    qemu.DISPLAY: "display",
    qemu.INPUTS: "inputs",
    qemu.CURSOR: "cursor",
    qemu.PLAYBACK: "playback",
    qemu.RECORD: "record",
    qemu.SMARTCARD: "smartcard",
    qemu.USBREDIR: "usbredir",
    qemu.PORT: "port",
    qemu.WEBDAV: "webdav",
}
_EVERY_CHANNEL = {
    *((qemu.MAIN, 0), (qemu.DISPLAY, 0), (qemu.INPUTS, 0), (qemu.CURSOR, 0)),
    *((qemu.PLAYBACK, 0), (qemu.RECORD, 0), (qemu.WEBDAV, 0)),
    *((qemu.USBREDIR, 0), (qemu.USBREDIR, 1)),
}
# spice-gtk makes this channel only in a session with enable-smartcard, which
# neither viewer sets by itself.
_UNASKED_SMARTCARD = {(qemu.SMARTCARD, 0)}
# remote-viewer connects this one once the user has shared a folder.
_UNASKED_WEBDAV = {(qemu.WEBDAV, 0)}


class RemoteViewerTest(case.Case):
    def setUp(self):
        super().setUp()
        authority = pki.Authority(self.directory)
        x509_dir = authority.x509_dir()
        self.vm = self.start_vm("vm", "full", x509_dir=x509_dir)
        self.gateway = self.start_gateway(
            [self.vm.console(host_subject=pki.SUBJECT, title=_TITLE)],
            listeners=[{"address": "127.0.0.1:0", "tls": True}],
        )

    def test_desktop(self):
        offered = self._offered()
        window = self._open(self._fetch())
        self._check_channels(_EVERY_CHANNEL - _UNASKED_WEBDAV)
        self.assertEqual(
            offered - set(self.vm.channels()),
            _UNASKED_SMARTCARD | _UNASKED_WEBDAV,
        )
        before = self._check_picture(window, "before")
        window.focus()
        window.key("a")
        polling.until(lambda: self.vm.keys() == _KEY_A, "the key")
        after = self._wait_square(before)
        window.wait_shows(after)

    def test_every_channel_of_spicy_stats(self):
        offered = self._offered()
        target = self.gateway.target("vm", tls=True)
        stats = viewer.Stats(self.directory, "stats", target)
        self.addCleanup(stats.stop)
        self._check_channels(_EVERY_CHANNEL)
        self.assertEqual(
            offered - set(self.vm.channels()), _UNASKED_SMARTCARD
        )
        self.gateway.wait_metric(_moves_on_every_channel, "bytes")
        read = stats.stop()
        self.assertEqual(
            set(read), {_NAMES[kind] for kind, _ in _EVERY_CHANNEL}
        )
        self.assertTrue(all(read.values()), read)

    def _offered(self):
        """What the QEMU offers through the gateway; no session stays."""
        client = spiceclient.Client(
            self.gateway.ticket("vm"), port=self.gateway.tls_port, tls=True
        )
        self.addCleanup(client.close)
        client.open_main()
        offered = client.channels_list()
        client.close()
        self.vm.wait_idle()
        return offered

    def _fetch(self):
        """The .vv file on disk, as the gateway gave it."""
        body = self.gateway.vv("vm")
        entries = gateway.vv_entries(body)
        self.assertEqual(entries["tls-port"], str(self.gateway.tls_port))
        self.assertNotIn("port", entries)
        self.assertIn("BEGIN CERTIFICATE", entries["ca"])
        path = os.path.join(self.directory, "desktop.vv")
        with open(path, "wb") as stream:
            stream.write(body)
        return path

    def _open(self, path):
        display = viewer.Display(self.directory)
        self.addCleanup(display.stop)
        window = viewer.RemoteViewer(self.directory, display, path, _TITLE)
        self.addCleanup(window.stop)
        window.wait_window()
        return window

    def _check_channels(self, wanted):
        """QEMU and the metrics agree on what is open, all of it by TLS."""
        self.vm.wait_channels(wanted)
        self.gateway.wait_metric(
            lambda m: _open_by_metrics(m) == self._open_by_qemu(),
            "QEMU's channels in the metrics",
        )
        self.assertEqual(set(self.vm.channels().values()), {True})
        num_tls = self.gateway.metrics().sum(
            "spicegate_tls_connections_total", leg="client"
        )
        self.assertGreaterEqual(num_tls, len(self.vm.channels()))

    def _open_by_qemu(self):
        return dict(
            collections.Counter(_NAMES[k] for k, _ in self.vm.channels())
        )

    def _check_picture(self, window, name):
        path = os.path.join(self.directory, name + ".ppm")
        wanted = picture.read_ppm(self.vm.screendump(path))
        window.wait_shows(wanted)
        return wanted

    def _wait_square(self, before):
        """The guest's screen once it shows the key, all of it."""
        path = os.path.join(self.directory, "after.ppm")

        def look():
            shown = picture.read_ppm(self.vm.screendump(path))
            count = picture.differing_pixels(shown, before)
            return shown if count == _SQUARE_PIXELS else None

        return polling.until(look, "the key's square")


def _open_by_metrics(reading):
    is_open = reading.by("spicegate_channels_open", "channel")
    return {name: count for name, count in is_open.items() if count}


def _moves_on_every_channel(reading):
    return all(
        reading.sum(
            "spicegate_channel_bytes_total",
            channel=_NAMES[kind],
            direction=direction,
        )
        for kind, _ in _EVERY_CHANNEL
        for direction in ("client_to_server", "server_to_client")
    )


if __name__ == "__main__":
    runner.main(
        *("qemu-system-x86_64", "remote-viewer", "spicy-stats", "Xvfb"),
        *("xdotool", "xwd", "openssl"),
    )
