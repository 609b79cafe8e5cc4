# SPDX-License-Identifier: Apache-2.0
"""The guard's modes: who is protected, who is only counted, who is alone."""

import json
import os
import signal

from tests.guard import guard_case
from tests.testbed import locate
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_BAD_CONFIG = 78  # EX_CONFIG
_QUALITY_INDICATOR = 112  # the server closes main for it
_MIGRATE_END = spiceclient.MAIN_MIGRATE_END  # the server ignores it
_SCAN_CODES = 104  # longer than 2048 bytes: the server closes inputs for it
_UNKNOWN = 999


class ModesTest(guard_case.GuardCase):
    """One QEMU behind a console of each mode."""

    def setUp(self):
        super().setUp()
        self.vm = self.machine("min")
        self.door = self._door("enforce")

    def test_console_overrides_the_configuration(self):
        for default in ("enforce", "count", "off"):
            if default != "enforce":
                self.door = self._door(default)
            for console in ("enforce", "count", "off", "default"):
                with self.subTest(default=default, console=console):
                    mode = default if console == "default" else console
                    self._check_mode(console, mode)

    def test_enforce_is_the_default(self):
        self.door = self.start_gateway(
            [self.vm.console("default")], name="bare"
        )
        self._check_mode("default", "enforce")

    def test_counted_goes_on_to_the_server(self):
        """What the server ignores leaves the session as it was."""
        tally = guard_case.Tally(self.door)
        client = self._client("count")
        main = client.links[0]
        main.send_message(_MIGRATE_END)
        main.send_message(spiceclient.MAIN_ATTACH_CHANNELS, b"?")
        self.assertTrue(client.channels_list())
        tally.wait(lambda t: t.refusals() == 2, "two refusals")
        self.assertEqual(tally.refusals(channel="main", rule="migrate_end"), 1)
        self.assertEqual(
            tally.refusals(channel="main", rule="message_size"), 1
        )
        tally.wait(lambda t: t.records(), "a record")
        self.assertEqual(len(tally.records()), 1, "once per session")
        self.assertEqual(tally.records()[0]["action"], "counted")
        self.assertEqual(tally.ended("client_guard"), 0)

    def test_counted_is_closed_by_the_server(self):
        for channel, kind, body, rule in (
            (spiceclient.MAIN, _UNKNOWN, b"", "message_type"),
            (spiceclient.INPUTS, _SCAN_CODES, bytes(3000), "message_size"),
            (spiceclient.CURSOR, _UNKNOWN, b"", "message_type"),
        ):
            name = guard_case.CHANNEL_NAMES[channel]
            with self.subTest(channel=name):
                tally = guard_case.Tally(self.door)
                self._say("count", channel, kind, body)
                tally.wait(_ended_by_server, "its end by the server")
                self.assertEqual(tally.refusals(channel=name, rule=rule), 1)
                self.assertEqual(tally.refusals(), 1)
                self.assertEqual(tally.ended("client_guard"), 0)

    def test_once_for_each_session(self):
        """A client that goes on and on fills no log, in either mode."""
        for console in ("count", "enforce"):
            with self.subTest(console=console):
                tally = guard_case.Tally(self.door)
                client = self._client(console)
                for channel in (spiceclient.CURSOR, spiceclient.INPUTS):
                    link = client.link(channel)
                    link.send_message(_UNKNOWN)
                    self.assertTrue(link.closed_by_peer())
                tally.wait(lambda t: t.refusals() == 2, "two refusals")
                tally.wait(lambda t: t.records(), "a record")
                self._leave(client)
                self.assertEqual(len(tally.records()), 1)
                self._say(console, spiceclient.CURSOR, _UNKNOWN)
                tally.wait(lambda t: len(t.records()) == 2, "another record")

    def test_nobody_protects_a_qemu_but_the_guard(self):
        """What enforce keeps away arrives in the other modes, and kills."""
        flush_mark = (spiceclient.INPUTS, spiceclient.FLUSH_MARK)
        self._say("enforce", *flush_mark)
        self.assert_unhurt(self.vm)
        for console in ("count", "off"):
            with self.subTest(console=console):
                self._say(console, *flush_mark)
                self.wait_hurt(self.vm)
                self.vm.stop()
                self.vm = self.machine("min")
                self._rewrite_consoles()

    def _door(self, default):
        """A gateway with a console of each mode."""
        return self.start_gateway(
            self._consoles(), name=f"gateway-{default}", guard=default
        )

    def _consoles(self):
        modes = {"enforce": "enforce", "count": "count", "off": "off"}
        modes["default"] = None
        return [
            self.vm.console(name, guard=mode) for name, mode in modes.items()
        ]

    def _rewrite_consoles(self):
        before = len(self.door.records("consoles_loaded"))
        self.door.write_consoles(self._consoles())
        self.door.process.send_signal(signal.SIGHUP)
        polling.until(
            lambda: len(self.door.records("consoles_loaded")) > before,
            "the new consoles",
        )

    def _client(self, console):
        client = self.client_by(self.door, console)
        client.open_main()
        return client

    def _say(self, console, channel, kind, body=b""):
        """One message of a session of its own, and the channel's end."""
        client = self._client(console)
        link = client.links[0]
        if channel != spiceclient.MAIN:
            link = client.link(channel)
        link.send_message(kind, body)
        self.assertTrue(link.closed_by_peer(), "the channel stays open")
        link.close()
        # Before main goes and takes everything along.
        name = guard_case.CHANNEL_NAMES[channel]
        self.door.wait_metric(
            lambda m: not m.sum("spicegate_channels_open", channel=name),
            f"end of {name}",
        )
        self._leave(client)

    def _leave(self, client):
        client.close()
        self.door.wait_no_sessions()

    def _check_mode(self, console, mode):
        tally = guard_case.Tally(self.door)
        self._say(console, spiceclient.MAIN, _QUALITY_INDICATOR)
        counted = mode != "off"
        self.assertEqual(
            tally.refusals(channel="main", rule="message_type"), counted
        )
        self.assertEqual(tally.refusals(), counted)
        self.assertEqual(tally.ended("client_guard"), mode == "enforce")
        actions = {"enforce": ["closed"], "count": ["counted"], "off": []}
        self.assertEqual(
            [record["action"] for record in tally.records()], actions[mode]
        )
        self.assert_unhurt(self.vm)


def _ended_by_server(tally):
    # An RST where it had not read all of the message.
    return tally.ended("server_closed") or tally.ended("server_reset")


class ConnectionIdTest(guard_case.GuardCase):
    """A main link with an id is refused in every mode: nobody could serve it.

    It says "I come from a migration", and of none is anything known.
    """

    def test_refused_in_every_mode(self):
        vm = self.machine("min")
        modes = ("enforce", "count", "off")
        door = self.start_gateway([vm.console(m, guard=m) for m in modes])
        for mode in modes:
            with self.subTest(mode=mode):
                tally = guard_case.Tally(door)
                client = self.client_by(door, mode)
                client.connection_id = 4711
                with self.assertRaisesRegex(PermissionError, "result 8"):
                    client.link(spiceclient.MAIN)
                door.wait_record(
                    "channel_refused",
                    console=mode,
                    channel="main",
                    reason="bad_connection_id",
                )
                self.assertEqual(
                    tally.refusals(channel="main", rule="connection_id"), 1
                )
                self.assertEqual(tally.refusals(), 1)
                self.assert_unhurt(vm)
        self.assertFalse(vm.channels())


class ConfigTest(guard_case.GuardCase):
    """Words that are no mode are refused, and said where they stand."""

    def test_of_the_configuration(self):
        for bad in ("enforced", "Enforce", "", None, True, 1, ["off"], {}):
            with self.subTest(bad=bad):
                code, err = self._check({"guard": bad}, [])
                self.assertEqual(code, _BAD_CONFIG, err)
                self.assertIn("config.json: guard: ", err)
                self.assertEqual(len(err.splitlines()), 1, err)

    def test_of_a_console(self):
        for bad in ("enforced", "OFF", "", True):
            with self.subTest(bad=bad):
                console = {"name": "vm", "host": "127.0.0.1", "port": 5900}
                code, err = self._check({}, [{**console, "guard": bad}])
                self.assertNotEqual(code, 0, err)
                self.assertIn("guard", err)

    def test_good_ones(self):
        for good in ("enforce", "count", "off"):
            console = {"name": "vm", "host": "127.0.0.1", "port": 5900}
            with self.subTest(good=good):
                code, err = self._check(
                    {"guard": good}, [{**console, "guard": good}]
                )
                self.assertEqual(code, 0, err)

    def _check(self, config, consoles):
        """--check-config; returns (exit code, what it said)."""
        config = {
            "listeners": [{"address": "127.0.0.1:0"}],
            "admin": {"address": "127.0.0.1:0"},
            "state_dir": self.directory,
            "consoles": self._write("consoles.json", {"consoles": consoles}),
            **config,
        }
        path = self._write("config.json", config)
        code, _, err = processes.run(
            [locate.gateway(), "--config", path, "--check-config"],
            env=viewer.private_environment(self.directory),
        )
        return code, err

    def _write(self, name, value):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as stream:
            json.dump(value, stream)
        return path


if __name__ == "__main__":
    runner.main("qemu-system-x86_64")
