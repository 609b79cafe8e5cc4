# SPDX-License-Identifier: Apache-2.0
"""Ten migrations there and back on one session, none of them seen."""

from tests.migration import checks
from tests.migration import move_case
from tests.testbed import migration
from tests.testbed import runner

_NUM_MOVES = 10
_PLACES = (2, 3)


class ThereAndBackTest(move_case.MoveCase):
    def test_ten_times(self):
        vm = self.machine(_PLACES[0])
        made = self.door(vm)
        window = self.look(made, vm)
        ids = vm.connection_ids()
        self.check_key(window, vm, "a")
        self.assertEqual(vm.connection_ids(), ids)
        keys = [k for k in move_case.KEYS if k != "a"]
        for number in range(1, _NUM_MOVES + 1):
            left, vm = vm, self._next(window, vm, number)
            self.wait_done(window, migration.SEAMLESS, number)
            left.wait_idle()
            left.stop()
            self.check_key(window, vm, keys[number - 1])
            self.assertEqual(vm.connection_ids(), ids)
        self._check(made, window, len(ids))

    def _next(self, window, source, number):
        """Moves on, to a fresh machine at the place that is not in use.

        There its certificate is verified by its subject, here by its address.
        """
        place = _PLACES[number % len(_PLACES)]
        destination = self.machine(place, incoming=True)
        by = {} if place == _PLACES[0] else {"cert_subject": None}
        self.move(window, source, destination, number, **by)
        return destination

    def _check(self, made, window, num_channels):
        done = (migration.SEAMLESS, migration.COMPLETED)
        self.assertEqual(checks.counts(made), {done: _NUM_MOVES})
        self.assertEqual(checks.pending(made), 0)
        self.assertEqual(checks.guarded(made), {})
        self.assertEqual(checks.refusals(made), {})
        self.assertEqual(
            migration.dialled(window.log()), {f"localhost:{made.tls_port}"}
        )
        made.wait_metric(
            lambda m: m.sum("spicegate_channels_open") == num_channels,
            "one set of channels",
        )
        reading = made.metrics()
        self.assertEqual(reading.sum("spicegate_sessions_opened_total"), 1)
        self.assertEqual(
            reading.sum("spicegate_channels_closed_total", reason="migrated"),
            _NUM_MOVES * num_channels,
        )


if __name__ == "__main__":
    runner.main(*move_case.TOOLS)
