# SPDX-License-Identifier: Apache-2.0
"""Where relay and load run: which processors, which network."""

import contextlib
import functools
import os
import shutil

from tests.testbed import polling
from tests.testbed import processes

_MTU = 1500
_RELAY_ADDRESS = "10.231.77.1"
_LOAD_ADDRESS = "10.231.77.2"
_LIMIT_S = 10
_CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"


class Place:
    """Addresses of the two sides, and argv words that put a program there.

    Attributes:
      relay_host, server_host: where relay and synthetic server listen.
      relay_prefix, load_prefix: go in front of a command.
    """

    def __init__(self, relay_host, server_host, relay_prefix, load_prefix):
        self.relay_host = relay_host
        self.server_host = server_host
        self.relay_prefix = relay_prefix
        self.load_prefix = load_prefix


def _pin(cpu):
    return ["taskset", "--cpu-list", str(cpu)]


@functools.lru_cache(maxsize=None)
def veth_missing():
    """Why no network namespaces can be made here, or None."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    for tool in ("ip", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    code, _, errors = processes.run(["unshare", "--net", "--", "true"])
    return f"no network namespaces: {errors.strip()}" if code else None


@functools.lru_cache(maxsize=None)
def congestion_control():
    """The one that measurements run with.

    In networks of our own the first of cubic and reno that may be set there.
    BBR, the default of some hosts, paces with timers that cost more on loopback
    than any relay does.
    """
    if not veth_missing():
        for name in ("cubic", "reno"):
            code, _, _ = processes.run(
                ["unshare", "--net", "--", "sh", "-c", _set_to(name)]
            )
            if code == 0:
                return name
    with open(_CONGESTION_CONTROL, encoding="ascii") as file:
        return file.read().strip()


def _set_to(name):
    return f"echo {name} > {_CONGESTION_CONTROL}"


@contextlib.contextmanager
def loopback(directory, relay_cpu, load_cpu):
    """Both sides on loopback, of a network of their own where possible."""
    with contextlib.ExitStack() as stack:
        enter = []
        if not veth_missing():
            network = _new_network(stack, directory, "network")
            _ip(network, "link set lo up".split())
            enter = _enter(network)
        yield Place(
            "127.0.0.1",
            "127.0.0.1",
            enter + _pin(relay_cpu),
            enter + _pin(load_cpu),
        )


@contextlib.contextmanager
def veth_pair(directory, relay_cpu, load_cpu):
    """Two networks of their own with one wire between them.

    The load, both its viewers and its server, is at one end and the relay at
    the other, so that both hops of a relayed byte cross the wire. Neither
    network has a name: each lives as long as a process of ours that sleeps in
    it, so nothing is left behind however the run ends.
    """
    with contextlib.ExitStack() as stack:
        relay = _new_network(stack, directory, "relay-network")
        load = _new_network(stack, directory, "load-network")
        _ip(
            relay,
            "link add wire type veth peer name wire netns".split()
            + [str(load)],
        )
        for holder, address in (
            (relay, _RELAY_ADDRESS),
            (load, _LOAD_ADDRESS),
        ):
            _ip(holder, "link set lo up".split())
            _ip(holder, f"address add {address}/24 dev wire".split())
            _ip(holder, f"link set wire mtu {_MTU} up".split())
        yield Place(
            _RELAY_ADDRESS,
            _LOAD_ADDRESS,
            _enter(relay) + _pin(relay_cpu),
            _enter(load) + _pin(load_cpu),
        )


def _new_network(stack, directory, name):
    """A process that sleeps in a new network namespace; its id."""
    argv = ["unshare", "--net", "--", "sleep", "infinity"]
    holder = processes.Child(name, argv, directory)
    stack.callback(holder.kill)

    def moved():
        if not holder.running():
            raise OSError(f"no network namespace\n{holder.tail()}")
        own = os.readlink("/proc/self/ns/net")
        return os.readlink(f"/proc/{holder.pid}/ns/net") != own

    polling.until(moved, "new network namespace", _LIMIT_S)
    processes.run(
        _enter(holder.pid) + ["sh", "-c", _set_to(congestion_control())]
    )
    return holder.pid


def _enter(pid):
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]


def _ip(pid, words):
    code, _, errors = processes.run(_enter(pid) + ["ip"] + words)
    if code:
        raise OSError(f"ip {' '.join(words)}: {errors.strip()}")
