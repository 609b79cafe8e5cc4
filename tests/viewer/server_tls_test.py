# SPDX-License-Identifier: Apache-2.0
"""Who the hypervisor is: checked before anything is said to it."""

from tests.testbed import case
from tests.testbed import gateway
from tests.testbed import pki
from tests.testbed import runner
from tests.testbed import viewer

_NOT_LISTENED_FOR = "O=Test,CN=other.example.test"
_REVERSED = "CN=vm.example.test,O=Test"


class ServerTlsTest(case.Case):
    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory)

    def test_subject_is_enough(self):
        """host_subject replaces the host name, which is in no certificate."""
        vm = self._vm(names=("DNS:elsewhere.example.test",))
        self._check_accepted(vm, host_subject=pki.SUBJECT)

    def test_host_name(self):
        self._check_accepted(self._vm(), host="localhost")

    def test_host_address(self):
        self._check_accepted(self._vm())

    def test_wrong_subject(self):
        self._check_refused(
            gateway.SERVER_TLS_SUBJECT,
            self._vm(),
            host_subject=_NOT_LISTENED_FOR,
        )

    def test_subject_in_reverse_order(self):
        self._check_refused(
            gateway.SERVER_TLS_SUBJECT, self._vm(), host_subject=_REVERSED
        )

    def test_wrong_authority(self):
        """A right subject from somebody else's CA is worth nothing."""
        other = pki.Authority(self.directory, "other")
        self._check_refused(
            gateway.SERVER_TLS_CHAIN,
            self._vm(),
            ca_file=other.cert_path,
            host_subject=pki.SUBJECT,
        )

    def test_wrong_host_name(self):
        vm = self._vm(names=("DNS:vm.example.test",))
        self._check_refused(gateway.SERVER_TLS_NAME, vm, host="localhost")

    def test_wrong_host_address(self):
        vm = self._vm(names=("DNS:127.0.0.1", "IP:127.0.0.2"))
        self._check_refused(gateway.SERVER_TLS_NAME, vm)

    def test_refused_tls_is_not_replaced_by_plain(self):
        vm = self._vm(kind="full")
        self.assertIn("port", vm.console())
        self._check_refused(
            gateway.SERVER_TLS_SUBJECT, vm, host_subject=_NOT_LISTENED_FOR
        )

    def _vm(self, kind="tls", **certificate):
        x509_dir = self.authority.x509_dir(**certificate)
        return self.start_vm("vm", kind, guest=None, x509_dir=x509_dir)

    def _check_accepted(self, vm, **console):
        made = self.start_gateway([vm.console(**console)])
        stats = viewer.Stats(self.directory, "stats", made.target("vm"))
        self.addCleanup(stats.stop)
        vm.wait_channels({(1, 0), (2, 0), (3, 0), (4, 0)})
        self.assertEqual(set(vm.channels().values()), {True})
        self.assertIsNone(stats.event())

    def _check_refused(self, reason, vm, **console):
        made = self.start_gateway([vm.console(**console)])
        for number, tls in enumerate((False, True), start=1):
            with self.subTest(tls=tls):
                stats = viewer.Stats(
                    self.directory, f"stats-{tls}", made.target("vm", tls)
                )
                self.assertEqual(stats.wait_end(), viewer.LINK)
                self.assertEqual(_refusals(made), {reason: number})
        made.wait_record("channel_refused", reason=reason, console="vm")
        self.assertEqual(len(made.records("channel_refused")), 2)
        self._check_untold(vm)

    def _check_untold(self, vm):
        """QEMU saw connections to its TLS port, none with a word in it."""
        self.assertTrue(vm.answers())  # and its events are read now
        events = [e for e in vm.qmp.events if e["event"].startswith("SPICE_")]
        seen = {e["event"] for e in events}
        self.assertIn("SPICE_CONNECTED", seen)
        self.assertNotIn("SPICE_INITIALIZED", seen)
        self.assertEqual(
            {e["data"]["server"]["port"] for e in events},
            {str(vm.tls_port)},
        )


def _refusals(made):
    refused = made.metrics().by("spicegate_links_refused_total", "reason")
    return {reason: count for reason, count in refused.items() if count}


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-stats", "openssl")
