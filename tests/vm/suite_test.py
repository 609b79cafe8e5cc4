# SPDX-License-Identifier: Apache-2.0
"""Judging without a guest: what its console and files say, and what not."""

import os
import unittest

from tests.testbed import processes
from tests.testbed import runner
from tests.vm import machine
from tests.vm import suite

_COMMANDS = [["a/one_test"], ["a/two_test"]]
_XML = """<testsuites><testsuite name="S" tests="3">
<testcase name="Good" classname="S" status="run" time="0.5"/>
<testcase name="Off" classname="S" status="notrun" time="0"/>
%s</testsuite></testsuites>"""
_BAD = """<testcase name="Bad" classname="S" status="run" time="0">
<failure message="x.cc:3&#x0A;1 is not 2"/></testcase>"""
_SKIPPED = """<testcase name="Skip" classname="S" status="run" time="0">
<skipped message="no such thing"/></testcase>"""


def _console(*codes):
    lines = [f"GUEST-TEST-END {n} rc={rc}" for n, rc in enumerate(codes)]
    return "\n".join(["GUEST-UP 1.0 6.1"] + lines) + "\n"


class SuiteTest(unittest.TestCase):
    def setUp(self):
        self.out = processes.temporary_directory(self)

    def _write(self, number, more=""):
        path = os.path.join(self.out, f"{number}.xml")
        with open(path, "w", encoding="ascii") as stream:
            stream.write(_XML % more)

    def _cases(self, code, console):
        result = machine.Result(code, f"code {code}", console)
        return suite.cases(_COMMANDS, result, self.out)

    def test_cases_are_those_of_the_binaries(self):
        self._write(0)
        self._write(1)
        found = self._cases(0, _console(0, 0))
        names = [case.name for case in found]
        self.assertEqual(names, ["one_test.S.Good", "two_test.S.Good"])
        self.assertEqual([case.failure for case in found], [None, None])

    def test_a_failure_keeps_its_message(self):
        self._write(0, _BAD)
        self._write(1)
        failed = [c for c in self._cases(1, _console(1, 0)) if c.failure]
        self.assertEqual([c.name for c in failed], ["one_test.S.Bad"])
        self.assertIn("1 is not 2", failed[0].failure)

    def test_a_skip_is_told(self):
        self._write(0, _SKIPPED)
        skipped = [c for c in self._cases(0, _console(0, 0)) if c.skipped]
        self.assertEqual([c.name for c in skipped], ["one_test.S.Skip"])
        self.assertEqual(skipped[0].skipped, "no such thing")

    def test_a_crash_without_xml_fails(self):
        self._write(1)
        failed = [c for c in self._cases(119, _console(139, 0)) if c.failure]
        self.assertEqual([c.name for c in failed], ["one_test"])
        self.assertIn("exit code 139", failed[0].failure)

    def test_good_cases_do_not_hide_a_bad_exit(self):
        self._write(0)
        self._write(1)
        failed = [c for c in self._cases(1, _console(0, 1)) if c.failure]
        self.assertEqual([c.name for c in failed], ["two_test"])

    def test_a_hang_is_the_binary_that_did_not_end(self):
        self._write(0)
        failed = [c for c in self._cases(124, _console(0)) if c.failure]
        self.assertEqual([c.name for c in failed], ["two_test"])

    def test_the_guest_itself_may_fail(self):
        failed = [c for c in self._cases(125, _console(0, 0)) if c.failure]
        self.assertEqual([c.name for c in failed], ["guest"])


if __name__ == "__main__":
    runner.main()
