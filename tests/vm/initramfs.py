# SPDX-License-Identifier: Apache-2.0
"""The guest's root: a cpio archive that the kernel unpacks into memory.

Written here, byte by byte, because neither cpio nor a temporary tree is needed
for it: see Documentation/driver-api/early-userspace/buffer-format.rst of Linux
for the format ("newc"). It stays uncompressed, which boots as fast.
"""

import os
import posixpath
import re
import shutil
import stat
import subprocess

# As on Debian 12: /lib and /usr/lib are one, so that a library is found
# whichever of the two names a binary or the loader knows it by.
_MERGED = ("bin", "sbin", "lib", "lib64")

_LDD_LIBRARY = re.compile(r"^\t(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$")
_LDD_MISSING = re.compile(r"^\t(\S+) => not found$", re.MULTILINE)


class Initramfs:
    """Collects files, then writes them; paths in the guest are absolute."""

    def __init__(self):
        self._entries = {}  # path without the leading slash: (mode, content)
        for name in _MERGED:
            self.add_directory(f"/usr/{name}")
            self._entries[name] = (stat.S_IFLNK | 0o777, f"usr/{name}".encode())

    def add_directory(self, path):
        """Makes a directory and those above it."""
        path = _canonical(path)
        while path:
            self._entries.setdefault(path, (stat.S_IFDIR | 0o755, b""))
            path = posixpath.dirname(path)

    def add_bytes(self, path, content, executable=False):
        self.add_directory(posixpath.dirname(path))
        mode = stat.S_IFREG | (0o755 if executable else 0o644)
        self._entries[_canonical(path)] = (mode, content)

    def add_file(self, path, source):
        """A copy of a file of the host, through links, with its libraries."""
        with open(source, "rb") as stream:
            content = stream.read()
        executable = os.access(source, os.X_OK)
        self.add_bytes(path, content, executable)
        if executable and content.startswith(b"\x7fELF"):
            for library in libraries(source):
                if _canonical(library) not in self._entries:
                    with open(library, "rb") as stream:
                        self.add_bytes(library, stream.read(), True)

    def add_program(self, name):
        """A program of the host's PATH; FileNotFoundError without it."""
        source = shutil.which(name)
        if source is None:
            raise FileNotFoundError(f"{name} is not installed")
        self.add_file(f"/usr/bin/{name}", source)

    def write(self, path):
        """Writes the archive and returns its size in bytes."""
        with open(path, "wb") as out:
            for number, name in enumerate(sorted(self._entries), 1):
                mode, content = self._entries[name]
                out.write(_entry(number, mode, name.encode(), content))
            out.write(_entry(0, 0, b"TRAILER!!!", b""))
            return out.tell()


def libraries(binary):
    """The shared libraries of a binary, and its loader, by the loader itself.

    FileNotFoundError when one of them is not on this machine.
    """
    done = subprocess.run(
        ["ldd", binary],
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:  # a static one
        return []
    text = done.stdout.decode(errors="replace")
    missing = _LDD_MISSING.findall(text)
    if missing:
        raise FileNotFoundError(f"{binary} needs {', '.join(missing)}")
    matches = map(_LDD_LIBRARY.match, text.splitlines())
    return [match.group(1) for match in matches if match]


def _canonical(path):
    path = posixpath.normpath(path).lstrip("/")
    first = path.partition("/")[0]
    if first in _MERGED and path != first:
        return "usr/" + path
    return path if path != "." else ""


def _entry(number, mode, name, content):
    nlink = 2 if stat.S_ISDIR(mode) else 1
    fields = [number, mode, 0, 0, nlink, 0, len(content), 0, 0, 0, 0]
    fields += [len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(head + name + b"\0") + _padded(content)


def _padded(data):
    return data + bytes(-len(data) % 4)
