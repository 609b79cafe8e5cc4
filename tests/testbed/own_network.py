# SPDX-License-Identifier: Apache-2.0
"""A network that a test has for itself: its addresses, its names, all ports.

Nothing of it reaches the machine, and nothing in it reaches another. It goes
with the last process in it.
"""

import os
import socket
import struct
import tempfile
import threading

from tests.testbed import name_space
from tests.testbed import processes
from tests.testbed import skip

_DNS_PORT = 53
_NO_SUCH_NAME = 0x8183  # an answer, by a server that recurses: NXDOMAIN


def enter(addresses, names, silent=False):
    """Takes this program into a network of its own.

    To be called first thing, before there are threads. Needs root or the right
    to make user name spaces, else the file is skipped by the skip rule.

    Args:
      addresses: "10.0.0.1/24" or "fd00::1/64", all of them on loopback beside
        127.0.0.0/8 and ::1.
      names: {host name: address}. No other name resolves.
      silent: the name server says so of no other name: it says nothing.
    """
    skip.need_tools("ip")
    try:
        name_space.enter(net=True)
    except OSError as error:
        skip.skip(f"no right to make a network: {error}")
    _must("ip", "link", "set", "lo", "up")
    for address in addresses:
        _must("ip", "address", "add", address, "dev", "lo")
    hosts = "".join(f"{at} {name}\n" for name, at in names.items())
    _show(hosts, "/etc/hosts")
    _show("nameserver 127.0.0.1\n", "/etc/resolv.conf")
    threading.Thread(
        target=_answer_questions, args=[silent], daemon=True
    ).start()


def _must(*argv):
    code, _, errors = processes.run(argv)
    if code != 0:
        raise OSError(f"{' '.join(argv)}: {errors}")


def _show(text, path):
    """From now on the file at `path` has this text, as far as we can see."""
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.chmod(stream.name, 0o644)
        name_space.show(stream.name, path)


def _answer_questions(silent):
    """A name server that knows no name, so that nobody waits for one.

    Or one that lets everybody wait.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", _DNS_PORT))
        while True:
            query, client = server.recvfrom(4096)
            if silent:
                continue
            end = query.find(b"\0", 12) + 5  # name, type and class
            head = struct.pack(">HHHHH", _NO_SUCH_NAME, 1, 0, 0, 0)
            server.sendto(query[:2] + head + query[12:end], client)
