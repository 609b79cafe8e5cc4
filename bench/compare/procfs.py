# SPDX-License-Identifier: Apache-2.0
"""What /proc says about processes and about the machine."""

import os

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h

# Fields of the `cpu` line of /proc/stat that are work of this machine; idle
# and iowait are none, guest time is in user time already.
_BUSY = (0, 1, 2, 5, 6)
_STEAL = 7


def _read(path):
    with open(path, encoding="ascii", errors="replace") as stream:
        return stream.read()


def cpu_ns(pid):
    """CPU time of all living threads of a process; 0 when it is gone."""
    total = 0
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for thread in threads:
        try:
            text = _read(f"/proc/{pid}/task/{thread}/schedstat")
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(text.split()[0])
    return total


def reaped_cpu_ns(pid):
    """CPU time of children that ended and were waited for, in ticks."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text.rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * 1_000_000_000 // _TICKS_PER_S


def descendants(pid):
    """All living children of a process and theirs, without itself."""
    found = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            text = _read(f"/proc/{parent}/task/{parent}/children")
        except (FileNotFoundError, ProcessLookupError):
            continue
        children = [int(word) for word in text.split()]
        found += children
        waiting += children
    return found


def tree_cpu_ns(pid):
    """CPU time of a process, its descendants and the reaped ones."""
    family = [pid] + descendants(pid)
    return sum(map(cpu_ns, family)) + sum(map(reaped_cpu_ns, family))


def pss_bytes(pid):
    """Proportional set size of what a process allocated, in bytes.

    Without mapped files: a library's pages count less for each as soon as
    another process, such as the load, maps them too.
    """
    kib = {}
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        name, _, value = line.partition(":")
        kib[name] = int(value.split()[0])
    if "Pss" in kib:
        return (kib["Pss"] - kib.get("Pss_File", 0)) * 1024
    raise ProcessLookupError(f"no Pss of process {pid}")


def is_listening(pid, port):
    """Whether a TCP port is listened at in the process's network.

    Looks without connecting: a connection would be the peer's first channel.
    """
    ports = _listening(f"/proc/{pid}/net/tcp")
    ports += _listening(f"/proc/{pid}/net/tcp6")
    return port in ports


def _listening(path):
    """The ports of a table of sockets that are listened at.

    They stand in front. What follows may be tens of thousands of connections
    that are over, so nothing behind them is read.
    """
    ports = []
    try:
        with open(path, encoding="ascii") as stream:
            stream.readline()
            for line in stream:
                fields = line.split()
                if fields[3] != _LISTEN:
                    break
                ports.append(int(fields[1].rpartition(":")[2], 16))
    except OSError:
        pass  # the process is gone
    return ports


def num_pipe_ends(pid):
    """How many descriptors of a process are ends of a pipe."""
    folder = f"/proc/{pid}/fd"
    count = 0
    for name in os.listdir(folder):
        try:
            count += os.readlink(f"{folder}/{name}").startswith("pipe:")
        except FileNotFoundError:
            continue
    return count


def machine_cpu_ns():
    """(busy, stolen by the hypervisor) of all processors since boot."""
    line, _, _ = _read("/proc/stat").partition("\n")
    fields = [int(word) for word in line.split()[1:]]
    busy = sum(fields[i] for i in _BUSY)
    scale = 1_000_000_000 // _TICKS_PER_S
    return busy * scale, fields[_STEAL] * scale


def load_average():
    """The load of the last minute."""
    return os.getloadavg()[0]
