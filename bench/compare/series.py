# SPDX-License-Identifier: Apache-2.0
"""Many measurements in turn: every round runs every peer once a scenario."""

import datetime
import platform

from bench.compare import figures
from bench.compare import machine
from bench.compare import measure
from bench.compare import targets

FORMAT = 1
_OVERHEAD_S = 0.6  # starting and ending a relay and its load


def rotated(items, by):
    """items, beginning with the one at index `by`, counted around."""
    start = by % len(items) if items else 0
    return items[start:] + items[:start]


def plan(scenarios, chosen_peers, rounds, possible=None):
    """(round, scenario, peer) of every measurement, in order.

    Peers follow each other within a scenario, so that a gateway's measurement
    and another's are close in time; who begins changes with round and
    scenario, so that nobody always follows the same.

    Args:
      possible: names of the pairs to measure; None: all.
    """
    order = []
    for number in range(rounds):
        for index, scenario in enumerate(scenarios):
            here = [
                peer
                for peer in chosen_peers
                if possible is None or (scenario.name, peer.name) in possible
            ]
            for peer in rotated(here, number + index):
                order.append((number, scenario, peer))
    return order


def split(scenarios, chosen_peers, wanted=None):
    """(pairs that can be measured here, list of skips with reasons).

    Args:
      wanted: names of the pairs that may be measured; None: all.
    """
    possible, skipped = set(), []
    for scenario in scenarios:
        for peer in chosen_peers:
            if wanted is not None and (scenario.name, peer.name) not in wanted:
                continue
            reason = measure.refusal(scenario, peer)
            if reason is None:
                possible.add((scenario.name, peer.name))
            else:
                skipped.append(
                    {
                        "scenario": scenario.name,
                        "peer": peer.name,
                        "reason": reason,
                    }
                )
    return possible, skipped


def _outcome(found):
    if found["error"]:
        return found["error"].strip()
    return "  ".join(
        f"{metric} {figures.with_unit(metric, value)}"
        for metric, value in found["values"].items()
    )


def _estimate(order, options):
    each_s = options.seconds + options.warmup_s + _OVERHEAD_S
    minutes = len(order) * each_s / 60
    return f"{len(order)} measurements, about {minutes:.0f} minutes"


def run(scenarios, chosen_peers, rounds, options, say, wanted=None):
    """Measures everything; returns (measurements, skipped).

    say(text) is told each outcome; `wanted` is as for split(). Interrupting it
    loses no measurement that is finished: KeyboardInterrupt ends the series,
    not the call.
    """
    possible, skipped = split(scenarios, chosen_peers, wanted)
    order = plan(scenarios, chosen_peers, rounds, possible)
    say(_estimate(order, options))
    measurements = []
    try:
        for index, (number, scenario, peer) in enumerate(order, 1):
            found = measure.measure(scenario, peer, number, options)
            measurements.append(found)
            say(
                f"[{index}/{len(order)}] {scenario.name} {peer.name}:"
                f" {_outcome(found)}"
            )
    except KeyboardInterrupt:
        say(f"interrupted; {len(measurements)} measurements are kept")
    return measurements, skipped


def document(measurements, skipped, chosen_peers, options, command):
    """All that is known of a run, ready for json.dump."""
    medians = figures.medians(measurements)
    rows = figures.rows(measurements)
    return {
        "format": FORMAT,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(
            timespec="seconds"
        ),
        "command": command,
        "revision": machine.revision(),
        "seconds": options.seconds,
        "warmup_s": options.warmup_s,
        "relay_cpu": options.relay_cpu,
        "load_cpu": options.load_cpu,
        "machine": machine.describe(),
        "python": platform.python_version(),
        "peers": [
            {"name": p.name, "title": p.title, "version": p.version()}
            for p in chosen_peers
            if p.missing() is None
        ],
        "rows": rows,
        "medians": medians,
        "targets": targets.verdicts(medians, rows),
        "skipped": skipped,
        "measurements": measurements,
    }
