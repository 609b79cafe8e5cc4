# SPDX-License-Identifier: Apache-2.0
"""A session that something happens to, and the checks that it goes on."""

import socket

from tests.migration import checks
from tests.migration import move_case
from tests.testbed import migration

ELSEWHERE = "127.0.0.9"  # no machine is there
# What a viewer tells the source of its links to the destination.
CONNECTED, FAILED = 111, 103
SEAMLESS_DONE = (migration.SEAMLESS, migration.COMPLETED)
SEAMLESS_FAILED = (migration.SEAMLESS, migration.FAILED)
SEAMLESS_CANCELLED = (migration.SEAMLESS, migration.CANCELLED)


class SessionCase(move_case.MoveCase):
    """A session at host 2, TLS on both sides, and what it shall still do."""

    def begin(self, **config):
        """A session at host 2: its machine, the gateway, the window."""
        source = self.machine(2)
        made = self.door(source, **config)
        window = self.look(made, source)
        self.check_key(window, source, "a")
        return source, made, window

    def check_stays(self, window, source, key):
        """All channels are at the source, and so are keys and picture."""
        self.assertTrue(window.child.running(), window.child.tail())
        self.assertEqual(set(source.channels()), move_case.SPICY_CHANNELS)
        self.check_key(window, source, key)

    def check_moves(self, made, window, source, key, num_answers):
        """A migration to a good destination, host 5, is as if nothing were."""
        destination = self.machine(5, incoming=True)
        self.move(window, source, destination, num_answers)
        self.wait_done(window, migration.SEAMLESS)
        self.check_key(window, destination, key)
        self.assertEqual(migration.answered(window.log())[-1], CONNECTED)
        made.wait_record("migration", result=migration.COMPLETED)
        self.assertEqual(checks.counts(made)[SEAMLESS_DONE], 1)
        self.assertEqual(checks.guarded(made), {})

    def wait_answers(self, window, wanted):
        self.until(
            lambda: migration.answered(window.log()) == wanted,
            f"answers {wanted} of the viewer",
            window,
        )


def listener():
    """A socket that listens at ELSEWHERE, where nobody talks SPICE."""
    return socket.create_server((ELSEWHERE, 0))
