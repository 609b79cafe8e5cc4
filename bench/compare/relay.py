# SPDX-License-Identifier: Apache-2.0
"""What every relay in the comparison is: found, started, watched, ended."""

import dataclasses
import os
import shutil

from bench.compare import procfs
from tests.testbed import polling
from tests.testbed import processes

_START_LIMIT_S = 20


class PeerError(Exception):
    """A peer does not start, or is not what it is said to be."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a peer is configured for.

    Attributes:
      directory: its files; exists, and unprivileged users may pass it.
      host, port: where it is to listen.
      server: HOST:PORT of the synthetic server.
      scenario: a scenarios.Scenario.
      max_channels: what it must be able to relay at once.
      max_pipes, max_descriptors: bounds that RLIMIT_NOFILE leaves.
      num_consoles: desktops named bench-00000 and so on.
      certificate: of certificates.py where viewers speak TLS, or None.
    """

    directory: str
    host: str
    port: int
    server: str
    scenario: object
    max_channels: int
    max_pipes: int
    max_descriptors: int
    num_consoles: int = 100
    certificate: object = None

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as stream:
            stream.write(text)
        return path


class Running:
    """A started peer, or the absence of one for `direct`."""

    def __init__(self, peer, setup, child=None):
        self.peer = peer
        self.setup = setup
        self._child = child

    @property
    def is_process(self):
        return self._child is not None

    @property
    def pids(self):
        """All its processes now; `direct` has none."""
        if self._child is None:
            return []
        pid = self._child.pid
        return [pid] + (procfs.descendants(pid) if self.peer.forks else [])

    def cpu_ns(self):
        """CPU time since it began, children that ended included."""
        return procfs.tree_cpu_ns(self._child.pid) if self._child else 0

    def pss_bytes(self):
        return sum(map(procfs.pss_bytes, self.pids))

    def check_alive(self):
        """Raises PeerError when it has ended by itself."""
        if self._child is not None and not self._child.running():
            raise PeerError(
                f"{self.peer.name} ended with {self._child.exit_code()}\n"
                + self._child.tail()
            )

    def stop(self):
        """Ends it at once; what it relays is over by then."""
        if self._child is None:
            return
        family = self.pids[1:]
        self._child.kill()
        for pid in family:  # children of its own that were still relaying
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass


class Peer:
    """How one kind of relay is found, configured and started.

    Attributes:
      name: as in rows and for --peer.
      title: for people.
      forks: has a process for each connection.
      ends_tls: takes part where viewers speak TLS.
    """

    name = ""
    title = ""
    program = ""
    forks = False
    ends_tls = False
    optional = False

    def missing(self):
        """Why it cannot run on this machine, or None."""
        if shutil.which(self.program) is None:
            return f"{self.program} is not installed"
        return None

    def refuses(self, scenario):
        """Why it takes no part in a scenario, or None."""
        if scenario.tls and not self.ends_tls:
            return "it ends no TLS here"
        return None

    def version(self):
        """One line, or "" where there is nothing to say."""
        return ""

    def command(self, setup):
        """Writes its files into setup.directory and returns its argv."""
        raise NotImplementedError

    def ready(self, setup, child):
        """Whether it serves, once it listens."""
        return True

    def note(self, setup):
        """What a reader has to know of its configuration, or ""."""
        return ""

    def load_flags(self, setup):
        """What spicegate-load has to be told beyond the target."""
        return []

    def check_used(self, running):
        """Raises PeerError unless what it is named for really happened."""

    def start(self, setup, prefix):
        """Starts it behind `prefix` (argv words) and waits until it serves.

        Raises PeerError with its own words when it ends instead.
        """
        child = processes.Child(
            self.name, prefix + self.command(setup), setup.directory
        )

        def serves():
            if not child.running():
                raise PeerError(
                    f"{self.name} ended with {child.exit_code()}\n"
                    + child.tail()
                )
            return procfs.is_listening(child.pid, setup.port) and self.ready(
                setup, child
            )

        try:
            polling.until(serves, f"{self.name} serves", _START_LIMIT_S, 0.01)
        except BaseException:
            child.kill()
            raise
        return Running(self, setup, child)
