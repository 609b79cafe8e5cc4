# SPDX-License-Identifier: Apache-2.0
"""The test bed judges right: spicy and bare QEMUs, no gateway.

Each kind of migration is recognised as what it is, and two things that a
gateway has to keep from a viewer do happen to one without a gateway.
"""

import socket

from tests.migration import move_case
from tests.testbed import migration
from tests.testbed import runner
from tests.testbed import viewer

_KINDS = (
    migration.SEAMLESS,
    migration.SEMI_SEAMLESS,
    migration.SWITCH_HOST,
)


class KindsTest(move_case.MoveCase):
    def test_seamless(self):
        self._moves(migration.SEAMLESS, True)

    def test_semi_seamless_of_the_server(self):
        self._moves(migration.SEMI_SEAMLESS, False)

    def test_semi_seamless_of_the_viewer(self):
        self._moves(migration.SEMI_SEAMLESS, True, **migration.NOT_SEAMLESS)

    def test_switch_host(self):
        self._moves(
            migration.SWITCH_HOST, False, **migration.NOT_SEMI_SEAMLESS
        )

    def _moves(self, kind, seamless, **env):
        source = self.machine(2, seamless=seamless)
        destination = self.machine(3, incoming=True, seamless=seamless)
        window = self.spicy(_direct(self, source), **env)
        source.wait_channels(move_case.SPICY_CHANNELS)
        self.check_key(window, source, "a")
        before = source.connection_ids()
        self.announce(source, destination)
        if kind != migration.SWITCH_HOST:
            self.wait_linked(window, destination, before)
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        destination.wait_channels(before)
        migration.wait_viewers(source)
        self.wait_done(window, kind)
        self.assertEqual(
            [migration.done(window.log(), k) for k in _KINDS],
            [int(k == kind) for k in _KINDS],
        )
        self.assertEqual(
            destination.connection_ids() == before,
            kind != migration.SWITCH_HOST,
        )
        self.check_key(window, destination, "k")
        self.assertEqual(source.keys(), b"\x1e\x9e")
        self.assertEqual(
            migration.told(window.log()),
            [("127.0.0.3", destination.port, destination.tls_port)],
        )
        self.assertIn(
            f"127.0.0.3:{destination.port}", migration.dialled(window.log())
        )


class HazardTest(move_case.MoveCase):
    """What becomes of a viewer whose destination is not as it should be."""

    def test_viewer_of_tls_alone_and_a_port_that_is_not_told(self):
        """QEMU writes 0xFFFF for it, and the viewer dials that in plain."""
        source = self.machine(2)
        destination = self.machine(3, incoming=True)
        window = self.spicy(_direct(self, source))
        source.wait_channels(move_case.SPICY_CHANNELS)
        migration.announce(source, destination, port=None)
        self.wait_answer(window, [103])
        self.assertIn("127.0.0.3:65535", migration.dialled(window.log()))
        self.assertFalse(destination.channels())

    def test_destination_that_hangs_freezes_main(self):
        """The viewer never answers, and is lost when the guest has moved."""
        source = self.machine(2)
        destination = self.machine(3, incoming=True)
        with socket.create_server(("127.0.0.4", 0)) as hanging:
            window = self.spicy(_direct(self, source))
            source.wait_channels(move_case.SPICY_CHANNELS)
            migration.announce(
                source,
                destination,
                hostname="127.0.0.4",
                port=hanging.getsockname()[1],
            )
            held = hanging.accept()[0]
            self.addCleanup(held.close)
            migration.start(source, destination.incoming_uri)
            migration.wait(source)
            migration.wait_viewers(source)
            self.assertEqual(migration.answered(window.log()), [])
            source.wait_idle()
            self.assertFalse(destination.channels())

    def wait_answer(self, window, wanted):
        self.until(
            lambda: migration.answered(window.log()) == wanted,
            f"answers {wanted}",
            window,
        )


def _direct(test, source):
    return viewer.Target(
        host=source.address,
        tls_port=source.tls_port,
        password=source.password,
        ca_path=test.authority.cert_path,
    )


if __name__ == "__main__":
    runner.main(*move_case.TOOLS)
