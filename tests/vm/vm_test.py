# SPDX-License-Identifier: Apache-2.0
"""main() of a vm_test: see vm_test.bzl.

Usage: vm_test.py --kernel SERIES [OPTION...] BINARY...

Runs the binaries in one guest that has this test's runfiles, and reports their
cases as its own. A case that skips itself in the guest is subject to the skip
rule of every test: a failure where SPICEGATE_CI=1.
"""

import argparse
import os
import shutil
import sys

from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import skip
from tests.vm import kernels
from tests.vm import machine
from tests.vm import suite

# Bazel kills the test at its own limit, which must not be the first one.
_MARGIN_S = 20


def _arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", choices=kernels.META_PACKAGES)
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--program", action="append", default=[])
    parser.add_argument("--module", action="append", default=[])
    parser.add_argument("--without-module", action="append", default=[])
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("binaries", nargs="+")
    return parser.parse_args()


def _runfiles():
    """All files of the test, at the same places in the guest."""
    files = {}
    for directory, _, names in os.walk("."):
        for name in names:
            path = os.path.normpath(os.path.join(directory, name))
            files[suite.place(path)] = path
    return files


def _limit_s():
    return max(60, int(os.environ.get("TEST_TIMEOUT", "300")) - _MARGIN_S)


def _boot(arguments, commands, out):
    """Boots, or ends this process by the skip rule where it cannot."""
    env = dict(pair.split("=", 1) for pair in arguments.env)
    for name in ("SPICEGATE_CI", "TESTBRIDGE_TEST_ONLY"):
        if name in os.environ:
            env[name] = os.environ[name]
    payload = machine.Payload(
        suite.script(commands, env),
        _runfiles(),
        tuple(arguments.program),
        tuple(arguments.module),
        tuple(arguments.without_module),
    )
    try:
        return machine.boot(
            arguments.kernel,
            payload,
            _limit_s(),
            arguments.memory_mib,
            out=out,
            echo=sys.stdout,
        )
    except kernels.Unavailable as why:
        skip.skip(f"no kernel {arguments.kernel}: {why}; run tools/setup")


def _report(cases):
    """Prints what did not pass, writes Bazel's XML; True when nothing failed.

    A skip that is allowed stays out of the XML: tools/report counts its line.
    """
    kept = []
    for case in cases:
        if case.skipped is None:
            kept.append(case)
        elif os.environ.get("SPICEGATE_CI") == "1":
            case.failure = f"skipped itself in the guest: {case.skipped}"
            kept.append(case)
        else:
            print(f"SKIPPED: {case.name}: {' '.join(case.skipped.split())}")
    failed = [case for case in kept if case.failure]
    for case in failed:
        print(f"\nFAILED in the guest: {case.name}\n{case.failure}")
    print(f"\n{len(kept) - len(failed)} cases passed, {len(failed)} failed")
    if os.environ.get("XML_OUTPUT_FILE"):
        runner.write_xml(
            os.environ["XML_OUTPUT_FILE"],
            [(case.name, case.seconds, case.failure) for case in kept],
        )
    return not failed


def main():
    arguments = _arguments()
    skip.need_tools("qemu-system-x86_64", "busybox", *arguments.program)
    commands = [[binary] for binary in arguments.binaries]
    out = processes.temporary_directory()
    try:
        result = _boot(arguments, commands, out)
        cases = suite.cases(commands, result, out)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    sys.exit(0 if _report(cases) else 1)


if __name__ == "__main__":
    main()
