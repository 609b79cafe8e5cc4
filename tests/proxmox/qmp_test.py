# SPDX-License-Identifier: Apache-2.0
"""Consoles of kind "qmp" on real QEMUs: passwords that live for seconds."""

import os

from tests.proxmox import qmp_case
from tests.testbed import gateway
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import qmp
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_SPICE = {"protocol": "spice"}
_PASSWORD_LEN = 40
_LONGEST_LEN = 59
# What remote-viewer opens on a machine with every device; webdav is opened
# once the user shares a folder.
_CHANNELS = {
    *((qemu.MAIN, 0), (qemu.DISPLAY, 0), (qemu.INPUTS, 0), (qemu.CURSOR, 0)),
    *((qemu.PLAYBACK, 0), (qemu.RECORD, 0)),
    *((qemu.USBREDIR, 0), (qemu.USBREDIR, 1)),
}


class QemuTest(qmp_case.QmpCase):
    """QEMU alone: what the passwords have to reckon with."""

    def test_lengths(self):
        """One more than it can hold is accepted, and lets nobody in."""
        vm = self.desktop()
        longest = "a" * _LONGEST_LEN
        vm.qmp.command("set_password", password=longest, **_SPICE)
        self.assert_takes(vm, longest)
        vm.qmp.command("set_password", password=longest + "b", **_SPICE)
        self.assert_refuses(vm, longest + "b")
        with self.assertRaises(qmp.QmpError):
            vm.qmp.command("set_password", password=longest + "bc", **_SPICE)

    def test_an_expiry_outlasts_its_password(self):
        vm = self.desktop()
        vm.qmp.command("expire_password", time="now", **_SPICE)
        self.assert_refuses(vm, qemu.PASSWORD)
        vm.qmp.command("set_password", password="next", **_SPICE)
        self.assert_refuses(vm, "next")
        vm.qmp.command("expire_password", time="+60", **_SPICE)
        self.assert_takes(vm, "next")

    def test_a_display_without_its_init_stops_the_monitor(self):
        """Who asks it to end that display waits 30 s, and all of QEMU does."""
        vm = self.desktop()
        client = self.direct(vm, qemu.PASSWORD)
        client.open_main()
        client.link(spiceclient.DISPLAY)
        qmp_case.wait_display(vm)
        with self.assertRaises(TimeoutError):
            vm.qmp.command(
                "set_password",
                limit_s=2,
                password="next",
                connected="disconnect",
                **_SPICE,
            )


class PasswordTest(qmp_case.QmpCase):
    def test_the_ticket_replaces_the_password(self):
        """Of the moment before, which nobody can use any more."""
        vm = self.desktop()
        made = self.start_gateway([self.console()])
        self.assert_takes(vm, qemu.PASSWORD)
        ticket = made.ticket("desktop")
        self.assert_refuses(vm, qemu.PASSWORD)
        self.assert_refuses(vm, ticket)
        opened = qmp_case.open_channels(self.through(made, ticket=ticket))
        vm.wait_channels(opened)

    def test_a_password_works_in_its_time_and_no_longer(self):
        vm = self.desktop(kind="full")
        made = self._start_tunnelling()
        first = self._password(made)
        self.assertEqual(len(first), _PASSWORD_LEN)
        self.direct(vm, first).open_main()
        second = self._password(made)
        self.assertNotEqual(first, second)
        self.assert_refuses(vm, first)
        self.assert_takes(vm, second)
        self.wait_expired(vm, second)
        # A ticket that comes later brings a later expiry with it.
        self.assert_takes(vm, self._password(made))
        for password in (first, second):
            self.assertNotIn(password, made.process.errors())

    def test_late_channels_open_after_the_expiry(self):
        vm = self.desktop(kind="full")
        made = self._start_tunnelling()
        client = self.through(made)
        client.open_main()
        password = self._password(made)  # of now: the ticket's is not shown
        self.wait_expired(vm, password)
        for channel in (spiceclient.INPUTS, spiceclient.CURSOR):
            client.link(channel)
        vm.wait_channels(
            {(qemu.MAIN, 0), (qemu.INPUTS, 0), (qemu.CURSOR, 0)}
        )
        self.assert_takes(vm, password)
        self.wait_expired(vm, password)

    def test_open_channels_stay_when_the_password_changes(self):
        vm = self.desktop()
        made = self.start_gateway([self.console()])
        opened = qmp_case.open_channels(self.through(made))
        vm.wait_channels(opened)
        before = vm.connection_ids()
        made.ticket("desktop")
        self.assertEqual(vm.connection_ids(), before)
        self.assertFalse(vm.events("SPICE_DISCONNECTED"))

    def test_a_server_without_a_password_is_refused(self):
        self.desktop(kind="noticket")
        made = self.start_gateway([self.console()])
        self.assertIn("password", self.assert_no_ticket(made, status=503))

    def test_a_server_on_a_unix_socket(self):
        vm = self.desktop(kind="unixticket")
        made = self.start_gateway([self.console()])
        opened = qmp_case.open_channels(self.through(made))
        vm.wait_channels(opened)

    def _start_tunnelling(self):
        return self.start_gateway(
            [self.tls_console()],
            listeners=[
                {"address": "127.0.0.1:0", "need_secured": False},
                {"address": "127.0.0.1:0", "protocol": "connect"},
            ],
        )

    def _password(self, made):
        """A new password of the server's, which a tunnel's file names."""
        body = made.vv("desktop", via="tunnel")
        return gateway.vv_entries(body)["password"]


class ViewerTest(qmp_case.QmpCase):
    def test_remote_viewer_opens_every_channel(self):
        vm = self.desktop(kind="full", guest="gradient")
        made = self.start_gateway([self.tls_console(title="The desktop")])
        path = os.path.join(self.directory, "desktop.vv")
        with open(path, "wb") as stream:
            stream.write(made.vv("desktop"))
        display = viewer.Display(self.directory)
        self.addCleanup(display.stop)
        window = viewer.RemoteViewer(
            self.directory, display, path, "The desktop"
        )
        self.addCleanup(window.stop)
        window.wait_window()
        vm.wait_channels(_CHANNELS)
        self.assertEqual(set(vm.channels().values()), {True})


class DisconnectTest(qmp_case.QmpCase):
    def test_disconnect_ends_every_channel(self):
        vm = self.desktop(kind="full")
        made = self.start_gateway([self.console()])
        client = self.through(made)
        opened = qmp_case.open_channels(client)
        vm.wait_channels(opened)
        ports = qmp_case.peer_ports(vm)
        self.assertEqual(made.disconnect("desktop"), 1)
        for link in client.links:
            self.assertTrue(link.closed_by_peer())
        vm.wait_idle()
        ended = {
            event["data"]["client"]["port"]
            for event in vm.events("SPICE_DISCONNECTED")
        }
        self.assertLessEqual(ports, ended)
        made.wait_no_sessions()
        vm.wait_channels(qmp_case.open_channels(self.through(made)))

    def test_disconnect_ends_who_came_past_the_gateway(self):
        vm = self.desktop()
        made = self.start_gateway([self.console()])
        stranger = self.direct(vm, qemu.PASSWORD)
        qmp_case.open_channels(stranger)
        self.assertEqual(made.disconnect("desktop"), 0)
        for link in stranger.links:
            self.assertTrue(link.closed_by_peer())
        self.assert_refuses(vm, qemu.PASSWORD)


class PatternTest(qmp_case.QmpCase):
    def test_machines_come_and_go(self):
        made = self.start_gateway([])
        pattern = {
            "sockets": os.path.join(self.directory, "vm-*.gateway"),
            "name": "desktop-*",
            "title": "Desktop *",
        }
        made.write_consoles([], qmp=[pattern])
        first = self.desktop("vm-1")
        self.wait_ticket(made, "desktop-1")
        second = self.desktop("vm-2")
        ticket = self.wait_ticket(made, "desktop-2")
        client = self.through(made, ticket=ticket)
        second.wait_channels(qmp_case.open_channels(client))
        self.assertFalse(first.channels())
        entries = gateway.vv_entries(made.vv("desktop-2"))
        self.assertIn("Desktop 2", entries["title"])

        first.stop()  # and its socket goes
        polling.until(
            lambda: self._status(made, "desktop-1") == 404,
            "the first console to go",
        )
        self.assertEqual(self._status(made, "desktop-2"), 201)

    def _status(self, made, console):
        return made.request("POST", f"/v1/consoles/{console}/ticket").status


if __name__ == "__main__":
    runner.main(
        *("qemu-system-x86_64", "remote-viewer", "Xvfb", "xdotool", "xwd"),
        "openssl",
    )
