# SPDX-License-Identifier: Apache-2.0
"""Clients that leave a webdav channel before it has begun.

spice-server says the first word there by itself, from within the link; when
that fails, because the client has gone already, it crashes. Displays, which
have a hazard of their own, are tests/viewer's kill_test.
"""

from tests.guard import guard_case
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed.spiceclient import WEBDAV, End

_TRIES = 40  # one in six or so kills
_ROUNDS = 15


def _behind_ticket(client):
    link = spiceclient.Link(**client.where)
    reply = link.hello(WEBDAV, 0, client.connection_id)
    link.send_ticket(reply, client.password)
    return link


def _behind_result(client):
    return client.link(WEBDAV)


def _behind_nonsense(client):
    link = client.link(WEBDAV)
    link.send_message(999)
    return link


_POINTS = (_behind_ticket, _behind_result, _behind_nonsense)


class DirectTest(guard_case.GuardCase):
    def test_leaving_webdav_kills(self):
        for how in (End.FIN, End.RST):
            with self.subTest(how=how.value):
                self._try_until_dead(self.machine("full"), how)

    def _try_until_dead(self, vm, how):
        for _ in range(_TRIES):
            client = self.client_of(vm)
            client.open_main()
            _behind_ticket(client).end(how)
            try:
                polling.until(lambda: not vm.alive(), "death", 0.1)
                return
            except TimeoutError:
                client.close()
        self.fail(f"QEMU survived {_TRIES} times: proves nothing")


class GatewayTest(guard_case.GuardCase):
    """The gateway stays until the server has said its word."""

    def test_plain(self):
        self._leave_and_leave(False, tls_port=None, ca_file=None)

    def test_tls_on_both_sides(self):
        self._leave_and_leave(True)

    def test_gateway_is_stopped(self):
        """SIGTERM, while channels begin."""
        vm = self.machine("full")
        for number in range(3):
            door = self.start_gateway(
                [vm.console("vm")], name=f"gateway{number}"
            )
            client = self.client_by(door, "vm")
            client.open_main()
            link = _behind_ticket(client)
            door.stop()  # asserts the exit code
            link.close()
            client.close()
            self._check_idle(vm)

    def _leave_and_leave(self, tls, **changes):
        vm = self.machine("full")
        door = self.start_gateway([vm.console("vm", **changes)])
        for point in _POINTS:
            for how in End:
                with self.subTest(point=point.__name__, how=how.value):
                    for _ in range(_ROUNDS):
                        self._leave(door, tls, point, how)
                self.assert_unhurt(vm)
        door.wait_no_sessions()
        self._check_idle(vm)

    def _leave(self, door, tls, point, how):
        client = self.client_by(door, "vm", tls)
        client.open_main()
        link = point(client)
        link.end(how)
        client.close()
        link.close()

    def _check_idle(self, vm):
        self.assert_unhurt(vm)
        vm.wait_idle()
        self.assert_unhurt(vm)


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "openssl")
