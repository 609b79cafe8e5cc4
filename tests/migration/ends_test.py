# SPDX-License-Identifier: Apache-2.0
"""Somebody vanishes in the middle of a migration, and the others live on."""

from tests.migration import checks
from tests.migration import move_case
from tests.testbed import migration
from tests.testbed import runner

_CRAWL_BYTES_PER_S = 1 << 20
_QMP_LIMIT_S = 2


class EndsTest(move_case.MoveCase):
    def setUp(self):
        """A viewer that is linked to both, its session pending."""
        super().setUp()
        self.source = self.machine(2)
        self.destination = self.machine(3, incoming=True)
        self.made = self.door(self.source)
        self.window = self.look(self.made, self.source)
        self.announce(self.source, self.destination)
        self.wait_linked(
            self.window, self.destination, move_case.SPICY_CHANNELS
        )
        self.assertEqual(checks.pending(self.made), 1)

    def test_viewer_before_the_guest_moves(self):
        self.window.child.kill()
        self._check_ended(self.source, self.destination)
        migration.start(self.source, self.destination.incoming_uri)
        migration.wait(self.source)
        self._check_unhurt(self.source, self.destination)

    def test_viewer_while_the_guest_moves(self):
        migration.start(
            self.source, self.destination.incoming_uri, _CRAWL_BYTES_PER_S
        )
        self.window.child.kill()
        self._check_ended(self.source, self.destination)
        migration.wait(self.source)
        self._check_unhurt(self.source, self.destination)

    def test_destination(self):
        """Its links are over, and the session goes on where it is."""
        self.destination.process.kill()
        self.made.wait_metric(
            lambda m: m.sum("spicegate_channels_open")
            == len(move_case.SPICY_CHANNELS),
            "the end of the destination's channels",
        )
        self.check_key(self.window, self.source, "a")
        other = self.machine(5, incoming=True)
        self.move(self.window, self.source, other, num_answers=2)
        self.wait_done(self.window, migration.SEAMLESS)
        self.check_key(self.window, other, "k")
        done = (migration.SEAMLESS, migration.COMPLETED)
        self.assertEqual(checks.counts(self.made)[done], 1)
        self.assertEqual(checks.guarded(self.made), {})

    def test_source(self):
        self.source.process.kill()
        self._check_ended(self.destination)

    def test_gateway(self):
        self.made.stop()  # fails the test unless it ends by itself, cleanly
        self.source.wait_idle()
        self.destination.wait_idle()
        self._check_unhurt(self.source, self.destination)

    def _check_ended(self, *unhurt):
        self.made.wait_no_sessions()
        self.assertEqual(checks.pending(self.made), 0)
        self.assertNotIn(
            migration.COMPLETED, {r for _, r in checks.counts(self.made)}
        )
        self.assertEqual(checks.guarded(self.made), {})
        for vm in unhurt:
            vm.wait_idle()
        self._check_unhurt(*unhurt)

    def _check_unhurt(self, *machines):
        for vm in machines:
            self.assertTrue(vm.alive(), f"QEMU died\n{vm.process.tail()}")
            self.assertTrue(vm.answers(_QMP_LIMIT_S), f"QMP of {vm.name}")


if __name__ == "__main__":
    runner.main(*move_case.TOOLS)
