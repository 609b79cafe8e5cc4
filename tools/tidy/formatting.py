# SPDX-License-Identifier: Apache-2.0
"""clang-format's verdict on every C++ file."""

import re
import shutil
import subprocess

from tools.tidy import tree

# Releases format differently; this is Debian 12's.
_MAJOR = "14"
_FINDING = re.compile(r"^(?P<path>[^:]+):(?P<line>\d+):\d+: error: ")


def find():
    """The clang-format to use, or None."""
    for name in ("clang-format-" + _MAJOR, "clang-format"):
        program = shutil.which(name)
        if not program:
            continue
        version = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False
        )
        if re.search(r"version %s\." % _MAJOR, version.stdout):
            return program
    return None


def _paths(sources):
    return [source.path for source in sources if source.kind == "cpp"]


def check(program, root, sources):
    """One violation a file, at its first line that would change."""
    paths = _paths(sources)
    if not paths:
        return
    command = [program, "--style=file", "--dry-run", "--Werror"]
    result = subprocess.run(
        command + paths, cwd=root, capture_output=True, text=True, check=False
    )
    seen = set()
    for line in result.stderr.splitlines():
        match = _FINDING.match(line)
        if match and match.group("path") not in seen:
            seen.add(match.group("path"))
            yield tree.Violation(
                match.group("path"),
                int(match.group("line")),
                "not clang-formatted (tools/tidy/tidy.py --fix)",
            )
    if result.returncode and not seen:
        yield tree.Violation(".clang-format", 0, result.stderr.strip())


def fix(program, root, sources):
    paths = _paths(sources)
    if paths:
        command = [program, "--style=file", "-i"]
        subprocess.run(command + paths, cwd=root, check=True)
