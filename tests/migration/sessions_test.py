# SPDX-License-Identifier: Apache-2.0
"""Several sessions migrate at once, and strangers have no part in it."""

import os

from tests.migration import checks
from tests.migration import move_case
from tests.testbed import migration
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_ONE, _TWO = (2, 3), (6, 7)  # source and destination


class SessionsTest(move_case.MoveCase):
    def setUp(self):
        super().setUp()
        self.sources = [self.machine(_ONE[0]), self.machine(_TWO[0])]
        self.made = self.start_gateway(
            [
                self.sources[0].console("one", host_subject=_subject(_ONE)),
                self.sources[1].console("two", host_subject=_subject(_TWO)),
            ]
        )

    def test_two_at_once(self):
        """Each viewer goes with its own guest."""
        windows = [self._window("one"), self._window("two")]
        destinations = [
            self.machine(_ONE[1], incoming=True),
            self.machine(_TWO[1], incoming=True),
        ]
        for source in self.sources:
            source.wait_channels(move_case.SPICY_CHANNELS)
        before = [source.connection_ids() for source in self.sources]
        trips = list(zip(windows, self.sources, destinations, before))
        for _, source, destination, _ in trips:
            self.announce(source, destination)
        for window, _, destination, _ in trips:
            self.wait_linked(window, destination, move_case.SPICY_CHANNELS)
        for _, source, destination, _ in trips:
            migration.start(source, destination.incoming_uri)
        for window, source, destination, ids in trips:
            migration.wait(source)
            migration.wait_viewers(source)
            self.wait_done(window, migration.SEAMLESS)
            self.assertEqual(destination.connection_ids(), ids)
        self.check_key(windows[0], destinations[0], "a")
        self.check_key(windows[1], destinations[1], "k")
        self.assertEqual(destinations[0].keys(), b"\x1e\x9e")
        done = (migration.SEAMLESS, migration.COMPLETED)
        self.assertEqual(checks.counts(self.made), {done: 2})
        self.assertEqual(checks.guarded(self.made), {})

    def test_main_of_a_session_that_stays(self):
        """A connection_id is for a session that migrates, and for its own."""
        ticket = self.made.ticket("one")
        target = self.made.target("one", tls=True, ticket=ticket)
        window = self._window("one", target)
        self.sources[0].wait_channels(move_case.SPICY_CHANNELS)
        number = self.sources[0].connection_ids()[(qemu.MAIN, 0)]
        self._check_refused(ticket, number)
        self.assertEqual(checks.guarded(self.made), {"connection_id": 1})
        self.check_key(window, self.sources[0], "a")

    def test_stranger_while_it_migrates(self):
        """With the number of the session, and a ticket for another desktop."""
        window = self._window("one")
        self.sources[0].wait_channels(move_case.SPICY_CHANNELS)
        destination = self.machine(_ONE[1], incoming=True)
        self.announce(self.sources[0], destination)
        self.wait_linked(window, destination, move_case.SPICY_CHANNELS)
        number = self.sources[0].connection_ids()[(qemu.MAIN, 0)]
        self._check_refused(self.made.ticket("two"), number)
        migration.start(self.sources[0], destination.incoming_uri)
        migration.wait(self.sources[0])
        self.wait_done(window, migration.SEAMLESS)
        self.check_key(window, destination, "k")
        self.assertFalse(self.sources[1].channels())

    def _window(self, console, target=None):
        """spicy on a screen of its own: windows that overlap hide pixels."""
        directory = os.path.join(self.directory, "viewer-" + console)
        os.mkdir(directory)
        display = viewer.Display(directory)
        self.addCleanup(display.stop)
        target = target or self.made.target(console, tls=True)
        window = viewer.Spicy(
            directory, display, target, move_case.TITLE, **move_case.DEBUG
        )
        self.addCleanup(window.stop)
        window.wait_window()
        return window

    def _check_refused(self, ticket, connection_id):
        client = spiceclient.Client(
            ticket, port=self.made.tls_port, tls=True
        )
        self.addCleanup(client.close)
        client.connection_id = connection_id
        with self.assertRaises(PermissionError):
            client.link(qemu.MAIN)
        self.made.wait_metric(
            lambda m: m.sum("spicegate_links_refused_total") == 1,
            "the refusal in the metrics",
        )


def _subject(places):
    return move_case.subject(places[0])


if __name__ == "__main__":
    runner.main(*move_case.TOOLS)
