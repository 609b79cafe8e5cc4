# SPDX-License-Identifier: Apache-2.0
"""The program as an operator meets it: options, files, signals, limits."""

import json
import os
import re
import signal

from tests.testbed import case
from tests.testbed import gateway
from tests.testbed import locate
from tests.testbed import polling
from tests.testbed import ports
from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import viewer
from tests.testbed import web

_BAD_CONFIG = 78  # EX_CONFIG
_UNAVAILABLE = 69  # EX_UNAVAILABLE
_DEFAULT_PORTS = (5930, 5931, 9480)
_DEFAULT_CONFIG = "/etc/spicegate/config.json"
_CONSOLE = {"name": "vm", "host": "127.0.0.1", "port": 5900}


class _CliCase(case.Case):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.directory, "spicegate.json")

    def run_program(self, *args, wrapper=()):
        """Runs the program to its end; returns (exit code, out, err)."""
        return processes.run(
            [*wrapper, locate.gateway(), *args],
            env=viewer.private_environment(self.directory),
        )

    def write(self, config, name="spicegate.json"):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as stream:
            json.dump(config, stream)
        return path

    def small_config(self, **more):
        """A configuration that needs nothing but this test's directory."""
        return self.write(
            {
                "workers": 1,
                "listeners": [{"address": "127.0.0.1:0"}],
                "admin": {"address": "127.0.0.1:0"},
                "state_dir": self.directory,
                **more,
            }
        )


class OptionsTest(_CliCase):
    def test_help(self):
        code, out, _ = self.run_program("--help")
        self.assertEqual(code, 0)
        for word in ("--config", "check", "SIGTERM"):
            self.assertIn(word, out)

    def test_version(self):
        code, out, _ = self.run_program("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^spicegate \d+\.\d+\.\d+")

    def test_unknown_option(self):
        code, out, err = self.run_program("--no-such-option")
        self.assertNotEqual(code, 0)
        self.assertRegex(out + err, "no.such.option")


class ConfigTest(_CliCase):
    def test_good(self):
        consoles = self.write({"consoles": [_CONSOLE]}, "consoles.json")
        path = self.small_config(
            consoles=consoles,
            policies={"kiosk": {"read_only": True}, "nobody_s": {}},
            migration={"destinations": ["10.1.0.0/16"]},
        )
        code, out, err = self.run_program("--check-config", "--config", path)
        self.assertEqual((code, out, err), (0, "", ""))

    def test_migrations_to_anywhere_are_noted(self):
        second = dict(_CONSOLE, name="b")
        consoles = self.write({"consoles": [_CONSOLE, second]}, "consoles.json")
        path = self.small_config(consoles=consoles)
        code, out, err = self.run_program("--check-config", "--config", path)
        self.assertEqual((code, out), (0, ""))
        self.assertEqual(len(err.splitlines()), 1, err)
        for word in ("note", "migration.destinations", "(and 1 more)"):
            self.assertIn(word, err)

    def test_mistakes_are_named_by_their_path(self):
        mistakes = {
            "workers": {"workers": "two"},
            "listeners[1].tls": {
                "listeners": [
                    {"address": "127.0.0.1:0"},
                    {"address": "127.0.0.1:0", "tls": "yes"},
                ]
            },
            "listeners[0].address": {"listeners": [{"address": "nowhere"}]},
            "tickets.first_use_s": {"tickets": {"first_use_s": -1}},
            "log.level": {"log": {"level": "loud"}},
            "public: expected one of": {"public": {"colour": "blue"}},
            "expected one of": {"no_such_key": 1},
            "admin.address": {"admin": {"address": "*:9480"}},
            "guard": {"guard": "on"},
            "policies.p.refuse_channels[1]": {
                "policies": {"p": {"refuse_channels": ["usbredir", "main"]}}
            },
            "policies.p.clipboard": {"policies": {"p": {"clipboard": "in"}}},
            "policies.p: expected one of": {"policies": {"p": {"colour": 1}}},
            "migration.destinations[0]": {
                "migration": {"destinations": ["10.0.0.1/8"]}
            },
            "limits.migration_link_ms": {"limits": {"migration_link_ms": 1}},
        }
        for inside, config in mistakes.items():
            with self.subTest(inside):
                path = self.write(config)
                for options in (["--check-config"], []):
                    self._refused([*options, "--config", path], path, inside)

    def test_not_json(self):
        with open(self.path, "w", encoding="ascii") as stream:
            stream.write('{"workers": 1')
        self._refused(["--check-config", "--config", self.path], self.path)

    def test_no_such_file(self):
        self._refused(["--config", self.path], self.path)

    def test_mistake_in_the_consoles_file(self):
        consoles = self.write(
            {"consoles": [_CONSOLE, {"name": "b", "port": "x"}]}, "c.json"
        )
        path = self.small_config(consoles=consoles)
        self._refused(
            ["--check-config", "--config", path], consoles, "consoles[1].port"
        )

    def test_console_with_an_unknown_policy(self):
        consoles = self.write(
            {"consoles": [dict(_CONSOLE, policy="guest")]}, "consoles.json"
        )
        path = self.small_config(consoles=consoles, policies={"kiosk": {}})
        self._refused(
            ["--check-config", "--config", path], consoles, "consoles[0].policy"
        )

    def _refused(self, args, path, inside=""):
        """Exit code 78 and one line: FILE: PATH.INSIDE: what."""
        code, out, err = self.run_program(*args)
        self.assertEqual((code, out), (_BAD_CONFIG, ""), err)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(f"{path}: {inside}", err)


class StartTest(_CliCase):
    def test_no_configuration_at_all(self):
        if os.path.exists(_DEFAULT_CONFIG):
            self.skipTest(f"{_DEFAULT_CONFIG} exists on this machine")
        busy = [port for port in _DEFAULT_PORTS if not ports.is_free(port)]
        if busy:
            self.skipTest(f"port {busy[0]} is taken by another program")
        state = os.path.join(self.directory, "state")
        child = processes.Child(
            "defaults",
            [locate.gateway()],
            self.directory,
            env=viewer.private_environment(
                self.directory,
                STATE_DIRECTORY=state,  # comes before the system's own
                XDG_STATE_HOME=state,
            ),
        )
        self.addCleanup(child.stop)
        polling.until(
            lambda: '"event":"ready"' in child.errors()
            or not child.running(),
            "start",
        )
        self.assertTrue(child.running(), child.tail())
        for path in ("/livez", "/readyz", "/metrics"):
            self.assertEqual(web.request(9480, "GET", path).status, 200)
        self.assertTrue(os.listdir(state), "no certificate is kept")
        self.assertEqual(child.stop(), 0, child.tail())

    def test_signals_end_it_cleanly(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                running = self.start_gateway([_CONSOLE], name=number.name)
                running.process.send_signal(number)
                self.assertEqual(running.process.wait(10), 0)
                self.assertTrue(running.records("stopping"))
                self.assertTrue(running.records("stopped"))

    def test_second_instance(self):
        socket_path = os.path.join(self.directory, "admin.sock")
        admin = {"unix": socket_path}
        running = self.start_gateway([_CONSOLE], admin=admin)
        path = self.small_config(admin=admin)
        code, _, err = self.run_program("--config", path)
        self.assertEqual(code, _UNAVAILABLE, err)
        self.assertIn(f"{socket_path}: another process", err)
        # The first one has lost nothing by it.
        self.assertEqual(running.request("GET", "/livez").status, 200)
        self.assertTrue(running.ticket("vm"))
        running.stop()
        self.assertFalse(os.path.exists(socket_path))

    def test_socket_left_by_a_killed_one(self):
        admin = {"unix": os.path.join(self.directory, "admin.sock")}
        first = gateway.Gateway(self.directory, name="first", admin=admin)
        self.addCleanup(lambda: first.process.stop())
        first.start()
        first.process.kill()
        self.assertTrue(os.path.exists(admin["unix"]))
        second = self.start_gateway([_CONSOLE], name="second", admin=admin)
        self.assertTrue(second.ticket("vm"))


class LimitsTest(_CliCase):
    """A limit that is too small is named, with the value that is needed."""

    def test_descriptors(self):
        path = self.small_config()
        self._too_small("RLIMIT_NOFILE", 300, path, "--nofile=300")

    def test_descriptors_for_the_links_asked_for(self):
        path = self.small_config(limits={"max_links": 5000})
        needed = self._too_small("RLIMIT_NOFILE", 1000, path, "--nofile=1000")
        self.assertGreaterEqual(needed, 10000)  # two a link
        self.start_gateway([], name="fewer", limits={"max_links": 100})

    def test_locked_memory(self):
        # Root's CAP_IPC_LOCK lifts the limit, so it is given up for this.
        unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        if os.geteuid() != 0:
            unprivileged = []
        path = self.small_config(workers=4)
        for limit in (65536, 0):
            with self.subTest(limit=limit):
                self._too_small(
                    *("RLIMIT_MEMLOCK", limit, path, f"--memlock={limit}"),
                    *unprivileged,
                )

    def _too_small(self, name, limit, path, option, *wrapper):
        code, _, err = self.run_program(
            "--config", path, wrapper=["prlimit", option, "--", *wrapper]
        )
        self.assertEqual(code, _UNAVAILABLE, err)
        match = re.search(rf"{name} is {limit}, at least (\d+)", err)
        self.assertTrue(match, err)
        self.assertGreater(int(match[1]), limit)
        return int(match[1])


class ReloadTest(_CliCase):
    def test_bad_consoles_file_keeps_the_old_table(self):
        running = self.start_gateway([_CONSOLE])
        running.write_consoles([{"name": "new"}])  # neither host nor unix
        record = running.wait_record("consoles_refused")
        self.assertIn("consoles.json: consoles[0].host", record["error"])
        self.assertEqual(record["consoles_kept"], 1)
        self.assertTrue(running.ticket("vm"))
        path = "/v1/consoles/new/ticket"
        self.assertEqual(running.request("POST", path).status, 404)
        numbers = running.metrics()
        self.assertEqual(
            numbers.sum("spicegate_consoles_reload_failures_total"), 1
        )
        running.write_consoles([{**_CONSOLE, "name": "new"}])
        running.wait_metric(
            lambda m: m.sum("spicegate_consoles_reloads_total") == 1,
            "the good file",
        )
        self.assertEqual(running.request("POST", path).status, 201)
        path = "/v1/consoles/vm/ticket"
        self.assertEqual(running.request("POST", path).status, 404)


if __name__ == "__main__":
    runner.main("setpriv", "prlimit")
