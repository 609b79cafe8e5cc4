# SPDX-License-Identifier: Apache-2.0
"""The same misdeeds through the gateway: the QEMU does not notice.

Of each: the channel is closed for the right reason, exactly one refusal of
exactly one rule is counted, one record is written that holds nothing of a
body, and the next client is served by the same QEMU.
"""

from tests.guard import culprit
from tests.guard import guard_case
from tests.guard import misdeeds
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_TLS_STEP = 4
_FIELDS = {
    *("ts", "level", "event", "console", "client", "channel", "rule"),
    *("type", "size", "action"),
}


class GuardTest(guard_case.GuardCase):
    """One QEMU of a kind for all misdeeds, with the gateway before it."""

    def test_small_machine(self):
        self._try_kind("min")

    def test_machine_with_every_device(self):
        self._try_kind("full")

    def test_machine_with_an_agent(self):
        self._try_kind("agent")

    def test_tls_on_both_sides(self):
        """A few of each kind: records cut messages where they like."""
        vm = self.machine("full", guest="gradient")
        self.door = self.start_gateway([vm.console("vm")])
        self._try_all(vm, misdeeds.ALL[::_TLS_STEP], tls=True)

    def test_main_of_a_migration_that_nobody_announced(self):
        """It would be a migration's destination, and 110 and 109 kill it."""
        vm = self.machine("min")
        door = self.start_gateway([vm.console("vm")])
        for connection_id in (1, 0xFFFFFFFF, self._id_of_session(door, vm)):
            with self.subTest(connection_id=connection_id):
                tally = guard_case.Tally(door)
                client = self.client_by(door, "vm")
                client.connection_id = connection_id
                with self.assertRaisesRegex(PermissionError, "result 8"):
                    client.link(spiceclient.MAIN)
                tally.wait(lambda t: t.refusals(), "the refusal")
                self._check_counts(tally, "main", "connection_id")
        self.assertEqual(
            door.metrics().sum(
                "spicegate_channels_opened_total", channel="main"
            ),
            1,
        )

    def _id_of_session(self, door, vm):
        """The id of somebody else's session, which goes on."""
        client = self.client_by(door, "vm")
        client.open_main()
        vm.wait_channels({(spiceclient.MAIN, 0)})
        return client.connection_id

    def _try_kind(self, kind):
        vm = self.machine(kind, guest="gradient")
        console = vm.console("vm", tls_port=None, ca_file=None)
        self.door = self.start_gateway([console])
        self._try_all(vm, [m for m in misdeeds.ALL if m.machine == kind])
        shot = viewer.screenshot(
            self.directory, "shot", self.door.target("vm")
        )
        self.assertEqual(shot.code, 0, shot.text)
        if kind != "agent":  # whose guest's picture has a blinking cursor
            self.assertEqual(shot.bytes(), _dump(vm, self.directory))

    def _try_all(self, vm, tried, tls=False):
        self.assertTrue(tried)
        for misdeed in tried:
            channel = guard_case.CHANNEL_NAMES[misdeed.channel]
            with self.subTest(misdeed.name, channel=channel):
                self._check_refused(misdeed, channel, tls)
            self.assert_unhurt(vm)
        self._check_over(len(tried))

    def _check_refused(self, misdeed, channel, tls):
        tally = guard_case.Tally(self.door)
        client = self.client_by(self.door, "vm", tls)
        link = culprit.commit(client, misdeed)
        self.assertTrue(link.closed_by_peer(), "the channel stays open")
        tally.wait(lambda t: t.records(), "a guard_refused record")
        client.close()
        self.door.wait_no_sessions()
        self._check_counts(tally, channel, misdeed.rule)
        self.assertEqual(tally.ended("client_guard"), 1)
        self._check_record(tally.records(), misdeed, channel)

    def _check_counts(self, tally, channel, rule):
        self.assertEqual(tally.refusals(channel=channel, rule=rule), 1)
        self.assertEqual(tally.refusals(), 1)

    def _check_record(self, records, misdeed, channel):
        self.assertEqual(len(records), 1, records)
        record = records[0]
        self.assertEqual(set(record), _FIELDS)
        self.assertTrue(record["client"].startswith("127.0.0.1"), record)
        said = {k: record[k] for k in ("channel", "rule", "type", "size")}
        self.assertEqual(
            said,
            {
                "channel": channel,
                "rule": misdeed.rule,
                "type": misdeed.kind,
                "size": misdeed.size,
            },
        )
        self.assertEqual(record["console"], "vm")
        self.assertEqual(record["action"], "closed")

    def _check_over(self, num_tried):
        """All of it together, and what must not be in the log."""
        numbers = self.door.metrics()
        self.assertEqual(numbers.sum(guard_case.REFUSALS), num_tried)
        log = self.door.process.errors()
        self.assertNotIn(misdeeds.SECRET.decode(), log)
        self.assertNotIn(misdeeds.SECRET.hex(), log)


def _dump(vm, directory):
    with open(vm.screendump(f"{directory}/dump.ppm"), "rb") as stream:
        return stream.read()


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-screenshot", "openssl")
