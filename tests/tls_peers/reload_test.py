# SPDX-License-Identifier: Apache-2.0
"""A thousand certificate reloads under load, every tenth of them broken."""

import os
import shutil
import signal
import threading

from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.tls_peers import peers_case
from tests.tls_peers import scripted_server

_NUM_RELOADS = 1000
_BROKEN_EVERY = 10
_NUM_PAIRS = 7
_NUM_CHANNELS = 4
_STEP_S = 0.002

_RELOADS = "spicegate_tls_certificate_reloads_total"
_FAILURES = "spicegate_tls_certificate_reload_failures_total"
_REFUSED = "spicegate_tls_certificate_refused"


class _Load:
    """Clients that connect without a pause, in a thread."""

    def __init__(self, port):
        self.num_handshakes = 0
        self.faults = []
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._over.set()
        self._thread.join()

    def _run(self):
        context = peers_case.trusting_context()
        while not self._over.is_set():
            try:
                with peers_case.linked(self._port, context) as made:
                    made.getpeercert(binary_form=True)
                self.num_handshakes += 1
            except (OSError, EOFError, ValueError) as error:
                self.faults.append(error)


class ReloadTest(peers_case.PeersCase):
    """The certificate's directory is replaced in one step, by its link.

    That is how both files of a pair change together. The gateway opens them
    one after the other, though, and looks by itself once a second too, so that
    a look may fall between: the counts of refusals have a little room.
    """

    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory, kind=pki.ECDSA)
        self.live = os.path.join(self.directory, "live")
        self.good = [self._good(number) for number in range(_NUM_PAIRS)]
        self.broken = self._broken()
        self._show(self.good[0])
        self.server = scripted_server.Server()
        self.addCleanup(self.server.stop)
        self.gateway = self.start_gateway(
            [self.server.console()],
            tls={
                "certificate": os.path.join(self.live, "cert.pem"),
                "key": os.path.join(self.live, "key.pem"),
            },
            log={"level": "info"},
        )

    def test_thousand_reloads(self):
        channels = self._open_channels()
        load = _Load(self.gateway.tls_port)
        self.addCleanup(load.stop)
        self._reload(range(1, 101), channels)
        usage = peers_case.Usage(self.gateway, settled=False)
        self._reload(range(101, _NUM_RELOADS + 1), channels)
        load.stop()
        self.assertEqual(load.faults, [])
        self.assertGreater(load.num_handshakes, _NUM_RELOADS // 10)
        usage.check_no_growth(self)
        self._check_counts()
        self.assertEqual(
            peers_case.handshakes(self.gateway, "client")["failed"], 0
        )
        self.assertEqual(self.server.faults, [])

    def test_file_change_alone(self):
        """Nobody has to send a signal."""
        self._show(self.good[1])
        self._wait_shown(self.good[1])
        self._show(self.broken[0])
        self._wait_refused(1)
        self._wait_shown(self.good[1])
        self._show(self.good[2])
        self._wait_shown(self.good[2])
        self._wait_refused(0)

    def test_every_kind_of_damage(self):
        for directory in self.broken:
            with self.subTest(os.path.basename(directory)):
                self._show(directory)
                self.gateway.process.send_signal(signal.SIGHUP)
                self._wait_refused(1)
                self._wait_shown(self.good[0])
                record = self.gateway.records("certificates_refused")[-1]
                self.assertIn(self.live, record["error"])
                self._show(self.good[0])
                self.gateway.process.send_signal(signal.SIGHUP)
                self._wait_refused(0)

    def _good(self, number):
        cert, key = self.authority.issue(f"good-{number}", kind=pki.ECDSA)
        return self._directory(f"good-{number}.d", cert, key)

    def _broken(self):
        """Directories that nobody can use, one of each kind."""
        cert, key = self.authority.issue("broken", kind=pki.ECDSA)
        _, other_key = self.authority.issue("other", kind=pki.ECDSA)
        made = [self._directory("mismatch", cert, other_key)]
        for name, damaged in (("cut-cert", "cert.pem"), ("cut-key", "key.pem")):
            directory = self._directory(name, cert, key)
            path = os.path.join(directory, damaged)
            os.truncate(path, os.path.getsize(path) // 2)
            made.append(directory)
        for name, gone in (("no-cert", "cert.pem"), ("no-key", "key.pem")):
            directory = self._directory(name, cert, key)
            os.remove(os.path.join(directory, gone))
            made.append(directory)
        empty = self._directory("empty", cert, key)
        os.truncate(os.path.join(empty, "cert.pem"), 0)
        made.append(empty)
        made.append(self._directory("exchanged", key, cert))
        return made

    def _directory(self, name, cert, key):
        path = os.path.join(self.directory, name)
        os.makedirs(path)
        shutil.copy(cert, os.path.join(path, "cert.pem"))
        shutil.copy(key, os.path.join(path, "key.pem"))
        return path

    def _show(self, directory):
        """Makes the configured path lead to this directory, in one step."""
        os.symlink(directory, self.live + ".new")
        os.rename(self.live + ".new", self.live)

    def _open_channels(self):
        client = spiceclient.Client(
            self.gateway.ticket("vm"), port=self.gateway.tls_port, tls=True
        )
        self.addCleanup(client.close)
        client.open_main()
        return [
            client.link(scripted_server.USBREDIR, number)
            for number in range(_NUM_CHANNELS)
        ]

    def _reload(self, numbers, channels):
        shown = self.good[0]
        for number in numbers:
            broken = number % _BROKEN_EVERY == 0
            if broken:
                self._show(self.broken[number // 10 % len(self.broken)])
            else:
                shown = self.good[number % len(self.good)]
                self._show(shown)
            self.gateway.process.send_signal(signal.SIGHUP)
            if broken:
                self._wait_refused(1)
            self._wait_shown(shown)
            if number % _BROKEN_EVERY in (0, 1):
                channel = channels[number // 10 % len(channels)]
                seed = str(number).encode()
                scripted_server.echo(self, channel, 3, seed)

    def _wait_shown(self, directory):
        wanted = peers_case.certificate_in(os.path.join(directory, "cert.pem"))
        context = peers_case.trusting_context()
        polling.until(
            lambda: wanted
            == peers_case.shown_certificate(self.gateway.tls_port, context),
            f"certificate of {directory}",
            step_s=_STEP_S,
        )

    def _wait_refused(self, value):
        polling.until(
            lambda: self.gateway.metrics().sum(_REFUSED) == value,
            f"{_REFUSED} {value}",
            step_s=_STEP_S,
        )

    def _check_counts(self):
        numbers = self.gateway.metrics()
        failures = _NUM_RELOADS // _BROKEN_EVERY
        room = failures // 10
        reloads = _NUM_RELOADS - failures
        self.assertIn(
            numbers.sum(_RELOADS), range(reloads, reloads + room)
        )
        self.assertIn(
            numbers.sum(_FAILURES), range(failures, failures + room)
        )
        self.assertEqual(numbers.sum("spicegate_channels_closed_total"), 0)


if __name__ == "__main__":
    runner.main("openssl")
