# SPDX-License-Identifier: Apache-2.0
"""The machine's own verdicts: nothing but a guest's own word is a success."""

import os
import unittest

from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import skip
from tests.vm import kernels
from tests.vm import machine

_SERIES = "6.1"


def _boot(script, limit_s=240, **how):
    payload = machine.Payload("#!/bin/sh\n" + script)
    return machine.boot(_SERIES, payload, limit_s, **how)


class MachineTest(unittest.TestCase):
    def test_code_and_artefacts_come_back(self):
        out = processes.temporary_directory(self)
        script = (
            "mkdir /tmp/out/a; head -c 5000000 /dev/zero >/tmp/out/a/b\n"
            "ln -s /etc/passwd /tmp/out/link; exit 7\n"
        )
        result = _boot(script, out=out)
        self.assertEqual(result.code, 7, result.console)
        self.assertEqual(os.path.getsize(os.path.join(out, "a/b")), 5000000)
        self.assertFalse(os.path.lexists(os.path.join(out, "link")))

    def test_a_panic_is_a_crash(self):
        result = _boot("echo c >/proc/sysrq-trigger; sleep 60\n")
        self.assertEqual(result.code, machine.CRASH, result.console)

    def test_switching_itself_off_is_a_crash(self):
        result = _boot("poweroff -f\n")
        self.assertEqual(result.code, machine.CRASH, result.console)

    def test_a_claim_is_not_enough(self):
        result = _boot("echo 'GUEST-DONE rc=0 1.0'; poweroff -f\n")
        self.assertEqual(result.code, machine.CRASH, result.console)

    def test_a_hang_ends(self):
        result = _boot("sleep 1000\n", limit_s=5)
        self.assertEqual(result.code, machine.HANG, result.console)


if __name__ == "__main__":
    try:
        kernels.find(_SERIES)
    except kernels.Unavailable as why:
        skip.skip(f"no kernel {_SERIES}: {why}; run tools/setup")
    runner.main("qemu-system-x86_64", "busybox")
