# SPDX-License-Identifier: Apache-2.0
"""A guest moves to another node while its viewer looks on through CONNECT.

The viewer dials the new place through the same gateway. With Proxmox's tickets
QEMU's own password has to be good at that moment; consoles of kind "qmp" see to
it themselves. Who speaks plain SPICE inside CONNECT never learns that there is
a new place.
"""

import os
import socket

from tests.migration import checks
from tests.migration import move_case
from tests.proxmox import tunnel_case
from tests.testbed import gateway
from tests.testbed import migration
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import spiceclient

_CONNECTED, _FAILED = 111, 103
_CONSOLE_PORT = 5900  # what .vv files of via=connect say
# remote-viewer links webdav at a destination, which it leaves alone otherwise.
_MOVED = tunnel_case.CHANNELS | {(qemu.WEBDAV, 0)}
_HALF_CLOSE_MS = 3000
_EXPIRY_LIMIT_S = 60  # QEMU's clock says when, 20 s after it was set


class _Case(tunnel_case.TunnelCase):
    def node(self, consoles=(), **config):
        """The gateway; the viewer leaves the source's tunnels half open."""
        config.setdefault("limits", {"half_close_ms": _HALF_CLOSE_MS})
        return super().node(consoles, **config)

    def follow(self, window, source, destination, **announced):
        """A migration that the viewer comes along with, seamless."""
        before = source.connection_ids()
        self.announce(source, destination, **announced)
        self.wait_linked(window, destination, _MOVED)
        self.assertEqual(migration.answered(window.log()), [_CONNECTED])
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        self.check_key(window, destination, "k")
        migration.wait_viewers(source)
        source.wait_idle()
        self.assertEqual(set(destination.channels()), _MOVED)
        self.assertEqual(
            set(destination.connection_ids().values()), set(before.values())
        )
        self.check_key(window, destination, "j")

    def lose(self, window, source, destination, said, **announced):
        """A migration that the viewer cannot come along with.

        Args:
          said: its last words in its log.
        """
        self.announce(source, destination, **announced)
        self.until(
            lambda: migration.answered(window.log()) == [_FAILED],
            "the viewer's answer",
            window,
        )
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        self.until(lambda: said in window.log(), said, window)
        source.wait_idle()
        self.assertFalse(destination.channels())

    def check_one_session(self, made, num_channels):
        """At the end there is the destination's, and nothing else."""
        self.check_tunnels(made, num_channels)
        made.wait_metric(
            lambda m: m.sum("spicegate_sessions_open") == 1, "one session"
        )
        self.assertEqual(checks.refusals(made), {})


class ProxmoxTest(_Case):
    """Both tickets are Proxmox's, and so are both passwords."""

    def test_seamless(self):
        made, window, source, destination = self._begin()
        self.arm(destination, password=source.password)
        self.follow(window, source, destination, **self._second(destination))
        self.check_one_session(made, len(_MOVED))
        self.assertEqual(
            tunnel_case.answers(made),
            {200: len(tunnel_case.CHANNELS) + len(_MOVED)},
        )
        names = self._names(made)
        self.assertEqual(names, [f"pve/{100 + 2}@host2"])

    def test_seamless_through_https(self):
        made, window, source, destination = self._begin(https=True)
        self.arm(destination, password=source.password)
        self.follow(window, source, destination, **self._second(destination))
        self.check_one_session(made, len(_MOVED))

    def test_password_of_the_destination_has_expired(self):
        """The gateway lets it through twice; it is QEMU that says no.

        Proxmox starts the 30 s when the destination starts, and announces it
        when the disks are there. Inside TLS the gateway can change nothing.
        """
        made, window, source, destination = self._begin()
        self.arm(destination, "now", password=source.password)
        self.lose(
            window,
            source,
            destination,
            "auth failure",
            **self._second(destination),
        )
        self.assertEqual(len(destination.events("SPICE_CONNECTED")), 2)
        self.assertFalse(destination.events("SPICE_INITIALIZED"))
        self.assertEqual(
            tunnel_case.answers(made), {200: len(tunnel_case.CHANNELS) + 2}
        )
        self.assertEqual(checks.refusals(made), {})
        made.wait_no_sessions()

    def test_ticket_of_the_destination_is_old(self):
        """It is the gateway that says no."""
        made, window, source, destination = self._begin()
        self.arm(destination, password=source.password)
        old = self.ticket(destination, age_s=60)
        self.announce(source, destination, hostname=old, port=0)
        self.until(
            lambda: migration.answered(window.log()) == [_FAILED],
            "the viewer's answer",
            window,
        )
        made.wait_record("channel_refused", reason="proxmox_expired")
        self.assertFalse(destination.events("SPICE_CONNECTED"))
        self.check_key(window, source, "d")
        self.check_tunnels(made)

    def _begin(self, https=False):
        source, destination = self.desktop(2), self.desktop(3, incoming=True)
        made = self.node(https=https)
        window = self.open(
            self.vv(source, tunnel_case.url(made)),
            system_ca=self.authority.cert_path if https else None,
        )
        self.check_desktop(window, source)
        return made, window, source, destination

    def _second(self, destination):
        return {"hostname": self.ticket(destination), "port": 0}

    def _names(self, made):
        return [r["console"] for r in made.records("session_end")]


class QmpTest(_Case):
    """The gateway sets QEMU's passwords, and knows when they expire."""

    def test_destination_continues_the_source(self):
        made, window, source, destination = self._begin()
        ticket = made.ticket("destination", continues="source")
        self.follow(window, source, destination, hostname=ticket, port=0)
        self.check_one_session(made, len(_MOVED))

    def test_password_of_the_destination_expired_meanwhile(self):
        """It is set to expire anew when the viewer comes."""
        made, window, source, destination = self._begin()
        ticket = made.ticket("destination", continues="source")
        self.assertTrue(self._takes(destination))
        polling.until(
            lambda: not self._takes(destination),
            "the end of the password",
            _EXPIRY_LIMIT_S,
            1,
        )
        self.follow(window, source, destination, hostname=ticket, port=0)
        self.check_one_session(made, len(_MOVED))

    def test_destination_that_continues_nothing(self):
        """A ticket alone is not enough: the viewer has the other password.

        With its only tunnel the ticket's session has ended, so that there is
        no second try.
        """
        made, window, source, destination = self._begin()
        ticket = made.ticket("destination")
        said = "HTTP proxy connection not allowed"
        self.lose(window, source, destination, said, hostname=ticket, port=0)
        polling.until(
            lambda: checks.refusals(made) == {"connect_forbidden": 1},
            "the refusal",
            30,
        )

    def _begin(self):
        source, destination = self._machine(2), self._machine(3, True)
        made = self.node(
            [
                self._console(source, "source"),
                self._console(destination, "destination"),
            ]
        )
        body = made.vv("source", via="tunnel")
        self.password = gateway.vv_entries(body)["password"]
        window = self.open(body)
        self.check_desktop(window, source)
        self.check_tunnels(made)
        return made, window, source, destination

    def _machine(self, number, incoming=False):
        """With a second monitor, for the gateway alone."""
        monitor = f"unix:{self._monitor(number)},server=on,wait=off"
        return self.machine(
            number, incoming=incoming, extra=("-qmp", monitor)
        )

    def _monitor(self, number):
        return os.path.join(self.directory, f"monitor{number}")

    def _console(self, vm, name):
        number = vm.address.rpartition(".")[2]
        return {
            "name": name,
            "title": move_case.TITLE,
            "qmp": self._monitor(number),
            "ca_file": self.authority.cert_path,
            "host_subject": move_case.subject_of(vm),
        }

    def _takes(self, vm):
        """Whether QEMU takes the viewer's password now.

        Of a channel that nobody has a session for, which it refuses for that
        reason when the password is good.
        """
        connected = socket.create_connection((vm.address, vm.port))
        link = spiceclient.Link(connected=connected)
        try:
            reply = link.hello(spiceclient.INPUTS)
            result = link.ticket(reply, self.password)
        finally:
            link.close()
        self.assertIn(
            result,
            (spiceclient.BAD_CONNECTION_ID, spiceclient.PERMISSION_DENIED),
        )
        return result == spiceclient.BAD_CONNECTION_ID


class ConnectTest(_Case):
    """Plain SPICE inside CONNECT: the gateway speaks for both sides."""

    def test_seamless(self):
        self._check_moves(https=False)

    def test_seamless_through_https(self):
        self._check_moves(https=True)

    def _check_moves(self, https):
        source, destination = self.machine(2), self.machine(3, incoming=True)
        made = self.node([self.console(source)], https=https)
        window = self.open(
            made.vv("desktop", via="connect"),
            system_ca=self.authority.cert_path if https else None,
        )
        self.check_desktop(window, source)
        self.follow(window, source, destination)
        record = made.wait_record("migration")
        self.assertEqual(record["result"], migration.COMPLETED)
        self.assertEqual(
            checks.counts(made),
            {(migration.SEAMLESS, migration.COMPLETED): 1},
        )
        told = migration.told(window.log())
        self.assertEqual([to[:2] for to in told], [("desktop", _CONSOLE_PORT)])
        for secret in (
            destination.address,
            move_case.subject_of(destination),
        ):
            self.assertNotIn(secret, window.log())
        self.assertEqual(checks.refusals(made), {})
        self.assertEqual(checks.guarded(made), {})


if __name__ == "__main__":
    tunnel_case.need_own_files()
    runner.main(*tunnel_case.TOOLS)
