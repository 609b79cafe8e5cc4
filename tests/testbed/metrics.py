# SPDX-License-Identifier: Apache-2.0
"""Prometheus' text format as numbers."""

import re

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Metrics:
    """One reading of /metrics."""

    def __init__(self, text):
        """Parses the text; ValueError for a line that is no sample."""
        self.text = text
        self._samples = []
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = _SAMPLE.match(line)
            if not match:
                raise ValueError(f"not a sample: {line!r}")
            labels = dict(_LABEL.findall(match[2] or ""))
            self._samples.append((match[1], labels, float(match[3])))

    def sum(self, name, **labels):
        """Sum of all samples of `name` that carry these labels, 0 if none."""
        return sum(
            value
            for sample, have, value in self._samples
            if sample == name and labels.items() <= have.items()
        )

    def by(self, name, label):
        """{value of label: sum} of all samples of `name`."""
        sums = {}
        for sample, have, value in self._samples:
            if sample == name:
                key = have.get(label)
                sums[key] = sums.get(key, 0) + value
        return sums

    def names(self):
        return {sample for sample, _, _ in self._samples}
