#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the shape of every source file.

Usage: tools/tidy/tidy.py [--fix]

Prints `PATH:LINE: what is wrong` and exits 1 when anything is. --fix lets
clang-format rewrite the C++ files first; it mends nothing else.
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
sys.path.insert(0, os.path.abspath(_ROOT))

# pylint: disable=wrong-import-position
from tools.tidy import formatting, layers, one_name  # noqa: E402
from tools.tidy import shape, tree, words  # noqa: E402

_PER_FILE = (
    layers.check,
    shape.check_head,
    shape.check_guard,
    shape.check_length,
    shape.check_columns,
    shape.check_functions,
    shape.check_braces,
    words.check,
)


def check_sources(sources):
    """Every violation that needs nothing but the text, in order."""
    found = list(shape.check_readmes(sources))
    found += one_name.check(sources)
    for source in sources:
        for check in _PER_FILE:
            found += check(source)
    return sorted(found)


def main(argv):
    root = os.path.abspath(_ROOT)
    sources = tree.read_sources(root)
    program = formatting.find()
    if not program:
        print("clang-format 14 is not here: formatting goes unchecked")
    elif "--fix" in argv:
        formatting.fix(program, root, sources)
        sources = tree.read_sources(root)
    found = check_sources(sources)
    if program:
        found += formatting.check(program, root, sources)
    for violation in sorted(found):
        print(violation)
    print("%d files, %d findings" % (len(sources), len(found)))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
