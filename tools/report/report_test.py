#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of report.py."""

import json
import unittest

from tools.report import report

GTEST = """<testsuites><testsuite name="A" tests="4">
<testcase name="Pass" classname="A" status="run" result="completed"/>
<testcase name="Skip" classname="A" status="run" result="skipped">
<skipped message="x.cc:3&#x0A;no such kernel"/></testcase>
<testcase name="Off" classname="A" status="notrun" result="suppressed"/>
%s</testsuite></testsuites>"""
FAILURE = '<testcase name="Bad" classname="A"><failure message="1"/></testcase>'
FILLER = """<testsuites><testsuite name="a/b_test"><testcase name="a/b_test"/>
<system-out>x</system-out></testsuite></testsuites>"""


class JudgeTest(unittest.TestCase):
    def test_counts_the_cases_of_a_googletest(self):
        outcome = report.judge("//a:t", "FAILED", GTEST % FAILURE, "")
        self.assertEqual(outcome.passed, 1)
        self.assertEqual(outcome.failures, ["//a:t A.Bad"])
        self.assertEqual(outcome.skips, ["//a:t A.Skip: no such kernel"])

    def test_a_crash_behind_the_last_case_is_a_failure(self):
        outcome = report.judge("//a:t", "FAILED", GTEST % "", "")
        self.assertEqual(outcome.failures, ["//a:t (FAILED)"])

    def test_a_script_is_one_case(self):
        outcome = report.judge("//a:t", "PASSED", FILLER, "fine\n")
        self.assertEqual(report.closing_line(outcome), "1 passed, 0 failed")

    def test_a_timeout_without_xml_fails(self):
        outcome = report.judge("//a:t", "TIMEOUT", "", "")
        self.assertEqual(report.closing_line(outcome), "0 passed, 1 failed")

    def test_a_skipped_script_is_not_a_pass(self):
        outcome = report.judge("//a:t", "PASSED", FILLER, "SKIPPED: no qemu\n")
        self.assertEqual(
            report.closing_line(outcome), "0 passed, 0 failed, 1 skipped"
        )

    def test_reads_the_reason_of_unittest(self):
        log = "test_x (m.C.test_x) ... skipped 'no display'\n"
        outcome = report.judge("//a:t", "PASSED", FILLER, log)
        self.assertEqual(outcome.skips, ["//a:t: no display"])

    def test_reads_skips_that_the_xml_lacks(self):
        xml = '<testsuite name="a"><testcase name="x"/></testsuite>'
        log = "test_x (m.C.test_x) ... skipped 'no display'\n"
        outcome = report.judge("//a:t", "PASSED", xml, log)
        self.assertEqual(
            report.closing_line(outcome), "0 passed, 0 failed, 1 skipped"
        )


class EventsTest(unittest.TestCase):
    def _summary(self, *events):
        return report.summarize([json.dumps(e) for e in events], "asan")

    def _configured(self, label):
        return {
            "id": {"targetConfigured": {"label": label}},
            "configured": {"testSize": "SMALL"},
        }

    def _result(self, label, attempt, status):
        key = {"label": label, "run": 1, "shard": 1, "attempt": attempt}
        return {"id": {"testResult": key}, "testResult": {"status": status}}

    def test_a_test_that_did_not_build_has_failed(self):
        total = self._summary(self._configured("//a:t"))
        self.assertEqual(
            total.failures, ["//a:t [asan] (not built or not run)"]
        )

    def test_the_last_attempt_decides(self):
        total = self._summary(
            self._configured("//a:t"),
            self._result("//a:t", 1, "FAILED"),
            self._result("//a:t", 2, "PASSED"),
        )
        self.assertEqual(report.closing_line(total), "1 passed, 0 failed")
        self.assertEqual(total.unsteady, ["//a:t [asan]"])

    def test_a_second_failure_is_one_failure(self):
        total = self._summary(
            self._configured("//a:t"),
            self._result("//a:t", 1, "FAILED"),
            self._result("//a:t", 2, "FAILED"),
        )
        self.assertEqual(report.closing_line(total), "0 passed, 1 failed")
        self.assertEqual(total.unsteady, [])


class MainTest(unittest.TestCase):
    def test_nothing_run_is_no_success(self):
        self.assertEqual(report.main([]), 1)

    def test_a_failed_build_without_results_is_a_failure(self):
        self.assertEqual(report.main(["--build-failed", ""]), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
