# SPDX-License-Identifier: Apache-2.0
"""The sources of a checkout, as tidy's checks see them."""

import dataclasses
import functools
import os
import re

# Folders that are not ours, or hold bytes instead of text.
_SKIPPED_DIRS = {".git", ".cache", "__pycache__", "coverage", "testdata"}
_SKIPPED_DIR = re.compile(r"^bazel-|_corpus$")
_SKIPPED_FILES = {"compile_commands.json", "LICENSE", ".bazelrc.user"}

_KINDS = {
    ".cc": "cpp",
    ".h": "cpp",
    ".py": "python",
    ".sh": "shell",
    ".bzl": "bazel",
    ".bazel": "bazel",
    ".asm": "asm",
    ".md": "markdown",
}
_NAMES = {"WORKSPACE": "bazel", ".bazelrc": "config"}
_SHEBANGS = {"python": "python", "sh": "shell"}


@dataclasses.dataclass(frozen=True)
class Source:
    """One text file: its path from the root, its kind and its text."""

    path: str
    kind: str  # "cpp", "python", "shell", "bazel", "asm", ... or "other"
    text: str

    @functools.cached_property
    def lines(self):
        return self.text.splitlines()

    @property
    def directory(self):
        return os.path.dirname(self.path)


@dataclasses.dataclass(frozen=True, order=True)
class Violation:
    """One finding. line is 1-based; 0 stands for the whole file."""

    path: str
    line: int
    message: str

    def __str__(self):
        where = "%s:%d" % (self.path, self.line) if self.line else self.path
        return "%s: %s" % (where, self.message)


def kind_of(path, text):
    """The kind of a file, by its name or by its first line."""
    name = os.path.basename(path)
    if name in _NAMES:
        return _NAMES[name]
    kind = _KINDS.get(os.path.splitext(name)[1])
    if kind:
        return kind
    match = re.match(r"#!.*?(python|sh)", text)
    return _SHEBANGS[match.group(1)] if match else "other"


def read_sources(root):
    """Every text file below `root` that belongs to the project, by path.

    Walks the folder instead of asking git: the test also runs in an export
    and as another user, where git refuses to answer.
    """
    sources = []
    for folder, dirs, files in os.walk(root):
        dirs[:] = sorted(
            d
            for d in dirs
            if d not in _SKIPPED_DIRS and not _SKIPPED_DIR.search(d)
        )
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name in _SKIPPED_FILES or os.path.islink(path):
                continue
            try:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeDecodeError):
                continue
            relative = os.path.relpath(path, root)
            sources.append(Source(relative, kind_of(relative, text), text))
    return sources
