# SPDX-License-Identifier: Apache-2.0
"""spicegate-load as a child: its flags in, its JSON lines out."""

import json
import os
import select
import subprocess
import time

from tests.testbed import locate

_STOP_LIMIT_S = 10
_CHUNK_BYTES = 65536


class LoadError(Exception):
    """The load failed, or counted errors."""


def binary():
    return locate.built("bench/load/spicegate-load")


def arguments(scenario, flags, server, target, watched, seconds, warmup_s):
    """argv of a run, without what a peer adds.

    Args:
      flags: of the scenario, after any change.
      server, target: HOST:PORT of the synthetic server and of the relay.
      watched: process ids of the relay.
    """
    argv = [binary(), scenario.command]
    raw = scenario.raw or scenario.tunnel
    argv += ["--raw", "--serve-raw"] if raw else ["--serve"]
    argv += [server, "--target", target]
    argv += ["--seconds", f"{seconds:g}", "--warmup", f"{warmup_s:g}"]
    for pid in watched:
        argv += ["--watch-pid", str(pid)]
    argv += flags_of_tls(scenario)
    for name, value in flags.items():
        argv += ["--" + name, str(value)]
    return argv


def flags_of_tls(scenario):
    """argv words that make viewers speak what the scenario is about."""
    if scenario.tunnel:
        return ["--tls", "--serve-tls"]
    if not scenario.tls:
        return []
    argv = "--tls --tls-version 1.3 --tls-suite aes128_gcm".split()
    return argv + ["--tls-resume"] if scenario.resume else argv


class Load:
    """One run of the load. Use as a context manager: leaving ends it."""

    def __init__(self, argv, directory):
        """Starts argv; OSError when setpriv is missing."""
        self._err_path = os.path.join(directory, "load.err")
        self._pending = b""
        with open(self._err_path, "wb") as errors:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--"] + argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def _end(self):
        """Its exit code; a load that closed its output and hangs is killed."""
        try:
            return self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_STOP_LIMIT_S)
        self._process.stdin.close()
        self._process.stdout.close()

    def wait_event(self, name, limit_s):
        """The next event of this name; others before it are passed over.

        Raises LoadError when the load ends or limit_s passes without it.
        """
        end = time.monotonic() + limit_s
        while True:
            event = self._next_event(end)
            if event is None:
                code = self._end()
                raise LoadError(
                    f"no '{name}' from the load, which ended with {code}\n"
                    + self._tail()
                )
            if event.get("event") == name:
                return event

    def go_on(self):
        """Lets an idle load end its silence."""
        self._process.stdin.write(b"go on\n")
        self._process.stdin.flush()

    def finish(self, result):
        """Waits for the end and returns `result` if all went well.

        Raises LoadError with the load's own words otherwise.
        """
        try:
            code = self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise LoadError("the load does not end") from None
        errors = result.get("errors", 0)
        damage = result.get("checksum_errors", 0)
        if code or errors or damage:
            raise LoadError(
                f"the load ended with {code}: {errors} errors, {damage}"
                f" checksum errors\n{self._tail()}"
            )
        return result

    def _next_event(self, end):
        """The next JSON line as a dict; None at the end of all lines."""
        while b"\n" not in self._pending:
            left = end - time.monotonic()
            ready, _, _ = select.select(
                [self._process.stdout], [], [], max(left, 0)
            )
            if not ready:
                raise LoadError(f"the load says nothing\n{self._tail()}")
            chunk = os.read(self._process.stdout.fileno(), _CHUNK_BYTES)
            if not chunk:
                return None
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise LoadError(f"not JSON from the load: {line!r}") from None

    def _tail(self):
        with open(self._err_path, encoding="utf-8", errors="replace") as err:
            return "".join(f"  load: {line}" for line in list(err)[-20:])
