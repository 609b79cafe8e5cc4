# SPDX-License-Identifier: Apache-2.0
"""Viewers that vanish from a tunnel, and clients that mean harm inside one.

spice-server crashes when a display link closes before its INIT or right behind
it. Inside TLS nobody can see that moment, so a tunnel's server leg outlives a
client that has vanished. Plain SPICE inside CONNECT is guarded like any other.
"""

import ssl
import time

from tests.guard import culprit
from tests.guard import guard_case
from tests.guard import misdeeds
from tests.proxmox import proxy
from tests.proxmox import tunnel_case
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_QMP_LIMIT_S = 2
_INIT = spiceclient.message(
    spiceclient.DISPLAY_INIT, spiceclient.display_init()
)
_HAZARD_TRIES = 20
_NUM_KILLS = 30
_KILL_STEP_S = 0.015
_NUM_LEFT = 5  # a bare QEMU rarely lives through two
_LINGER_LIMIT_S = 90
_STALL_LIMIT_S = 40
_ENDS = (spiceclient.End.FIN, spiceclient.End.RST)


class TunnelClient(spiceclient.Client):
    """Each of its links goes through a CONNECT of its own."""

    def __init__(self, password, port, target, tls, *lines):
        """Notes the arguments of proxy.ask; `tls` is inside the tunnel."""
        super().__init__(password)
        self._ask = (port, target, *lines)
        self._tls = tls

    def link(self, channel, channel_id=0, **more):
        connected = proxy.ask(*self._ask).socket
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connected = context.wrap_socket(connected)
        return super().link(channel, channel_id, connected=connected, **more)


class _Case(tunnel_case.TunnelCase):
    def assert_unhurt(self, vm):
        self.assertTrue(vm.alive(), f"QEMU died\n{vm.process.tail()}")
        self.assertTrue(vm.answers(_QMP_LIMIT_S), "QMP does not answer")

    def leave_display(self, client, point, how):
        """Leaves a display so many bytes into its INIT, but not main."""
        client.open_main()
        link = client.link(spiceclient.DISPLAY)
        link.send(_INIT[:point])
        if point > len(_INIT):
            link.read_message()
        link.end(how)


class GoneTest(_Case):
    """Clients of a tunnel that leave at the display's worst moments."""

    def setUp(self):
        super().setUp()
        self.vm = self._desktop(1)
        self.made = self.node()

    def test_display_before_init(self):
        """QEMU waits 30 s for it: so long the display is not let go.

        Its monitor may wait with it, as it does at times without us.
        """
        client = self._client(self.vm)
        self.leave_display(client, 0, spiceclient.End.RST)

        def ended():
            self.assertTrue(self.vm.alive(), self.vm.process.tail())
            is_open = tunnel_case.open_channels(self.made.metrics())
            return is_open == {tunnel_case.TUNNEL: 1}

        polling.until(ended, "the display's end", _LINGER_LIMIT_S)
        self.assertTrue(self.vm.answers(_STALL_LIMIT_S))
        self.assertTrue(client.channels_list())
        self.assert_unhurt(self.vm)

    def test_everything_before_init(self):
        """The same, and main goes with it."""
        self._go(self.vm, len(_INIT) // 2, spiceclient.End.FIN)

        def ended():
            self.assertTrue(self.vm.alive(), self.vm.process.tail())
            return not tunnel_case.open_channels(self.made.metrics())

        polling.until(ended, "the tunnels' end", _LINGER_LIMIT_S)
        self.assertTrue(self.vm.answers(_STALL_LIMIT_S))
        self.vm.wait_idle()
        self.assert_unhurt(self.vm)

    def test_behind_init(self):
        for how in _ENDS:
            with self.subTest(how=how.value):
                for _ in range(_NUM_LEFT):
                    self._leave(len(_INIT), how)
        self.made.wait_no_sessions(_LINGER_LIMIT_S)
        self.vm.wait_idle()
        self.assert_unhurt(self.vm)

    def test_behind_the_first_message(self):
        for how in _ENDS:
            with self.subTest(how=how.value):
                self._leave(len(_INIT) + 1, how)

    def _desktop(self, number):
        vm = self.desktop(number, guest=None)
        self.arm(vm, "never")
        return vm

    def _client(self, vm):
        target = f"{self.ticket(vm)}:{vm.tls_port}"
        client = TunnelClient(
            vm.password, self.made.connect_port, target, True
        )
        self.addCleanup(client.close)
        return client

    def _go(self, vm, point, how):
        client = self._client(vm)
        self.leave_display(client, point, how)
        client.close()

    def _leave(self, point, how):
        self._go(self.vm, point, how)
        self.made.wait_metric(
            lambda m: not tunnel_case.open_channels(m),
            "the tunnels' end",
            _LINGER_LIMIT_S,
        )
        self.assert_unhurt(self.vm)


class ViewerKilledTest(_Case):
    """A real viewer, SIGKILLed at steps over its start."""

    def test_killed(self):
        names = ("DNS:desktop", "IP:127.0.0.1")
        vm = self.desktop(1, guest=None, names=names)
        self.arm(vm, "never")
        made = self.node([self.console(vm)])
        for i in range(_NUM_KILLS):
            stats = self._stats(made, vm, f"viewer{i}")
            time.sleep(i * _KILL_STEP_S)  # the delay under test
            stats.child.kill()
            self.assertTrue(vm.alive(), vm.process.tail())
        made.wait_no_sessions(_LINGER_LIMIT_S)
        self.assertTrue(vm.alive(), vm.process.tail())
        self.assertTrue(vm.answers(_STALL_LIMIT_S))
        opened = made.metrics().sum(
            "spicegate_channels_opened_total", channel=tunnel_case.TUNNEL
        )
        self.assertGreater(opened, _NUM_KILLS)

    def _stats(self, made, vm, name):
        target = viewer.Target(
            host="desktop",
            tls_port=vm.tls_port,
            password=vm.password,
            ca_path=self.authority.cert_path,
        )
        user = f"ticket:{made.ticket('desktop')}"
        url = f"http://{user}@127.0.0.1:{made.connect_port}"
        stats = viewer.Stats(self.directory, name, target, SPICE_PROXY=url)
        self.addCleanup(stats.stop)
        return stats


class BareTest(_Case):
    """The same without a gateway: what the linger is for."""

    def test_kills(self):
        vm = self.desktop(1, guest=None)
        self.arm(vm, "never")
        for point in (0, len(_INIT) // 2, len(_INIT)):
            for how in _ENDS:
                with self.subTest(point=point, how=how.value):
                    self._try_until_dead(vm, point, how)

    def _try_until_dead(self, vm, point, how):
        for _ in range(_HAZARD_TRIES):
            client = spiceclient.Client(
                vm.password, port=vm.tls_port, tls=True
            )
            self.addCleanup(client.close)
            self.leave_display(client, point, how)
            try:
                polling.until(lambda: not vm.alive(), "death", 1)
            except TimeoutError:
                continue
            vm.stop()
            vm.start()
            self.arm(vm, "never")
            return
        self.fail(f"QEMU survived {_HAZARD_TRIES} times: proves nothing")


class GuardTest(_Case):
    """Misdeeds in plain SPICE inside CONNECT do not arrive."""

    def test_misdeeds(self):
        vm = self.machine(1, guest=None)
        made = self.node([self.console(vm)])
        tried = [m for m in misdeeds.ALL if m.name == "FLUSH_MARK as it is"]
        self.assertTrue(tried)
        for misdeed in tried:
            channel = guard_case.CHANNEL_NAMES[misdeed.channel]
            with self.subTest(channel=channel):
                tally = guard_case.Tally(made)
                ticket = made.ticket("desktop")
                client = TunnelClient(
                    ticket, made.connect_port, f"{ticket}:5900", False
                )
                self.addCleanup(client.close)
                link = culprit.commit(client, misdeed)
                self.assertTrue(link.closed_by_peer())
                tally.wait(lambda t: t.records(), "a guard_refused record")
                client.close()
                made.wait_no_sessions()
                self.assertEqual(
                    tally.refusals(channel=channel, rule=misdeed.rule), 1
                )
                self.assert_unhurt(vm)


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-stats", "Xvfb", "openssl")
