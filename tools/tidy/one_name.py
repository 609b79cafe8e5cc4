# SPDX-License-Identifier: Apache-2.0
"""One name, one type.

Two types of one name in one namespace are one to the linker, which keeps one of
their destructors: a program that has both, such as a test that brings helpers
of its own, crashes far from either. No compiler says a word.
"""

import collections
import re

from tools.tidy import tree

# Folders whose sources never are in one program. The load generator knows the
# gateway by its ports alone.
_APART = (
    ("bench/load", "gateway/"),
    ("bench/load", "bench/ways"),
)

_OPEN = re.compile(r"^namespace(?: (?P<name>[\w:]+))? \{$")
_CLOSE = re.compile(r"^\}  // namespace")
_TYPE = re.compile(
    r"^(?:struct|class|union|enum class|enum) (?P<name>\w+)\b(?!::)[^;]*$"
)


def types_of(source):
    """(qualified name, line) of each type that other files could see."""
    spaces = []
    for number, line in enumerate(source.lines, 1):
        opened = _OPEN.match(line)
        if opened:
            spaces.append(opened.group("name"))
        elif _CLOSE.match(line) and spaces:
            spaces.pop()
        elif spaces and None not in spaces:
            found = _TYPE.match(line)
            if found:
                yield "::".join([*spaces, found.group("name")]), number


def _may_meet(one, other):
    for first, second in _APART:
        for left, right in ((one, other), (other, one)):
            if left.startswith(first) and right.startswith(second):
                return False
    return True


def check(sources):
    """Violations in all of `sources`, at the later of two definitions."""
    homes = collections.defaultdict(list)
    for source in sources:
        if source.kind != "cpp":
            continue
        for name, number in types_of(source):
            for path in homes[name]:
                if path != source.path and _may_meet(path, source.path):
                    yield tree.Violation(
                        source.path,
                        number,
                        "%s is defined in %s too" % (name, path),
                    )
            homes[name].append(source.path)
