# SPDX-License-Identifier: Apache-2.0
"""Words that have no place in the tree: unfinished work, machine paths."""

import re

from tools.tidy import tree

# In halves, so that this file does not find itself.
_UNFINISHED = "|".join(["TO" "DO", "FIX" "ME", "XX" "X"])
_BANNED = [
    (re.compile(r"\b(%s)\b" % _UNFINISHED), "unfinished work: finish it"),
    (
        re.compile(r"(?<![\w.$])/(work|home|root|tmp/" r"lab|Users)/\w"),
        "a path of one machine",
    ),
    (
        re.compile("deb\\." "debian\\.org|registry\\." "npmjs|pypi\\." "org"),
        "the name of a package host",
    ),
]


def check(source):
    for number, line in enumerate(source.lines, 1):
        for pattern, message in _BANNED:
            match = pattern.search(line)
            if match:
                text = "'%s': %s" % (match.group(0), message)
                yield tree.Violation(source.path, number, text)
