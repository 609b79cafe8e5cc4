# SPDX-License-Identifier: Apache-2.0
"""Real viewers and a real QEMU, nothing but TLS on both legs."""

import os

from tests.testbed import case
from tests.testbed import picture
from tests.testbed import pki
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import viewer
from tests.tls_peers import peers_case

_TITLE = "The desktop"
_MIN_COLOURS = 100000  # the gradient has one for each of its 786432 pixels

# Those that spicy-stats opens; smartcard needs an option that it does not set.
_EVERY_CHANNEL = {
    *((qemu.MAIN, 0), (qemu.DISPLAY, 0), (qemu.INPUTS, 0), (qemu.CURSOR, 0)),
    *((qemu.PLAYBACK, 0), (qemu.RECORD, 0), (qemu.WEBDAV, 0)),
    *((qemu.USBREDIR, 0), (qemu.USBREDIR, 1)),
}
_DESKTOP = {(qemu.MAIN, 0), (qemu.DISPLAY, 0), (qemu.INPUTS, 0)}


class ViewerTest(case.Case):
    """The gateway shows a chain that leads to a root the viewer is given."""

    def setUp(self):
        super().setUp()
        hypervisors = pki.Authority(self.directory, "hypervisors")
        self.vm = self.start_vm(
            "vm", "tls", x509_dir=hypervisors.x509_dir()
        )
        self.root = pki.Authority(self.directory, "root")
        below = pki.Authority(self.directory, "below", parent=self.root)
        self.pairs = [
            below.issue(kind, kind=kind) for kind in (pki.ECDSA, pki.RSA)
        ]

    def test_picture(self):
        """spicy-screenshot sees what QEMU itself says it shows."""
        for (cert, key), name in zip(self.pairs, (pki.ECDSA, pki.RSA)):
            for version in ("1.2", "1.3"):
                with self.subTest(name, min_version=version):
                    gateway = self._gateway(
                        f"{name}-{version}",
                        certificate=cert,
                        key=key,
                        min_version=version,
                    )
                    self._check_screenshot(gateway, f"{name}-{version}")
                    gateway.stop()

    def test_window(self):
        """remote-viewer with the .vv file, which carries the root."""
        gateway = self._both("gateway")
        display = viewer.Display(self.directory)
        self.addCleanup(display.stop)
        path = os.path.join(self.directory, "desktop.vv")
        with open(path, "wb") as stream:
            stream.write(gateway.vv("vm"))
        window = viewer.RemoteViewer(self.directory, display, path, _TITLE)
        self.addCleanup(window.stop)
        window.wait_window()
        window.wait_shows(self._dump("window"))
        self.vm.wait_channels(_DESKTOP)
        self._check_secured(gateway)
        window.stop()
        self.vm.wait_idle()
        self._check_one_full(gateway)

    def test_every_channel(self):
        gateway = self._both("gateway")
        stats = self._stats(gateway, "stats")
        self.vm.wait_channels(_EVERY_CHANNEL)
        self._check_secured(gateway)
        stats.stop()
        self.vm.wait_idle()
        num_channels = self._check_one_full(gateway)
        self.assertGreaterEqual(num_channels, len(_EVERY_CHANNEL))
        # A console's sessions are kept: the next viewer needs no full one.
        again = self._stats(gateway, "again")
        self.vm.wait_channels(_EVERY_CHANNEL)
        again.stop()
        self.vm.wait_idle()
        self._check_one_full(gateway)

    def test_other_root(self):
        """A viewer that was given another root leaves; no QEMU hears of it."""
        other = pki.Authority(self.directory, "other")
        gateway = self._both("gateway")
        target = self._target(gateway, other.cert_path)
        stats = viewer.Stats(self.directory, "stats", target)
        self.assertEqual(stats.wait_end(), viewer.TLS)
        peers_case.wait_no_links(gateway)
        self.assertEqual(
            sum(peers_case.handshakes(gateway, "server").values()), 0
        )

    def _gateway(self, name, **tls):
        return self.start_gateway(
            [self.vm.console(host_subject=pki.SUBJECT, title=_TITLE)],
            name=name,
            guard="enforce",
            listeners=[{"address": "127.0.0.1:0", "tls": True}],
            public={"host": "localhost", "ca_file": self.root.cert_path},
            tls=tls,
        )

    def _both(self, name):
        """A gateway with the ECDSA and the RSA certificate."""
        certificates = [
            {"certificate": cert, "key": key} for cert, key in self.pairs
        ]
        return self._gateway(name, certificates=certificates)

    def _target(self, gateway, ca_path):
        return viewer.Target(
            host="localhost",
            tls_port=gateway.tls_port,
            password=gateway.ticket("vm"),
            ca_path=ca_path,
        )

    def _stats(self, gateway, name):
        target = self._target(gateway, self.root.cert_path)
        stats = viewer.Stats(self.directory, name, target)
        self.addCleanup(stats.stop)
        return stats

    def _dump(self, name):
        path = os.path.join(self.directory, name + ".dump")
        return picture.read_ppm(self.vm.screendump(path))

    def _check_screenshot(self, gateway, name):
        target = self._target(gateway, self.root.cert_path)
        shot = viewer.screenshot(self.directory, name, target)
        self.assertEqual(shot.code, 0, shot.text)
        self.vm.wait_idle()
        seen = picture.read_ppm(shot.path)
        self.assertGreater(seen.num_colours(), _MIN_COLOURS)
        self.assertTrue(seen == self._dump(name), "the pictures differ")
        self._check_one_full(gateway)

    def _check_secured(self, gateway):
        """QEMU and the gateway agree: TLS everywhere."""
        channels = self.vm.channels()
        self.assertEqual(set(channels.values()), {True})
        numbers = gateway.metrics()
        for leg in ("client", "server"):
            self.assertEqual(
                numbers.sum("spicegate_tls_connections_total", leg=leg),
                numbers.sum("spicegate_channels_opened_total"),
            )

    def _check_one_full(self, gateway):
        """One full handshake with QEMU; returns how many there were."""
        gateway.wait_no_sessions()
        outcomes = peers_case.handshakes(gateway, "server")
        self.assertEqual((outcomes["full"], outcomes["failed"]), (1, 0))
        opened = gateway.metrics().sum("spicegate_channels_opened_total")
        self.assertEqual(outcomes["resumed"], opened - 1)
        return opened


if __name__ == "__main__":
    runner.main(
        *("qemu-system-x86_64", "spicy-screenshot", "spicy-stats"),
        *("remote-viewer", "Xvfb", "xdotool", "xwd", "openssl"),
    )
