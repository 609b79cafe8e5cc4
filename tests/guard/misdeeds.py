# SPDX-License-Identifier: Apache-2.0
"""What a misbehaving client sends, what QEMU makes of it, who stops it.

One table for both sides: direct_test sends each of them to a bare QEMU and
sees the effect, guard_test sends the same bytes through the gateway and sees
the rule. Hazards of leaving a display are tests/viewer's kill_test.
"""

import dataclasses
import enum
import struct

from tests.testbed import spiceclient
from tests.testbed.spiceclient import (
    CURSOR,
    DISPLAY,
    INPUTS,
    MAIN,
    MIGRATE_DATA,
    PLAYBACK,
    RECORD,
    SMARTCARD,
    USBREDIR,
    WEBDAV,
)

# In every body that has room for it; must never be found in a log.
SECRET = b"typed-by-somebody."

GIB = 1 << 30


class Effect(enum.Enum):
    """What becomes of a QEMU that gets it."""

    DIES = "it ends, or does not answer"
    FATTENS = "it allocates what was claimed"
    CLOSES = "it closes the channel"
    NOTHING = "it does not mind"


DIES, FATTENS, CLOSES, NOTHING = Effect


class Manner(enum.Enum):
    """How the channel was opened that it is sent on."""

    ORDINARY = "as viewers do"
    FRESH = "a display of which nothing is known, no INIT yet"
    PIPELINED = "the message right behind the ticket"
    LEGACY = "without AUTH_SELECTION, the message right behind the ticket"
    FULL = "without MINI_HEADER"


@dataclasses.dataclass(frozen=True)
class Misdeed:
    """One thing a client does.

    Attributes:
      machine: the least kind of QEMU that has the channel, see guard_case.
      rule: the guard's name for it.
      kind, size: of the message that the guard refuses, as its header says.
      pieces: what is sent on the open channel, one write each.
    """

    name: str
    channel: int
    machine: str
    rule: str
    effect: Effect
    kind: int
    size: int
    pieces: tuple
    manner: Manner = Manner.ORDINARY


def _u32(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def _filler(length):
    return (SECRET * (length // len(SECRET) + 1))[:length]


def _rows(channel, machine, *rows, manner=Manner.ORDINARY):
    """Misdeeds of one message each.

    A row is name, rule, effect, type, body, and what the header says of its
    length instead of the truth.
    """
    return [_row(channel, machine, manner, *row) for row in rows]


def _row(channel, machine, manner, name, rule, effect, kind, body, size=None):
    told = len(body) if size is None else size
    pieces = (spiceclient.message(kind, body, size),)
    return Misdeed(
        name, channel, machine, rule, effect, kind, told, pieces, manner
    )


# ---- FLUSH_MARK, in every disguise

_FLUSH = spiceclient.message(spiceclient.FLUSH_MARK)
_FULL_FLUSH = spiceclient.full_message(1, spiceclient.FLUSH_MARK)
_INIT = spiceclient.message(
    spiceclient.DISPLAY_INIT, spiceclient.display_init()
)
_KEYS = b"".join(spiceclient.message(kind, _u32(0x1E)) for kind in (101, 102))
_EVERY_CHANNEL = {
    **{MAIN: "min", DISPLAY: "min", INPUTS: "min", CURSOR: "min"},
    **{PLAYBACK: "full", RECORD: "full", SMARTCARD: "full"},
    **{USBREDIR: "full", WEBDAV: "full"},
}


def _bytes(data):
    return tuple(bytes((byte,)) for byte in data)


def _flush(how, channel, pieces, manner=Manner.ORDINARY, size=0):
    return Misdeed(
        f"FLUSH_MARK {how}",
        channel,
        _EVERY_CHANNEL[channel],
        "flush_mark",
        DIES,
        spiceclient.FLUSH_MARK,
        size,
        pieces,
        manner,
    )


_FLUSH_MARKS = [
    *(_flush("as it is", channel, (_FLUSH,)) for channel in _EVERY_CHANNEL),
    _flush(
        "with a body",
        INPUTS,
        (spiceclient.message(spiceclient.FLUSH_MARK, SECRET),),
        size=len(SECRET),
    ),
    _flush("byte by byte", INPUTS, _bytes(_FLUSH)),
    _flush("behind good messages", INPUTS, (_KEYS * 3 + _FLUSH,)),
    _flush("behind INIT", DISPLAY, (_INIT + _FLUSH,), Manner.FRESH),
    _flush("with the ticket", INPUTS, (_FLUSH,), Manner.PIPELINED),
    _flush("with main's ticket", MAIN, (_FLUSH,), Manner.PIPELINED),
    _flush("of a legacy client", INPUTS, (_FLUSH,), Manner.LEGACY),
    _flush("with full headers", INPUTS, (_FULL_FLUSH,), Manner.FULL),
    _flush("full, byte by byte", INPUTS, _bytes(_FULL_FLUSH), Manner.FULL),
]

# ---- Main, display, inputs, cursor

_SEAMLESS = spiceclient.message(spiceclient.MAIN_DO_SEAMLESS, _u32(1))
_SEAMLESS_AND_END = _SEAMLESS + spiceclient.message(
    spiceclient.MAIN_MIGRATE_END
)

_OF_MAIN = [
    *_rows(
        MAIN,
        "min",
        ("DO_SEAMLESS", "do_seamless", DIES, 110, _u32(1)),
        ("DO_SEAMLESS cut short", "do_seamless", CLOSES, 110, b"\1"),
        ("MIGRATE_END", "migrate_end", NOTHING, 109, b""),
        ("MIGRATE_DATA", "migrate_data", CLOSES, MIGRATE_DATA, SECRET),
        ("AGENT_DATA of 1 GiB", "message_size", FATTENS, 107, SECRET, GIB),
        ("AGENT_DATA of 2049", "message_size", CLOSES, 107, _filler(2049)),
        ("QUALITY_INDICATOR", "message_type", CLOSES, 112, SECRET),
        ("CLIENT_INFO", "message_type", CLOSES, 101, bytes(8)),
        ("unknown type", "message_type", CLOSES, 999, SECRET),
        ("ATTACH with a body", "message_size", NOTHING, 104, SECRET),
        ("a PONG of 30000", "message_size", CLOSES, 3, _filler(30000)),
    ),
    *_rows(
        MAIN,
        "agent",
        ("AGENT_TOKEN unasked", "message_type", DIES, 108, _u32(1)),
    ),
    Misdeed(
        "DO_SEAMLESS and MIGRATE_END",
        MAIN,
        "min",
        "do_seamless",
        DIES,
        spiceclient.MAIN_DO_SEAMLESS,
        4,
        (_SEAMLESS_AND_END,),
    ),
]


def _init(glz_window_px):
    return struct.pack("<BqBI", 1, 20971520, 1, glz_window_px)


def _behind_init(name, rule, kind, body):
    """INIT and a bad message in one write: that is when it kills."""
    pieces = (_INIT + spiceclient.message(kind, body),)
    return Misdeed(
        f"{name} behind INIT",
        DISPLAY,
        "min",
        rule,
        DIES,
        kind,
        len(body),
        pieces,
        Manner.FRESH,
    )


_OF_DISPLAY = [
    *_rows(
        DISPLAY,
        "min",
        ("INIT again", "display_init", DIES, 101, spiceclient.display_init()),
        ("state of 1 GiB", "migrate_data", FATTENS, MIGRATE_DATA, b"", GIB),
        ("short STREAM_REPORT", "message_size", CLOSES, 102, SECRET),
        ("false codec list", "claimed_size", CLOSES, 105, b"\xff" + SECRET),
    ),
    *_rows(
        DISPLAY,
        "min",
        ("window too large", "claimed_size", DIES, 101, _init((1 << 25) + 1)),
        ("negative window", "claimed_size", DIES, 101, _init(0xFFFFFFFF)),
        manner=Manner.FRESH,
    ),
    _behind_init("INIT", "display_init", 101, spiceclient.display_init()),
    _behind_init("unknown type", "message_type", 999, SECRET),
    _behind_init("short body", "message_size", 1, b"?"),
]

_OF_INPUTS_AND_CURSOR = [
    *_rows(
        INPUTS,
        "min",
        ("3000 scan codes", "message_size", CLOSES, 104, _filler(3000)),
        ("unknown type", "message_type", CLOSES, 999, SECRET),
        ("KEY_DOWN cut short", "message_size", CLOSES, 101, b"?"),
    ),
    Misdeed(
        "sub-list",
        INPUTS,
        "min",
        "sub_list",
        NOTHING,
        103,
        2,
        (spiceclient.full_message(1, 103, bytes(2), sub_list=6),),
        Manner.FULL,
    ),
    *_rows(
        CURSOR,
        "min",
        ("state of 1 GiB", "migrate_data", FATTENS, MIGRATE_DATA, b"", GIB),
        ("state", "migrate_data", NOTHING, MIGRATE_DATA, SECRET),
        ("type of its own", "message_type", CLOSES, 101, SECRET),
    ),
]

# ---- Sound and devices: whatever is claimed is allocated

_OF_SOUND = [
    *_rows(
        PLAYBACK,
        "full",
        ("unknown type, 1 GiB", "message_type", FATTENS, 999, SECRET, GIB),
        ("PONG of 1 GiB", "message_size", FATTENS, 3, SECRET, GIB),
    ),
    *_rows(
        RECORD,
        "full",
        ("DATA of 1 GiB", "message_size", FATTENS, 101, SECRET, GIB),
    ),
]


def _of_device(channel):
    """Near 4 GiB the sum wraps, and what comes overruns a small buffer."""
    body = _filler(4096)
    return _rows(
        channel,
        "full",
        *(
            (f"DATA of {size:#x}", "message_size", DIES, 101, body, size)
            for size in (0xFFFFFFF0, 0xFFFFFFF4, 0xFFFFFFFF)
        ),
        ("DATA of 1 GiB", "message_size", FATTENS, 101, SECRET, GIB),
        ("unknown type, 1 GiB", "message_type", FATTENS, 999, SECRET, GIB),
        ("state of 1 GiB", "migrate_data", FATTENS, MIGRATE_DATA, b"", GIB),
    )


def _lz4(unpacked_len):
    return struct.pack("<BI", 1, unpacked_len) + SECRET


# What it claims to be when unpacked is allocated, as a signed number. The
# gateway offers no LZ4 to viewers.
_COMPRESSED = (
    ("LZ4 of 0xf0000000", "message_type", DIES, 102, _lz4(0xF0000000)),
    ("LZ4 of 2 GiB", "message_type", FATTENS, 102, _lz4(0x7FFFFFFF)),
    ("LZ4 of nothing", "message_type", CLOSES, 102, _lz4(0)),
)


def _packet(kind, body):
    """A usbredir packet with an id of 32 bits."""
    return _u32(kind, len(body), 1) + body


def _long_packet(kind, body):
    """The same with an id of 64 bits, as both sides of _HELLO can."""
    return struct.pack("<IIQ", kind, len(body), 1) + body


_HELLO = _packet(0, b"a test".ljust(64, b"\0") + _u32(0xFF))


def _usbredir(name, bad, *after, effect=DIES, good=(_HELLO,)):
    """DATA whose contents QEMU's usbredir parser stumbles over.

    It often aborts not before the next message, which `after` is then.
    """
    return Misdeed(
        f"usbredir: {name}",
        USBREDIR,
        "full",
        "usb_packet",
        effect,
        101,
        len(bad),
        tuple(spiceclient.message(101, b) for b in (*good, bad, *after)),
    )


_OF_USBREDIR = [
    _usbredir("nonsense", SECRET * 8, SECRET, good=()),
    _usbredir("nonsense at length", _filler(2 << 20), good=()),
    _usbredir("a hello cut short", _packet(0, bytes(63)), SECRET, good=()),
    _usbredir("nonsense behind a hello", SECRET * 8, SECRET),
    _usbredir("unknown type", _long_packet(28, bytes(9)) + SECRET, SECRET),
    _usbredir("false length", _long_packet(1, bytes(80)) + SECRET, SECRET),
    _usbredir("a filter", _long_packet(23, b"-1,-1,-1,-1,1\0")),
    _usbredir("a second hello", _HELLO, effect=NOTHING),
]

_OF_DEVICES = [
    *_of_device(USBREDIR),
    *_of_device(WEBDAV),
    *_of_device(SMARTCARD),
    *_rows(USBREDIR, "full", *_COMPRESSED),
    *_rows(WEBDAV, "full", *_COMPRESSED),
    *_rows(
        USBREDIR, "full", ("empty DATA", "message_size", CLOSES, 101, b"")
    ),
    *_rows(
        SMARTCARD,
        "full",
        (
            *("length that lies", "claimed_size", CLOSES, 101),
            _u32(7, 0, 0xFFFFFFFF) + SECRET,
        ),
        ("header cut short", "message_size", CLOSES, 101, SECRET[:11]),
    ),
]

ALL = (
    *_FLUSH_MARKS,
    *_OF_MAIN,
    *_OF_DISPLAY,
    *_OF_INPUTS_AND_CURSOR,
    *_OF_SOUND,
    *_OF_DEVICES,
    *_OF_USBREDIR,
)
