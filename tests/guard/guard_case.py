# SPDX-License-Identifier: Apache-2.0
"""Test cases with the QEMUs of tests.guard.misdeeds, and looks at them."""

import os

from tests.testbed import case
from tests.testbed import guestagent
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import spiceclient

CHANNEL_NAMES = {
    **{1: "main", 2: "display", 3: "inputs", 4: "cursor", 5: "playback"},
    **{6: "record", 8: "smartcard", 9: "usbredir", 10: "port", 11: "webdav"},
}
_LIMIT_S = 15
_QMP_LIMIT_S = 3
_HURT_LIMIT_S = 8
REFUSALS = "spicegate_guard_refusals_total"
_CLOSED = "spicegate_channels_closed_total"
_REFUSED = "spicegate_links_refused_total"


class GuardCase(case.Case):
    """Machines by kind: min, full, and agent, with an agent in the guest."""

    def setUp(self):
        super().setUp()
        self._x509_dir = None
        self._num_machines = 0

    def machine(self, kind, **how):
        """A running QEMU of this kind; see qemu.Vm for `how`."""
        self._num_machines += 1
        name = f"{kind}{self._num_machines}"
        if kind == "agent":  # has a guest of its own
            return self._machine_with_agent(name)
        if kind == "full":
            if self._x509_dir is None:
                self._x509_dir = pki.Authority(self.directory).x509_dir()
            how["x509_dir"] = self._x509_dir
        return self.start_vm(name, kind, **{"guest": None, **how})

    def client_of(self, vm):
        """A client that talks to the QEMU itself."""
        client = spiceclient.Client(vm.password, port=vm.port)
        self.addCleanup(client.close)
        return client

    def client_by(self, door, console, tls=False):
        """A client that comes through the gateway."""
        client = spiceclient.Client(
            door.ticket(console),
            port=door.tls_port if tls else door.port,
            tls=tls,
        )
        self.addCleanup(client.close)
        return client

    def assert_unhurt(self, vm):
        self.assertTrue(vm.alive(), f"QEMU died\n{vm.process.tail()}")
        self.assertTrue(
            vm.answers(_QMP_LIMIT_S), f"QMP of {vm.name} does not answer"
        )

    def wait_hurt(self, vm):
        """Waits until it has ended or does not answer."""
        polling.until(
            lambda: not vm.alive() or not vm.answers(_QMP_LIMIT_S),
            f"the end of {vm.name}",
            _HURT_LIMIT_S,
        )

    def _machine_with_agent(self, name):
        directory = os.path.join(self.directory, name)
        os.makedirs(directory)
        vm = self.start_vm(
            name, "min", guest="relay", extra=guestagent.devices(directory)
        )
        path = os.path.join(directory, "agent.sock")
        agent = guestagent.Agent(path)
        self.addCleanup(agent.close)
        return vm


def peak_bytes(vm):
    """The largest address space the process has had."""
    with open(f"/proc/{vm.process.pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"{vm.name} has no memory any more")


class Tally:
    """What a gateway counted and logged since this was made."""

    def __init__(self, door):
        self._door = door
        self._before = door.metrics()
        self._num_records = len(door.records("guard_refused"))

    def refusals(self, **labels):
        """How many refusals with these labels, all rules without any."""
        return self._since(REFUSALS, **labels)

    def ended(self, reason):
        """How many channels ended for this reason, or never began for it."""
        closed = self._since(_CLOSED, reason=reason)
        return closed + self._since(_REFUSED, reason=reason)

    def records(self):
        """The guard_refused records."""
        return self._door.records("guard_refused")[self._num_records :]

    def wait(self, probe, what):
        """Waits until probe(self) is true."""
        polling.until(lambda: probe(self), what, _LIMIT_S)

    def _since(self, name, **labels):
        now = self._door.metrics().sum(name, **labels)
        return now - self._before.sum(name, **labels)
