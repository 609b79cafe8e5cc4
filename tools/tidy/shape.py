# SPDX-License-Identifier: Apache-2.0
"""The shape of a file: its head, its length, its lines, its functions."""

import ast
import os
import re

from tools.tidy import cpp_functions, tree

MAX_FILE_LINES = 700
MAX_FUNCTION_LINES = 70
MAX_COLUMNS = 80

_CODE = ("cpp", "python", "shell", "bazel", "asm")
_SPDX = "SPDX-License-Identifier: Apache-2.0"
# A line that cannot be broken: a directive, an address, a lone long word.
_UNBREAKABLE = re.compile(r"^\s*#\s*(include|ifndef|define|endif)|://|^\s*\S+$")


def check_head(source):
    """The licence stands in the first line, or behind the `#!` line."""
    if source.kind in _CODE:
        if not any(_SPDX in line for line in source.lines[:2]):
            message = "the first line is not '%s'" % _SPDX
            yield tree.Violation(source.path, 1, message)


def guard_of(path):
    return "SPICEGATE_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper() + "_"


def check_guard(source):
    """A header has the include guard that its path gives."""
    if not source.path.endswith(".h"):
        return
    guard = guard_of(source.path)
    for directive in ("#ifndef ", "#define "):
        if directive + guard not in source.lines:
            message = "lacks '%s'" % (directive + guard)
            yield tree.Violation(source.path, 1, message)


def check_length(source):
    if source.kind in _CODE and len(source.lines) > MAX_FILE_LINES:
        message = "%d lines; %d are the limit"
        message %= (len(source.lines), MAX_FILE_LINES)
        yield tree.Violation(source.path, 0, message)


def check_columns(source):
    if source.kind not in _CODE or source.kind == "asm":
        return
    for number, line in enumerate(source.lines, 1):
        if len(line) > MAX_COLUMNS and not _UNBREAKABLE.search(line):
            message = "%d columns; %d are the limit" % (len(line), MAX_COLUMNS)
            yield tree.Violation(source.path, number, message)


def _python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno


def check_functions(source):
    """No function is longer than a screen or two."""
    if source.kind == "cpp":
        found = cpp_functions.functions(source.text)
    elif source.kind == "python":
        found = _python_functions(source.text)
    else:
        return
    for first, last in found:
        length = last - first + 1
        if length > MAX_FUNCTION_LINES:
            message = "a function of %d lines; %d are the limit"
            message %= (length, MAX_FUNCTION_LINES)
            yield tree.Violation(source.path, first, message)


def check_braces(source):
    """Bodies of if, else and loops stand in braces, as in Google's code."""
    if source.kind == "cpp":
        for line, word in cpp_functions.unbraced(source.text):
            message = "the body of this %s has no braces" % word
            yield tree.Violation(source.path, line, message)


def check_readmes(sources):
    """Each folder with sources has a README.md."""
    folders = {s.directory for s in sources if s.kind in ("cpp", "python")}
    for folder in sorted(folders):
        readme = os.path.join(folder, "README.md")
        if not any(s.path == readme for s in sources):
            yield tree.Violation(folder, 0, "has sources and no README.md")
