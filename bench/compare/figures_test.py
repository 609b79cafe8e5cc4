# SPDX-License-Identifier: Apache-2.0
"""The arithmetic between measurements and verdicts."""

import unittest

from bench.compare import fabricated
from bench.compare import figures
from bench.compare import measure
from bench.compare import peers
from bench.compare import scenarios
from bench.compare import series
from bench.compare import targets
from tests.testbed import runner


def _bulk(peer, number, cpu, **more):
    return fabricated.measurement(
        "bulk-8", peer, number, cpu_ns_per_byte=cpu, **more
    )


def _only_row(measurements):
    (row,) = figures.rows(measurements)
    return row


class RowsTest(unittest.TestCase):
    def test_medians_and_spreads(self):
        row = _only_row(
            [_bulk("spicegate", n, v) for n, v in enumerate((3, 1, 2))]
            + [_bulk("haproxy", n, v) for n, v in enumerate((4, 6, 10))]
        )
        self.assertEqual(row["scenario"], "bulk-8")
        self.assertEqual(row["peer"], "haproxy")
        self.assertEqual(row["metric"], "cpu_ns_per_byte")
        self.assertEqual((row["gateway"], row["other"]), (2, 6))
        self.assertEqual(row["gateway_spread"], [1, 3])
        self.assertEqual(row["other_spread"], [4, 10])
        self.assertEqual(row["rounds"], 3)

    def test_ratios_are_paired_by_round(self):
        row = _only_row(
            [_bulk("spicegate", n, v) for n, v in enumerate((10, 1))]
            + [_bulk("haproxy", n, v) for n, v in enumerate((20, 2))]
        )
        # The machine was ten times slower in one round: not the relays.
        self.assertEqual(row["ratio"], 0.5)
        self.assertEqual(row["ratio_spread"], [0.5, 0.5])

    def test_ratio_is_the_median_of_the_rounds(self):
        row = _only_row(
            [_bulk("spicegate", n, v) for n, v in enumerate((1, 1, 1))]
            + [_bulk("haproxy", n, v) for n, v in enumerate((1, 2, 4))]
        )
        self.assertEqual(row["ratio"], 0.5)
        self.assertEqual(row["ratio_spread"], [0.25, 1])

    def test_round_without_the_other_counts_only_for_its_own(self):
        row = _only_row(
            [
                _bulk("spicegate", 0, 1),
                _bulk("spicegate", 1, 5),
                _bulk("haproxy", 0, 2),
            ]
        )
        self.assertEqual(row["gateway"], 3)
        self.assertEqual((row["ratio"], row["rounds"]), (0.5, 1))

    def test_failed_measurement_counts_for_nothing(self):
        failed = _bulk("haproxy", 1, 1000)
        failed["error"] = "3 errors"
        row = _only_row(
            [_bulk("spicegate", n, 1) for n in range(2)]
            + [_bulk("haproxy", 0, 2), failed]
        )
        self.assertEqual((row["other"], row["rounds"]), (2, 1))

    def test_no_ratio_to_nothing(self):
        row = _only_row(
            [
                fabricated.measurement("idle-5000", p, idle_cpu_percent=0)
                for p in ("spicegate", "nginx")
            ]
        )
        self.assertIsNone(row["ratio"])
        self.assertIsNone(row["ratio_spread"])

    def test_no_row_without_the_gateway_or_without_the_figure(self):
        other = _bulk("direct", 0, None, bytes_per_second=5)
        self.assertEqual(figures.rows([other]), [])
        ours = _bulk("spicegate", 0, 1, bytes_per_second=4)
        row = _only_row([ours, other])
        self.assertEqual(row["metric"], "bytes_per_second")
        self.assertEqual(row["ratio"], 0.8)

    def test_order_is_that_of_the_tables(self):
        rows = figures.rows(fabricated.run(rounds=1)[::-1])
        seen = []
        for row in rows:
            if row["scenario"] not in seen:
                seen.append(row["scenario"])
        self.assertEqual(seen, [s.name for s in scenarios.ALL])
        first = [r["peer"] for r in rows if r["scenario"] == "bulk-1"]
        (bulk,) = scenarios.choose(["bulk-1"])
        others = [p.name for p in peers.ALL if not p.refuses(bulk)]
        others.remove(peers.GATEWAY)
        self.assertEqual(list(dict.fromkeys(first)), others)


class MediansTest(unittest.TestCase):
    def test_every_peer_has_its_own(self):
        found = figures.medians(
            [_bulk("spicegate", n, v) for n, v in enumerate((3, 1, 2))]
            + [_bulk("nginx", 0, 8)]
        )
        self.assertEqual(
            [(m["peer"], m["median"], m["spread"]) for m in found],
            [("spicegate", 2, [1, 3]), ("nginx", 8, [8, 8])],
        )


class ValuesTest(unittest.TestCase):
    def test_cost_is_for_what_was_moved_in_the_window(self):
        found = {"result": fabricated.result(1)}
        values = measure.values(found)
        self.assertAlmostEqual(values["cpu_ns_per_byte"], 2 / 9)
        self.assertAlmostEqual(values["cpu_ns_per_round_trip"], 2e9 / 90_000)
        self.assertAlmostEqual(values["cpu_ns_per_connection"], 2e9 / 60_000)
        self.assertEqual(values["p50_us"], 80)
        self.assertEqual(values["p99_us"], 240)
        self.assertEqual(values["p99_9_us"], 800)
        self.assertEqual(values["setup_p99_us"], 2700)

    def test_memory_is_what_it_grew_by(self):
        found = {
            "result": fabricated.result(1),
            "channels": 5000,
            "pss_bytes": {"before": 1_000_000, "idle": 2_000_000},
            "idle_cpu_percent": 0.0,
        }
        values = measure.values(found)
        self.assertEqual(values["pss_bytes_per_channel"], 200)
        self.assertEqual(values["idle_cpu_percent"], 0.0)

    def test_nothing_moved_is_no_figure(self):
        result = fabricated.result(1)
        result.update(bytes=0, bytes_per_second=0)
        result["latency_us"] = {"count": 0, "p50": 0}
        values = measure.values({"result": result})
        self.assertIsNone(values["cpu_ns_per_byte"])
        self.assertIsNone(values["bytes_per_second"])
        self.assertIsNone(values["p50_us"])


class TargetsTest(unittest.TestCase):
    def _verdict(self, measurements, scenario, peer, metric):
        medians = figures.medians(measurements)
        verdicts = targets.verdicts(medians, figures.rows(measurements))
        self.assertEqual(len(verdicts), len(targets.ALL))
        key = (scenario, peer, metric)
        return next(
            v
            for v in verdicts
            if (v["scenario"], v["peer"], v["metric"]) == key
        )

    def test_ratio_met_and_missed(self):
        for cost, expected in ((0.85, "met"), (0.86, "missed")):
            verdict = self._verdict(
                [
                    _bulk("spicegate", 0, cost),
                    _bulk("haproxy-splice", 0, 1),
                ],
                "bulk-8",
                "haproxy-splice",
                "cpu_ns_per_byte",
            )
            self.assertEqual(verdict["verdict"], expected)
            self.assertEqual(verdict["target"], "<= 0.85x")
            self.assertEqual(verdict["value"], cost)

    def test_more_is_better_where_it_is(self):
        for rate, expected in ((0.8, "met"), (0.79, "missed")):
            verdict = self._verdict(
                [
                    fabricated.measurement("storm", p, sessions_per_second=v)
                    for p, v in (("spicegate", rate), ("direct", 1))
                ],
                "storm",
                "direct",
                "sessions_per_second",
            )
            self.assertEqual(verdict["verdict"], expected)

    def test_own_figure_needs_no_peer(self):
        for memory, expected in ((640, "met"), (641, "missed")):
            verdict = self._verdict(
                [
                    fabricated.measurement(
                        "idle-20000", "spicegate", pss_bytes_per_channel=memory
                    )
                ],
                "idle-20000",
                None,
                "pss_bytes_per_channel",
            )
            self.assertEqual(verdict["verdict"], expected)
            self.assertEqual(verdict["target"], "<= 640 B")

    def test_not_measured(self):
        verdict = self._verdict([], "churn", "haproxy", "cpu_ns_per_connection")
        self.assertEqual(verdict["verdict"], "not measured")

    def test_pairs_are_those_of_the_targets(self):
        pairs = targets.pairs()
        self.assertIn(("storm", "direct"), pairs)
        self.assertIn(("storm", "spicegate"), pairs)
        self.assertIn(("idle-20000", "haproxy"), pairs)
        self.assertNotIn(("storm", "haproxy"), pairs)
        possible, skipped = series.split(
            scenarios.ALL, [peers.Direct()], pairs
        )
        self.assertEqual((possible, skipped), ({("storm", "direct")}, []))

    def test_every_target_names_what_there_is(self):
        by_name = {s.name: s for s in scenarios.ALL}
        names = {p.name for p in peers.ALL}
        for target in targets.ALL:
            self.assertIn(target.metric, by_name[target.scenario].metrics)
            self.assertIn(target.peer, names | {None})


class PlanTest(unittest.TestCase):
    def test_every_round_runs_every_peer_once_a_scenario(self):
        chosen = scenarios.choose([])
        order = series.plan(chosen, list(peers.ALL), 3)
        self.assertEqual(len(order), 3 * len(chosen) * len(peers.ALL))
        self.assertEqual(len({(n, s.name, p.name) for n, s, p in order}),
                         len(order))

    def test_who_begins_changes(self):
        chosen = scenarios.choose(["bulk-1"])
        order = series.plan(chosen, list(peers.ALL), len(peers.ALL))
        begins = [
            step[2].name for step in order[:: len(peers.ALL)]
        ]
        self.assertEqual(sorted(begins), sorted(p.name for p in peers.ALL))

    def test_who_begins_changes_among_those_that_are_possible(self):
        chosen = scenarios.choose(["bulk-1"])
        possible = {("bulk-1", "spicegate"), ("bulk-1", "haproxy")}
        order = series.plan(chosen, list(peers.ALL), 4, possible)
        begins = [step[2].name for step in order[::2]]
        self.assertEqual(len(order), 8)
        self.assertEqual(begins.count("spicegate"), 2)

    def test_rotated(self):
        self.assertEqual(series.rotated([1, 2, 3], 4), [2, 3, 1])
        self.assertEqual(series.rotated([], 4), [])


class ChoiceTest(unittest.TestCase):
    def test_group_or_name(self):
        names = [s.name for s in scenarios.choose(["pingpong", "bulk-8"])]
        self.assertEqual(
            names, ["bulk-8", "pingpong-1", "pingpong-100", "pingpong-1000"]
        )

    def test_optional_only_by_name(self):
        self.assertNotIn("bulk-8-c2s", [s.name for s in scenarios.choose([])])
        grouped = [s.name for s in scenarios.choose(["bulk"])]
        self.assertNotIn("bulk-8-c2s", grouped)
        (named,) = scenarios.choose(["bulk-8-c2s"])
        self.assertEqual(named.flags["direction"], "c2s")

    def test_the_gateway_always_runs(self):
        names = [p.name for p in peers.choose(["nginx"])]
        self.assertEqual(names, ["spicegate", "nginx"])
        self.assertNotIn("plain-relay", [p.name for p in peers.choose([])])

    def test_unknown_words(self):
        with self.assertRaisesRegex(ValueError, "no scenario 'bulky'"):
            scenarios.choose(["bulky"])
        with self.assertRaisesRegex(ValueError, "no peer 'envoy'"):
            peers.choose(["envoy"])


class NumberTest(unittest.TestCase):
    def test_three_digits_that_count(self):
        for value, text in (
            (None, "-"),
            (0, "0"),
            (0.06123, "0.0612"),
            (0.5, "0.5"),
            (12.345, "12.3"),
            (999.4, "999"),
            (999.6, "1 000"),
            (27_812.4, "27 812"),
            (-0.56, "-0.56"),
            (0.00001234, "0.000012"),
            (0.0000001, "1e-07"),
        ):
            self.assertEqual(figures.number(value), text)

    def test_every_metric_has_a_unit(self):
        for metric in scenarios.METRICS:
            self.assertTrue(figures.unit(metric))
        self.assertEqual(
            figures.with_unit("bytes_per_second", 2.5e9), "2.5 GB/s"
        )


if __name__ == "__main__":
    runner.main()
