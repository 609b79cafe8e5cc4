# SPDX-License-Identifier: Apache-2.0
"""Pictures as numbers: PPM and XWD in, PNG out, compare by pixels."""

import dataclasses
import re
import struct
import zlib


@dataclasses.dataclass(frozen=True)
class Picture:
    """Rows of 3-byte pixels (red, green, blue), top left first."""

    width: int
    height: int
    pixels: bytes

    def row(self, y, x=0, width=None):
        """Bytes of `width` pixels of row y from column x on."""
        start = (y * self.width + x) * 3
        return self.pixels[start : start + (width or self.width) * 3]

    def num_colours(self):
        data = self.pixels
        return len({data[i : i + 3] for i in range(0, len(data), 3)})


def read_ppm(path):
    """Reads a P6 file with 8 bits per colour, comments allowed."""
    with open(path, "rb") as stream:
        data = stream.read()
    space = rb"(?:\s|#[^\n]*\n)+"
    header = rb"P6%s(\d+)%s(\d+)%s255\s" % (space, space, space)
    match = re.match(header, data)
    if not match:
        raise ValueError(f"{path} is not a P6 PPM with 255 levels")
    width, height = int(match[1]), int(match[2])
    pixels = data[match.end() : match.end() + width * height * 3]
    if len(pixels) != width * height * 3:
        raise ValueError(f"{path} ends early")
    return Picture(width, height, pixels)


def read_xwd(path):
    """Reads xwd(1)'s dump of a 24 or 32 bit TrueColor window.

    Format: X11/XWDFile.h, version 7: 25 big-endian 32-bit words, the window's
    name, the colour map (12 bytes an entry), the rows.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    words = struct.unpack_from(">25I", data)
    header_len, version, width, height = words[0], words[1], words[4], words[5]
    byte_order, bits, stride, num_colours = (
        words[7],
        words[11],
        words[12],
        words[19],
    )
    masks = words[14:17]
    if version != 7 or bits != 32 or masks != (0xFF0000, 0xFF00, 0xFF):
        raise ValueError(f"{path}: not a 32 bit RGB window dump")
    start = header_len + num_colours * 12
    order = (2, 1, 0) if byte_order == 0 else (1, 2, 3)
    rows = []
    for y in range(height):
        line = data[start + y * stride : start + y * stride + width * 4]
        row = bytearray(width * 3)
        for channel, offset in enumerate(order):
            row[channel::3] = line[offset::4]
        rows.append(bytes(row))
    return Picture(width, height, b"".join(rows))


def find(shot, wanted):
    """Where `wanted` lies in `shot`: (x, y), or None.

    Looks for the middle row only, so a picture that differs elsewhere is still
    found; differing_pixels() then counts.
    """
    middle = wanted.height // 2
    needle = wanted.row(middle)
    for y in range(shot.height):
        line = shot.row(y)
        at = line.find(needle)
        while at >= 0 and at % 3:
            at = line.find(needle, at + 1)
        if at >= 0:
            return at // 3, y - middle
    return None


def differing_pixels(shot, wanted, at=(0, 0)):
    """Pixels of `wanted` that `shot` does not have at this place."""
    left, top = at
    count = 0
    for y in range(wanted.height):
        if not 0 <= top + y < shot.height:
            count += wanted.width
            continue
        ours = shot.row(top + y, left, wanted.width)
        theirs = wanted.row(y)
        if ours != theirs:
            count += sum(
                ours[i : i + 3] != theirs[i : i + 3]
                for i in range(0, len(theirs), 3)
            )
    return count


def write_png(path, picture):
    """Writes 8 bit RGB; format: PNG specification, filter type 0 rows."""

    def chunk(kind, body):
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(
            ">I", check
        )

    rows = b"".join(b"\0" + picture.row(y) for y in range(picture.height))
    header = struct.pack(
        ">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0
    )
    with open(path, "wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        stream.write(chunk(b"IHDR", header))
        stream.write(chunk(b"IDAT", zlib.compress(rows, 6)))
        stream.write(chunk(b"IEND", b""))
