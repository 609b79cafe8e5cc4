# SPDX-License-Identifier: Apache-2.0
"""Child processes that cannot outlive the test, and directories for them.

A child dies with the thread that started it (PR_SET_PDEATHSIG, set by
setpriv(1) of util-linux), so a test that crashes leaves nothing behind. Start
children from the main thread, or from one that lives longer than they do.
Children are ended by their process id only, and in our order: each has a
session of its own, so that Ctrl-C at a terminal reaches us alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

from tests.testbed import name_space

_STOP_LIMIT_S = 10


class Child:
    """One running program with its output in two files.

    Attributes:
      pid: process id; stays the child's until wait() or stop() has returned.
      out_path, err_path: files that hold standard output and error.
    """

    def __init__(self, name, argv, directory, env=None, cwd=None, talk=None):
        """Starts argv at once; OSError when setpriv itself is missing.

        Args:
          name: stem of the two output files in directory.
          argv: program and arguments; the program is looked up in PATH.
          env: the whole environment, or None for the test's own.
          talk: a socket that becomes standard input and output; the output
            file then stays empty. Close it once this has returned.
        """
        self.name = name
        self.argv = list(argv)
        self.out_path = os.path.join(directory, name + ".out")
        self.err_path = os.path.join(directory, name + ".err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--"] + self.argv,
                stdin=talk or subprocess.DEVNULL,
                stdout=talk or out,
                stderr=err,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def running(self):
        return self._process.poll() is None

    def exit_code(self):
        """None while it runs; -N when signal N ended it."""
        return self._process.poll()

    def wait(self, limit_s):
        """Returns the exit code; TimeoutError after limit_s."""
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{self.name} still runs after {limit_s} s\n{self.tail()}"
            ) from None

    def send_signal(self, number):
        """Sends a signal unless the child has been waited for."""
        self._process.send_signal(number)

    def kill(self):
        """SIGKILL and wait."""
        self._process.kill()
        return self._process.wait(_STOP_LIMIT_S)

    def stop(self, number=signal.SIGTERM, limit_s=_STOP_LIMIT_S):
        """Ends the child and returns its exit code.

        A child that ignores the signal is killed; the code is then -9.
        """
        if self.running():
            self.send_signal(number)
            try:
                self._process.wait(limit_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def output(self):
        return _read(self.out_path)

    def errors(self):
        return _read(self.err_path)

    def tail(self, num_lines=40):
        """The last lines of both outputs, for a failure message."""
        lines = (self.output() + self.errors()).splitlines()[-num_lines:]
        return "\n".join(f"  {self.name}: {line}" for line in lines)

    def memory_bytes(self):
        """Resident set of the child alone."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise ProcessLookupError(f"{self.name} has no memory any more")


def seeing(path, instead_of, argv):
    """argv, changed so that the program sees one file in place of another.

    Needs root or the right to make user name spaces, see can_see().
    """
    launcher = os.path.abspath(name_space.__file__)
    return [sys.executable, launcher, path, instead_of, *argv]


def can_see():
    """Whether seeing() works here."""
    return run(seeing("/etc/hosts", "/etc/hosts", ["true"]))[0] == 0


def run(argv, limit_s=30, env=None, stdin=b""):
    """Runs a short helper to its end; returns (exit code, output, errors)."""
    done = subprocess.run(
        argv,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        timeout=limit_s,
        check=False,
    )
    return (
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )


def temporary_directory(test=None):
    """A private directory, removed with the test case's cleanups.

    It lies in /tmp, not in the test runner's own directory: the path of a unix
    socket may be only 107 bytes long.
    """
    path = tempfile.mkdtemp(prefix="spicegate-", dir="/tmp")
    if test is not None:
        test.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return path


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
