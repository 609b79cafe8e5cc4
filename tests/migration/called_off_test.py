# SPDX-License-Identifier: Apache-2.0
"""Migrations that are called off, and those that are not allowed at all.

The viewer has had its links to the destination, or is kept from them; either
way its session goes on, and a migration after that succeeds.
"""

import os
import socket
import time

from tests.migration import checks
from tests.migration import move_case
from tests.migration import session_case
from tests.testbed import migration
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import viewer

_CRAWL_BYTES_PER_S = 64 << 10  # the guest's 3 MB are under way for long


class CancelTest(session_case.SessionCase):
    """A migration that is called off after the viewer had its links."""

    def test_cancelled_by_command(self):
        source, made, window = self.begin()
        destination = self._link(source, window)
        path = os.path.join(self.directory, "sink")
        with socket.socket(socket.AF_UNIX) as sink:
            sink.bind(path)
            sink.listen()
            migration.start(source, "unix:" + path)
            self.addCleanup(sink.accept()[0].close)
            migration.cancel(source)
            migration.wait(source, migration.CANCELLED)
        self._check_cancelled(source, made, window)
        destination.wait_idle()

    def test_cancelled_half_way(self):
        """The destination ends for want of a guest, perhaps before all."""
        source, made, window = self.begin()
        destination = self._link(source, window)
        migration.start(
            source, destination.incoming_uri, _CRAWL_BYTES_PER_S
        )
        migration.cancel(source)
        migration.wait(source, migration.CANCELLED)
        self._check_cancelled(
            source, made, window, (migration.CANCELLED, migration.FAILED)
        )

    def test_nobody_takes_the_guest(self):
        source, made, window = self.begin()
        destination = self._link(source, window)
        migration.start(source, destination.incoming_uri + ".none")
        migration.wait(source, migration.FAILED)
        self._check_cancelled(source, made, window)
        destination.wait_idle()

    def test_announced_anew(self):
        """Another destination takes the place of the first before the move."""
        source, made, window = self.begin()
        first = self._link(source, window)
        self.check_moves(made, window, source, "k", num_answers=2)
        first.wait_idle()
        self.assertEqual(
            checks.counts(made),
            {session_case.SEAMLESS_CANCELLED: 1, session_case.SEAMLESS_DONE: 1},
        )

    def _link(self, source, window):
        destination = self.machine(3, incoming=True)
        self.announce(source, destination)
        self.wait_linked(window, destination, move_case.SPICY_CHANNELS)
        return destination

    def _check_cancelled(
        self, source, made, window, results=(migration.CANCELLED,)
    ):
        self.until(
            lambda: "migration message: migrate-cancel" in window.log(),
            "the end of the migration at the viewer",
            window,
        )
        record = made.wait_record("migration")
        self.assertEqual(record["kind"], migration.SEAMLESS)
        self.assertIn(record["result"], results, record)
        num = len(move_case.SPICY_CHANNELS)
        made.wait_metric(
            lambda m: m.sum("spicegate_channels_open") == num,
            "the end of the destination's channels",
        )
        self.check_stays(window, source, "s")
        self.check_moves(made, window, source, "k", num_answers=2)


class AllowedTest(session_case.SessionCase):
    """Who may migrate, and where to."""

    def test_ticket_that_has_expired(self):
        """It was used in time, and is the session's for as long as it is."""
        source = self.machine(2)
        made = self.door(source, tickets={"first_use_s": 1})
        window = self.look(made, source)
        unused = made.ticket("desktop")
        end = time.monotonic() + 2
        polling.until(lambda: time.monotonic() >= end, "end of the ticket")
        shot = viewer.screenshot(
            self.directory, "late", made.target("desktop", ticket=unused)
        )
        self.assertEqual((shot.code, shot.event), (1, viewer.AUTH), shot.text)
        self.check_moves(made, window, source, "k", num_answers=1)

    def test_destination_that_is_not_allowed(self):
        source, made, window = self.begin(
            migration={"destinations": ["127.0.0.5/32"]}
        )
        with session_case.listener() as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            migration.announce(
                source,
                source,
                hostname=session_case.ELSEWHERE,
                port=port,
                tls_port=port,
            )
            self.wait_answers(window, [session_case.FAILED])
            made.wait_record("migration", result=migration.FAILED)
            with self.assertRaises(BlockingIOError):
                listener.accept()
        self.assertEqual(
            checks.counts(made), {session_case.SEAMLESS_FAILED: 1}
        )
        self.check_stays(window, source, "s")
        self.check_moves(made, window, source, "k", num_answers=2)


if __name__ == "__main__":
    runner.main("spicy-screenshot", *move_case.TOOLS)
