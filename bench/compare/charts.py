# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG, without any style but class names. No I/O.

Colours are the page's: see STYLE. Every chart says its figures in words too,
as <title> of each mark and in its label for screen readers.
"""

import html
import math

from bench.compare import figures

_WIDTH = 520
_LABEL_WIDTH = 118
_VALUE_WIDTH = 92
_ROW_HEIGHT = 24
_BAR_HEIGHT = 14
_TOP = 6

_PLOT_LEFT = 62
_PLOT_RIGHT = 14
_PLOT_TOP = 10
_PLOT_HEIGHT = 260
_AXIS_HEIGHT = 38
_HALF_NAME = 26
_LEGEND_ROW = 18
_LEGEND_COLUMNS = 3
# As HDR histograms are drawn: each step is one nine more.
_PERCENTILES = (0, 90, 99, 99.9, 99.99, 99.999, 99.9999)

# How many classes .line0 and so on there are.
NUM_LINE_STYLES = 12

STYLE = """
.chart { width: 100%; height: auto; display: block; }
.chart text { fill: var(--text); font: 12px system-ui, sans-serif; }
.chart .quiet { fill: var(--quiet); }
.chart .value { font-variant-numeric: tabular-nums; }
.chart .bar { fill: var(--bar); }
.chart .ours { fill: var(--ours); }
.chart .name-ours { font-weight: 600; }
.chart .whisker { stroke: var(--text); stroke-width: 1.2; fill: none; }
.chart .grid { stroke: var(--grid); stroke-width: 1; fill: none; }
.chart .axis { stroke: var(--quiet); stroke-width: 1; fill: none; }
.chart .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.chart .line0 { stroke: var(--ours); stroke-width: 3; }
.chart .line1 { stroke: var(--c1); stroke-dasharray: 2 3; }
.chart .line2 { stroke: var(--c2); }
.chart .line3 { stroke: var(--c3); stroke-dasharray: 7 3; }
.chart .line4 { stroke: var(--c4); stroke-dasharray: 9 3 2 3; }
.chart .line5 { stroke: var(--c5); }
.chart .line6 { stroke: var(--c6); stroke-dasharray: 5 3; }
.chart .line7 { stroke: var(--c7); stroke-dasharray: 1 2; }
.chart .line8 { stroke: var(--c8); stroke-dasharray: 12 3; }
.chart .line9 { stroke: var(--c9); stroke-dasharray: 4 2; }
.chart .line10 { stroke: var(--c10); }
.chart .line11 { stroke: var(--c11); stroke-dasharray: 3 3; }
"""


def _escape(text):
    return html.escape(str(text), quote=True)


def _svg(height, label, parts):
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="{_escape(label)}">' + "".join(parts) + "</svg>"
    )


def _text(x, y, text, classes="", anchor="start"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}"'
        f' text-anchor="{anchor}">{_escape(text)}</text>'
    )


def _line(x1, y1, x2, y2, classes):
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' class="{classes}"/>'
    )


def _whisker(x_least, x_most, y):
    return (
        f'<path class="whisker" d="M{x_least:.1f} {y - 3:.1f}v6M'
        f'{x_least:.1f} {y:.1f}H{x_most:.1f}M{x_most:.1f} {y - 3:.1f}v6"/>'
    )


def _bar(bar, y, scale):
    """One row of a bar chart: name, bar, spread, value."""
    middle = y + _ROW_HEIGHT / 2
    x = _LABEL_WIDTH
    width = max(bar["value"] * scale, 1)
    least, most = bar["spread"]
    ours = " name-ours" if bar["ours"] else ""
    tip = f"{bar['name']}: {bar['text']}, spread {bar['spread_text']}"
    parts = [
        "<g><title>" + _escape(tip) + "</title>",
        _text(x - 8, middle + 4, bar["name"], ours.strip(), "end"),
        f'<rect class="{"ours" if bar["ours"] else "bar"}" x="{x}"'
        f' y="{middle - _BAR_HEIGHT / 2:.1f}" width="{width:.1f}"'
        f' height="{_BAR_HEIGHT}" rx="2"/>',
    ]
    if most > least:
        parts.append(_whisker(x + least * scale, x + most * scale, middle))
    end = x + max(width, most * scale) + 6
    parts.append(_text(end, middle + 4, bar["text"], "value" + ours))
    return "".join(parts) + "</g>"


def bars(label, items):
    """Horizontal bars from zero with their spread.

    Args:
      label: what they show, for those who cannot see it.
      items: dicts with `name`, `value`, `spread` [least, most], `text` and
        `spread_text` (both with unit) and `ours`.
    """
    most = max(max(bar["value"], bar["spread"][1], 0) for bar in items)
    room = _WIDTH - _LABEL_WIDTH - _VALUE_WIDTH
    scale = room / most if most > 0 else 0
    parts = [
        _bar(bar, _TOP + index * _ROW_HEIGHT, scale)
        for index, bar in enumerate(items)
    ]
    height = 2 * _TOP + _ROW_HEIGHT * len(items)
    axis = _line(_LABEL_WIDTH, _TOP, _LABEL_WIDTH, height - _TOP, "axis")
    words = "; ".join(f"{bar['name']} {bar['text']}" for bar in items)
    return _svg(height, f"{label}: {words}", parts + [axis])


def duration(us):
    """A time in the unit in which it is short: "1 us", "200 ms"."""
    for limit, factor, unit in ((1e3, 1, "us"), (1e6, 1e-3, "ms")):
        if us < limit:
            return f"{figures.number(us * factor)} {unit}"
    return f"{figures.number(us * 1e-6)} s"


def nines(percentile):
    """Place on the axis of percentiles: 0 at 0 %, 1 at 90 %, 2 at 99 %."""
    return -math.log10(1 - percentile / 100)


def drawable(curve):
    """The points both axes can show: below 100 %, above 0 us."""
    return [(p, us) for p, us in curve if p < 100 and us > 0]


class _Plane:
    """Both logarithmic axes of the latency charts."""

    def __init__(self, curves):
        times = [us for curve in curves for _, us in curve]
        self.low = math.floor(math.log10(min(times)))
        self.high = max(math.ceil(math.log10(max(times))), self.low + 1)
        most = max(nines(p) for curve in curves for p, _ in curve)
        self.nines = min(max(most, 2), nines(_PERCENTILES[-1]))
        self.bottom = _PLOT_TOP + _PLOT_HEIGHT
        self.right = _WIDTH - _PLOT_RIGHT

    def x(self, percentile):
        share = min(nines(percentile) / self.nines, 1)
        return _PLOT_LEFT + share * (self.right - _PLOT_LEFT)

    def y(self, us):
        share = (math.log10(us) - self.low) / (self.high - self.low)
        return self.bottom - share * _PLOT_HEIGHT

    def path(self, curve):
        points = [f"{self.x(p):.1f} {self.y(us):.1f}" for p, us in curve]
        return "M" + "L".join(points)

    def grid(self):
        parts = []
        for power in range(self.low, self.high + 1):
            y = self.y(10.0**power)
            parts.append(_line(_PLOT_LEFT, y, self.right, y, "grid"))
            name = duration(10.0**power)
            parts.append(_text(_PLOT_LEFT - 6, y + 4, name, "quiet", "end"))
        for percentile in _PERCENTILES:
            if nines(percentile) > self.nines + 1e-9:
                break
            x = self.x(percentile)
            parts.append(_line(x, _PLOT_TOP, x, self.bottom, "grid"))
            name = f"{percentile:g} %"
            anchor = "end" if x > self.right - _HALF_NAME else "middle"
            parts.append(_text(x, self.bottom + 16, name, "quiet", anchor))
        parts.append(
            _line(_PLOT_LEFT, self.bottom, self.right, self.bottom, "axis")
        )
        return parts


def _legend(names, top):
    """A sample of each line with its name."""
    parts = []
    column_width = (_WIDTH - _PLOT_LEFT) / _LEGEND_COLUMNS
    for index, (name, style) in enumerate(names):
        x = _PLOT_LEFT + (index % _LEGEND_COLUMNS) * column_width
        y = top + (index // _LEGEND_COLUMNS) * _LEGEND_ROW
        parts.append(_line(x, y - 4, x + 26, y - 4, f"line line{style}"))
        parts.append(_text(x + 32, y, name))
    return parts


def latency_curves(label, items):
    """Latency by percentile, both axes logarithmic.

    Args:
      label: what they show, for those who cannot see it.
      items: (name, line style, [(percentile, us), ...]) of each line; at least
        one with a drawable point.
    """
    lines = [(n, s, drawable(curve)) for n, s, curve in items]
    lines = [line for line in lines if line[2]]
    plane = _Plane([curve for _, _, curve in lines])
    parts = plane.grid()
    for name, style, curve in lines:
        parts.append(
            f'<path class="line line{style}" d="{plane.path(curve)}">'
            f"<title>{_escape(name)}</title></path>"
        )
    top = plane.bottom + _AXIS_HEIGHT
    parts += _legend([(name, style) for name, style, _ in lines], top)
    num_rows = -(-len(lines) // _LEGEND_COLUMNS)
    words = "; ".join(
        f"{name} ends at {duration(curve[-1][1])}" for name, _, curve in lines
    )
    height = top + num_rows * _LEGEND_ROW
    return _svg(round(height), f"{label}: {words}", parts)
