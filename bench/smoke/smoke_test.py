# SPDX-License-Identifier: Apache-2.0
"""Every scenario with every peer, for a moment. Says nothing about speed."""

import dataclasses
import json
import os
import shutil
import unittest

from bench.compare import machine
from bench.compare import main as command_line
from bench.compare import measure
from bench.compare import peers
from bench.compare import place
from bench.compare import report
from bench.compare import scenarios
from bench.compare import series
from bench.compare import table
from tests.testbed import processes
from tests.testbed import runner

_SECONDS = 0.1
_WARMUP_S = 0.02
_LONGER_S = 2
# plain-relay is the gateway's stand-in in churn; of the others that run only
# when named, this one is told the most.
_PEERS = peers.choose([]) + [peers.Connect()]


def _options(directory):
    here = machine.processors()
    return measure.Options(
        seconds=_SECONDS,
        warmup_s=_WARMUP_S,
        relay_cpu=here[0],
        load_cpu=here[-1],
        tiny=True,
        directory=directory,
    )


def _enough(found, options):
    """The measurement, made again for longer if too little happened in it.

    On a machine with much else to do that is nobody's fault.
    """
    if not (found["error"] or "").startswith(measure.LACKING):
        return found
    scenario = next(s for s in scenarios.ALL if s.name == found["scenario"])
    peer = next(p for p in _PEERS if p.name == found["peer"])
    options = dataclasses.replace(options, seconds=_LONGER_S)
    return dict(measure.measure(scenario, peer, 1, options), round=0)


class SmokeTest(unittest.TestCase):
    """Measures once, in setUpClass; each test looks at a part of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        machine.add_sbin()
        measure.raise_descriptor_limit()
        cls.directory = processes.temporary_directory()
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        os.chmod(cls.directory, 0o711)  # squid is another user
        options = _options(cls.directory)
        measurements, skipped = series.run(
            scenarios.ALL, _PEERS, 1, options, print
        )
        measurements = [_enough(found, options) for found in measurements]
        cls.document = series.document(
            measurements, skipped, _PEERS, options, "smoke"
        )

    def leave_out(self, reason):
        """The skip rule, for one case: see tests/testbed/skip.py."""
        if os.environ.get("SPICEGATE_CI") == "1":
            self.fail(f"left out in CI: {reason}")
        self.skipTest(reason)

    def check_scenario(self, scenario):
        if scenario.veth and place.veth_missing():
            self.leave_out(place.veth_missing())
        for peer in _PEERS:
            if peer.missing() or peer.refuses(scenario):
                continue
            with self.subTest(peer=peer.name):
                self.check_pair(scenario, peer)

    def check_pair(self, scenario, peer):
        (found,) = [
            m
            for m in self.document["measurements"]
            if (m["scenario"], m["peer"]) == (scenario.name, peer.name)
        ]
        self.assertIsNone(found["error"])
        wanted = set(scenario.metrics)
        if peer.name == "direct":
            wanted = {m for m in wanted if not m.startswith("cpu_ns")}
        self.assertEqual(set(found["values"]), wanted)
        rows = {
            row["metric"]
            for row in self.document["rows"]
            if (row["scenario"], row["peer"]) == (scenario.name, peer.name)
        }
        if peer.name != peers.GATEWAY:
            self.assertEqual(rows, wanted)

    def check_peer(self, peer):
        if peer.missing():
            self.leave_out(peer.missing())
        if peer.program:
            self.assertRegex(peer.version(), r"\d+\.\d+")

    def test_gateway_is_built(self):
        self.assertIsNone(_PEERS[0].missing())

    def test_nothing_is_left_running(self):
        with open("/proc/self/task/%d/children" % os.getpid()) as children:
            self.assertEqual(children.read().split(), [])

    def test_table_is_made(self):
        text = table.text(self.document)
        for scenario in scenarios.ALL:
            if not (scenario.veth and place.veth_missing()):
                found = f"{scenario.name}: {scenario.title}" in text
                self.assertTrue(found, scenario.name)

    def test_page_is_made_from_a_file(self):
        path = os.path.join(self.directory, "run.json")
        with open(path, "w", encoding="ascii") as stream:
            json.dump(self.document, stream)
        self.assertEqual(command_line.main(["report", path]), 0)
        with open(path.replace(".json", ".html"), encoding="utf-8") as stream:
            page = stream.read()
        self.assertTrue(page == report.page(self.document))
        self.assertEqual(page.count("<svg"), page.count("</svg>"))
        self.assertGreater(page.count("<svg"), len(scenarios.ALL))


def _add_cases():
    """A case for each scenario and each peer, by its name."""

    def case(check, subject):
        return lambda self: check(self, subject)

    for scenario in scenarios.ALL:
        name = "test_scenario_" + scenario.name.replace("-", "_")
        setattr(SmokeTest, name, case(SmokeTest.check_scenario, scenario))
    for peer in _PEERS[1:]:
        name = "test_peer_" + peer.name.replace("-", "_")
        setattr(SmokeTest, name, case(SmokeTest.check_peer, peer))


_add_cases()

if __name__ == "__main__":
    runner.main("setpriv", "taskset")
