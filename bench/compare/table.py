# SPDX-License-Identifier: Apache-2.0
"""The closing tables on the terminal, as text. No I/O."""

from bench.compare import figures
from bench.compare import peers
from bench.compare import scenarios
from bench.compare import targets

_GAP = "  "
_SHOWN = {targets.MET: "met", targets.MISSED: "MISSED"}


def aligned(lines, num_words):
    """Rows of cells as lines; the first num_words columns left, others right.

    The last column is never padded on the right.
    """
    widths = [max(map(len, column)) for column in zip(*lines)]
    out = []
    for cells in lines:
        padded = [
            cell.ljust(width) if index < num_words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths))
        ]
        out.append(_GAP.join(padded).rstrip())
    return out


def ratio_text(ratio):
    return "" if ratio is None else f"{figures.number(ratio)}x"


def spread_text(spread, scale=1):
    """ "least..most", or "" when they read the same."""
    if spread is None:
        return ""
    least, most = (figures.number(value * scale) for value in spread)
    return "" if least == most else f"{least}..{most}"


def _title(metric):
    better = scenarios.METRICS[metric].better
    return f"{scenarios.METRICS[metric].title}, {better} is better"


def _metric_lines(document, scenario, metric):
    """One line for each peer that has a figure."""
    rows = {
        row["peer"]: row
        for row in document["rows"]
        if row["scenario"] == scenario and row["metric"] == metric
    }
    lines = []
    for found in document["medians"]:
        if found["scenario"] != scenario or found["metric"] != metric:
            continue
        scale = figures.scaled(metric, 1)
        row = rows.get(found["peer"], {})
        lines.append(
            [
                f"    {found['peer']}",
                figures.with_unit(metric, found["median"]),
                spread_text(found["spread"], scale),
                ratio_text(row.get("ratio")),
                spread_text(row.get("ratio_spread")),
            ]
        )
    return lines


def _scenario_lines(document, scenario):
    """Every metric of a scenario, each with its peers below it."""
    table = []
    for metric in scenario.metrics:
        lines = _metric_lines(document, scenario.name, metric)
        if lines:
            head = ["", "median", "spread", peers.GATEWAY + " is", "spread"]
            table.append([f"  {_title(metric)}"] + head[1:])
            table += lines
    if not table:
        return []
    return [f"{scenario.name}: {scenario.title}"] + aligned(table, 1) + [""]


def figures_text(document):
    """All figures, by scenario and metric."""
    lines = []
    for scenario in scenarios.ALL:
        lines += _scenario_lines(document, scenario)
    return "\n".join(lines)


def targets_text(document):
    """The figures to reach; "" when none of them was measured."""
    head = ["figure to reach", "against", "", "target", "is", "spread", ""]
    lines = [head]
    measured = False
    for verdict in document["targets"]:
        if verdict["verdict"] == targets.NOT_MEASURED:
            continue
        measured = True
        metric, scale = verdict["metric"], 1
        if verdict["peer"] is None:
            scale = figures.scaled(metric, 1)
            shown = figures.with_unit(metric, verdict["value"])
        else:
            shown = ratio_text(verdict["value"])
        lines.append(
            [
                verdict["scenario"],
                verdict["peer"] or "-",
                scenarios.METRICS[metric].title,
                verdict["target"],
                shown,
                spread_text(verdict["spread"], scale),
                _SHOWN[verdict["verdict"]],
            ]
        )
    return "\n".join(aligned(lines, 3)) + "\n" if measured else ""


def _skip_lines(skipped):
    """One line for each reason and the pairs that share it."""
    who = {}
    for skip in skipped:
        key = (skip["reason"], skip["scenario"])
        who.setdefault(key, []).append(skip["peer"])
    where = {}
    for (reason, scenario), names in who.items():
        where.setdefault((reason, tuple(names)), []).append(scenario)
    return [
        f"skipped: {', '.join(names)} in {', '.join(found)}: {reason}"
        for (reason, names), found in where.items()
    ]


def problems_text(document):
    """What was skipped, what failed and what else one has to know."""
    lines = _skip_lines(document["skipped"])
    notes = {
        f"note: {m['scenario']}: {note}"
        for m in document["measurements"]
        for note in m["notes"]
    }
    lines += sorted(notes)
    for found in document["measurements"]:
        if found["error"]:
            lines.append(
                f"FAILED: {found['scenario']} {found['peer']} in round"
                f" {found['round'] + 1}: {found['error']}"
            )
    return "\n".join(lines)


def disturbance_text(document):
    """How busy the machine was with other things."""
    busy = [
        found["others_cpu_percent"]
        for found in document["measurements"]
        if "others_cpu_percent" in found
    ]
    loads = [
        found["load_average"]
        for found in document["measurements"]
        if "load_average" in found
    ]
    if not busy or not loads:
        return ""
    busy.sort()
    stolen = max(m.get("stolen_percent", 0) for m in document["measurements"])
    return (
        f"other work on the machine: {busy[len(busy) // 2]:.0f} % of a"
        f" processor in the median, {busy[-1]:.0f} % at most; load average"
        f" {min(loads):.2f} to {max(loads):.2f}; taken by the hypervisor:"
        f" {stolen:.0f} % at most"
    )


def text(document):
    """All of it, in the order of interest: the verdicts last."""
    parts = [
        figures_text(document),
        problems_text(document),
        disturbance_text(document),
        targets_text(document),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part)
