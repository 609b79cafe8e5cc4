# SPDX-License-Identifier: Apache-2.0
"""Each ticket that is not good has its answer, its reason, and no effect.

Whoever asks learns nothing: of every ticket that is not accepted the answer is
the same, byte by byte. The reason is in the log and in the metrics. QEMU sees
no connection.
"""

from tests.proxmox import proxy
from tests.proxmox import tunnel_case
from tests.testbed import polling
from tests.testbed import proxmox
from tests.testbed import runner

_EXPIRED, _FORGED = "proxmox_expired", "proxmox_ticket"
_NOTHING = "connect_forbidden"
_PORT, _NODE = "proxmox_port", "proxmox_node"
_OLD_S, _EARLY_S = 40, 20
_END_LIMIT_S = 60
_LOOP = "PVEDisableProxy: true"


class RefusalsTest(tunnel_case.TunnelCase):
    def setUp(self):
        super().setUp()
        self.vm = self.desktop(1, guest=None)
        self.made = self.node()
        self.port = self.vm.tls_port

    def test_table(self):
        """One answer for all of them."""
        good = self.ticket(self.vm)
        stranger = proxmox.Cluster(b"another cluster's key\n")
        other_port = self.port - 1 if self.port % 2 else self.port + 1
        plain, _, signature = good.rpartition("::")
        rows = [
            ("old", self._by(age_s=_OLD_S), _EXPIRED),
            ("from the future", self._by(age_s=-_EARLY_S), _EXPIRED),
            ("other key", self._by(cluster=stranger), _FORGED),
            ("empty signature", self._at(plain + "::"), _FORGED),
            ("changed signature", self._at(proxmox.forged(good)), _FORGED),
            ("cut short", self._at(good[:-1]), _FORGED),
            ("another one's", self._at(good.replace("101", "102", 1)), _FORGED),
            ("upper case", self._at(f"{plain}::{signature.upper()}"), _FORGED),
            ("no ticket", self._at(f"pvespiceproxy{signature}"), _NOTHING),
            ("asked for another port", self._at(good, other_port), _PORT),
            ("signed for another port", self._by(port=other_port), _PORT),
            ("a port of no machine", self._at(self._for(22), 22), _PORT),
            ("the last but one", self._at(self._for(60999), 60999), _PORT),
            ("without a port, for ssh", self._at(self._for(None), 22), _PORT),
        ]
        bodies = set()
        for what, target, reason in rows:
            with self.subTest(what):
                bodies.add(self._check_refused(target, reason))
        self.assertEqual(len(bodies), 1, bodies)
        self._check_untold()
        self.assertEqual(tunnel_case.answers(self.made), {403: len(rows)})

    def test_good_until_it_is_old(self):
        """Any number of times for 40 seconds, and not once more."""
        ticket = self.ticket(self.vm, age_s=_OLD_S - 5)
        target = f"{ticket}:{self.port}"
        for _ in range(3):
            self.assertEqual(self.ask(self.made, target).code, 200)
        polling.until(
            lambda: self.ask(self.made, target).code == 403,
            "the ticket's end",
            _END_LIMIT_S,
        )
        self.made.wait_record("channel_refused", reason=_EXPIRED)

    def test_host_line_decides(self):
        """As for Proxmox's proxy: the target may say anything."""
        ticket = f"{self.ticket(self.vm)}:{self.port}"
        forged = f"{proxmox.forged(self.ticket(self.vm))}:{self.port}"
        self.assertEqual(self.ask(self.made, forged, host=ticket).code, 200)
        self.assertEqual(self.ask(self.made, ticket, host=forged).code, 403)
        self.assertEqual(self.ask(self.made, ticket, host="").code, 200)

    def test_node_that_does_not_exist(self):
        """Signed by the cluster, so it is asked for: there is no such name."""
        ticket = self.ticket(self.vm, node="no-such-node")
        answer = self.ask(self.made, f"{ticket}:{self.port}")
        self.assertEqual(answer.code, 502)
        self._check_untold()

    def test_node_asked_for_once_more(self):
        """It came from a proxy, so it has been sent on once already."""
        for node in ("no-such-node", "host2"):
            with self.subTest(node):
                ticket = self.ticket(self.vm, node=node)
                target = f"{ticket}:{self.port}"
                answer = self.ask(self.made, target, _LOOP)
                self.assertEqual(answer.code, 500)
                self.assertEqual(answer.body, b"proxy loop detected\n")
        self._check_untold()
        refused = self.made.metrics().sum(
            "spicegate_links_refused_total", reason=_NODE
        )
        self.assertEqual(refused, 2)

    def test_this_node_asked_for_by_a_proxy(self):
        for node in (tunnel_case.NODE, "localhost"):
            with self.subTest(node):
                ticket = self.ticket(self.vm, node=node)
                target = f"{ticket}:{self.port}"
                answer = self.ask(self.made, target, _LOOP)
                self.assertEqual(answer.code, 200)

    def test_ticket_is_never_in_the_log(self):
        for age_s in (0, _OLD_S):
            ticket = self.ticket(self.vm, age_s=age_s)
            self.ask(self.made, f"{ticket}:{self.port}")
            self.assertNotIn(
                ticket.rpartition(":")[2], self.made.process.errors()
            )

    def _for(self, port):
        return self.ticket(self.vm, port=port)

    def _by(self, **ticket):
        """A target with a ticket of this kind."""
        return f"{self.ticket(self.vm, **ticket)}:{self.port}"

    def _at(self, host, port=None):
        return f"{host}:{port or self.port}"

    def _check_refused(self, target, reason):
        """403, this reason counted and logged once; returns the answer."""
        before = self._refused(reason)
        num_records = len(self.made.records("channel_refused", reason=reason))
        answer = self.ask(self.made, target)
        self.assertEqual(answer.line, "HTTP/1.0 403 Forbidden")
        self.made.wait_metric(
            lambda m: self._refused(reason, m) == before + 1, reason
        )
        polling.until(
            lambda: len(self.made.records("channel_refused", reason=reason))
            == num_records + 1,
            f"record of {reason}",
        )
        return answer.head + answer.body

    def _refused(self, reason, reading=None):
        return (reading or self.made.metrics()).sum(
            "spicegate_links_refused_total", reason=reason
        )

    def _check_untold(self):
        self.assertFalse(self.vm.events("SPICE_CONNECTED"))


class OtherRequestsTest(tunnel_case.TunnelCase):
    """Nobody gets anywhere without a ticket."""

    def test_nowhere_without_a_ticket(self):
        vm = self.desktop(1, guest=None)
        made = self.node([self.console(vm)])
        for target in (
            f"127.0.0.1:{vm.tls_port}",
            f"localhost:{vm.tls_port}",
            f"{tunnel_case.NODE}:{vm.tls_port}",
            f"desktop:{vm.tls_port}",
            f"127.0.0.1:{made.admin}",
            f"127.0.0.1:{made.connect_port}",
        ):
            with self.subTest(target):
                answer = self.ask(made, target)
                self.assertEqual(answer.code, 403)
        with self.subTest("wrong password"):
            line = proxy.basic("ticket", "0" * 48)
            answer = self.ask(made, f"desktop:{vm.tls_port}", line)
            self.assertEqual(answer.code, 403)
        self.assertFalse(vm.events("SPICE_CONNECTED"))


if __name__ == "__main__":
    runner.main(*tunnel_case.TOOLS)
