# SPDX-License-Identifier: Apache-2.0
"""Measurements that nobody made, for tests of what is made of them."""

from bench.compare import measure
from bench.compare import peers
from bench.compare import scenarios
from bench.compare import series


def measurement(scenario, peer, number=0, error=None, **values):
    """A measurement with these values and nothing else."""
    return {
        "scenario": scenario,
        "peer": peer,
        "round": number,
        "values": values,
        "notes": [],
        "error": error,
    }


def histogram(p50):
    """A latency histogram with a tail, as the load writes it."""
    curve = [
        [0.0, p50 / 2],
        [50.0, p50],
        [90.0, p50 * 1.5],
        [99.0, p50 * 3],
        [99.9, p50 * 10],
        [99.99, p50 * 40],
        [100.0, p50 * 50],
    ]
    return {
        "count": 100_000,
        "p50": p50,
        "p90": p50 * 1.5,
        "p99": p50 * 3,
        "p99_9": p50 * 10,
        "max": p50 * 50,
        "mean": p50 * 1.1,
        "curve": curve,
    }


def result(cost, seconds=3.0):
    """What the load reports of a relay that costs `cost` times another."""
    return {
        "event": "result",
        "seconds": seconds,
        "bytes": int(9e9 / cost),
        "bytes_per_second": 3e9 / cost,
        "round_trips": int(90_000 / cost),
        "sessions": int(900 / cost),
        "sessions_per_second": 300 / cost,
        "connections": int(60_000 / cost),
        "connections_per_second": 20_000 / cost,
        "errors": 0,
        "checksum_errors": 0,
        "latency_us": histogram(80.0 * cost),
        "setup_us": histogram(900.0 * cost),
        "watched_cpu_ns": int(2e9),
    }


def run(rounds=3):
    """Every scenario and peer that go together, plausible throughout."""
    found = []
    for scenario in scenarios.ALL:
        for index, peer in enumerate(peers.ALL):
            if peer.refuses(scenario):
                continue
            for number in range(rounds):
                found.append(_made_up(scenario, peer, number, 1 + index / 2))
    return found


def _made_up(scenario, peer, number, cost):
    made = measurement(scenario.name, peer.name, number)
    made["result"] = result(cost * (1 + number / 50))
    made["load_average"] = 1.5
    made["others_cpu_percent"] = 2.0 + number
    if scenario.is_idle:
        grown = int(5000 * 400 * cost)
        made["pss_bytes"] = {"before": 3 << 20, "idle": (3 << 20) + grown}
        made["idle_cpu_percent"] = 0.01 * cost
        made["channels"] = 5000
    every = measure.values(made)
    made["values"] = {
        metric: every[metric]
        for metric in scenario.metrics
        if peer.name != "direct" or not metric.startswith("cpu_ns")
    }
    return made


def document(measurements, skipped=()):
    """The document of such a run."""
    how = measure.Options(
        seconds=3,
        warmup_s=1,
        relay_cpu=0,
        load_cpu=1,
        tiny=False,
        directory="",
    )
    return series.document(
        measurements, list(skipped), [], how, "tools/bench compare --quick"
    )
