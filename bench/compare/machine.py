# SPDX-License-Identifier: Apache-2.0
"""The machine a run was made on, for its record."""

import gzip
import os
import platform
import resource

from bench.compare import place
from tests.testbed import processes


def _first_field(path, key):
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        pass
    return ""


def _setting(path):
    try:
        with open(path, encoding="ascii") as stream:
            return " ".join(stream.read().split())
    except OSError:
        return ""


def _distribution():
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _interrupt_time():
    """Whether the kernel counts interrupts apart from the running thread."""
    name = b"CONFIG_IRQ_TIME_ACCOUNTING"
    for path, opener in (
        ("/proc/config.gz", gzip.open),
        (f"/boot/config-{platform.release()}", open),
    ):
        try:
            with opener(path, "rb") as stream:
                text = stream.read()
        except OSError:
            continue
        if name + b"=y" in text:
            return "apart: in no figure here"
        return "as the running thread's"
    return "unknown"


def describe():
    """What the figures depend on, as a dict of short texts."""
    memory_kib = _first_field("/proc/meminfo", "MemTotal").split()
    gib = f"{int(memory_kib[0]) / 1048576:.0f} GiB" if memory_kib else ""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "processor": _first_field("/proc/cpuinfo", "model name")
        or platform.processor(),
        "processors": str(os.cpu_count()),
        "virtual": "yes"
        if " hypervisor" in _first_field("/proc/cpuinfo", "flags")
        else "no",
        "memory": gib,
        "kernel": platform.release(),
        "distribution": _distribution(),
        "interrupts count": _interrupt_time(),
        "RLIMIT_NOFILE": str(soft),
        "tcp_rmem": _setting("/proc/sys/net/ipv4/tcp_rmem"),
        "tcp_wmem": _setting("/proc/sys/net/ipv4/tcp_wmem"),
        "congestion control": place.congestion_control(),
    }


def revision():
    """The commit of this tree, "" outside a checkout."""
    root = os.path.dirname(os.path.abspath(__file__))
    try:
        code, out, _ = processes.run(
            ["git", "-C", root, "describe", "--always", "--dirty", "--tags"]
        )
    except OSError:
        return ""
    return out.strip() if code == 0 else ""


def processors():
    """Numbers of the processors this process may use, ascending."""
    return sorted(os.sched_getaffinity(0))


def add_sbin():
    """Lets relays be found that are installed for administrators."""
    path = os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    os.environ["PATH"] = path + ":/usr/local/sbin:/usr/sbin:/sbin"
