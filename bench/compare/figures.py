# SPDX-License-Identifier: Apache-2.0
"""From measurements to figures: medians, spreads, ratios. No I/O.

A measurement is a dict with `scenario`, `peer`, `round`, `values` (metric ->
number) and `error` (None when it may be used).
"""

import statistics

from bench.compare import peers
from bench.compare import scenarios


def by_round(measurements, scenario, peer, metric):
    """{round: value} of the measurements that went well."""
    return {
        m["round"]: m["values"][metric]
        for m in measurements
        if m["error"] is None
        and m["scenario"] == scenario
        and m["peer"] == peer
        and m["values"].get(metric) is not None
    }


def spread(values):
    """[least, most]."""
    return [min(values), max(values)]


def paired_ratios(gateway, other):
    """gateway / other of every round that has both; other may not be 0."""
    return [
        gateway[number] / other[number]
        for number in sorted(gateway.keys() & other.keys())
        if other[number] != 0
    ]


def _in_order(names, wanted):
    """`names` without repetition, in the order of `wanted`."""
    present = set(names)
    return [name for name in wanted if name in present]


def scenarios_in(measurements):
    names = [m["scenario"] for m in measurements]
    return _in_order(names, [s.name for s in scenarios.ALL])


def peers_in(measurements, scenario):
    names = [m["peer"] for m in measurements if m["scenario"] == scenario]
    return _in_order(names, [p.name for p in peers.ALL])


def metrics_of(scenario):
    """The metrics of a scenario, by its name."""
    return next(s for s in scenarios.ALL if s.name == scenario).metrics


def medians(measurements):
    """One dict for each scenario, peer and metric that has a figure."""
    found = []
    for scenario in scenarios_in(measurements):
        for peer in peers_in(measurements, scenario):
            for metric in metrics_of(scenario):
                values = by_round(measurements, scenario, peer, metric)
                if values:
                    found.append(
                        {
                            "scenario": scenario,
                            "peer": peer,
                            "metric": metric,
                            "median": statistics.median(values.values()),
                            "spread": spread(values.values()),
                            "rounds": len(values),
                        }
                    )
    return found


def _row(measurements, scenario, peer, metric):
    """The gateway beside one peer; None without a figure of both."""
    gateway = by_round(measurements, scenario, peers.GATEWAY, metric)
    other = by_round(measurements, scenario, peer, metric)
    if not gateway or not other:
        return None
    ratios = paired_ratios(gateway, other)
    return {
        "scenario": scenario,
        "peer": peer,
        "metric": metric,
        "gateway": statistics.median(gateway.values()),
        "other": statistics.median(other.values()),
        "ratio": statistics.median(ratios) if ratios else None,
        "gateway_spread": spread(gateway.values()),
        "other_spread": spread(other.values()),
        "ratio_spread": spread(ratios) if ratios else None,
        "rounds": len(ratios),
    }


def rows(measurements):
    """The gateway beside every peer, in the order of the tables.

    `ratio` is the median of the ratios of each round, in which both ran
    shortly after each other; it need not be the ratio of the two medians.
    """
    found = []
    for scenario in scenarios_in(measurements):
        for peer in peers_in(measurements, scenario):
            if peer == peers.GATEWAY:
                continue
            for metric in metrics_of(scenario):
                row = _row(measurements, scenario, peer, metric)
                if row:
                    found.append(row)
    return found


_UNITS = {
    "cpu_ns_per_byte": (1, "ns/B"),
    "cpu_ns_per_round_trip": (1e-3, "us"),
    "cpu_ns_per_connection": (1e-3, "us"),
    "cpu_ns_per_session": (1e-6, "ms"),
    "bytes_per_second": (1e-9, "GB/s"),
    "p50_us": (1, "us"),
    "p99_us": (1, "us"),
    "p99_9_us": (1, "us"),
    "setup_p50_us": (1e-3, "ms"),
    "setup_p99_us": (1e-3, "ms"),
    "sessions_per_second": (1, "/s"),
    "connections_per_second": (1, "/s"),
    "pss_bytes_per_channel": (1, "B"),
    "idle_cpu_percent": (1, "%"),
}


def number(value):
    """Three digits that count; "-" for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}".replace(",", " ")
    text = f"{value:.3g}"
    if "e" in text and abs(value) >= 1e-6:
        text = f"{value:.6f}".rstrip("0")
    return text


def scaled(metric, value):
    """A value in the unit people read it in."""
    return value * _UNITS[metric][0]


def unit(metric):
    return _UNITS[metric][1]


def with_unit(metric, value):
    return f"{number(scaled(metric, value))} {unit(metric)}"
