# SPDX-License-Identifier: Apache-2.0
"""One measurement: one peer, one scenario, a relay that is started for it."""

import dataclasses
import os
import random
import resource
import time

from bench.compare import certificates
from bench.compare import load
from bench.compare import place
from bench.compare import procfs
from bench.compare import relay
from tests.testbed import ports

_SLACK_S = 60  # for connecting, minting tickets and the last messages
_START_TRIES = 3
# What a process needs beside two descriptors for each channel.
_OTHER_DESCRIPTORS = 700
_CHANNELS_PER_SESSION = 10
_USUAL_CHANNELS = 4000
_MOST_PIPES = 256
_LEAST_PORT = 12000
# How the error of a run begins in which too little happened for a figure.
LACKING = "the result lacks "


class Unmeasurable(Exception):
    """This machine cannot run the scenario."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How every measurement of a run is made.

    Attributes:
      seconds, warmup_s: of the load.
      relay_cpu, load_cpu: processor numbers.
      tiny: only whether it works counts; a few connections of everything.
      directory: where each measurement gets a folder.
    """

    seconds: float
    warmup_s: float
    relay_cpu: int
    load_cpu: int
    tiny: bool
    directory: str


def raise_descriptor_limit():
    """Makes RLIMIT_NOFILE, which children inherit, as large as it may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def max_channels():
    """How many channels one process can hold: two descriptors for each."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = (soft - _OTHER_DESCRIPTORS) // 2
    return fitting // _CHANNELS_PER_SESSION * _CHANNELS_PER_SESSION


def refusal(scenario, peer):
    """Why this pair is not measured here, or None."""
    reason = peer.missing() or peer.refuses(scenario)
    if not reason and scenario.veth:
        reason = place.veth_missing()
    if not reason and scenario.tls:
        reason = certificates.missing()
    return reason


def measure(scenario, peer, number, options):
    """Runs it; returns what figures.py calls a measurement.

    Whatever goes wrong is told in its `error`.
    """
    found = {
        "scenario": scenario.name,
        "peer": peer.name,
        "round": number,
        "values": {},
        "notes": [],
        "error": None,
    }
    name = f"{number}-{scenario.name}-{peer.name}"
    directory = os.path.join(options.directory, name)
    os.mkdir(directory, 0o755)
    try:
        with _place(scenario, options, directory) as where:
            _measure_there(scenario, peer, options, directory, where, found)
    except (load.LoadError, relay.PeerError, OSError, TimeoutError) as error:
        found["error"] = str(error)
    except (KeyError, TypeError, ValueError) as error:
        found["error"] = f"not the result that was agreed on: {error!r}"
    return found


def _place(scenario, options, directory):
    if scenario.veth:
        return place.veth_pair(directory, options.relay_cpu, options.load_cpu)
    return place.loopback(directory, options.relay_cpu, options.load_cpu)


def _flags(scenario, options, found):
    """The scenario's flags for this machine; notes what it changes."""
    flags = dict(scenario.flags)
    if options.tiny:
        flags.update(scenario.tiny)
    if flags.get("channels", 0) > max_channels():
        flags["channels"] = max_channels()
        found["notes"].append(
            f"{max_channels()} channels: RLIMIT_NOFILE is"
            f" {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
        )
        if "burst" in flags:
            flags["burst"] = min(flags["burst"], flags["channels"])
            flags["stalled"] = min(flags["stalled"], flags["channels"])
    return flags


def _measure_there(scenario, peer, options, directory, where, found):
    flags = _flags(scenario, options, found)
    running = _start(scenario, peer, flags, options, directory, where)
    try:
        before = running.pss_bytes() if scenario.is_idle else 0
        setup = running.setup
        found["notes"] += filter(None, [peer.note(setup)])
        target = setup.address if running.is_process else setup.server
        argv = where.load_prefix + load.arguments(
            scenario,
            flags,
            setup.server,
            target,
            [] if peer.forks else running.pids,
            options.seconds,
            options.warmup_s,
        )
        argv += peer.load_flags(setup)
        with load.Load(argv, directory) as generator:
            if scenario.is_idle:
                _watch_idle(generator, running, options, before, found)
            else:
                _watch(generator, running, options, found)
        running.check_alive()
        peer.check_used(running)
        check_handshakes(scenario, flags, found)
    finally:
        running.stop()
    _add_values(scenario, running, found)


def check_handshakes(scenario, flags, found):
    """Raises relay.PeerError where the relay did another kind of them.

    The first connections have nothing to resume yet.
    """
    if not scenario.tls:
        return
    counts = found["result"]["handshakes"]
    wrong = counts["resumed"]
    if scenario.resume:
        wrong = max(0, counts["full"] - 2 * flags["concurrency"])
    if wrong:
        raise relay.PeerError(
            f"{counts['resumed']} handshakes resumed, {counts['full']} full"
        )


def _free_ports(count):
    """Free ports below those that the kernel gives to connections.

    A run makes so many connections that one of them might have taken a port
    from there before the relay or the load listens.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as stream:
        most = int(stream.read().split()[0])
    if most - _LEAST_PORT < 1000:
        return ports.pick(count)
    found = []
    while len(found) < count:
        port = random.randrange(_LEAST_PORT, most)
        if port not in found and ports.is_free(port):
            found.append(port)
    return found


def _start(scenario, peer, flags, options, directory, where):
    """Starts the peer; again when somebody else took its port."""
    certificate = None
    if scenario.tls:
        certificate = certificates.make(options.directory, scenario.tls)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    channels = flags.get("channels", 0) if scenario.is_idle else 0
    channels = max(channels, min(_USUAL_CHANNELS, max_channels()))
    for attempt in range(_START_TRIES):
        relay_port, server_port = _free_ports(2)
        setup = relay.Setup(
            directory=directory,
            host=where.relay_host,
            port=relay_port,
            server=f"{where.server_host}:{server_port}",
            scenario=scenario,
            max_channels=channels,
            max_pipes=min(_MOST_PIPES, max(8, soft - 2 * channels - 120) // 2),
            max_descriptors=soft,
            certificate=certificate,
        )
        try:
            return peer.start(setup, where.relay_prefix)
        except relay.PeerError:
            if attempt == _START_TRIES - 1 or ports.is_free(relay_port):
                raise
    raise AssertionError("unreachable")


def _watch(generator, running, options, found):
    """Waits for the result; notes what else the machine did meanwhile."""
    limit_s = options.seconds + options.warmup_s + _SLACK_S
    generator.wait_event("measuring", limit_s)
    began = time.monotonic()
    peer_before = running.cpu_ns()
    busy_before, stolen_before = procfs.machine_cpu_ns()
    result = generator.wait_event("result", limit_s)
    elapsed_ns = (time.monotonic() - began) * 1e9
    peer_ns = running.cpu_ns() - peer_before
    busy, stolen = procfs.machine_cpu_ns()
    found["result"] = generator.finish(result)
    if running.peer.forks:
        result["watched_cpu_ns"] = peer_ns
    own_ns = result.get("own_cpu_ns", 0)
    others_ns = busy - busy_before - peer_ns - own_ns
    found["others_cpu_percent"] = max(0.0, 100 * others_ns / elapsed_ns)
    found["stolen_percent"] = 100 * (stolen - stolen_before) / elapsed_ns
    found["load_average"] = procfs.load_average()


def _watch_idle(generator, running, options, before, found):
    """Measures memory and CPU of the silence, then lets the load end it."""
    ready = generator.wait_event("ready", options.warmup_s + 2 * _SLACK_S)
    found["channels"] = ready["channels"]
    time.sleep(options.warmup_s)
    began = time.monotonic()
    cpu_before = running.cpu_ns()
    time.sleep(options.seconds)
    cpu_ns = running.cpu_ns() - cpu_before
    elapsed_ns = (time.monotonic() - began) * 1e9
    found["pss_bytes"] = {"before": before, "idle": running.pss_bytes()}
    found["idle_cpu_percent"] = 100 * cpu_ns / elapsed_ns
    generator.go_on()
    result = generator.wait_event("result", 2 * _SLACK_S)
    found["result"] = generator.finish(result)
    found["load_average"] = procfs.load_average()


def _per(result, amount, key):
    """amount for each of result[key]; None when either is nothing."""
    count = result.get(key)
    return amount / count if amount and count else None


def _percentile(result, histogram, key):
    found = result.get(histogram) or {}
    return found.get(key) if found.get("count") else None


def values(found):
    """{metric: value or None} of a measurement with its `result`."""
    result = found["result"]
    cpu_ns = result.get("watched_cpu_ns")
    memory = found.get("pss_bytes", {"before": 0, "idle": 0})
    grown = memory["idle"] - memory["before"]
    channels = found.get("channels")
    return {
        "cpu_ns_per_byte": _per(result, cpu_ns, "bytes"),
        "bytes_per_second": result.get("bytes_per_second") or None,
        "cpu_ns_per_round_trip": _per(result, cpu_ns, "round_trips"),
        "p50_us": _percentile(result, "latency_us", "p50"),
        "p99_us": _percentile(result, "latency_us", "p99"),
        "p99_9_us": _percentile(result, "latency_us", "p99_9"),
        "sessions_per_second": result.get("sessions_per_second") or None,
        "setup_p50_us": _percentile(result, "setup_us", "p50"),
        "setup_p99_us": _percentile(result, "setup_us", "p99"),
        "cpu_ns_per_session": _per(result, cpu_ns, "sessions"),
        "connections_per_second": result.get("connections_per_second") or None,
        "cpu_ns_per_connection": _per(result, cpu_ns, "connections"),
        "pss_bytes_per_channel": grown / channels if channels else None,
        "idle_cpu_percent": found.get("idle_cpu_percent"),
    }


def _add_values(scenario, running, found):
    """Fills found["values"]; a metric that is missing is an error."""
    every = values(found)
    wanted = [
        metric
        for metric in scenario.metrics
        if running.is_process or not metric.startswith("cpu_ns")
    ]
    found["values"] = {metric: every[metric] for metric in wanted}
    lacking = [m for m in wanted if every[m] is None]
    if lacking:
        found["error"] = LACKING + " ".join(lacking)
