# SPDX-License-Identifier: Apache-2.0
"""What a ticket opens, and what happens without a good one.

A viewer that gets result 7 asks its user for another password (event 23), so
that answer is for bad tickets only: a hypervisor that is down must look like
one (event 22).
"""

import concurrent.futures
import os
import time

from tests.testbed import case
from tests.testbed import polling
from tests.testbed import ports
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_NUM_ROUNDS = 10
_CHANNELS = [(qemu.MAIN, 0), (qemu.DISPLAY, 0)]


class RefusedTest(case.Case):
    """Viewers that come without a ticket that is good."""

    def setUp(self):
        super().setUp()
        self.vm = self.start_vm("vm")

    def test_wrong_tickets(self):
        gateway = self.start_gateway([self.vm.console()])
        good = gateway.ticket("vm")
        other = "0" if good[-1] != "0" else "1"
        self._refused(gateway, "never issued", "A" * len(good))
        self._refused(gateway, "changed", good[:-1] + other)
        self._refused(gateway, "cut short", good[:-1])
        self._refused(gateway, "too long", good + "A")
        self._refused(gateway, "console", "vm")
        self._refused(gateway, "hypervisor", self.vm.password)
        self._refused(gateway, "missing", None)
        self.assertFalse(self.vm.channels())
        # None of it has used up the good one.
        shot = viewer.screenshot(
            self.directory, "good", gateway.target("vm", ticket=good)
        )
        self.assertEqual(shot.code, 0, shot.text)

    def test_expired_ticket(self):
        gateway = self.start_gateway(
            [self.vm.console()], tickets={"first_use_s": 1}
        )
        ticket = gateway.ticket("vm")
        end = time.monotonic() + 1  # it began before that
        polling.until(lambda: time.monotonic() >= end, "end of the ticket")
        self._refused(gateway, "expired", ticket)

    def test_over_tls(self):
        gateway = self.start_gateway([self.vm.console()])
        target = gateway.target("vm", tls=True, ticket="A" * 48)
        shot = viewer.screenshot(self.directory, "wrong", target)
        self.assertEqual((shot.code, shot.event), (1, viewer.AUTH), shot.text)

    def _refused(self, gateway, what, ticket):
        before = _refusals(gateway, "bad_ticket")
        target = viewer.Target(port=gateway.port, password=ticket)
        with self.subTest(what):
            shot = viewer.screenshot(self.directory, "refused", target)
            self.assertEqual(
                (shot.code, shot.event), (1, viewer.AUTH), shot.text
            )
            polling.until(
                lambda: _refusals(gateway, "bad_ticket") == before + 1,
                "the refusal in the metrics",
            )
        gateway.wait_record("channel_refused", reason="bad_ticket")


class DeadServerTest(case.Case):
    """A hypervisor that is not there is never a wrong password."""

    def test_nobody_listens(self):
        (port,) = ports.pick()
        consoles = [
            {"name": "tcp", "host": "127.0.0.1", "port": port},
            {
                "name": "unix",
                "unix": os.path.join(self.directory, "nobody.spice"),
            },
        ]
        gateway = self.start_gateway(consoles)
        for count, console in enumerate(["tcp", "unix"], 1):
            with self.subTest(console):
                self._fails(gateway, gateway.target(console), count)

    def test_killed_behind_the_ticket(self):
        vm = self.start_vm("vm")
        gateway = self.start_gateway([vm.console()])
        target = gateway.target("vm")
        vm.process.kill()
        self._fails(gateway, target, 1)

    def _fails(self, gateway, target, count):
        shot = viewer.screenshot(self.directory, "dead", target)
        self.assertEqual((shot.code, shot.event), (1, viewer.LINK), shot.text)
        polling.until(
            lambda: _refusals(gateway, "server_connect") == count,
            "the refusal in the metrics",
        )
        self.assertEqual(_refusals(gateway, "bad_ticket"), 0)


class TwoVmsTest(case.Case):
    """Two desktops that look different behind one gateway."""

    def setUp(self):
        super().setUp()
        self.vms = [
            self.start_vm("one", guest="gradient"),
            self.start_vm("two", guest="gradient2"),
        ]
        self.gateway = self.start_gateway([v.console() for v in self.vms])

    def test_sessions_at_once_never_mix(self):
        wanted = [self._reference(vm) for vm in self.vms]
        self.assertNotEqual(*wanted)
        for number in range(_NUM_ROUNDS):
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                shots = list(pool.map(self._shot, self.vms))
            for vm, shot, picture in zip(self.vms, shots, wanted):
                self.assertEqual(shot.code, 0, shot.text)
                self.assertTrue(
                    shot.bytes() == picture,
                    f"round {number}: not the picture of {vm.name}",
                )

    def test_sessions_side_by_side(self):
        one, two = self.vms
        stats = viewer.Stats(
            self.directory, "beside", self.gateway.target("one")
        )
        self.addCleanup(stats.stop)
        one.wait_channels(_CHANNELS)
        before = one.channels()
        shot = self._shot(two)
        self.assertEqual(shot.code, 0, shot.text)
        self.assertTrue(shot.bytes() == self._reference(two))
        self.assertEqual(one.channels(), before)  # it was left alone

    def test_ticket_of_one_is_useless_for_the_other(self):
        one, two = (self._client(vm) for vm in self.vms)
        self.assertNotEqual(one.connection_id, two.connection_id)
        thief = spiceclient.Client(one.password, port=self.gateway.port)
        self.addCleanup(thief.close)
        thief.connection_id = two.connection_id
        for channel in (spiceclient.INPUTS, spiceclient.CURSOR):
            with self.assertRaisesRegex(PermissionError, "result 8"):
                thief.link(channel)
        polling.until(
            lambda: _refusals(self.gateway, "bad_connection_id") == 2,
            "both refusals in the metrics",
        )
        for vm in self.vms:
            self.assertEqual(set(vm.channels()), {(qemu.MAIN, 0)})
        one.link(spiceclient.CURSOR)  # while its own is fine
        self.vms[0].wait_channels([(qemu.CURSOR, 0)])
        self.assertEqual(set(self.vms[1].channels()), {(qemu.MAIN, 0)})

    def _reference(self, vm):
        path = vm.screendump(os.path.join(self.directory, vm.name + ".ref"))
        with open(path, "rb") as stream:
            return stream.read()

    def _shot(self, vm):
        return viewer.screenshot(
            self.directory, "shot-" + vm.name, self.gateway.target(vm.name)
        )

    def _client(self, vm):
        ticket = self.gateway.ticket(vm.name)
        client = spiceclient.Client(ticket, port=self.gateway.port)
        self.addCleanup(client.close)
        client.open_main()
        return client


class ReuseTest(case.Case):
    """A ticket lives as long as its session."""

    def setUp(self):
        super().setUp()
        self.vm = self.start_vm("vm")
        self.gateway = self.start_gateway([self.vm.console()])
        self.target = self.gateway.target("vm")

    def test_while_the_session_lives_it_is_replaced(self):
        first = self._viewer("first")
        second = viewer.Stats(self.directory, "second", self.target)
        self.addCleanup(second.stop)
        self.assertEqual(first.wait_end(), viewer.CLOSED)
        self.gateway.wait_record("session_end", reason="replaced")
        self.vm.wait_channels(_CHANNELS)
        self.assertTrue(second.child.running(), second.child.tail())
        self.assertEqual(
            self.gateway.metrics().sum("spicegate_sessions_open"), 1
        )

    def test_after_the_session_it_is_refused(self):
        self._viewer("first").stop()
        self.gateway.wait_no_sessions()
        shot = viewer.screenshot(self.directory, "again", self.target)
        self.assertEqual((shot.code, shot.event), (1, viewer.AUTH), shot.text)
        polling.until(
            lambda: _refusals(self.gateway, "bad_ticket") == 1,
            "the refusal in the metrics",
        )

    def _viewer(self, name):
        stats = viewer.Stats(self.directory, name, self.target)
        self.addCleanup(stats.stop)
        self.vm.wait_channels(_CHANNELS)
        return stats


def _refusals(gateway, reason):
    return gateway.metrics().sum(
        "spicegate_links_refused_total", reason=reason
    )


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-screenshot", "spicy-stats")
