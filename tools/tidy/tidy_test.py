#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the whole tree tidy: no finding in any source file of the checkout.

Bazel shows a test only the files it declares. This one has to see files that
nobody declared, in folders that did not exist yesterday: it declares the root's
WORKSPACE alone, follows that symlink home and reads the folder it stands in.
Hence the tags "local" (no sandbox) and "external" (never from the cache).
"""

import os
import unittest

from tools.tidy import formatting, tidy, tree


def checkout_root():
    """The folder of the real WORKSPACE behind the runfiles' symlink."""
    return os.path.dirname(os.path.realpath("WORKSPACE"))


class TreeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = checkout_root()
        cls.sources = tree.read_sources(cls.root)

    def _expect_none(self, found):
        if found:
            lines = [str(violation) for violation in found]
            self.fail("\n".join(["%d findings" % len(found)] + lines))

    def test_sees_the_checkout(self):
        paths = {source.path for source in self.sources}
        self.assertIn("tools/tidy/tidy_test.py", paths)
        self.assertIn("tools/deps/fuzz_main.cc", paths)

    def test_shape(self):
        self._expect_none(tidy.check_sources(self.sources))

    def test_format(self):
        program = formatting.find()
        if not program:
            if os.environ.get("SPICEGATE_CI") == "1":
                self.fail("clang-format 14 is not installed: run tools/setup")
            self.skipTest("clang-format 14 is not installed: run tools/setup")
        found = formatting.check(program, self.root, self.sources)
        self._expect_none(list(found))


if __name__ == "__main__":
    unittest.main(verbosity=2)
