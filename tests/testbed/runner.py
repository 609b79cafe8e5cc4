# SPDX-License-Identifier: Apache-2.0
"""main() of every test here: unittest, with the cases by name.

Bazel sets XML_OUTPUT_FILE; the cases are written there in its own format, so
that `--test_summary=testcase` counts them instead of one case per file.
"""

import os
import re
import resource
import sys
import time
import unittest
from xml.sax import saxutils

from tests.testbed import skip

# What XML 1.0 cannot hold, not even escaped; a program's output can.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


class _Result(unittest.TextTestResult):
    """Remembers each case's name, time and failure."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = []
        self._started = 0.0
        self._failure = None

    def startTest(self, test):
        self._started = time.monotonic()
        self._failure = None
        super().startTest(test)

    def stopTest(self, test):
        elapsed = time.monotonic() - self._started
        self.cases.append((test.id(), elapsed, self._failure))
        super().stopTest(test)

    def addError(self, test, err):
        self._failure = self._exc_info_to_string(err, test)
        super().addError(test, err)
        if not hasattr(test, "_testMethodName"):  # setUpClass or module
            self.cases.append((str(test), 0.0, self._failure))

    def addFailure(self, test, err):
        self._failure = self._exc_info_to_string(err, test)
        super().addFailure(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._failure = self._exc_info_to_string(err, subtest)
        super().addSubTest(test, subtest, err)


def main(*tools):
    """Runs the calling module's cases and exits.

    Args:
      tools: programs without which the whole file is skipped, see skip.py.
    """
    skip.need_tools(*tools)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # some children crash
    runner = unittest.TextTestRunner(
        stream=sys.stdout, verbosity=2, resultclass=_Result
    )
    program = unittest.main(module="__main__", exit=False, testRunner=runner)
    if os.environ.get("XML_OUTPUT_FILE"):
        write_xml(os.environ["XML_OUTPUT_FILE"], program.result.cases)
    sys.exit(not program.result.wasSuccessful())


def write_xml(path, cases):
    """Writes Bazel's report: (name, seconds, failure or None) per case."""
    name = os.path.basename(sys.argv[0])
    num_failed = sum(1 for case in cases if case[2])
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<testsuites>",
        f'<testsuite name="{name}" tests="{len(cases)}"'
        f' failures="{num_failed}" errors="0">',
    ]
    for case, elapsed, failure in cases:
        title = saxutils.quoteattr(case.removeprefix("__main__."))
        lines.append(
            f'<testcase name={title} classname="{name}" status="run"'
            f' time="{elapsed:.3f}">'
        )
        if failure:
            failure = _NO_XML.sub("?", failure)
            message = saxutils.quoteattr(_essence(failure))
            text = saxutils.escape(failure)
            lines.append(f"<failure message={message}>{text}</failure>")
        lines.append("</testcase>")
    lines += ["</testsuite>", "</testsuites>"]
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines))


def _essence(failure):
    """The last line that is neither traceback nor a program's output."""
    lines = [line for line in failure.splitlines() if line[:1].strip()]
    return lines[-1] if lines else failure
