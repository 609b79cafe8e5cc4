# SPDX-License-Identifier: Apache-2.0
"""Misdeeds of a client that moves with its guest, at both QEMUs.

The table for moving_direct_test (two bare QEMUs) and moving_test (the gateway
before them), as misdeeds is for a client that stays.
"""

import dataclasses
import struct
from collections.abc import Callable

from tests.guard.misdeeds import CLOSES, DIES, FATTENS, GIB, NOTHING
from tests.guard.misdeeds import SECRET, Effect
from tests.testbed import spiceclient
from tests.testbed.spiceclient import (
    CURSOR,
    DISPLAY,
    FLUSH_MARK,
    INPUTS,
    MAIN,
    MIGRATE_DATA,
    WEBDAV,
    End,
)

_INIT = (spiceclient.DISPLAY_INIT, spiceclient.display_init())
_DO_SEAMLESS = (spiceclient.MAIN_DO_SEAMLESS, struct.pack("<I", 1))
_END = (spiceclient.MAIN_MIGRATE_END,)
_FLUSH = (FLUSH_MARK,)


@dataclasses.dataclass(frozen=True)
class Misdeed:
    """One thing that a moving client does.

    Attributes:
      rule: the guard's name for it, None where it is up to the gateway what
        becomes of it.
      act: does it, to a migrant.Migrant and on this channel.
      linked: done when all links are made and nothing moves yet; else once
        the guest is on its way.
      victim: whose effect it is, "source" or "destination".
    """

    name: str
    channel: int
    rule: str | None
    effect: Effect
    act: Callable
    linked: bool
    seamless: bool
    victim: str = "destination"
    machine: str = "min"
    channels: tuple = (DISPLAY, INPUTS, CURSOR)


def _rows(*rows, linked=False, seamless=True, **more):
    """A row is name, channel, rule, effect and act."""
    return [
        Misdeed(*row, linked=linked, seamless=seamless, **more) for row in rows
    ]


# ---- Acts


def _say(*messages):
    """Sends messages to the destination."""

    def act(migrant, channel):
        for message in messages:
            migrant.destination[channel].send_message(*message)

    return act


def _say_to_source(*message):
    def act(migrant, channel):
        migrant.source[channel].send_message(*message)

    return act


def _claim(size):
    """The header of MIGRATE_DATA alone."""

    def act(migrant, channel):
        migrant.destination[channel].send(
            spiceclient.message(MIGRATE_DATA, SECRET, size)
        )

    return act


def _pass_on(change):
    """Passes the source's state of the channel on, but not as it was."""

    def act(migrant, channel):
        for body in change(migrant.let_go(channel)):
            migrant.destination[channel].send_message(MIGRATE_DATA, body)

    return act


def _flush_again(migrant, channel):
    migrant.let_go(channel)
    migrant.source[channel].send_message(*_FLUSH)


def _moved(*message):
    """Sends a message to the destination when all of the move is done."""

    def act(migrant, channel):
        if migrant.seamless:
            migrant.move()
        else:
            migrant.restart()
        migrant.destination[channel].send_message(*message)

    return act


def _end_behind_state(migrant, channel):
    """Main is where it belongs, and the others are not yet."""
    _pass_on(lambda data: (data,))(migrant, channel)
    migrant.destination[channel].send_message(*_END)


def _leave(how):
    """Closes a link that still waits, and takes over without it."""

    def act(migrant, channel):
        migrant.destination[channel].end(how)
        migrant.take_over()

    return act


def _leave_main(migrant, channel):
    """While this channel waits for its MIGRATE_DATA."""
    migrant.let_go(channel)
    migrant.destination[MAIN].end(End.FIN)


def _other_magic(data):
    return (b"XXXX" + data[4:],)


def _cut(data):
    return (data[:20],)


def _other_bit(data):
    return (data[:-1] + bytes((data[-1] ^ 1,)),)


def _twice(data):
    return (data, data)


# ---- The table

_STATE = (MIGRATE_DATA, b"DCMD" + bytes(84))
_KEY = (101, struct.pack("<I", 0x1E))
_PONG = (spiceclient.PONG, bytes(12))

_WHILE_LINKS_WAIT = [
    *_rows(
        ("again", MAIN, "do_seamless", NOTHING, _say(_DO_SEAMLESS)),
        ("END behind DO_SEAMLESS", MAIN, "migrate_end", DIES, _say(_END)),
        *(
            ("FLUSH_MARK", channel, "flush_mark", DIES, _say(_FLUSH))
            for channel in (MAIN, DISPLAY, INPUTS, CURSOR)
        ),
        ("INIT", DISPLAY, "before_handover", DIES, _say(_INIT)),
        ("a key", INPUTS, "before_handover", NOTHING, _say(_KEY)),
        ("PONG", MAIN, "before_handover", NOTHING, _say(_PONG)),
        ("state", MAIN, "migrate_data", DIES, _say(_STATE)),
        ("state", DISPLAY, "migrate_data", DIES, _say(_STATE)),
        ("state", INPUTS, "migrate_data", DIES, _say(_STATE)),
        ("state of 1 GiB", DISPLAY, "migrate_data", FATTENS, _claim(GIB)),
        linked=True,
    ),
    *_rows(
        ("FLUSH", DISPLAY, "flush_mark", DIES, _say_to_source(*_FLUSH)),
        ("state", INPUTS, "migrate_data", CLOSES, _say_to_source(*_STATE)),
        linked=True,
        victim="source",
    ),
    *_rows(
        ("unasked", MAIN, "do_seamless", DIES, _say(_DO_SEAMLESS, _END)),
        ("too early", MAIN, "migrate_end", NOTHING, _say(_END)),
        linked=True,
        seamless=False,
    ),
]

_ON_THE_WAY = [
    *_rows(
        ("magic", MAIN, "migrate_data", DIES, _pass_on(_other_magic)),
        ("magic", DISPLAY, "migrate_data", DIES, _pass_on(_other_magic)),
        ("magic", INPUTS, "migrate_data", DIES, _pass_on(_other_magic)),
        ("cut short", DISPLAY, "migrate_data", DIES, _pass_on(_cut)),
        ("one bit", INPUTS, "migrate_data", NOTHING, _pass_on(_other_bit)),
        ("twice", INPUTS, "migrate_data", CLOSES, _pass_on(_twice)),
        ("INIT at the end", DISPLAY, "display_init", DIES, _moved(*_INIT)),
        ("END behind state", MAIN, "migrate_end", DIES, _end_behind_state),
        ("FLUSH at the end", INPUTS, "flush_mark", DIES, _moved(*_FLUSH)),
    ),
    *_rows(
        ("FLUSH unasked", CURSOR, "flush_mark", DIES, _flush_again),
        ("FLUSH twice", INPUTS, "flush_mark", DIES, _flush_again),
        victim="source",
    ),
    *_rows(
        ("END again", MAIN, "migrate_end", NOTHING, _moved(*_END)),
        ("behind END", MAIN, "do_seamless", DIES, _moved(*_DO_SEAMLESS)),
        ("INIT again", DISPLAY, "display_init", DIES, _moved(*_INIT)),
        seamless=False,
    ),
]

# No message is wrong here: a link is missing when the client takes over.
_LEAVING = [
    *_rows(
        *(
            (f"leaves by {how.value}", DISPLAY, None, DIES, _leave(how))
            for how in End
        ),
        seamless=False,
    ),
    *_rows(
        ("leaves by rst", WEBDAV, None, DIES, _leave(End.RST)),
        seamless=False,
        machine="full",
        channels=(WEBDAV,),
    ),
    *_rows(("main leaves", DISPLAY, None, DIES, _leave_main)),
]

ALL = (*_WHILE_LINKS_WAIT, *_ON_THE_WAY, *_LEAVING)
