# SPDX-License-Identifier: Apache-2.0
"""The figures to reach, and which of them a run reached. No I/O."""

import dataclasses
import operator

from bench.compare import figures
from bench.compare import peers

_RELATIONS = {"<=": operator.le, ">=": operator.ge}
MET = "met"
MISSED = "missed"
NOT_MEASURED = "not measured"


@dataclasses.dataclass(frozen=True)
class Target:
    """One figure to reach.

    Attributes:
      scenario, metric: as in the tables of scenarios.py.
      peer: against whom a ratio counts; None: the gateway's own value counts.
      relation, limit: what the ratio or the value has to be.
    """

    scenario: str
    peer: str
    metric: str
    relation: str
    limit: float

    @property
    def text(self):
        if self.peer is not None:
            return f"{self.relation} {self.limit:g}x"
        return f"{self.relation} {figures.with_unit(self.metric, self.limit)}"

    def holds(self, value):
        return _RELATIONS[self.relation](value, self.limit)


_DEFAULT = "haproxy"
_SPLICE = "haproxy-splice"

ALL = (
    Target("bulk-8", _DEFAULT, "cpu_ns_per_byte", "<=", 0.25),
    Target("bulk-8", _DEFAULT, "bytes_per_second", ">=", 2.2),
    Target("bulk-8", _SPLICE, "cpu_ns_per_byte", "<=", 0.85),
    Target("bulk-8", _SPLICE, "bytes_per_second", ">=", 1.1),
    Target("bulk-64", _DEFAULT, "cpu_ns_per_byte", "<=", 0.25),
    Target("bulk-64", _DEFAULT, "bytes_per_second", ">=", 2.2),
    Target("bulk-64", _SPLICE, "cpu_ns_per_byte", "<=", 0.85),
    Target("bulk-64", _SPLICE, "bytes_per_second", ">=", 1.1),
    Target("bulk-8-16k", _DEFAULT, "cpu_ns_per_byte", "<=", 0.75),
    Target("bulk-8-4k", _DEFAULT, "cpu_ns_per_byte", "<=", 1.0),
    Target("bulk-veth", _SPLICE, "cpu_ns_per_byte", "<=", 0.4),
    Target("pingpong-100", _DEFAULT, "cpu_ns_per_round_trip", "<=", 0.75),
    Target("pingpong-100", _DEFAULT, "p99_us", "<=", 0.7),
    Target("pingpong-1000", _DEFAULT, "cpu_ns_per_round_trip", "<=", 0.75),
    Target("pingpong-1000", _DEFAULT, "p99_us", "<=", 0.7),
    Target("pingpong-1", _DEFAULT, "p50_us", "<=", 0.15),
    Target("mixed", _DEFAULT, "p99_us", "<=", 0.1),
    Target("mixed", _DEFAULT, "p99_9_us", "<=", 0.3),
    Target("mixed", _SPLICE, "p99_us", "<=", 0.6),
    Target("mixed", _SPLICE, "p99_9_us", "<=", 0.6),
    Target("mixed", _SPLICE, "bytes_per_second", ">=", 1.0),
    Target("storm", "direct", "sessions_per_second", ">=", 0.8),
    Target("storm", "direct", "setup_p99_us", "<=", 2.0),
    Target("idle-20000", None, "pss_bytes_per_channel", "<=", 640),
    # 0 % to one digit; two seconds apart a worker looks whether it hangs.
    Target("idle-20000", None, "idle_cpu_percent", "<=", 0.05),
    Target("churn", _DEFAULT, "connections_per_second", ">=", 1.0),
    Target("churn", _DEFAULT, "cpu_ns_per_connection", "<=", 0.75),
    Target("tls-bulk-1", _DEFAULT, "cpu_ns_per_byte", "<=", 0.75),
    Target("tls-bulk-8", _DEFAULT, "cpu_ns_per_byte", "<=", 0.75),
    Target("tls-bulk-1-c2s", _DEFAULT, "cpu_ns_per_byte", "<=", 0.75),
    Target("tls-bulk-8-c2s", _DEFAULT, "cpu_ns_per_byte", "<=", 0.75),
    Target("tls-storm", _DEFAULT, "sessions_per_second", ">=", 1.0),
    Target("tls-storm", "nginx", "sessions_per_second", ">=", 1.0),
    Target("tls-storm", "stunnel", "sessions_per_second", ">=", 1.0),
    Target("tls-idle-2000", _DEFAULT, "pss_bytes_per_channel", "<=", 0.5),
    Target("tls-idle-2000", "nginx", "pss_bytes_per_channel", "<=", 0.5),
    Target("tls-idle-2000", "stunnel", "pss_bytes_per_channel", "<=", 0.5),
)


def pairs():
    """(scenario, peer) names of all that the targets are about.

    Where the gateway's own value counts, HAProxy's is measured beside it.
    """
    found = {(t.scenario, t.peer or _DEFAULT) for t in ALL}
    return found | {(t.scenario, peers.GATEWAY) for t in ALL}


def _measured(target, medians, rows):
    """(value, spread) that the target speaks of, or (None, None)."""
    if target.peer is None:
        key = (target.scenario, peers.GATEWAY, target.metric)
        for found in medians:
            if key == (found["scenario"], found["peer"], found["metric"]):
                return found["median"], found["spread"]
        return None, None
    key = (target.scenario, target.peer, target.metric)
    for row in rows:
        if key == (row["scenario"], row["peer"], row["metric"]):
            return row["ratio"], row["ratio_spread"]
    return None, None


def verdicts(medians, rows):
    """One dict for each target, with `verdict` met, missed or not measured.

    Args:
      medians, rows: of figures.py, for the same measurements.
    """
    found = []
    for target in ALL:
        value, spread = _measured(target, medians, rows)
        verdict = NOT_MEASURED
        if value is not None:
            verdict = MET if target.holds(value) else MISSED
        found.append(
            {
                "scenario": target.scenario,
                "peer": target.peer,
                "metric": target.metric,
                "target": target.text,
                "value": value,
                "spread": spread,
                "verdict": verdict,
            }
        )
    return found
