# SPDX-License-Identifier: Apache-2.0
"""What people get to read: the closing tables and the page."""

import html.parser
import json
import re
import unittest
import xml.etree.ElementTree as ElementTree

from bench.compare import charts
from bench.compare import fabricated
from bench.compare import peers
from bench.compare import report
from bench.compare import scenarios
from bench.compare import table
from tests.testbed import runner

_VOID = {"meta"}
_SKIP = {
    "scenario": "bulk-veth",
    "peer": "squid",
    "reason": "squid is <not> installed",
}


class _Balance(html.parser.HTMLParser):
    """Finds tags that are not closed, and what the page loads."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.loads = []

    def handle_starttag(self, tag, attrs):
        if tag not in _VOID:
            self.open.append(tag)
        self.loads += [n for n, _ in attrs if n in ("src", "href", "data")]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another"


def _document(**changes):
    made = fabricated.document(fabricated.run(), [_SKIP])
    made.update(changes)
    # As it comes back from a file.
    return json.loads(json.dumps(made))


class PageTest(unittest.TestCase):
    def test_well_formed_and_self_contained(self):
        page = report.page(_document())
        balance = _Balance()
        balance.feed(page)
        self.assertEqual(balance.open, [])
        self.assertEqual(balance.loads, [])
        self.assertNotIn("url(", page)
        self.assertNotIn("@import", page)
        self.assertNotRegex(page, r"\bnan\b|\binf\b")

    def test_every_row_is_in_the_table(self):
        document = _document()
        body = report.page(document).partition("<h2>All figures</h2>")[2]
        lines = body.partition("</table>")[0].count("<tr>") - 1
        self.assertEqual(lines, len(document["rows"]))

    def test_every_scenario_has_a_chart(self):
        page = report.page(_document())
        for scenario in scenarios.ALL:
            self.assertIn(f"<h3>{scenario.name}: ", page)

    def test_what_was_left_out_is_said_and_escaped(self):
        page = report.page(_document())
        self.assertIn("squid is &lt;not&gt; installed", page)
        self.assertNotIn("<not>", page)

    def test_command_is_escaped(self):
        page = report.page(_document(command="a <b> & c"))
        self.assertIn("a &lt;b&gt; &amp; c", page)

    def test_both_colour_schemes(self):
        self.assertIn("prefers-color-scheme: dark", report.page(_document()))

    def test_failures_are_said(self):
        document = _document()
        document["measurements"][0]["error"] = "it fell over"
        self.assertIn("it fell over", report.page(document))

    def test_nothing_measured(self):
        page = report.page(json.loads(json.dumps(fabricated.document([]))))
        self.assertIn("not measured", page)
        self.assertNotIn("<svg", page)

    def test_curve_is_of_the_median_round(self):
        made = []
        for number, p99 in enumerate((30, 10, 20)):
            one = fabricated.measurement("mixed", "nginx", number)
            curve = [[50.0, p99 / 2], [99.0, p99]]
            one["result"] = {"latency_us": {"p99": p99, "curve": curve}}
            made.append(one)
        curve = report.median_curve(made, "mixed", "nginx", "latency_us")
        self.assertEqual(curve, [[50.0, 10.0], [99.0, 20]])
        self.assertEqual(
            report.median_curve(made, "mixed", "squid", "latency_us"), []
        )


class ChartTest(unittest.TestCase):
    def _bars(self, *values):
        svg = charts.bars(
            "speed",
            [
                {
                    "name": f"n{index}",
                    "value": value,
                    "spread": [value, value],
                    "text": str(value),
                    "spread_text": "none",
                    "ours": index == 0,
                }
                for index, value in enumerate(values)
            ],
        )
        root = ElementTree.fromstring(svg)
        return [
            float(e.get("width")) for e in root.iter() if e.tag == "rect"
        ]

    def test_bars_are_in_proportion(self):
        first, second = self._bars(50, 200)
        self.assertAlmostEqual(second / first, 4, places=1)

    def test_bars_of_nothing(self):
        self.assertEqual(self._bars(0, 0), [1, 1])

    def test_axis_of_nines(self):
        for percentile, place in ((0, 0), (90, 1), (99, 2), (99.9, 3)):
            self.assertAlmostEqual(charts.nines(percentile), place)

    def test_every_peer_has_a_line_of_its_own(self):
        self.assertGreaterEqual(charts.NUM_LINE_STYLES, len(peers.ALL))
        page = report.page(_document())
        for style in range(charts.NUM_LINE_STYLES):
            self.assertIn(f".line{style} {{", page)
            if style > 0:
                self.assertEqual(page.count(f" --c{style}: #"), 2)

    def test_curve_stays_on_the_plane(self):
        svg = charts.latency_curves(
            "x",
            [
                ("a", 0, fabricated.histogram(5)["curve"]),
                ("b", 1, fabricated.histogram(90_000)["curve"]),
                ("empty", 2, []),
            ],
        )
        root = ElementTree.fromstring(svg)
        _, _, width, height = map(float, root.get("viewBox").split())
        paths = [e for e in root.iter() if e.tag == "path"]
        self.assertEqual(len(paths), 2)
        for path in paths:
            for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", path.get("d")):
                self.assertTrue(0 <= float(x) <= width)
                self.assertTrue(0 <= float(y) <= height)

    def test_curve_of_one_point(self):
        svg = charts.latency_curves("x", [("a", 0, [(50.0, 7.0)])])
        ElementTree.fromstring(svg)

    def test_undrawable_points(self):
        self.assertEqual(
            charts.drawable([[50, 0], [90, 3], [100, 9]]), [(90, 3)]
        )


class TableTest(unittest.TestCase):
    def test_every_figure_and_verdict(self):
        document = _document()
        text = table.text(document)
        for scenario in scenarios.ALL:
            self.assertIn(f"{scenario.name}: {scenario.title}", text)
        self.assertIn("MISSED", text)
        self.assertRegex(text, r"(?m)^storm +direct +sessions +>= 0\.8x .*met$")
        self.assertIn("skipped: squid in bulk-veth: squid is <not>", text)
        self.assertIn("load average 1.50 to 1.50", text)

    def test_only_what_was_measured(self):
        made = [
            fabricated.measurement("churn", p, connections_per_second=v)
            for p, v in (("spicegate", 22_000), ("haproxy", 20_000))
        ]
        text = table.text(fabricated.document(made))
        self.assertIn("churn: connect", text)
        self.assertRegex(text, r"haproxy +20 000 /s +1\.1x")
        self.assertNotIn("bulk", text)
        self.assertNotIn("idle", text)

    def test_failure_and_note(self):
        made = fabricated.measurement("storm", "nginx", 1, error="no answer")
        made["notes"].append("fewer of them")
        text = table.text(fabricated.document([made]))
        self.assertIn("FAILED: storm nginx in round 2: no answer", text)
        self.assertIn("note: storm: fewer of them", text)

    def test_skips_for_the_same_reason_are_one_line(self):
        skips = [
            {"scenario": scenario, "peer": peer, "reason": "no root"}
            for scenario in ("bulk-1", "churn")
            for peer in ("nginx", "squid")
        ]
        text = table.text(fabricated.document([], skips))
        self.assertIn("skipped: nginx, squid in bulk-1, churn: no root", text)
        self.assertEqual(text.count("no root"), 1)

    def test_columns_are_aligned(self):
        lines = table.aligned([["a", "b", "1"], ["aaa", "bbb", "100"]], 2)
        self.assertEqual(lines, ["a    b      1", "aaa  bbb  100"])


if __name__ == "__main__":
    runner.main()
