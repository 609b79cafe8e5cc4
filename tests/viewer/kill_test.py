# SPDX-License-Identifier: Apache-2.0
"""No viewer, however it leaves, hurts the QEMU behind the gateway.

spice-server crashes when a display link closes before its INIT or right behind
it, and keeps QEMU's main loop for half a minute when the session ends while the
display waits for INIT. HazardTest shows both on a bare QEMU; the other classes
do the same things, and more, through the gateway.
"""

import concurrent.futures
import signal
import time

from tests.testbed import case
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_NUM_KILLS = 200
_KILL_STEP_S = 0.005  # the last viewer lives 0.995 s
_NUM_VMS = 4
_QMP_LIMIT_S = 2
_HAZARD_TRIES = 20
# The gateway's own deadline is 37 s (kStopDeadlineMs); a broken one ends here.
_STOP_LIMIT_S = 37 + 23

_INIT = spiceclient.message(
    spiceclient.DISPLAY_INIT, spiceclient.display_init()
)
_ENDS = tuple(spiceclient.End)


# What a display client has done when it leaves. Each takes a Client whose main
# channel is open and returns the display's link.


def _before_result(client):
    link = spiceclient.Link(**client.where)
    reply = link.hello(spiceclient.DISPLAY, 0, client.connection_id)
    link.send_ticket(reply, client.password)
    return link


def _before_init(client):
    return client.link(spiceclient.DISPLAY)


def _half_init(client):
    link = client.link(spiceclient.DISPLAY)
    link.send(_INIT[: len(_INIT) // 2])
    return link


def _behind_init(client):
    link = client.link(spiceclient.DISPLAY)
    link.send(_INIT)
    return link


def _init_with_ticket(client):
    link = spiceclient.Link(**client.where)
    reply = link.hello(spiceclient.DISPLAY, 0, client.connection_id)
    link.send_ticket(reply, client.password, behind=_INIT)
    link.result()
    return link


_POINTS = (
    _before_result,
    _before_init,
    _half_init,
    _behind_init,
    _init_with_ticket,
)
_WAITING = (_before_init, _half_init)  # INIT is still to come

# What spice-server closes a display channel for.
_REFUSED = {
    "unknown type": spiceclient.message(999, b"?" * 8),
    "short body": spiceclient.message(spiceclient.ACK_SYNC, b"?"),
    "second INIT cut short": spiceclient.message(
        spiceclient.DISPLAY_INIT, b"?"
    ),
    "longer than allowed": spiceclient.message(
        spiceclient.PONG, b"?" * 60000
    ),
}


def _displays_opened(numbers):
    return numbers.sum("spicegate_channels_opened_total", channel="display")


def _display_ends(numbers):
    """{outcome: how many displays ended so}."""
    return numbers.by("spicegate_display_safe_end_total", "outcome")


class _GatewayCase(case.Case):
    """One gateway; every case ends with the look at its numbers."""

    def client(self, door, vm, tls=False):
        """A client with its main channel open."""
        client = spiceclient.Client(
            door.ticket(vm.name),
            port=door.tls_port if tls else door.port,
            tls=tls,
        )
        self.addCleanup(client.close)
        client.open_main()
        return client

    def assert_unhurt(self, vm):
        self.assertTrue(vm.alive(), f"QEMU died\n{vm.process.tail()}")
        self.assertTrue(
            vm.answers(_QMP_LIMIT_S),
            f"QMP of {vm.name} does not answer within {_QMP_LIMIT_S} s",
        )

    def assert_unhurt_when_idle(self, vm):
        """The same until the last channel has gone, and behind that."""
        self.assert_unhurt(vm)
        vm.wait_idle()
        self.assert_unhurt(vm)

    def assert_all_over(self, door):
        """Waits for the end of everything; returns the metrics then.

        Every display that was opened has ended in one of the safe ways.
        """
        door.wait_no_sessions()
        numbers = door.wait_metric(
            lambda m: not m.sum("spicegate_links_open") and m,
            "end of all links",
        )
        for channel, count in numbers.by(
            "spicegate_channels_open", "channel"
        ).items():
            self.assertEqual(count, 0, channel)
        ends = _display_ends(numbers)
        self.assertEqual(ends["timed_out"], 0, ends)
        safe = ends["not_needed"] + ends["waited"] + ends["server_ended"]
        self.assertEqual(safe, _displays_opened(numbers), ends)
        self.assertEqual(
            numbers.sum("spicegate_completions_dropped_total"), 0
        )
        return numbers


class ViewerKilledTest(_GatewayCase):
    """A real viewer, SIGKILLed at every moment of its first second."""

    def test_killed_in_its_first_second(self):
        vms = [self.start_vm(f"vm{i}") for i in range(_NUM_VMS)]
        door = self.start_gateway([vm.console() for vm in vms])
        with concurrent.futures.ThreadPoolExecutor(_NUM_VMS) as pool:
            series = [
                pool.submit(self._kill_series, door, vm, first)
                for first, vm in enumerate(vms)
            ]
        self.assertEqual(sum(s.result() for s in series), _NUM_KILLS)
        numbers = self.assert_all_over(door)
        for vm in vms:
            self.assert_unhurt(vm)
        # Most viewers lived long enough for a display of their own. At which
        # point of its start each was hit is chance; ClientGoneTest aims.
        self.assertGreater(_displays_opened(numbers), _NUM_KILLS // 4)

    def _kill_series(self, door, vm, first):
        """Every _NUM_VMS-th delay, at this machine; returns how many."""
        delays = range(first, _NUM_KILLS, _NUM_VMS)
        for i in delays:
            stats = viewer.Stats(
                self.directory, f"{vm.name}-{i}", door.target(vm.name)
            )
            time.sleep(i * _KILL_STEP_S)  # the delay under test
            stats.child.kill()
            self.assert_unhurt_when_idle(vm)
        return len(delays)


class ClientGoneTest(_GatewayCase):
    """Clients that leave a display at its worst moments."""

    def setUp(self):
        super().setUp()
        self.vm = self.start_vm("plain")
        self.door = self.start_gateway([self.vm.console()])
        self.tls = False

    def test_display_closed(self):
        for point in _POINTS:
            for how in _ENDS:
                with self.subTest(point=point.__name__, how=how.value):
                    self._leave(point, how)
        numbers = self.assert_all_over(self.door)
        ends = _display_ends(numbers)
        # The QEMU stayed: it is the gateway that chose the moment.
        self.assertEqual(ends["server_ended"], 0, ends)
        # Of the two points with a whole INIT, FIN and half-close did reach the
        # QEMU; an RST may take its INIT with it.
        self.assertIn(_displays_opened(numbers), (4, 5, 6), ends)

    def test_display_closed_and_main_at_once(self):
        for point in _POINTS:
            for how in _ENDS:
                with self.subTest(point=point.__name__, how=how.value):
                    client = self._client()
                    link = point(client)
                    link.end(how)
                    client.close()
                    self.assert_unhurt_when_idle(self.vm)
                    link.close()
        self.assert_all_over(self.door)

    def test_main_closed_while_display_waits(self):
        for point in _WAITING:
            for how in _ENDS:
                with self.subTest(point=point.__name__, how=how.value):
                    self._leave_main(point, how)
        self.assert_all_over(self.door)

    def test_main_replaced_while_display_waits(self):
        for point in _WAITING:
            with self.subTest(point=point.__name__):
                client = self._client()
                link = point(client)
                second = spiceclient.Client(client.password, **client.where)
                self.addCleanup(second.close)
                second.open_main()
                self.assert_unhurt(self.vm)
                closed = link.closed_by_peer()
                client.close()
                second.close()
                self.assert_unhurt_when_idle(self.vm)
                self.assertTrue(closed, "the display outlives its main")
        self.assert_all_over(self.door)

    def test_init_and_a_refused_message(self):
        for what, data in _REFUSED.items():
            with self.subTest(what):
                client = self._client()
                link = client.link(spiceclient.DISPLAY)
                link.send(_INIT + data)
                self.assertTrue(link.closed_by_peer())
                self.assert_unhurt(self.vm)
                client.close()
                self.assert_unhurt_when_idle(self.vm)
        self.assert_all_over(self.door)

    def _client(self):
        return self.client(self.door, self.vm, self.tls)

    def _leave(self, point, how):
        client = self._client()
        link = point(client)
        link.end(how)
        self.assert_unhurt(self.vm)
        # Main goes on, and of the display nothing stays.
        self.door.wait_metric(
            lambda m: m.sum("spicegate_links_open") == 1
            and not m.sum("spicegate_channels_open", channel="display"),
            "end of the display",
        )
        polling.until(
            lambda: set(self.vm.channels()) == {(spiceclient.MAIN, 0)},
            "main alone at the QEMU",
        )
        client.close()
        link.close()
        self.assert_unhurt_when_idle(self.vm)

    def _leave_main(self, point, how):
        client = self._client()
        link = point(client)
        main = client.links[0]
        main.end(how)
        self.assert_unhurt(self.vm)
        main.close()
        closed = link.closed_by_peer()
        client.close()
        self.assert_unhurt_when_idle(self.vm)
        self.assertTrue(closed, "the display outlives its main")


class TlsClientGoneTest(ClientGoneTest):
    """The same with TLS on both sides of the gateway."""

    def setUp(self):
        _GatewayCase.setUp(self)
        authority = pki.Authority(self.directory)
        self.vm = self.start_vm(
            "secured", "tls", x509_dir=authority.x509_dir()
        )
        self.door = self.start_gateway([self.vm.console()])
        self.tls = True


class GatewayStoppedTest(_GatewayCase):
    """SIGTERM for the gateway while displays are at each of the points."""

    def test_stopped_with_displays_at_each_point(self):
        vms = [self.start_vm(p.__name__.strip("_")) for p in _POINTS]
        door = self.start_gateway([vm.console() for vm in vms])
        links = []
        for vm, point in zip(vms, _POINTS):
            links.append(point(self.client(door, vm)))
        door.process.send_signal(signal.SIGTERM)

        def stopped():
            for vm in vms:
                self.assert_unhurt(vm)
            return not door.process.running()

        polling.until(stopped, "the gateway's end", _STOP_LIMIT_S)
        for vm, link in zip(vms, links):
            self.assert_unhurt_when_idle(vm)
            self.assertTrue(link.closed_by_peer())
            link.close()
        door.stop()  # asserts the exit code


class HazardTest(case.Case):
    """The same clients at QEMU itself: what the gateway protects from."""

    def setUp(self):
        super().setUp()
        self.vm = self.start_vm("bare")

    def test_closing_before_init_kills(self):
        self._assert_kills(_before_init)

    def test_closing_behind_init_kills(self):
        self._assert_kills(_behind_init)

    def test_main_closed_while_display_waits_blocks_qmp(self):
        for _ in range(_HAZARD_TRIES):
            client = self._client()
            _before_init(client)
            client.links[0].end(spiceclient.End.FIN)
            blocked = self._stops_answering()
            self.vm.process.kill()  # it might not hear SIGTERM now
            if blocked:
                return
            # Its display thread was not waiting yet.
            self.vm.stop()
            self.vm.start().wait_painted()
        self.fail(f"QMP answered {_HAZARD_TRIES} times: proves nothing")

    def _stops_answering(self):
        try:
            polling.until(
                lambda: not self.vm.answers(_QMP_LIMIT_S), "silence", 1
            )
        except TimeoutError:
            return False
        return self.vm.alive()

    def _client(self):
        client = spiceclient.Client(self.vm.password, port=self.vm.port)
        self.addCleanup(client.close)
        client.open_main()
        return client

    def _assert_kills(self, point):
        for how in _ENDS:
            with self.subTest(how=how.value):
                if not self.vm.alive():
                    self.vm.stop()
                    self.vm.start().wait_painted()
                self._try_until_dead(point, how)

    def _try_until_dead(self, point, how):
        for _ in range(_HAZARD_TRIES):
            client = self._client()
            link = point(client)
            link.end(how)
            try:
                polling.until(lambda: not self.vm.alive(), "death", 1)
                return
            except TimeoutError:
                pass
            finally:
                link.close()
                client.close()
        self.fail(f"QEMU survived {_HAZARD_TRIES} times: proves nothing")


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-stats", "openssl")
