# SPDX-License-Identifier: Apache-2.0
"""Command line of tools/bench compare and tools/bench report."""

import argparse
import json
import os
import shlex
import shutil
import signal
import sys

from bench.compare import load
from bench.compare import machine
from bench.compare import measure
from bench.compare import peers
from bench.compare import report
from bench.compare import scenarios
from bench.compare import series
from bench.compare import table
from bench.compare import targets
from tests.testbed import processes

_COMPARE = """\
Measures the gateway beside other relays in one interleaved run: every round
runs every peer once in each scenario, each relay alone on one processor and
the load alone on another. Prints medians, spreads and the figures to reach.
Exit status: 0, or 1 when a measurement failed or none was made.
"""
_REPORT = """\
Turns what `compare --json FILE` wrote into one HTML page with charts, which
needs nothing else to be read.
"""


def _compare_options(argv):
    parser = argparse.ArgumentParser(
        prog="tools/bench compare",
        description=_COMPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_lists(),
    )
    add = parser.add_argument
    add("--scenario", action="append", default=[], metavar="NAME")
    add("--peer", action="append", default=[], metavar="NAME")
    add("--targets", action="store_true", help="only for figures to reach")
    add("--rounds", type=_positive_int, metavar="N", help="default 5")
    add("--seconds", type=_positive, metavar="S", help="default 2")
    add("--warmup", type=_positive, metavar="S", help="default 0.5")
    add("--quick", action="store_true", help="1 round of 1 second")
    add("--json", metavar="FILE", help="write all figures there")
    add("--relay-cpu", type=int, metavar="N", help="default: the first")
    add("--load-cpu", type=int, metavar="N", help="default: the second")
    add("--list", action="store_true", help="scenarios and peers; no run")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    options.warmup = options.warmup or (0.3 if options.quick else 0.5)
    try:
        options.scenarios = scenarios.choose(options.scenario)
        options.peers = peers.choose(options.peer)
        _choose_processors(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def _positive(text):
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _positive_int(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _lists():
    """Names for --scenario and --peer, with what they are."""
    lines = ["scenarios (--scenario takes a name or the part before the -):"]
    for scenario in scenarios.ALL:
        named = "  (only when named)" if scenario.optional else ""
        lines.append(f"  {scenario.name:16} {scenario.title}{named}")
    lines.append(f"peers (beside {peers.GATEWAY}, which always runs):")
    for peer in peers.ALL:
        reason = peer.missing()
        state = f"  ({reason})" if reason else ""
        if peer.optional:
            state += "  (only when named)"
        lines.append(f"  {peer.name:16} {peer.title}{state}")
    return "\n".join(lines)


def _choose_processors(options):
    """Fills in what was not asked for; ValueError for one that is not here."""
    here = machine.processors()
    if options.relay_cpu is None:
        taken = options.load_cpu
        options.relay_cpu = next((n for n in here if n != taken), here[0])
    if options.load_cpu is None:
        taken = options.relay_cpu
        options.load_cpu = next((n for n in here if n != taken), here[0])
    for number in (options.relay_cpu, options.load_cpu):
        if number not in here:
            raise ValueError(f"no processor {number} for us; there are {here}")


def _say(text):
    print(text, file=sys.stderr, flush=True)


def _warn(options):
    if options.relay_cpu == options.load_cpu:
        _say("warning: relay and load share a processor: no fair figures")
    for scenario in options.scenarios:
        wanted = scenario.flags["channels"] if scenario.is_idle else 0
        if wanted > measure.max_channels():
            _say(
                f"{scenario.name}: {measure.max_channels()} channels, see"
                " ulimit -Hn"
            )


def compare(argv):
    options = _compare_options(argv)
    if options.list:
        print(_lists())
        return 0
    load.binary()  # before anything else: it names what has to be built
    reason = options.peers[0].missing()
    if reason:
        raise FileNotFoundError(reason)
    measure.raise_descriptor_limit()
    _warn(options)
    command = shlex.join(["tools/bench", "compare"] + argv)
    document = _run(options, command)
    print(table.text(document))
    if options.json:
        _write(options.json, json.dumps(document, indent=1) + "\n")
        _say(f"written: {options.json}; tools/bench report makes a page of it")
    good = document["measurements"] and not any(
        found["error"] for found in document["measurements"]
    )
    return 0 if good else 1


def _run(options, command):
    directory = processes.temporary_directory()
    os.chmod(directory, 0o711)  # squid is another user
    try:
        how = measure.Options(
            seconds=options.seconds,
            warmup_s=options.warmup,
            relay_cpu=options.relay_cpu,
            load_cpu=options.load_cpu,
            tiny=False,
            directory=directory,
        )
        measurements, skipped = series.run(
            options.scenarios,
            options.peers,
            options.rounds,
            how,
            _say,
            targets.pairs() if options.targets else None,
        )
        return series.document(
            measurements, skipped, options.peers, how, command
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def make_report(argv):
    parser = argparse.ArgumentParser(
        prog="tools/bench report", description=_REPORT
    )
    parser.add_argument("file", metavar="FILE.json")
    parser.add_argument("-o", "--output", metavar="OUT.html")
    options = parser.parse_args(argv)
    output = options.output
    if not output:
        output = os.path.splitext(options.file)[0] + ".html"
    with open(options.file, encoding="utf-8") as stream:
        document = json.load(stream)
    if document.get("format") != series.FORMAT:
        raise ValueError(f"{options.file} is not of tools/bench compare")
    _write(output, report.page(document))
    _say(f"written: {output}")
    return 0


def _write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.rename(path + ".new", path)


def _interrupt(number, frame):
    raise KeyboardInterrupt


def main(argv):
    machine.add_sbin()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    commands = {"compare": compare, "report": make_report}
    if not argv or argv[0] not in commands:
        _say("one of: " + " ".join(commands))
        return 2
    try:
        return commands[argv[0]](argv[1:])
    except (OSError, ValueError) as error:
        _say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
