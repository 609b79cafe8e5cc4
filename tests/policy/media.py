# SPDX-License-Identifier: Apache-2.0
"""What a person at a viewer puts into the desktop: a CD, a smartcard."""

import os
import struct

from tests.testbed import processes

_SECTOR_BYTES = 2048
_CATALOGUE, _IMAGE = 19, 20  # sectors
SMARTCARD_NAMES = ("first", "second", "third")  # software cards have three


def bootable_cd(path, boot_sector):
    """Writes a CD image that boots a guest of the test bed; returns path.

    Format: ISO 9660 as far as a firmware looks, El Torito without emulation.
    """
    volume = b"\x01CD001\x01"
    record = b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0")
    record += struct.pack("<I", _CATALOGUE)
    end = b"\xffCD001\x01"
    with open(boot_sector, "rb") as stream:
        image = stream.read()
    sectors = [b""] * 16 + [volume, record, end, _catalogue(), image]
    with open(path, "wb") as stream:
        for sector in sectors:
            stream.write(sector.ljust(_SECTOR_BYTES, b"\0"))
    return path


def _catalogue():
    """The validation entry, and one that loads 512 bytes of a sector."""
    valid = struct.pack("<BBH24sHBB", 1, 0, 0, b"", 0, 0x55, 0xAA)
    checksum = -sum(struct.unpack("<16H", valid)) & 0xFFFF
    valid = valid[:28] + struct.pack("<H", checksum) + valid[30:]
    return valid + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, _IMAGE)


def smartcard(directory):
    """Makes a software smartcard; returns spicy's options for it."""
    store = "sql:" + os.path.join(directory, "smartcard")
    os.makedirs(os.path.join(directory, "smartcard"))
    _certutil("-N", "-d", store, "--empty-password")
    for serial, name in enumerate(SMARTCARD_NAMES):
        subject = ["-s", f"CN={name}", "-n", name, "-m", str(serial + 1)]
        noise = os.path.join(directory, "noise")
        with open(noise, "wb") as stream:
            stream.write(os.urandom(64))
        # An elliptic key: it takes no time to find.
        key = ["-k", "ec", "-q", "nistp256", "-z", noise]
        _certutil("-S", "-d", store, *subject, *key, "-x", "-t", "CTu,CTu,CTu")
    return [
        "--spice-smartcard",
        f"--spice-smartcard-db={store}",
        f"--spice-smartcard-certificates={','.join(SMARTCARD_NAMES)}",
    ]


def _certutil(*argv):
    code, out, err = processes.run(["certutil", *argv])
    if code:
        raise RuntimeError(f"certutil {' '.join(argv)}: {out}{err}")
