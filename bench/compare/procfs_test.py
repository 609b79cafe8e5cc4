# SPDX-License-Identifier: Apache-2.0
"""What is read from /proc, against processes that are known."""

import os
import socket
import subprocess
import time
import unittest

from bench.compare import machine
from bench.compare import procfs
from tests.testbed import polling
from tests.testbed import ports
from tests.testbed import runner

_LIMIT_S = 20


class ProcfsTest(unittest.TestCase):
    def start_shell(self, script):
        shell = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", script],
            stdin=subprocess.PIPE,
        )
        self.addCleanup(shell.stdin.close)
        self.addCleanup(shell.wait)
        self.addCleanup(shell.kill)
        return shell

    def test_listening_is_seen_without_connecting(self):
        (port,) = ports.pick()
        self.assertFalse(procfs.is_listening(os.getpid(), port))
        with socket.create_server(("127.0.0.1", port)):
            self.assertTrue(procfs.is_listening(os.getpid(), port))
        self.assertFalse(procfs.is_listening(os.getpid(), port))

    def test_own_cpu_grows_with_work(self):
        before = procfs.cpu_ns(os.getpid())
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        self.assertGreater(procfs.cpu_ns(os.getpid()) - before, 40_000_000)

    def test_descendants_and_their_time(self):
        shell = self.start_shell("sleep 600 & sleep 600 & wait")
        polling.until(
            lambda: len(procfs.descendants(shell.pid)) == 2, "two", _LIMIT_S
        )
        children = procfs.descendants(shell.pid)
        self.addCleanup(lambda: [os.kill(pid, 9) for pid in children])
        self.assertGreaterEqual(
            procfs.tree_cpu_ns(shell.pid), procfs.cpu_ns(children[0])
        )

    def test_time_of_children_that_ended(self):
        busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
        shell = self.start_shell(f"({busy}); read line")
        polling.until(
            lambda: procfs.reaped_cpu_ns(shell.pid) > 0, "time", _LIMIT_S
        )

    def test_processes_that_are_gone(self):
        shell = self.start_shell("exit 0")
        shell.wait()
        self.assertEqual(procfs.tree_cpu_ns(shell.pid), 0)
        self.assertEqual(procfs.descendants(shell.pid), [])
        self.assertFalse(procfs.is_listening(shell.pid, 1))

    def test_pipe_ends(self):
        before = procfs.num_pipe_ends(os.getpid())
        read_end, write_end = os.pipe()
        self.assertEqual(procfs.num_pipe_ends(os.getpid()), before + 2)
        os.close(read_end)
        os.close(write_end)

    def test_memory(self):
        before = procfs.pss_bytes(os.getpid())
        kept = bytearray(os.urandom(8 << 20))
        grown = procfs.pss_bytes(os.getpid()) - before
        self.assertGreater(grown, len(kept) // 2)

    def test_machine(self):
        busy, stolen = procfs.machine_cpu_ns()
        self.assertGreater(busy, 0)
        self.assertGreaterEqual(stolen, 0)
        described = machine.describe()
        self.assertEqual(described["kernel"], os.uname().release)
        self.assertTrue(all(isinstance(v, str) for v in described.values()))


if __name__ == "__main__":
    runner.main("setpriv")
