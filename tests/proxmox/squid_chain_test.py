# SPDX-License-Identifier: Apache-2.0
"""squid between viewer and gateway, in both ways that it can stand there.

Ahead of the gateway's own TLS port, as a proxy that knows nothing of SPICE; and
with the gateway as its parent (cache_peer), so that the gateway's answers to
CONNECT come back through squid.
"""

from tests.proxmox import proxy
from tests.proxmox import tunnel_case
from tests.testbed import gateway
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import squid
from tests.testbed import viewer

# As squid's tunnels go to the gateway alone, whatever host they are for.
_PARENT = (
    "cache_peer 127.0.0.1 parent {port} 0 no-query no-digest default"
    " login=PASSTHRU"
)
_DESKTOP_PORT = 5900


class ToThePortTest(tunnel_case.TunnelCase):
    """squid relays to the gateway's native TLS port."""

    def test_picture(self):
        vm = self.start_vm("desktop")
        made = self.start_gateway([vm.console()])
        between = _squid(
            self,
            f"acl gateway port {made.tls_port}",
            "http_access deny !CONNECT",
            "http_access allow gateway",
            "http_access deny all",
        )
        wanted = vm.screendump(self.directory + "/wanted.ppm")
        shot = viewer.screenshot(
            self.directory,
            "through-squid",
            made.target(vm.name, tls=True),
            SPICE_PROXY=f"http://127.0.0.1:{between.port}",
        )
        self.assertEqual(shot.code, 0, shot.text)
        with open(wanted, "rb") as stream:
            self.assertTrue(shot.bytes() == stream.read(), "pictures differ")
        made.wait_no_sessions()
        reading = made.metrics()
        self.assertGreater(
            reading.sum("spicegate_tls_connections_total", leg="client"), 0
        )
        _wait_tunnel(between, f"localhost:{made.tls_port}")


class ParentTest(tunnel_case.TunnelCase):
    """squid asks the gateway with a CONNECT of its own."""

    def test_plain_with_credentials(self):
        """What the .vv file for CONNECT holds: the ticket as password."""
        vm = self.start_vm("desktop")
        made = self.node([vm.console()])
        entries = gateway.vv_entries(made.vv(vm.name, via="connect"))
        credentials = entries["proxy"].partition("//")[2].partition("@")[0]
        between = _before(self, made)
        self._check_picture(
            vm,
            entries["host"],
            entries["password"],
            f"http://{credentials}@127.0.0.1:{between.port}",
        )
        self._check_guarded(made)

    def test_plain_with_ticket_as_host(self):
        vm = self.start_vm("desktop")
        made = self.node([vm.console()])
        ticket = made.ticket(vm.name)
        between = _before(self, made)
        self._check_picture(
            vm, ticket, ticket, f"http://127.0.0.1:{between.port}"
        )
        self._check_guarded(made)

    def test_tunnel(self):
        """TLS from the viewer to QEMU, through squid and the gateway."""
        vm = self.desktop()
        made = self.node([self.console(vm)])
        between = _before(self, made)
        vv = made.vv("desktop", via="tunnel").decode()
        told = gateway.vv_entries(vv.encode())["proxy"]
        instead = f"{told.partition('@')[0]}@127.0.0.1:{between.port}"
        self.assertTrue(told.endswith(f":{made.connect_port}"), told)
        window = self.open(vv.replace(told, instead).encode())
        self.check_desktop(window, vm)
        self.check_tunnels(made)
        self.assertEqual(made.metrics().sum("spicegate_sessions_open"), 1)

    def test_refusals_come_back(self):
        """squid hands on the status and the question for a password."""
        made = self.node(connect={"tickets": True})
        between = _before(self, made)
        answer = proxy.ask(between.port, f"{'0' * 48}:{_DESKTOP_PORT}")
        self.assertEqual(answer.code, 403)
        made.wait_record("channel_refused", reason="connect_forbidden")
        asking = self.node(name="asking", connect={"login": True})
        answer = proxy.ask(_before(self, asking).port, "desktop:5900")
        self.assertEqual(answer.code, 407)
        self.assertIn(b"\r\nProxy-Authenticate: Basic realm=", answer.head)

    def test_wrong_password_is_the_links(self):
        """Through the tunnel the gateway answers as on any other port."""
        vm = self.start_vm("desktop")
        made = self.node([vm.console()])
        ticket = made.ticket(vm.name)
        between = _before(self, made)
        answer = proxy.ask(between.port, f"{ticket}:{_DESKTOP_PORT}")
        self.addCleanup(answer.socket.close)
        link = spiceclient.Link(connected=answer.socket)
        reply = link.hello(spiceclient.MAIN)
        self.assertEqual(
            link.ticket(reply, "wrong"), spiceclient.PERMISSION_DENIED
        )

    def test_proxmox_ticket_does_not_get_through(self):
        """squid takes its first colon for the one before the port.

        Whoever has a squid ahead of Proxmox's proxy has the same: the gateway
        sees a host "pvespiceproxy" and one digit as port.
        """
        vm = self.desktop()
        made = self.node()
        ticket = self.ticket(vm)
        target = f"{ticket}:{vm.tls_port}"
        self.assertEqual(self.ask(made, target).code, 200)
        between = _before(self, made)
        self.assertEqual(proxy.ask(between.port, target).code, 403)
        self.assertEqual(tunnel_case.answers(made), {200: 1, 403: 1})

    def test_end_of_squid_ends_sessions(self):
        vm = self.start_vm("desktop")
        made = self.node([vm.console()])
        ticket = made.ticket(vm.name)
        between = _before(self, made)
        answer = proxy.ask(between.port, f"{ticket}:{_DESKTOP_PORT}")
        self.addCleanup(answer.socket.close)
        link = spiceclient.Link(connected=answer.socket)
        reply = link.hello(spiceclient.MAIN)
        self.assertEqual(link.ticket(reply, ticket), spiceclient.OK)
        link.read_until(spiceclient.MAIN_INIT)
        between.child.kill()
        made.wait_no_sessions()

    def _check_picture(self, vm, host, password, proxy_url):
        wanted = vm.screendump(self.directory + "/wanted.ppm")
        shot = viewer.screenshot(
            self.directory,
            "through-both",
            viewer.Target(host=host, port=_DESKTOP_PORT, password=password),
            SPICE_PROXY=proxy_url,
        )
        self.assertEqual(shot.code, 0, shot.text)
        with open(wanted, "rb") as stream:
            self.assertTrue(shot.bytes() == stream.read(), "pictures differ")

    def _check_guarded(self, made):
        """The gateway saw the channels, not a tunnel."""
        made.wait_no_sessions()
        opened = made.metrics().by(
            "spicegate_channels_opened_total", "channel"
        )
        self.assertEqual((opened["main"], opened["display"]), (1, 1))
        self.assertEqual(opened.get(tunnel_case.TUNNEL, 0), 0)


def _squid(test, *lines):
    made = squid.Squid(test.directory, lines)
    test.addCleanup(made.stop)
    return made


def _before(test, made):
    """A squid whose parent is the gateway."""
    return _squid(
        test,
        "http_access allow CONNECT",
        "http_access deny all",
        _PARENT.format(port=made.connect_port),
        "never_direct allow all",
    )


def _wait_tunnel(between, target):
    """squid writes a line when a tunnel has ended."""

    def look():
        return [
            line
            for line in between.log()
            if "TCP_TUNNEL/200" in line and f"CONNECT {target} " in line
        ]

    polling.until(look, f"tunnel to {target} in squid's log")


if __name__ == "__main__":
    runner.main("squid", *tunnel_case.TOOLS)
