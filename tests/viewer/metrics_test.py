# SPDX-License-Identifier: Apache-2.0
"""The metrics as Prometheus itself reads them."""

from tests.testbed import case
from tests.testbed import prometheus
from tests.testbed import runner
from tests.testbed import viewer


class MetricsTest(case.Case):
    def setUp(self):
        super().setUp()
        self.vm = self.start_vm("vm", guest=None)
        self.gateway = self.start_gateway([self.vm.console()])

    def test_promtool_has_no_complaint(self):
        fresh = self.gateway.metrics().text
        self._open_session()
        used = self.gateway.metrics().text
        self.assertNotEqual(fresh, used)
        for text in (fresh, used):
            self.assertEqual(prometheus.check(text), "")

    def test_promtool_would_complain(self):
        text = self.gateway.metrics().text
        wrong = text.replace("_accepted_total", "_accepted")
        self.assertNotEqual(wrong, text)
        self.assertIn("_total", prometheus.check(wrong))

    def test_prometheus_scrapes(self):
        self._open_session()
        server = prometheus.Prometheus(self.directory, self.gateway.admin)
        self.addCleanup(server.stop)
        server.wait_value('up{job="spicegate"}', 1)
        server.wait_value("spicegate_build_info", 1)
        server.wait_value("spicegate_sessions_open", 1)
        server.wait_value('spicegate_channels_open{channel="display"}', 1)

    def test_content_type(self):
        answer = self.gateway.request("GET", "/metrics")
        kind = answer.headers["content-type"].replace(" ", "")
        self.assertTrue(kind.startswith("text/plain;version=0.0.4"), kind)

    def _open_session(self):
        target = self.gateway.target("vm")
        stats = viewer.Stats(self.directory, "stats", target)
        self.addCleanup(stats.stop)
        self.gateway.wait_metric(
            lambda m: m.sum("spicegate_channels_open") == 4, "a session"
        )


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-stats", "promtool", "prometheus")
