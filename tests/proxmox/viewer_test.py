# SPDX-License-Identifier: Apache-2.0
"""remote-viewer with the file that Proxmox writes, through the gateway.

The window shows the guest, keys arrive, every channel is open by TLS from the
viewer to QEMU, and the gateway knows of it what can be known.
"""

import ssl

from tests.proxmox import tunnel_case
from tests.testbed import gateway
from tests.testbed import proxmox
from tests.testbed import runner

_TUNNELLED = "spicegate_channel_bytes_total"
_VIEW = {"view": {"read_only": True}}
# What tunnel_case.CHANNELS are by the gateway's names.
_BY_NAME = {
    **{"main": 1, "display": 1, "inputs": 1, "cursor": 1},
    **{"playback": 1, "record": 1, "usbredir": 2},
}


class ProxmoxTest(tunnel_case.TunnelCase):
    def test_http(self):
        self._check_file(https=False)

    def test_https(self):
        self._check_file(https=True)

    def test_machine_of_another_node(self):
        """The configuration says where that node is."""
        vm = self.desktop(2)
        made = self.node()
        window = self.open(self.vv(vm, tunnel_case.url(made)))
        self.check_desktop(window, vm)
        self.check_tunnels(made)

    def test_ticket_without_a_port(self):
        """As clusters signed them until April 2026."""
        vm = self.desktop()
        made = self.node()
        ticket = self.ticket(vm, port=None)
        window = self.open(self.vv(vm, tunnel_case.url(made), ticket))
        self.check_desktop(window, vm)

    def _check_file(self, https):
        vm = self.desktop()
        made = self.node(https=https)
        ticket = self.ticket(vm)
        window = self.open(
            self.vv(vm, tunnel_case.url(made), ticket),
            system_ca=self.authority.cert_path if https else None,
        )
        self.check_desktop(window, vm)
        self.check_tunnels(made)
        reading = made.metrics()
        self.assertEqual(reading.sum("spicegate_sessions_open"), 1)
        self.assertEqual(
            tunnel_case.answers(made), {200: len(tunnel_case.CHANNELS)}
        )
        for direction in ("client_to_server", "server_to_client"):
            self.assertTrue(
                reading.sum(
                    _TUNNELLED,
                    channel=tunnel_case.TUNNEL,
                    direction=direction,
                )
            )
        window.stop()
        self._check_end(made, vm, ticket)

    def _check_end(self, made, vm, ticket):
        """One session is in the log, the ticket is not."""
        made.wait_no_sessions()
        record = made.wait_record("session_end")
        self.assertEqual(record["kind"], "tunnel")
        self.assertEqual(record["console"], f"pve/101@{tunnel_case.NODE}")
        self.assertTrue(record["client"].startswith("127.0.0.1"), record)
        moved = record["bytes"]["tunnel"]
        self.assertGreater(moved["server_to_client"], 0)
        self.assertEqual(len(made.records("session_end")), 1)
        vm.wait_idle()
        log = made.process.errors()
        signature = ticket.rpartition(":")[2]
        for secret in (signature, vm.password):
            self.assertNotIn(secret, log)


class ViewerRefusedTest(tunnel_case.TunnelCase):
    """What the person in front of the viewer is told."""

    def test_old_ticket(self):
        vm = self.desktop()
        made = self.node()
        old = self.ticket(vm, age_s=proxmox.MAX_AGE_S)
        window = self.open(self.vv(vm, tunnel_case.url(made), old))
        self._wait_said(window, "HTTP proxy connection not allowed")
        self.assertEqual(tunnel_case.answers(made), {403: 1})
        made.wait_record("channel_refused", reason="proxmox_expired")
        self.assertFalse(vm.events("SPICE_CONNECTED"))

    def test_wrong_password_for_the_machine(self):
        """QEMU says so inside the tunnel; the gateway has no part in it."""
        vm = self.desktop()
        made = self.node()
        url = tunnel_case.url(made)
        window = self.open(self.vv(vm, url, password="wrong"))
        self._wait_said(window, "auth failure")
        made.wait_metric(
            lambda m: not tunnel_case.open_channels(m), "the tunnel's end"
        )
        self.assertEqual(tunnel_case.answers(made), {200: 1})

    def test_nobody_listens(self):
        vm = self.desktop()
        made = self.node()
        body = self.vv(vm, tunnel_case.url(made))
        vm.stop()
        window = self.open(body)
        self._wait_said(window, "HTTP proxy connection failed: 502")
        made.wait_record("channel_refused", reason="server_connect")

    def _wait_said(self, window, text):
        self.until(lambda: text in window.log(), text, window)


class OwnFilesTest(tunnel_case.TunnelCase):
    """The .vv files of the admin side that lead through CONNECT."""

    def test_tunnel(self):
        self._check_tunnel(https=False)

    def test_tunnel_through_https(self):
        self._check_tunnel(https=True)

    def test_connect(self):
        self._check_connect(https=False)

    def test_connect_through_https(self):
        self._check_connect(https=True)

    def test_no_tunnel_past_a_policy(self):
        """Neither a file for it nor, with the ticket alone, a way."""
        vm = self.desktop(guest=None)
        made = self.node([self.console(vm, policy="view")], policies=_VIEW)
        path = "/v1/consoles/desktop.vv?via=tunnel"
        self.assertEqual(made.request("GET", path).status, 409)
        answer = self.ask(made, f"{made.ticket('desktop')}:{vm.tls_port}")
        with self.assertRaises(OSError):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.wrap_socket(answer.socket)
        made.wait_record("channel_refused", reason="tunnel_refused")
        self.assertFalse(vm.events("SPICE_CONNECTED"))

    def _check_tunnel(self, https):
        vm, made, entries, window = self._begin("tunnel", https)
        self.assertEqual(entries["tls-port"], str(vm.tls_port))
        self.assertEqual(entries["password"], vm.password)
        self.check_desktop(window, vm)
        self.check_tunnels(made)
        window.stop()
        record = made.wait_record("session_end")
        self.assertEqual(record["kind"], "tunnel")
        self.assertEqual(record["console"], "desktop")

    def _check_connect(self, https):
        vm, made, entries, window = self._begin("connect", https)
        self.assertNotIn(vm.password, entries.values())
        self.check_desktop(window, vm)
        self.assertEqual(
            tunnel_case.open_channels(made.metrics()), _BY_NAME
        )
        window.stop()
        record = made.wait_record("session_end")
        self.assertEqual(record["via"], "connect")
        self.assertEqual(record["console"], "desktop")

    def _begin(self, via, https):
        vm = self.desktop()
        self.arm(vm, "never")
        made = self.node([self.console(vm)], https=https)
        body = made.vv("desktop", via=via)
        entries = gateway.vv_entries(body)
        scheme, _, port = tunnel_case.url(made).split(":")
        self.assertRegex(
            entries["proxy"], rf"^{scheme}://ticket:\w{{48}}@127.0.0.1:{port}$"
        )
        self.assertEqual(entries["host"], "desktop")
        window = self.open(
            body, system_ca=self.authority.cert_path if https else None
        )
        return vm, made, entries, window


class LoginTest(tunnel_case.TunnelCase):
    """A gateway that asks who shows nothing for user and password."""

    def test_ticket_typed_into_the_viewer(self):
        """A wrong one first: the viewer asks again, and then goes on."""
        vm = self.desktop()
        made = self.node([self.console(vm)], connect={"login": True})
        ticket = made.ticket("desktop")
        url = tunnel_case.url(made)
        window = self.open(self.vv(vm, url, "desktop"))
        for num_asked, typed in enumerate(("wrong", ticket), start=1):
            self.until(
                lambda n=num_asked: tunnel_case.answers(made) == {407: n},
                "the gateway's question",
                window,
            )
            window.fill_in(tunnel_case.LOGIN, "ticket", typed)
        self.check_desktop(window, vm)
        self.check_tunnels(made)


if __name__ == "__main__":
    tunnel_case.need_own_files()
    runner.main(*tunnel_case.TOOLS)
