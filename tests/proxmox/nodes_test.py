# SPDX-License-Identifier: Apache-2.0
"""Two nodes of a cluster, a proxy on each, the machine on the second.

The viewer dials the first, which sends it on. The gateway is the first, the
second, or both; the other is a stand-in for Proxmox's own proxy.
"""

from tests.migration import checks
from tests.proxmox import proxy
from tests.proxmox import stand_in
from tests.proxmox import tunnel_case
from tests.testbed import polling
from tests.testbed import runner

_HERE, _THERE = tunnel_case.NODE, "pve2"
_LOOP = "pvedisableproxy"


class NodesTest(tunnel_case.TunnelCase):
    def setUp(self):
        super().setUp()
        self.vm = self.desktop(1)

    def test_two_gateways(self):
        there = self._there()
        here = self._here(there.connect_port)
        self._check_desktop(tunnel_case.url(here))
        num_channels = len(tunnel_case.CHANNELS)
        for made in (here, there):
            self.check_tunnels(made)
            self.assertEqual(tunnel_case.answers(made), {200: num_channels})
            self.assertEqual(checks.refusals(made), {})
            reading = made.metrics()
            self.assertEqual(reading.sum("spicegate_sessions_open"), 1)

    def test_gateway_first(self):
        there = self._stand_in(_THERE, {})
        here = self._here(there.port)
        self._check_desktop(tunnel_case.url(here))
        self.assertEqual(len(there.requests), len(tunnel_case.CHANNELS))
        for request in there.requests:
            self.assertEqual(request.headers[_LOOP], "true")
            self.assertEqual(request.headers["pveclientip"], "127.0.0.1")
            self.assertEqual(request.headers["host"], request.target)
            self.assertNotIn("proxy-authorization", request.headers)

    def test_gateway_second(self):
        there = self._there()
        here = self._stand_in(
            _HERE, {_THERE: ("127.0.0.1", there.connect_port)}
        )
        self._check_desktop(f"http://127.0.0.1:{here.port}")
        self.assertEqual(set(here.heard), {proxy.OK})
        self.check_tunnels(there)

    def test_second_is_another_node_than_the_first_thinks(self):
        """It may not send it on once more."""
        there = self._there("pve3")
        here = self._here(there.connect_port)
        self._check_refused(here, 502, "server_proxy")
        self.assertEqual(tunnel_case.answers(there), {500: 1})
        self._await_refusals(there, {"proxmox_node": 1})

    def test_second_knows_another_key(self):
        there = self._stand_in(_THERE, {}, b"another cluster's key\n")
        here = self._here(there.port)
        self._check_refused(here, 502, "server_proxy")

    def test_second_does_not_listen(self):
        there = self._stand_in(_THERE, {})
        there.close()
        here = self._here(there.port)
        self._check_refused(here, 502, "server_connect")

    def test_second_says_nothing(self):
        there = proxy.Proxy(lambda _: None)
        self.addCleanup(there.close)
        here = self._here(there.port, limits={"server_link_ms": 500})
        answer = self.ask(here, self._target())
        self.assertEqual(answer.code, 504)

    def test_second_hangs_up(self):
        there = proxy.Proxy(lambda _: b"")
        self.addCleanup(there.close)
        here = self._here(there.port)
        self.assertEqual(self.ask(here, self._target()).code, 502)

    def test_second_answers_as_squid_does(self):
        """In HTTP/1.1, with another reason and a line more."""
        place = (self.vm.address, self.vm.tls_port)
        ok = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
        there = proxy.Proxy(lambda _: place, ok=ok)
        self.addCleanup(there.close)
        here = self._here(there.port)
        self._check_desktop(tunnel_case.url(here))

    def _there(self, node=_THERE):
        return self.node(
            name="there", nodes={}, proxmox={"node": node}
        )

    def _here(self, proxy_port, **config):
        """The gateway of the first node, to which the second is a name."""
        return self.node(
            name="here",
            nodes={},
            hosts={"localhost": "127.0.0.1", _THERE: "127.0.0.1"},
            proxmox={"proxy_port": proxy_port},
            **config,
        )

    def _stand_in(self, node, places, key=None):
        made = stand_in.SpiceProxy(key or self.cluster.key, node, places)
        self.addCleanup(made.close)
        return made

    def _target(self):
        return f"{self.ticket(self.vm, node=_THERE)}:{self.vm.tls_port}"

    def _check_desktop(self, url):
        ticket = self.ticket(self.vm, node=_THERE)
        window = self.open(self.vv(self.vm, url, ticket))
        self.check_desktop(window, self.vm)

    def _await_refusals(self, made, expected):
        """A refusal is counted once its goodbye is over."""
        polling.until(
            lambda: checks.refusals(made) == expected,
            "refusals %s" % expected,
            30,
        )

    def _check_refused(self, here, code, reason):
        answer = self.ask(here, self._target())
        self.assertEqual(answer.code, code)
        self.assertEqual(tunnel_case.answers(here), {code: 1})
        self._await_refusals(here, {reason: 1})
        self.assertFalse(self.vm.events("SPICE_CONNECTED"))


if __name__ == "__main__":
    tunnel_case.need_own_files()
    runner.main(*tunnel_case.TOOLS)
