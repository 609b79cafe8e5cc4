# SPDX-License-Identifier: Apache-2.0
"""What CONNECT adds: configuration files, the load's flags, who takes part."""

import json
import unittest

from bench.compare import configs
from bench.compare import load
from bench.compare import peers
from bench.compare import relay
from bench.compare import scenarios
from tests.testbed import processes
from tests.testbed import runner


def _scenario(name):
    return next(scenario for scenario in scenarios.ALL if scenario.name == name)


def _peer(name):
    return next(peer for peer in peers.ALL if peer.name == name)


def _setup(directory, scenario):
    return relay.Setup(
        directory=directory,
        host="127.0.0.1",
        port=3128,
        server="127.0.0.1:5900",
        scenario=_scenario(scenario),
        max_channels=100,
        max_pipes=10,
        max_descriptors=1000,
    )


class ConfigsTest(unittest.TestCase):
    def test_only_the_server_is_on_the_allow_lists(self):
        setup = _setup("/run/x", "bulk-8")
        config = json.loads(configs.connect(setup))
        self.assertEqual(
            config["connect"]["allow"],
            [{"hosts": ["127.0.0.1"], "ports": [5900]}],
        )
        self.assertEqual(config["listeners"][0]["protocol"], "connect")
        self.assertEqual(config["guard"], "enforce")
        text = configs.squid(setup)
        self.assertIn("acl server dst 127.0.0.1\n", text)
        self.assertIn("acl server_port port 5900\n", text)
        self.assertLess(
            text.index("http_access allow tunnel server server_port\n"),
            text.index("http_access deny all\n"),
        )

    def test_what_is_no_usb_is_not_guarded(self):
        config = json.loads(configs.connect(_setup("/run/x", "bulk-8-c2s")))
        self.assertEqual(config["guard"], "off")


class PeersTest(unittest.TestCase):
    def setUp(self):
        self.directory = processes.temporary_directory(self)

    def _flags(self, peer, scenario):
        return _peer(peer).load_flags(_setup(self.directory, scenario))

    def test_who_is_asked_by_connect(self):
        asked = ["--connect=127.0.0.1:5900"]
        for peer, scenario in (
            ("spicegate-connect", "bulk-8"),
            ("squid", "bulk-8"),
            ("spicegate", "tunnels"),
            ("squid", "tunnels"),
        ):
            self.assertEqual(self._flags(peer, scenario), asked)
        native = self._flags("spicegate", "storm")
        self.assertEqual([f for f in native if "connect" in f], [])
        self.assertEqual(self._flags("haproxy", "tunnels"), [])

    def test_who_takes_part_in_tunnels(self):
        tunnels = _scenario("tunnels")
        refusing = {p.name for p in peers.ALL if p.refuses(tunnels)}
        self.assertEqual(
            refusing,
            {
                "spicegate-connect",
                "spicegate-unguarded",
                "direct",
                "stunnel",
                "socat",
            },
        )

    def test_by_connect_there_are_no_raw_bytes_and_no_tls_to_end(self):
        connect = _peer("spicegate-connect")
        refused = {s.name for s in scenarios.ALL if connect.refuses(s)}
        with_tls = {s.name for s in scenarios.ALL if s.tls}
        tunnels = {s.name for s in scenarios.ALL if s.tunnel}
        self.assertEqual(
            refused, with_tls | tunnels | {"churn", "bulk-veth"}
        )


class LoadTest(unittest.TestCase):
    def test_tunnels_have_tls_from_end_to_end(self):
        argv = load.flags_of_tls(_scenario("tunnels"))
        self.assertEqual(argv, ["--tls", "--serve-tls"])

    def test_memory_is_that_of_the_silence_behind_the_burst(self):
        silent = {s.name for s in scenarios.ALL if s.is_idle}
        self.assertEqual(
            silent,
            {
                "idle-5000",
                "idle-20000",
                "tunnels",
                "tunnels-stalled",
                "tls-idle-2000",
            },
        )


if __name__ == "__main__":
    runner.main()
