#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the test cases of `bazel test` runs and prints the closing line.

Usage: report.py [--ci] [--build-failed NAME]... [NAME=EVENTS.json]...

EVENTS.json is what --build_event_json_file wrote for one run, NAME how to call
that run ("asan"; empty for the plain one). Bazel's own --test_summary=testcase
neither knows skipped cases nor tests that did not build, hence this.

What is a case: a <testcase> of the test's XML, where the test wrote one (every
GoogleTest does), else the whole test. A skip is <skipped> in the XML, or a line
`SKIPPED: reason` or unittest's `... skipped 'reason'` in the log. With --ci
(nothing may be left out on a machine made for it) skips count as failures.
Exit status: 0 when nothing failed and something ran, else 1.
"""

import argparse
import dataclasses
import json
import re
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

# Written by `SKIPPED: no such kernel` and by unittest's verbose runner.
_SKIP_LINE = re.compile(
    r"^SKIPPED: (?P<plain>.+)$"
    r"|\.\.\. skipped (?P<quote>['\"])(?P<why>.*)(?P=quote)$"
)


@dataclasses.dataclass
class Outcome:
    """Cases of one test, or the sum of many."""

    passed: int = 0
    failures: list = dataclasses.field(default_factory=list)
    unsteady: list = dataclasses.field(default_factory=list)
    skips: list = dataclasses.field(default_factory=list)

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.unsteady += other.unsteady
        self.skips += other.skips


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _cases(xml_text):
    """The <testcase> elements of a test's own XML; none for Bazel's filler."""
    try:
        root = ElementTree.fromstring(xml_text)
    except ElementTree.ParseError:
        return []
    cases = list(root.iter("testcase"))
    suites = list(root.iter("testsuite"))
    filler = (
        len(cases) == 1
        and len(suites) == 1
        and cases[0].get("name") == suites[0].get("name")
    )
    return [] if filler else cases


def _skip_reasons(log_text):
    reasons = []
    for line in log_text.splitlines():
        match = _SKIP_LINE.search(line)
        if match:
            reasons.append(match.group("plain") or match.group("why"))
    return reasons


def judge(label, status, xml_text, log_text):
    """The outcome of one test from what it left behind.

    A test that ended badly has failed at least once, whatever its XML says: it
    may have crashed behind its last case.
    """
    outcome = Outcome()
    cases = _cases(xml_text)
    for case in cases:
        name = "%s %s.%s" % (label, case.get("classname"), case.get("name"))
        skipped = case.find("skipped")
        if case.get("status") == "notrun":
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failures.append(name)
        elif skipped is not None:
            lines = (skipped.get("message") or "no reason given").split("\n")
            outcome.skips.append("%s: %s" % (name, lines[-1]))
        else:
            outcome.passed += 1
    if not outcome.skips:
        reasons = _skip_reasons(log_text)
        outcome.skips = ["%s: %s" % (label, why) for why in reasons]
        if not cases:
            outcome.passed = 1 if status == "PASSED" else 0
        # Cases skipped by a runner whose XML has no word for it.
        outcome.passed = max(0, outcome.passed - len(reasons))
    if status not in ("PASSED", "FLAKY") and not outcome.failures:
        outcome.failures.append("%s (%s)" % (label, status))
    return outcome


def _output(result, name):
    for output in result.get("testActionOutput", []):
        if output.get("name") == name:
            path = urllib.parse.urlparse(output.get("uri", "")).path
            return _read(urllib.parse.unquote(path))
    return ""


def read_events(lines):
    """(test targets known, (label, run, shard) -> its results in order)."""
    tests, results = set(), {}
    for line in lines:
        event = json.loads(line)
        ident = event.get("id", {})
        if "testSize" in event.get("configured", {}):
            tests.add(ident["targetConfigured"]["label"])
        if "testResult" in event:
            key = ident["testResult"]
            part = (key["label"], key.get("run"), key.get("shard"))
            results.setdefault(part, []).append(event["testResult"])
    return tests, results


def summarize(lines, name):
    """The outcome of one run, its labels marked with the run's name."""
    tests, results = read_events(lines)
    total = Outcome()
    suffix = " [%s]" % name if name else ""
    for (label, _, _), attempts in sorted(results.items()):
        # Attempts come in order: the last one is the verdict.
        result = attempts[-1]
        if len(attempts) > 1 and result.get("status") == "PASSED":
            total.unsteady.append(label + suffix)
        log = _output(result, "test.log")
        xml = _output(result, "test.xml")
        status = result.get("status", "NO_STATUS")
        total.add(judge(label + suffix, status, xml, log))
    ran = {label for label, _, _ in results}
    for label in sorted(tests - ran):
        total.failures.append(label + suffix + " (not built or not run)")
    return total


def closing_line(outcome):
    line = "%d passed, %d failed" % (outcome.passed, len(outcome.failures))
    if outcome.skips:
        line += ", %d skipped" % len(outcome.skips)
    return line


def _print_list(title, entries):
    if entries:
        print(title)
        for entry in entries:
            print("  " + entry)


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--ci", action="store_true")
    parser.add_argument("--build-failed", action="append", default=[])
    parser.add_argument("runs", nargs="*", metavar="NAME=EVENTS.json")
    args = parser.parse_args(argv)

    total = Outcome()
    for run in args.runs:
        name, _, path = run.partition("=")
        with open(path, encoding="utf-8") as file:
            total.add(summarize(file, name))
    for name in args.build_failed:
        if not total.failures:
            total.failures.append("the build%s" % (name and " of " + name))

    _print_list("failed at first, passed when tried again:", total.unsteady)
    _print_list("skipped:", total.skips)
    if args.ci:
        total.failures += [s + " (skipped)" for s in total.skips]
        total.skips = []
    _print_list("failed:", total.failures)
    print(closing_line(total))
    return 0 if total.passed and not total.failures else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
