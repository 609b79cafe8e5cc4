# SPDX-License-Identifier: Apache-2.0
"""The gateway under test: its files, its process, its admin side."""

import json
import os
import signal

from tests.testbed import locate
from tests.testbed import metrics
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import viewer
from tests.testbed import web

# Log words and metric labels of gateway/base/close_reason.h.
SERVER_TLS_CHAIN = "server_tls_chain"
SERVER_TLS_NAME = "server_tls_name"
SERVER_TLS_SUBJECT = "server_tls_subject"

_READY_LIMIT_S = 20
_STOP_LIMIT_S = 60  # displays are ended the safe way first: 37 s at most
_RECORD_LIMIT_S = 15


class Gateway:
    """One gateway process on loopback with its own directory.

    Attributes:
      port, tls_port: where viewers connect; known after start(), 0 if none.
      connect_port, connect_tls_port: where they CONNECT; likewise.
      admin: TCP port or unix socket path of the admin side.
      directory: everything it reads, writes and logs.
    """

    def __init__(
        self, directory, consoles=(), name="gateway", hosts=None, **config
    ):
        """Only notes what to start.

        Args:
          consoles: entries of the consoles file, see qemu.Vm.console.
          name: stem of its files inside directory.
          hosts: {name: address} that it finds in /etc/hosts, and no others;
            see processes.can_see().
          config: top-level keys of the configuration that replace the
            defaults used here: one plain and one TLS listener and the admin
            address on ports the kernel chooses.
        """
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory)
        self.port = 0
        self.tls_port = 0
        self.connect_port = 0
        self.connect_tls_port = 0
        self.admin = 0
        self.process = None
        self._stopped = False
        self._name = name
        self._hosts = hosts
        self._consoles_path = os.path.join(self.directory, "consoles.json")
        self.config_path = os.path.join(self.directory, "spicegate.json")
        self._config = {
            "workers": 2,
            "listeners": [
                {"address": "127.0.0.1:0", "need_secured": False},
                {"address": "127.0.0.1:0", "tls": True},
            ],
            "admin": {"address": "127.0.0.1:0"},
            "public": {"host": "localhost"},
            "consoles": self._consoles_path,
            "state_dir": os.path.join(self.directory, "state"),
            "log": {"level": "debug"},
        }
        self._config.update(config)
        self.write_consoles(consoles)

    def write_consoles(self, consoles, qmp=()):
        """Replaces the consoles file in one step.

        Args:
          qmp: patterns of QMP sockets, which stand beside the consoles.
        """
        content = {"consoles": list(consoles)}
        if qmp:
            content["qmp"] = list(qmp)
        _write_json(self._consoles_path, content)

    def start(self):
        """Starts it and waits for its `ready` record; returns self.

        Raises RuntimeError with its own words when it ends instead.
        """
        os.makedirs(self._config["state_dir"], exist_ok=True)
        _write_json(self.config_path, self._config)
        self._stopped = False
        self.process = processes.Child(
            self._name,
            self._argv(),
            self.directory,
            env=viewer.private_environment(self.directory),
        )
        self.wait_record("ready", limit_s=_READY_LIMIT_S)
        for record in self.records("listening"):
            number = int(record["address"].rpartition(":")[2])
            connect = record.get("protocol") == "connect"
            kind = ("connect_" if connect else "") + (
                "tls_port" if record["tls"] else "port"
            )
            setattr(self, kind, number)
        for record in self.records("admin_listening"):
            address = record["address"]
            if address.startswith("unix:"):
                self.admin = address.removeprefix("unix:")
            else:
                self.admin = int(address.rpartition(":")[2])
        return self

    def _argv(self):
        argv = [locate.gateway(), "--config", self.config_path]
        if self._hosts is None:
            return argv
        path = os.path.join(self.directory, "hosts")
        with open(path, "w", encoding="ascii") as stream:
            for name, address in self._hosts.items():
                stream.write(f"{address} {name}\n")
        return processes.seeing(path, "/etc/hosts", argv)

    def stop(self):
        """SIGTERM; AssertionError unless it ends by itself with code 0.

        Returns at once when the process has been stopped before.
        """
        if self.process is None or self._stopped:
            return
        self._stopped = True
        code = self.process.stop(signal.SIGTERM, _STOP_LIMIT_S)
        if code != 0:
            raise AssertionError(
                f"the gateway ended with {code}\n{self.process.tail(60)}"
            )

    def records(self, event=None, **fields):
        """Log records so far with this event and these field values."""
        found = []
        for line in self.process.errors().splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # still being written
            record = self._parse(line)
            if event in (None, record.get("event")) and all(
                record.get(k) == v for k, v in fields.items()
            ):
                found.append(record)
        return found

    def wait_record(self, event, limit_s=_RECORD_LIMIT_S, **fields):
        """Waits for a log record and returns the first that fits."""

        def look():
            found = self.records(event, **fields)
            if not found and not self.process.running():
                raise RuntimeError(
                    f"no {event}, the gateway ended with"
                    f" {self.process.exit_code()}\n{self.process.tail()}"
                )
            return found

        what = f"log record {event} {fields or ''}"
        try:
            return polling.until(look, what, limit_s)[0]
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.process.tail()}") from None

    def _parse(self, line):
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise RuntimeError(
                f"not a log record: {line!r}\n{self.process.tail()}"
            ) from None

    def request(self, method, path):
        """One request to the admin side; returns web.Answer."""
        return web.request(self.admin, method, path)

    def ticket(self, console, policy=None, continues=None):
        """A new ticket for a console.

        Args:
          policy: on top of the console's own.
          continues: the console that migrates to this one.
        """
        query = _query(policy=policy, continues=continues)
        path = f"/v1/consoles/{console}/ticket{query}"
        answer = self.request("POST", path)
        if answer.status != 201:
            raise RuntimeError(f"no ticket: {answer.status} {answer.text()}")
        return answer.json()["ticket"]

    def vv(self, console, policy=None, via=None, continues=None):
        """The console's .vv file, as bytes.

        Args:
          policy, continues: as of ticket().
          via: "connect" or "tunnel" for a viewer that goes through CONNECT.
        """
        query = _query(policy=policy, via=via, continues=continues)
        path = f"/v1/consoles/{console}.vv{query}"
        answer = self.request("GET", path)
        if answer.status != 200:
            raise RuntimeError(f"no .vv: {answer.status} {answer.text()}")
        return answer.body

    def disconnect(self, console):
        """Ends what is open on a console; returns how many sessions were."""
        path = f"/v1/consoles/{console}/disconnect"
        answer = self.request("POST", path)
        if answer.status != 200:
            raise RuntimeError(
                f"no disconnect: {answer.status} {answer.text()}"
            )
        return answer.json()["sessions"]

    def metrics(self):
        answer = self.request("GET", "/metrics")
        if answer.status != 200:
            raise RuntimeError(f"/metrics: {answer.status} {answer.text()}")
        return metrics.Metrics(answer.text())

    def wait_metric(self, probe, what, limit_s=_RECORD_LIMIT_S):
        """Waits until probe(Metrics) is true; returns what it returned."""
        return polling.until(lambda: probe(self.metrics()), what, limit_s)

    def wait_no_sessions(self, limit_s=_RECORD_LIMIT_S):
        """Waits until every session has ended, displays included."""
        self.wait_metric(
            lambda m: m.sum("spicegate_sessions_open") == 0
            and m.sum("spicegate_channels_open") == 0,
            "end of all sessions",
            limit_s,
        )

    def ca_path(self):
        """The certificate viewers have to trust, from any .vv file's `ca`."""
        path = os.path.join(self.directory, "viewer-ca.pem")
        with open(self._consoles_path, encoding="ascii") as stream:
            console = json.load(stream)["consoles"][0]["name"]
        pem = vv_entries(self.vv(console))["ca"].replace("\\n", "\n")
        with open(path, "w", encoding="ascii") as stream:
            stream.write(pem)
        return path

    def target(self, console, tls=False, ticket=None):
        """What a viewer connects to; a new ticket unless one is given."""
        if ticket is None:
            ticket = self.ticket(console)
        if tls:
            return viewer.Target(
                host="localhost",
                tls_port=self.tls_port,
                password=ticket,
                ca_path=self.ca_path(),
            )
        return viewer.Target(port=self.port, password=ticket)


def vv_entries(body):
    """The [virt-viewer] group of a .vv file as a dict of raw values."""
    lines = body.decode().splitlines()
    if lines[0] != "[virt-viewer]":
        raise ValueError(f"first line of the .vv is {lines[0]!r}")
    return dict(line.split("=", 1) for line in lines[1:] if "=" in line)


def _query(**parameters):
    """What follows the path; parameters that are None are left out."""
    given = [f"{name}={value}" for name, value in parameters.items() if value]
    return "?" + "&".join(given) if given else ""


def _write_json(path, value):
    with open(path + ".new", "w", encoding="ascii") as stream:
        json.dump(value, stream, indent=1)
    os.rename(path + ".new", path)
