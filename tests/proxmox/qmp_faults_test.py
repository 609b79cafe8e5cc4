# SPDX-License-Identifier: Apache-2.0
"""Monitors that hang, die or talk nonsense delay their own console only."""

import http.client
import os
import select
import signal

from tests.proxmox import fake_qmp
from tests.proxmox import qmp_case
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import spiceclient

_TRIES_TO_OPEN = 3  # failures in a row until the breaker opens
_ANSWER_LIMIT_S = 15
_WAIT_LIMIT_S = 60


class _Case(qmp_case.QmpCase):
    def fake(self, name, port=1, **how):
        """A fake_qmp.FakeQmp as the monitor of the machine of this name."""
        made = fake_qmp.FakeQmp(self.socket_of(name), port, **how)
        self.addCleanup(made.close)
        return made

    def ask(self, made, console, what="ticket"):
        """Asks for this without waiting; returns the connection."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", made.admin, timeout=_ANSWER_LIMIT_S
        )
        self.addCleanup(connection.close)
        connection.request("POST", f"/v1/consoles/{console}/{what}")
        return connection

    def check_good(self, made, vm):
        """A new ticket of the other console works."""
        client = self.through(made, "good")
        vm.wait_channels(qmp_case.open_channels(client))
        client.close()


class HangTest(_Case):
    """The others are served while one console's monitor does not answer."""

    def test_no_greeting(self):
        self._check("greeting")

    def test_no_answer_to_a_command(self):
        self._check("set_password")

    def test_another_client_is_served(self):
        """Somebody else's connection, such as a management program's."""
        vm = self.desktop("good")
        other = self.desktop("bad")
        made = self._start()
        with _Occupied(self.socket_of("bad")):
            self._check_order(made, vm)
        self.assertTrue(self.wait_ticket(made, "bad"))
        self.assertTrue(other.alive())

    def test_a_stopped_qemu(self):
        vm = self.desktop("good")
        stopped = self.desktop("bad")
        made = self._start()
        made.ticket("bad")
        stopped.process.send_signal(signal.SIGSTOP)
        self.addCleanup(stopped.process.send_signal, signal.SIGCONT)
        self._check_order(made, vm)
        for _ in range(_TRIES_TO_OPEN - 1):
            self.assert_no_ticket(made, "bad")
        self.check_breaker(made, True)
        polling.until(lambda: self._rejects(made), "a rejection", 30)
        self.check_good(made, vm)

        stopped.process.send_signal(signal.SIGCONT)
        client = self.through(made, "bad", self.wait_ticket(made, "bad"))
        stopped.wait_channels(qmp_case.open_channels(client))
        self.check_breaker(made, False)

    def test_a_qemu_that_waits_for_a_display(self):
        """Who ends a display before its INIT makes QEMU wait for 30 s.

        Now and then it does by itself. The gateway gives up sooner, and says
        so: it can be asked again.
        """
        vm = self.desktop("good")
        waiting_vm = self.desktop("bad")
        made = self._start()
        stranger = self.direct(waiting_vm, qemu.PASSWORD)
        stranger.open_main()
        stranger.link(spiceclient.DISPLAY)
        qmp_case.wait_display(waiting_vm)
        self._check_order(made, vm, "disconnect")
        self.assertTrue(waiting_vm.answers(_WAIT_LIMIT_S))
        polling.until(
            lambda: self._disconnected(made, "bad"), "a disconnect", 30, 0.2
        )
        waiting_vm.wait_idle()
        self.assertTrue(stranger.links[0].closed_by_peer())
        self.assert_refuses(waiting_vm, qemu.PASSWORD)
        self.check_good(made, vm)

    def _disconnected(self, made, console):
        path = f"/v1/consoles/{console}/disconnect"
        return made.request("POST", path).status == 200

    def _start(self):
        return self.start_gateway([self.console("good"), self.console("bad")])

    def _check(self, fails_at):
        vm = self.desktop("good")
        self.fake("bad", fails_at=fails_at)
        made = self._start()
        self._check_order(made, vm)
        record = made.wait_record("qmp_failed")
        self.assertEqual(record["console"], "bad")
        self.assertEqual(len(made.records("qmp_failed")), 1)

    def _check_order(self, made, vm, what="ticket"):
        """The good console is served while the bad one's request waits."""
        waiting = self.ask(made, "bad", what)
        before = qmp_case.qmp_commands(made, "timeout")
        client = self.through(made, "good")
        ready, _, _ = select.select([waiting.sock], [], [], 0)
        self.assertFalse(ready, "the good console waited for the bad one")
        answer = waiting.getresponse()
        self.assertEqual(answer.status, 503, answer.read())
        self.assertEqual(qmp_case.qmp_commands(made, "timeout"), before + 1)
        vm.wait_channels(qmp_case.open_channels(client))
        client.close()

    def _rejects(self, made):
        """Whether the breaker answers; in between it lets somebody try."""
        before = qmp_case.qmp_commands(made, "rejected")
        self.assert_no_ticket(made, "bad")
        return qmp_case.qmp_commands(made, "rejected") > before

    def check_breaker(self, made, is_open):
        state = "open" if is_open else "closed"
        made.wait_record("qmp_breaker", console="bad", state=state)
        self.assertEqual(
            made.metrics().sum("spicegate_qmp_breakers_open"), int(is_open)
        )


class DyingTest(_Case):
    """Monitors that go, and come again."""

    def test_the_connection_ends_in_the_middle_of_an_answer(self):
        self._check_fake("expire_password", "close", "gone")

    def test_garbage(self):
        self._check_fake("query-spice", "garbage", "gone")

    def test_a_line_without_end(self):
        self._check_fake("query-spice", "long", "gone")

    def test_no_socket(self):
        made = self.start_gateway([self.console()])
        self.assert_no_ticket(made)
        self.assertEqual(qmp_case.qmp_commands(made, "gone"), 1)
        vm = self.desktop()
        self._check_works(made, vm)

    def test_qemu_is_started_again(self):
        """Also once the breaker is open: the socket is another one then."""
        for monitor in ("shared", "own"):
            with self.subTest(monitor=monitor):
                name = f"desktop-{monitor}"
                vm = self.desktop(name)
                made = self.start_gateway(
                    [self.console(name, qmp_monitor=monitor)], name=monitor
                )
                made.ticket(name)
                vm.process.kill()
                vm.stop()
                self.assertTrue(os.path.exists(self.socket_of(name)))
                for _ in range(_TRIES_TO_OPEN):
                    self.assert_no_ticket(made, name)
                made.wait_record("qmp_breaker", state="open")
                os.unlink(self.socket_of(name))
                self.assert_no_ticket(made, name)
                vm.start()
                self._check_works(made, vm, name)
                made.wait_record("qmp_breaker", state="closed")
                made.stop()

    def _check_fake(self, fails_at, how, result):
        fake = self.fake("desktop", fails_at=fails_at, how=how)
        made = self.start_gateway([self.console()])
        self.assert_no_ticket(made)
        self.assertEqual(qmp_case.qmp_commands(made, result), 1)
        self.assertIn(fails_at, fake.commands)
        self.assertEqual(made.wait_record("qmp_failed")["command"], fails_at)
        fake.close()
        vm = self.desktop()
        self._check_works(made, vm)

    def _check_works(self, made, vm, console="desktop"):
        client = self.through(made, console, self.wait_ticket(made, console))
        vm.wait_channels(qmp_case.open_channels(client))
        client.close()


class _Occupied:
    """Keeps a monitor busy: it is greeted, and says nothing."""

    def __init__(self, path):
        self._path = path
        self._monitor = None

    def __enter__(self):
        self._monitor = polling.until(self._connect, "a free monitor")

    def __exit__(self, *_):
        self._monitor.close()

    def _connect(self):
        return qmp_case.connect_monitor(self._path)


if __name__ == "__main__":
    runner.main("qemu-system-x86_64")
