# SPDX-License-Identifier: Apache-2.0
"""A viewer stays with its desktop while the desktop moves, in every kind.

Two QEMUs, a viewer that knows nothing but the gateway, TLS to the gateway. The
viewer's window shows the destination's screen, keys arrive where the guest is,
every channel goes on, and the viewer is never told where a hypervisor is.
"""

import os

from tests.migration import checks
from tests.migration import move_case
from tests.testbed import gateway
from tests.testbed import migration
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import viewer

_KEY_A = b"\x1e\x9e"
# Not webdav, which remote-viewer leaves alone until a folder is shared.
_KEY_I = b"\x17\x97"  # ends the noise
_FULL_SPEED = 1 << 30  # a guest that changes too much moves at no other
_REMOTE_VIEWER_CHANNELS = move_case.SPICY_CHANNELS - {(qemu.WEBDAV, 0)}


class _Case(move_case.MoveCase):
    def check_gateway(self, made, kind, source, destination, plain=False):
        """One migration of this kind, completed, and nothing refused."""
        record = made.wait_record("migration")
        wanted = {
            "console": "desktop",
            "kind": kind,
            "result": migration.COMPLETED,
            "from": checks.place(source, plain),
            "to": checks.place(destination, plain),
        }
        self.assertEqual({k: record.get(k) for k in wanted}, wanted, record)
        self.assertGreaterEqual(record["duration_ms"], 0)
        self.assertEqual(len(made.records("migration")), 1)
        self.assertEqual(
            checks.counts(made), {(kind, migration.COMPLETED): 1}
        )
        self.assertEqual(checks.pending(made), 0)
        reading = made.metrics()
        self.assertEqual(
            reading.sum("spicegate_migration_duration_seconds_count"), 1
        )
        self.assertEqual(reading.sum("spicegate_sessions_open"), 1)
        self.assertEqual(checks.guarded(made), {})
        self.assertEqual(checks.refusals(made), {})

    def check_told(self, made, log, destination):
        """The viewer was sent to the gateway's TLS port and to no other."""
        self.assertEqual(
            migration.told(log), [("localhost", 0, made.tls_port)]
        )
        self.assertEqual(
            migration.dialled(log), {f"localhost:{made.tls_port}"}
        )
        self.check_untold(log, destination)

    def check_untold(self, log, destination):
        """Nothing the viewer has heard of is about the destination."""
        for secret in (destination.address, move_case.subject_of(destination)):
            self.assertNotIn(secret, log)

    def check_channels(self, made, destination, wanted):
        """The destination has exactly these, and the gateway no others."""
        destination.wait_channels(wanted)
        self.assertEqual(set(destination.channels()), set(wanted))
        made.wait_metric(
            lambda m: m.sum("spicegate_channels_open") == len(wanted),
            "the destination's channels alone in the metrics",
        )


class SpicyTest(_Case):
    def test_seamless(self):
        self._moves(migration.SEAMLESS)

    def test_seamless_without_tls_behind(self):
        self._moves(migration.SEAMLESS, plain=True)

    def test_semi_seamless_of_the_server(self):
        self._moves(migration.SEMI_SEAMLESS, seamless=False)

    def test_semi_seamless_of_the_viewer(self):
        self._moves(migration.SEMI_SEAMLESS, **migration.NOT_SEAMLESS)

    def test_switch_host(self):
        self._moves(
            migration.SWITCH_HOST,
            seamless=False,
            **migration.NOT_SEMI_SEAMLESS,
        )

    def test_switch_host_without_tls_behind(self):
        self._moves(
            migration.SWITCH_HOST,
            seamless=False,
            plain=True,
            **migration.NOT_SEMI_SEAMLESS,
        )

    def test_amid_a_flood(self):
        """The hand-over stands anywhere in a stream of pictures."""
        source = self.machine(2, guest="noise")
        destination = self.machine(3, incoming=True, guest="noise")
        made = self.door(source)
        window = self.look(made, source)
        before = source.connection_ids()
        self.move(window, source, destination, bytes_per_s=_FULL_SPEED)
        self.wait_done(window, migration.SEAMLESS)
        self.check_channels(made, destination, before)
        window.focus()
        window.key("i")
        self.until(
            lambda: destination.keys() == _KEY_I, "end of the noise", window
        )
        self.check_key(window, destination, "k")
        self.check_told(made, window.log(), destination)
        self.check_gateway(made, migration.SEAMLESS, source, destination)

    def test_viewer_without_tls(self):
        """Sent to the plain port, and its channels there as well."""
        source, destination = self.machine(2), self.machine(3, incoming=True)
        made = self.door(source)
        window = self.spicy(made.target("desktop"))
        source.wait_channels(move_case.SPICY_CHANNELS)
        self.move(window, source, destination)
        self.wait_done(window, migration.SEAMLESS)
        self.check_key(window, destination, "k")
        self.assertEqual(
            migration.told(window.log()), [("localhost", made.port, 0)]
        )
        self.check_untold(window.log(), destination)
        self.check_gateway(made, migration.SEAMLESS, source, destination)

    def _moves(self, kind, seamless=True, plain=False, **env):
        source = self.machine(2, seamless=seamless)
        destination = self.machine(3, incoming=True, seamless=seamless)
        made = self.door(source, plain)
        window = self.look(made, source, **env)
        self.check_key(window, source, "a")
        before = source.connection_ids()
        if kind == migration.SWITCH_HOST:
            self._switch(source, destination)
        else:
            self.move(window, source, destination)
        self.wait_done(window, kind)
        self.check_channels(made, destination, before)
        self.check_key(window, destination, "k")
        self.assertEqual(source.keys(), _KEY_A)
        self.assertEqual(set(destination.channels().values()), {not plain})
        self.check_told(made, window.log(), destination)
        self.check_gateway(made, kind, source, destination, plain)

    def _switch(self, source, destination):
        before = source.connection_ids()
        self.announce(source, destination)
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        migration.wait_viewers(source)
        destination.wait_channels(before)
        ids = set(destination.connection_ids().values())
        self.assertEqual(len(ids), 1)
        self.assertNotIn(before[(qemu.MAIN, 0)], ids)


class RemoteViewerTest(_Case):
    """The .vv file as a person fetches it."""

    def test_seamless(self):
        """Its links to the destination are one more than to the source.

        It links webdav there, which it leaves alone otherwise, and so keeps
        its channels to the source until that lets go, 10 s after the move.
        """
        source, destination = self.machine(2), self.machine(3, incoming=True)
        made = self.door(source)
        window = self._open(made)
        source.wait_channels(_REMOTE_VIEWER_CHANNELS)
        self.check_key(window, source, "a")
        before = source.connection_ids()
        # QEMU tells of the port that it was not given as 0xFFFF.
        self.announce(source, destination, port=None)
        wanted = {*before, (qemu.WEBDAV, 0)}
        self.wait_linked(window, destination, wanted)
        self.assertEqual(migration.answered(window.log()), [111])
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        self.check_key(window, destination, "k")
        migration.wait_viewers(source)
        source.wait_idle()
        self.check_channels(made, destination, wanted)
        self.assertEqual(
            set(destination.connection_ids().values()), set(before.values())
        )
        self.check_key(window, destination, "j")
        self.assertEqual(source.keys(), _KEY_A)
        self.check_told(made, window.log(), destination)
        self.check_gateway(made, migration.SEAMLESS, source, destination)

    def _open(self, made):
        body = made.vv("desktop")
        self.assertNotIn("port", gateway.vv_entries(body))
        path = os.path.join(self.directory, "desktop.vv")
        with open(path, "wb") as stream:
            stream.write(body)
        window = viewer.RemoteViewer(
            self.directory,
            self.display,
            path,
            move_case.TITLE,
            **move_case.DEBUG,
        )
        self.addCleanup(window.stop)
        window.wait_window()
        return window


if __name__ == "__main__":
    runner.main("remote-viewer", *move_case.TOOLS)
