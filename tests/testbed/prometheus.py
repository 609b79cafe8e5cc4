# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus that scrapes one gateway, and promtool."""

import json
import os
import re
from urllib import parse

from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import viewer
from tests.testbed import web

_START_LIMIT_S = 30
_ADDRESS = re.compile(r'msg="Listening on" address=127\.0\.0\.1:(\d+)')


def check(text):
    """promtool's complaints about a reading of /metrics; empty if none."""
    code, out, err = processes.run(
        ["promtool", "check", "metrics"], stdin=text.encode()
    )
    return (out + err).strip() or (f"exit code {code}" if code else "")


class Prometheus:
    """One Prometheus on loopback; stop() it."""

    def __init__(self, directory, admin_port, **how):
        """Starts it and waits until it serves.

        Args:
          admin_port: the gateway's admin side on 127.0.0.1, scraped once a
            second.
          how: further settings of the job, such as tls_config.
        """
        home = os.path.join(directory, "prometheus")
        os.makedirs(home)
        config_path = os.path.join(home, "prometheus.json")
        job = {
            "job_name": "spicegate",
            "scrape_interval": "1s",
            "static_configs": [{"targets": [f"127.0.0.1:{admin_port}"]}],
            **how,
        }
        with open(config_path, "w", encoding="ascii") as stream:
            json.dump({"scrape_configs": [job]}, stream)  # JSON is YAML too
        self._child = processes.Child(
            "prometheus",
            [
                "prometheus",
                f"--config.file={config_path}",
                f"--storage.tsdb.path={os.path.join(home, 'data')}",
                "--web.listen-address=127.0.0.1:0",
            ],
            home,
            env=viewer.private_environment(home),
        )
        self._port = polling.until(
            self._find_port, "Prometheus", _START_LIMIT_S
        )

    def stop(self):
        return self._child.stop()

    def query(self, expression):
        """The values of an instant query: [(labels, number)]."""
        path = "/api/v1/query?" + parse.urlencode({"query": expression})
        answer = web.request(self._port, "GET", path)
        if answer.status != 200:
            return []  # it serves before it can answer
        return [
            (sample["metric"], float(sample["value"][1]))
            for sample in answer.json()["data"]["result"]
        ]

    def wait_value(self, expression, wanted, limit_s=30):
        """Waits until the query has one answer, and it is this number."""
        polling.until(
            lambda: [value for _, value in self.query(expression)] == [wanted],
            f"{expression} == {wanted}",
            limit_s,
        )

    def _find_port(self):
        if not self._child.running():
            raise RuntimeError(f"Prometheus ended\n{self._child.tail()}")
        found = _ADDRESS.search(self._child.errors())
        return int(found[1]) if found else None
