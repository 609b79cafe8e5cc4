# SPDX-License-Identifier: Apache-2.0
"""A test case with a directory, QEMUs and gateways that go with it."""

import unittest

from tests.testbed import gateway
from tests.testbed import processes
from tests.testbed import qemu


class Case(unittest.TestCase):
    """Starts what a test asks for and ends it after the test.

    The gateway ends before the QEMUs behind it, and a gateway that does not
    end cleanly fails the test.

    Attributes:
      directory: private to the test; sockets, logs and pictures lie in it.
    """

    def setUp(self):
        super().setUp()
        self.directory = processes.temporary_directory(self)

    def start_vm(self, name, kind="min", **how):
        """A running QEMU whose guest has painted; see qemu.Vm for `how`."""
        vm = qemu.Vm(self.directory, name, kind, **how)
        self.addCleanup(vm.stop)
        return vm.start().wait_painted()

    def start_gateway(self, consoles, **how):
        """A running gateway; see gateway.Gateway for `how`."""
        made = gateway.Gateway(self.directory, consoles, **how)
        self.addCleanup(made.stop)
        return made.start()
