# SPDX-License-Identifier: Apache-2.0
"""TCP ports on loopback for programs that cannot choose one themselves."""

import contextlib
import random
import socket


def pick(count=1):
    """Returns `count` different free ports of 127.0.0.1.

    The kernel chooses them, all bound at the same time. Somebody else may take
    one before the program binds it, so start such programs with a retry.
    """
    with contextlib.ExitStack() as stack:
        numbers = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
            numbers.append(probe.getsockname()[1])
    return numbers


def pick_between(first, last):
    """Returns a free port of 127.0.0.1 from first to last.

    For a range from which the kernel itself does not choose; the same caution
    as with pick().
    """
    numbers = list(range(first, last + 1))
    random.shuffle(numbers)
    for number in numbers:
        if is_free(number):
            return number
    raise OSError(f"no port from {first} to {last} is free")


def is_free(port):
    """Whether 0.0.0.0:port can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
