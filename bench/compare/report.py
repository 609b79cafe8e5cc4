# SPDX-License-Identifier: Apache-2.0
"""The page that a person reads: all figures of a run as one HTML file.

Needs no other file and no network. No I/O here.
"""

import html

from bench.compare import charts
from bench.compare import figures
from bench.compare import peers
from bench.compare import scenarios
from bench.compare import table

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1c2128;
  --quiet: #5b6571; --grid: #e3e7eb; --panel: #f5f7f9; --ours: #0b63c5;
  --bar: #a9b4c0; --good: #14743a; --bad: #b3261e; --c1: #5b6571;
  --c2: #c2410c; --c3: #a16207; --c4: #7e22ce; --c5: #0f766e;
  --c6: #be185d; --c7: #4d7c0f; --c8: #334155;
  --c9: #9f1239; --c10: #1d4ed8; --c11: #854d0e; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d;
  --text: #e4e8ec; --quiet: #9aa5b1; --grid: #2b323a; --panel: #1c2229;
  --ours: #5aa9ff; --bar: #566270; --good: #5bd08a; --bad: #ff8a80;
  --c1: #9aa5b1; --c2: #ff9d5c; --c3: #e6c229; --c4: #c792ff;
  --c5: #4fd1c5; --c6: #ff7ab8; --c7: #a3d65c; --c8: #cbd5e1;
  --c9: #fda4af; --c10: #93b4ff; --c11: #fcd34d; } }
body { margin: 0 auto; max-width: 1120px; padding: 24px 20px 64px;
  background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.8rem; margin: 0 0 4px; }
h2 { font-size: 1.3rem; margin: 40px 0 8px; }
h3 { font-size: 1rem; margin: 0 0 2px; }
p, ul { max-width: 75ch; }
.quiet { color: var(--quiet); }
.charts { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
figure { margin: 0; padding: 14px 16px; background: var(--panel);
  border-radius: 8px; }
figcaption { font-size: .85rem; color: var(--quiet); margin-bottom: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 3px 12px 3px 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th { font-weight: 600; color: var(--quiet); }
th.word, td.word { text-align: left; }
.met { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px;
  font-size: .92rem; } dt { color: var(--quiet); } dd { margin: 0; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
"""

_LIMITS = (
    "Viewers, desktops and load share one processor with each other, so"
    " throughput and latency are bounded by the load as well as by the relay;"
    " CPU per byte, round trip or connection is the relay's own and the firmer"
    " figure.",
    "Everything runs on one machine. Loopback has no loss, no network card and"
    " segments of 64 KiB; the runs across a veth pair have an MTU of 1500, but"
    " no card either.",
    "Every relay has one thread on one processor. Nothing is said about how any"
    " of them scales with processors.",
    "CPU is the time of the relay's threads as the kernel's scheduler counts"
    " it. Work that the kernel does in interrupts counts for whoever was"
    " running, unless the kernel counts it apart (see the run).",
    "The other relays pass bytes. spicegate also authenticates every channel,"
    " counts its bytes and gives every end a reason; storm is where that costs"
    " it time.",
    "In churn nobody speaks SPICE, and spicegate's data path runs without its"
    " door.",
    "Memory is the growth of the proportional set size in user space. The"
    " kernel's sockets cost about the same for everybody and are not in it.",
    "Where viewers speak TLS the load speaks it too, on its own processor: with"
    " a fast relay the load is the bound.",
    "Nothing is a real desktop: the load follows the traffic of SPICE, it does"
    " not draw.",
    "Spread is from the least to the most of all rounds. Differences within it"
    " say nothing.",
)

_GROUPS = (
    ("bulk", "Bulk", "Displays that send as much as the viewers take."),
    (
        "bulk-veth",
        "Bulk across a veth pair",
        "The same between two network namespaces, closer to a real path.",
    ),
    (
        "pingpong",
        "Small messages",
        "64 bytes to the server and back, the next when the answer is here.",
    ),
    (
        "mixed",
        "Small messages beside floods",
        "Keys and mouse at 60 Hz while displays saturate the relay.",
    ),
    (
        "storm",
        "Sessions per second",
        "Link, ticket and ten channels, again and again.",
    ),
    ("churn", "Connections per second", "Connect, one round trip, close."),
    ("idle", "Silent channels", "What an open, silent channel costs."),
    (
        "tunnels",
        "Tunnels",
        "TLS from viewer to server, which the relay passes on unseen; CONNECT"
        " comes first with spicegate and squid, and with nobody else. Set-up"
        " is that of the burst: until a message has come back. Memory is the"
        " process's own; what a stalled tunnel has in a pipe or in sockets is"
        " the kernel's.",
    ),
    (
        "tls",
        "TLS from the viewers",
        "TLS 1.3 with AES-128-GCM in user space, plain towards the server; the"
        " same certificate for all.",
    ),
)

# Metrics that a curve shows better than a bar.
_IN_CURVES = {"p50_us", "p99_us", "p99_9_us", "setup_p50_us", "setup_p99_us"}


def _escape(text):
    return html.escape(str(text), quote=True)


def _figure(title, caption, chart):
    return (
        f"<figure><h3>{_escape(title)}</h3>"
        f"<figcaption>{_escape(caption)}</figcaption>{chart}</figure>"
    )


def _bar_items(document, scenario, metric):
    items = []
    for found in document["medians"]:
        if (found["scenario"], found["metric"]) != (scenario.name, metric):
            continue
        if found["median"] < 0:
            continue
        scale = figures.scaled(metric, 1)
        spread = table.spread_text(found["spread"], scale)
        items.append(
            {
                "name": found["peer"],
                "value": found["median"] * scale,
                "spread": [max(0, value * scale) for value in found["spread"]],
                "text": figures.with_unit(metric, found["median"]),
                "spread_text": f"{spread or 'none'} {figures.unit(metric)}",
                "ours": found["peer"] == peers.GATEWAY,
            }
        )
    return items


def _bar_figure(document, scenario, metric):
    """One bar chart; "" when nothing was measured."""
    items = _bar_items(document, scenario, metric)
    if not items:
        return ""
    described = scenarios.METRICS[metric]
    title = f"{scenario.name}: {described.title}"
    caption = f"{scenario.title}. {described.better.capitalize()} is better."
    return _figure(title, caption, charts.bars(title, items))


def median_curve(measurements, scenario, peer, histogram):
    """The curve of the round whose p99 is the median; [] without one."""
    found = []
    for measurement in measurements:
        if measurement["error"] is not None:
            continue
        if (measurement["scenario"], measurement["peer"]) != (scenario, peer):
            continue
        latency = measurement.get("result", {}).get(histogram) or {}
        if latency.get("curve") and latency.get("p99") is not None:
            found.append((latency["p99"], latency["curve"]))
    found.sort(key=lambda pair: pair[0])
    return found[len(found) // 2][1] if found else []


def _curve_figure(document, scenario, histogram, title):
    """One chart of latencies; "" when no round has a curve."""
    items = []
    for style, peer in enumerate(peers.ALL):
        curve = median_curve(
            document["measurements"], scenario.name, peer.name, histogram
        )
        if charts.drawable(curve):
            items.append((peer.name, style % charts.NUM_LINE_STYLES, curve))
    if not items:
        return ""
    title = f"{scenario.name}: {title}"
    caption = (
        f"{scenario.title}. By percentile, both axes logarithmic; the round"
        " whose p99 is the median. Lower is better."
    )
    return _figure(title, caption, charts.latency_curves(title, items))


def _scenario_figures(document, scenario):
    parts = [
        _bar_figure(document, scenario, metric)
        for metric in scenario.metrics
        if metric not in _IN_CURVES
    ]
    if "p99_us" in scenario.metrics:
        title = "latency of the small messages"
        parts.append(_curve_figure(document, scenario, "latency_us", title))
    if "setup_p99_us" in scenario.metrics:
        title = "set-up of a channel"
        parts.append(_curve_figure(document, scenario, "setup_us", title))
    return "".join(parts)


def _group_section(document, group, title, words):
    parts = "".join(
        _scenario_figures(document, scenario)
        for scenario in scenarios.ALL
        if scenario.group == group
    )
    if not parts:
        return ""
    return (
        f"<h2>{_escape(title)}</h2><p>{_escape(words)}</p>"
        f'<div class="charts">{parts}</div>'
    )


def _html_table(head, lines, num_words):
    """A table whose first columns hold words; cells are (text, class)."""

    def cell(tag, index, text, classes=""):
        words = "word" if index < num_words else ""
        return f'<{tag} class="{words} {classes}">{_escape(text)}</{tag}>'

    out = ['<div class="scroll"><table><thead><tr>']
    out += [cell("th", index, text) for index, text in enumerate(head)]
    out.append("</tr></thead><tbody>")
    for line in lines:
        out.append("<tr>")
        out += [cell("td", i, text, how) for i, (text, how) in enumerate(line)]
        out.append("</tr>")
    return "".join(out) + "</tbody></table></div>"


def _plain(*texts):
    return [(text, "") for text in texts]


def _target_line(verdict):
    metric = verdict["metric"]
    if verdict["value"] is None:
        value, spread = "-", ""
    elif verdict["peer"] is None:
        value = figures.with_unit(metric, verdict["value"])
        scale = figures.scaled(metric, 1)
        spread = table.spread_text(verdict["spread"], scale)
    else:
        value = table.ratio_text(verdict["value"])
        spread = table.spread_text(verdict["spread"])
    line = _plain(
        verdict["scenario"],
        verdict["peer"] or "(its own figure)",
        scenarios.METRICS[metric].title,
        verdict["target"],
        value,
        spread,
    )
    how = verdict["verdict"] if verdict["value"] is not None else "quiet"
    return line + [(verdict["verdict"], how)]


def _targets_section(document):
    head = ("scenario", "against", "figure", "target", "is", "spread", "")
    lines = [_target_line(verdict) for verdict in document["targets"]]
    counts = {}
    for verdict in document["targets"]:
        counts[verdict["verdict"]] = counts.get(verdict["verdict"], 0) + 1
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"<h2>Figures to reach</h2><p>{_escape(words)}. A ratio is spicegate's"
        " figure divided by the other's, in the same round; its median and its"
        " spread over the rounds.</p>" + _html_table(head, lines, 3)
    )


def _row_line(row):
    metric = row["metric"]
    scale = figures.scaled(metric, 1)
    return _plain(
        row["scenario"],
        row["peer"],
        f"{scenarios.METRICS[metric].title}, {figures.unit(metric)}",
        figures.number(row["gateway"] * scale),
        table.spread_text(row["gateway_spread"], scale),
        figures.number(row["other"] * scale),
        table.spread_text(row["other_spread"], scale),
        table.ratio_text(row["ratio"]),
        table.spread_text(row["ratio_spread"]),
        row["rounds"],
    )


def _rows_section(document):
    head = ("scenario", "peer", "figure", peers.GATEWAY, "spread", "peer's")
    head += ("spread", "ratio", "spread", "rounds")
    lines = [_row_line(row) for row in document["rows"]]
    return "<h2>All figures</h2>" + _html_table(head, lines, 3)


def _facts(pairs):
    inner = "".join(
        f"<dt>{_escape(name)}</dt><dd>{value}</dd>" for name, value in pairs
    )
    return f"<dl>{inner}</dl>"


def _run_section(document):
    pairs = [
        ("date", _escape(document["date"])),
        ("command", f"<code>{_escape(document['command'])}</code>"),
        ("revision", _escape(document["revision"] or "unknown")),
        (
            "each measurement",
            f"{document['seconds']:g} s after {document['warmup_s']:g} s of"
            f" warming up; relay on processor {document['relay_cpu']}, load on"
            f" processor {document['load_cpu']}",
        ),
        ("disturbance", _escape(table.disturbance_text(document))),
    ]
    pairs += [(k, _escape(v)) for k, v in document["machine"].items() if v]
    pairs += [
        (peer["title"], _escape(peer["version"] or "-"))
        for peer in document["peers"]
    ]
    return "<h2>The run</h2>" + _facts(pairs)


def _problems_section(document):
    lines = table.problems_text(document).splitlines()
    if not lines:
        return ""
    items = "".join(f"<li>{_escape(line)}</li>" for line in lines)
    return f"<h2>Left out, changed, failed</h2><ul>{items}</ul>"


def _limits_section():
    items = "".join(f"<li>{_escape(limit)}</li>" for limit in _LIMITS)
    return f"<h2>What the figures do not say</h2><ul>{items}</ul>"


def page(document):
    """The whole page for what series.document() returned."""
    title = "spicegate beside other relays"
    machine = document["machine"]
    rounds = 1 + max((m["round"] for m in document["measurements"]), default=0)
    rounds = f"{rounds} interleaved rounds" if rounds > 1 else "one round"
    summary = (
        f"{document['date']}, {machine.get('processor', '')}, Linux"
        f" {machine.get('kernel', '')}, {rounds}"
    )
    sections = [_targets_section(document)]
    sections += [_group_section(document, *group) for group in _GROUPS]
    sections += [
        _rows_section(document),
        _problems_section(document),
        _run_section(document),
        _limits_section(),
    ]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}{charts.STYLE}</style></head>"
        f'<body><h1>{title}</h1><p class="quiet">{_escape(summary)}</p>'
        + "\n".join(section for section in sections if section)
        + "</body></html>\n"
    )
