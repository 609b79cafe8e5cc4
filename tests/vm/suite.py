# SPDX-License-Identifier: Apache-2.0
"""Test binaries one after the other in one guest, and what became of each.

The guest has the files of the tests where a test of Bazel finds them: below
$TEST_SRCDIR/$TEST_WORKSPACE, which is also the working directory.
"""

import dataclasses
import os
import re
import shlex
import xml.etree.ElementTree as ElementTree

_SRCDIR = "/runfiles"
_WORKSPACE = "spicegate"
_TAIL_LINES = 60

# Read by the runner in the console, printed by the script below.
_END = re.compile(r"^GUEST-TEST-END (\d+) rc=(\d+)$", re.MULTILINE)


@dataclasses.dataclass
class Case:
    """One case of a GoogleTest, or a whole binary that is none.

    Attributes:
      failure: None when it passed.
      skipped: the reason where it skipped itself, else None.
    """

    name: str
    seconds: float = 0.0
    failure: str = None
    skipped: str = None


def place(path):
    """Where in the guest a file belongs that a test calls `path`."""
    return f"{_SRCDIR}/{_WORKSPACE}/{path}"


def script(commands, env):
    """The guest's script: runs every command, fails when any of them fails.

    Args:
      commands: argument lists; the program is a path below the workspace.
      env: additional environment.
    """
    env = {
        "TEST_SRCDIR": _SRCDIR,
        "TEST_WORKSPACE": _WORKSPACE,
        "TEST_TMPDIR": "/tmp",
        "GTEST_COLOR": "no",
        **env,
    }
    lines = ["#!/bin/sh", "worst=0"]
    lines += [f"export {key}={shlex.quote(env[key])}" for key in env]
    lines.append(f"cd {place('')}")
    for number, (program, *arguments) in enumerate(commands):
        command = shlex.join([f"./{program}"] + arguments)
        lines += [
            f"echo GUEST-TEST {number} {shlex.quote(program)}",
            f"GTEST_OUTPUT=xml:/tmp/out/{number}.xml {command}",
            f"rc=$?; echo; echo GUEST-TEST-END {number} rc=$rc",
            '[ "$rc" -eq 0 ] || worst=$rc',
        ]
    return "\n".join(lines + ['exit "$worst"', ""])


def cases(commands, result, out):
    """What became of each command.

    Args:
      result: of machine.boot().
      out: the directory with what the guest left.
    """
    codes = {int(n): int(code) for n, code in _END.findall(result.console)}
    found = []
    for number, (program, *_) in enumerate(commands):
        name = os.path.basename(program)
        own = _googletest(name, os.path.join(out, f"{number}.xml"))
        code = codes.get(number)
        failed = any(case.failure for case in own)
        if code is None:
            why = f"did not end: {result.why}\n{_tail(result.console)}"
            own = [case for case in own if case.failure]
            own.append(Case(name, failure=why))
        elif code != 0 and not failed:
            why = f"exit code {code}\n{_tail(result.console)}"
            own.append(Case(name, failure=why))
        found += own or [Case(name)]
    if result.code != 0 and not any(case.failure for case in found):
        why = f"{result.why}\n{_tail(result.console)}"
        found.append(Case("guest", failure=why))
    return found


def _googletest(name, path):
    """The cases in a GoogleTest's XML; none when it wrote none."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return []
    found = []
    for element in root.iter("testcase"):
        if element.get("status") == "notrun":
            continue
        failure = [f.get("message", "") for f in element.iter("failure")]
        skipped = element.find("skipped")
        found.append(
            Case(
                f"{name}.{element.get('classname')}.{element.get('name')}",
                float(element.get("time", 0)),
                "\n".join(failure) if failure else None,
                None if skipped is None else skipped.get("message", ""),
            )
        )
    return found


def _tail(console):
    return "\n".join(console.splitlines()[-_TAIL_LINES:])
