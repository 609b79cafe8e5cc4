# SPDX-License-Identifier: Apache-2.0
"""What is run: the one table of scenarios and the one of metrics."""

import dataclasses

from bench.compare import certificates

KIB = 1024


@dataclasses.dataclass(frozen=True)
class Metric:
    """One figure of a measurement.

    Attributes:
      name: as in rows; its unit is its suffix.
      title: for people.
      better: "less" or "more".
    """

    name: str
    title: str
    better: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("cpu_ns_per_byte", "CPU per byte", "less"),
        Metric("bytes_per_second", "throughput", "more"),
        Metric("cpu_ns_per_round_trip", "CPU per round trip", "less"),
        Metric("p50_us", "latency p50", "less"),
        Metric("p99_us", "latency p99", "less"),
        Metric("p99_9_us", "latency p99.9", "less"),
        Metric("sessions_per_second", "sessions", "more"),
        Metric("setup_p50_us", "channel set-up p50", "less"),
        Metric("setup_p99_us", "channel set-up p99", "less"),
        Metric("cpu_ns_per_session", "CPU per session", "less"),
        Metric("connections_per_second", "connections", "more"),
        Metric("cpu_ns_per_connection", "CPU per connection", "less"),
        Metric("pss_bytes_per_channel", "memory per channel", "less"),
        Metric("idle_cpu_percent", "CPU when idle", "less"),
    )
}

_BULK = ("cpu_ns_per_byte", "bytes_per_second")
_LATENCY = ("p50_us", "p99_us", "p99_9_us")
_PINGPONG = ("cpu_ns_per_round_trip",) + _LATENCY
_MIXED = _LATENCY + _BULK
_STORM = ("sessions_per_second", "setup_p99_us", "cpu_ns_per_session")
_CHURN = ("connections_per_second", "cpu_ns_per_connection")
_IDLE = ("pss_bytes_per_channel", "idle_cpu_percent")
_TUNNELS = (
    "setup_p50_us",
    "setup_p99_us",
    "cpu_ns_per_connection",
    "pss_bytes_per_channel",
    "idle_cpu_percent",
)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One load, the same for every peer.

    Attributes:
      name, group: --scenario takes either.
      title: for people.
      command: spicegate-load's word for it.
      flags: its flags, without the dashes.
      tiny: flags of a run that only has to be right, see //bench/smoke.
      metrics: names of what it yields.
      raw: no SPICE; plain-relay stands in for the gateway.
      veth: every hop crosses a veth pair between two network namespaces.
      spin_us: the gateway's relay.spin_us, 0 leaves its own default.
      tls: the certificate that the relay shows to viewers, of certificates.py;
        TLS 1.3 with AES-128-GCM then, and plain towards the server. "": plain.
      resume: viewers resume TLS sessions.
      tunnel: TLS from end to end, which no relay looks into; by CONNECT where
        the relay is for that, and so through the gateway.
      optional: runs only when it is named.
    """

    name: str
    group: str
    title: str
    command: str
    flags: dict
    tiny: dict
    metrics: tuple
    raw: bool = False
    veth: bool = False
    spin_us: int = 0
    tls: str = ""
    resume: bool = False
    tunnel: bool = False
    optional: bool = False

    @property
    def is_idle(self):
        """Ends in silence, in which memory and CPU are measured."""
        return self.command in ("idle", "tunnels")


def _bulk(name, streams, write_bytes, **more):
    size = (
        f"{write_bytes // KIB} KiB" if write_bytes < KIB * KIB else "1 MiB"
    )
    way = more.pop("direction", "s2c")
    flags = {
        "streams": streams,
        "write-bytes": write_bytes,
        "direction": way,
    }
    title = f"{streams} streams" if streams > 1 else "1 stream"
    title += f", writes of {size}"
    if way != "s2c":
        title += ", client to server"
    if more.get("veth"):
        title += ", across a veth pair"
    if more.get("tls"):
        title += ", TLS"
    return Scenario(
        name=name,
        group=more.pop("group", "bulk"),
        title=title,
        command="bulk",
        flags=flags,
        tiny={"streams": min(streams, 2)},
        metrics=_BULK,
        **more,
    )


def _pingpong(connections, **more):
    plural = "s" if connections > 1 else ""
    title = f"{connections} connection{plural}, 64 bytes there and back"
    if more.get("tls"):
        title += ", TLS"
    return Scenario(
        name=more.pop("name", f"pingpong-{connections}"),
        group=more.pop("group", "pingpong"),
        title=title,
        command="pingpong",
        flags={"connections": connections, "message-bytes": 64, "rate": 0},
        tiny={"connections": min(connections, 10)},
        metrics=_PINGPONG,
        **more,
    )


def _idle(channels, **more):
    return Scenario(
        name=more.pop("name", f"idle-{channels}"),
        group=more.pop("group", "idle"),
        title=f"{channels} silent channels" + (", TLS" if more else ""),
        command="idle",
        flags={"channels": channels},
        tiny={"channels": 20},
        metrics=_IDLE,
        **more,
    )


def _tls_churn(name, tls, handshake, **more):
    return Scenario(
        name=name,
        group="tls",
        title=f"connect, {handshake}, one round trip, close; no SPICE",
        command="churn",
        flags={"concurrency": 32},
        tiny={"concurrency": 2},
        metrics=_CHURN,
        raw=True,
        tls=tls,
        **more,
    )


_TLS = {"group": "tls", "tls": certificates.ECDSA}
_UP = {"direction": "c2s"}


ALL = (
    _bulk("bulk-1", 1, 256 * KIB),
    _bulk("bulk-8", 8, 256 * KIB),
    _bulk("bulk-64", 64, 256 * KIB),
    _bulk("bulk-8-4k", 8, 4 * KIB),
    _bulk("bulk-8-16k", 8, 16 * KIB),
    _bulk("bulk-8-64k", 8, 64 * KIB),
    _bulk("bulk-8-1m", 8, 1024 * KIB),
    _bulk("bulk-8-c2s", 8, 256 * KIB, direction="c2s", optional=True),
    _bulk("bulk-veth", 8, 256 * KIB, group="bulk-veth", veth=True),
    _pingpong(1, spin_us=50),
    _pingpong(100),
    _pingpong(1000),
    Scenario(
        name="mixed",
        group="mixed",
        title="200 inputs at 60 Hz beside 4 saturating displays",
        command="mixed",
        flags={
            "sessions": 200,
            "rate": 60,
            "floods": 4,
            "write-bytes": 256 * KIB,
        },
        tiny={"sessions": 4, "floods": 1},
        metrics=_MIXED,
    ),
    Scenario(
        name="storm",
        group="storm",
        title="sessions of 10 channels, opened and closed",
        command="storm",
        flags={"channels": 10, "concurrency": 16},
        tiny={"channels": 3, "concurrency": 1},
        metrics=_STORM,
    ),
    Scenario(
        name="churn",
        group="churn",
        title="connect, one round trip, close; no SPICE",
        command="churn",
        flags={"concurrency": 32},
        tiny={"concurrency": 2},
        metrics=_CHURN,
        raw=True,
    ),
    _idle(5000),
    _idle(20000),
    Scenario(
        name="tunnels",
        group="tunnels",
        title="2 000 tunnels with TLS inside, 600 of them within one second",
        command="tunnels",
        flags={"channels": 2000, "burst": 600, "stalled": 1},
        tiny={"channels": 20, "burst": 10},
        metrics=_TUNNELS,
        tunnel=True,
    ),
    Scenario(
        name="tunnels-stalled",
        group="tunnels",
        title="50 tunnels whose viewers do not read what comes without end",
        command="tunnels",
        flags={"channels": 50, "burst": 50, "stalled": 50},
        tiny={"channels": 4, "burst": 4, "stalled": 4},
        metrics=_IDLE,
        tunnel=True,
    ),
    _bulk("tls-bulk-1", 1, 256 * KIB, **_TLS),
    _bulk("tls-bulk-8", 8, 256 * KIB, **_TLS),
    _bulk("tls-bulk-1-c2s", 1, 256 * KIB, **_UP, **_TLS),
    _bulk("tls-bulk-8-c2s", 8, 256 * KIB, **_UP, **_TLS),
    _pingpong(100, name="tls-pingpong-100", **_TLS),
    _tls_churn("tls-full-ecdsa", certificates.ECDSA, "full ECDSA handshake"),
    _tls_churn("tls-full-rsa", certificates.RSA, "full RSA handshake"),
    _tls_churn(
        "tls-resumed", certificates.ECDSA, "resumed handshake", resume=True
    ),
    Scenario(
        name="tls-storm",
        group="tls",
        title="sessions of 10 channels, opened and closed, TLS",
        command="storm",
        flags={"channels": 10, "concurrency": 16},
        tiny={"channels": 3, "concurrency": 1},
        metrics=_STORM,
        tls=certificates.ECDSA,
    ),
    _idle(2000, name="tls-idle-2000", **_TLS),
)


def choose(words):
    """The scenarios with these names or of these groups, in table order.

    No words: all that are not optional. Raises ValueError for a word that is
    neither a name nor a group.
    """
    if not words:
        return [s for s in ALL if not s.optional]
    known = {s.name for s in ALL} | {s.group for s in ALL}
    for word in words:
        if word not in known:
            raise ValueError(
                f"no scenario '{word}'; there are: "
                + " ".join(s.name for s in ALL)
            )
    return [
        s
        for s in ALL
        if s.name in words or (s.group in words and not s.optional)
    ]
