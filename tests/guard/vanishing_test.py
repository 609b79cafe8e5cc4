# SPDX-License-Identifier: Apache-2.0
"""A moving client, or the gateway, goes at each step: both QEMUs live.

Links that wait at a destination are their own hazard: one that is missing when
the client takes over crashes it, and one that stays when main goes stalls it.
"""

from tests.guard import guard_case
from tests.guard import migrant
from tests.testbed import migration
from tests.testbed import runner
from tests.testbed.spiceclient import DISPLAY, INPUTS, MAIN, End


def _linked(client):
    """All links are there, and nobody has been told."""


def _reported(client):
    """The source knows, the guest stays."""
    client.report()


def _half_linked(client):
    """As if main and the display had been the first to be there."""
    client.destination[INPUTS].close()


def _taken(client):
    """The source is done; the display has heard nothing yet."""
    if client.seamless:
        client.destination[MAIN].send_message(5, client.let_go(MAIN))
    else:
        client.take_over()


def _moved(client):
    """All is done, the display has shown something or is about to."""
    if client.seamless:
        client.move()
    else:
        client.restart()


_BEFORE = (_linked, _reported, _half_linked)
_BEHIND = (_taken, _moved)


class VanishingTest(guard_case.GuardCase):
    def test_seamless_client(self):
        self._try_all(True, self._client_goes)

    def test_semi_seamless_client(self):
        self._try_all(False, self._client_goes)

    def test_seamless_gateway(self):
        self._try_all(True, self._gateway_goes)

    def test_semi_seamless_gateway(self):
        self._try_all(False, self._gateway_goes)

    def _try_all(self, seamless, go):
        for number, step in enumerate(_BEFORE + _BEHIND):
            with self.subTest(step=step.__name__):
                self._try(f"gateway{number}", seamless, step, go)

    def _try(self, name, seamless, step, go):
        word = "on" if seamless else "off"
        options = {"spice": [f"seamless-migration={word}"]}
        source = self.machine("min", **options)
        target = self.machine("min", incoming=True, **options)
        door = self.start_gateway([source.console("vm")], name=name)
        client = self._linked_client(door, source, target)
        if step in _BEHIND:
            client.report()
            migration.start(source, target.incoming_uri)
        step(client)
        go(door, client)
        for vm in (source, target):
            self.assert_unhurt(vm)
        if step in _BEFORE:
            migration.start(source, target.incoming_uri)
        migration.wait(source)
        client.close()
        self._check_served(target)
        door.stop()
        for vm in (source, target):
            self.assert_unhurt(vm)
            vm.stop()

    def _linked_client(self, door, source, target):
        where = {"port": door.port}
        client = migrant.Migrant(door.ticket("vm"), where, where)
        self.addCleanup(client.close)
        client.open()
        migration.announce(source, target)
        client.begun()
        client.link()
        return client

    def _client_goes(self, door, client):
        """All at once, as one that is killed; displays by RST."""
        client.destination[DISPLAY].end(End.RST)
        client.close()
        door.wait_no_sessions()

    def _gateway_goes(self, door, client):
        door.stop()  # asserts the exit code

    def _check_served(self, vm):
        # Not whether it is idle: QEMU keeps links for ever that still waited
        # when their main went.
        client = self.client_of(vm)
        client.open_main()
        self.assertIn((INPUTS, 0), client.channels_list())
        client.close()


if __name__ == "__main__":
    runner.main("qemu-system-x86_64")
