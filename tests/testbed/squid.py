# SPDX-License-Identifier: Apache-2.0
"""One squid on loopback, started for a test and ended with it."""

import os
import signal
import socket

from tests.testbed import polling
from tests.testbed import ports
from tests.testbed import processes

_READY_LIMIT_S = 20
_NOBODY = 65534

# Nothing kept, nothing shared, nobody asked: not what squid is looked at for.
_BASIC = """http_port {address}:{port}
access_log stdio:{directory}/access.log
logfile_rotate 0
buffered_logs off
cache deny all
cache_log {directory}/cache.log
cache_store_log none
connect_timeout 5 seconds
coredump_dir {directory}
dns_timeout 2 seconds
forward_timeout 5 seconds
memory_cache_shared off
netdb_filename none
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname squid.example.test
workers 1
"""


class Squid:
    """A squid in the foreground, in one process.

    Where the test is root it is nobody from its start: changing its user by
    itself it would forget to end with the test.

    Attributes:
      port: where it listens.
    """

    def __init__(self, directory, lines, address="127.0.0.1", port=0):
        """Starts it and waits until it listens.

        Args:
          lines: of the configuration, behind those that any test needs.
          port: where to listen; 0 for a free one.
        """
        self.port = port or ports.pick()[0]
        self._directory = os.path.join(directory, f"squid-{self.port}")
        os.makedirs(self._directory)
        path = os.path.join(self._directory, "squid.conf")
        basic = _BASIC.format(
            address=address, port=self.port, directory=self._directory
        )
        with open(path, "w", encoding="ascii") as stream:
            stream.write(basic + "".join(line + "\n" for line in lines))
        argv = ["squid", "-N", "-f", path]
        if os.geteuid() == 0:
            os.chmod(directory, 0o711)
            os.chown(self._directory, _NOBODY, _NOBODY)
            user = (f"--reuid={_NOBODY}", f"--regid={_NOBODY}")
            how = ("--clear-groups", "--pdeathsig", "KILL", "--")
            argv = ["setpriv", *user, *how, *argv]
        self.child = processes.Child("squid", argv, self._directory)
        self._wait_listening(address)

    def stop(self):
        self.child.stop(signal.SIGTERM)

    def log(self):
        """Lines of the access log: one for each connection that has ended."""
        return self._lines("access.log")

    def _wait_listening(self, address):
        """It says so shortly before it does: so both are waited for."""
        said = f" local={address}:{self.port} "

        def look():
            if not self.child.running():
                raise RuntimeError(f"squid ended\n{self.child.tail()}")
            return any(
                "Accepting HTTP Socket" in line and said in line
                for line in self._lines("cache.log")
            )

        polling.until(look, "squid", _READY_LIMIT_S)
        polling.until(
            lambda: not _refuses(address, self.port), "squid", _READY_LIMIT_S
        )

    def _lines(self, name):
        try:
            with open(
                os.path.join(self._directory, name),
                encoding="utf-8",
                errors="replace",
            ) as stream:
                return stream.read().splitlines()
        except FileNotFoundError:
            return []


def _refuses(address, port):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) != 0
