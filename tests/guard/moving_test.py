# SPDX-License-Identifier: Apache-2.0
"""The same misdeeds of a moving client through the gateway.

Neither QEMU is hurt, whatever the client said to whom, the guest arrives, and
what was refused is one message under one rule.
"""

from tests.guard import guard_case
from tests.guard import moving_case
from tests.guard import moving_misdeeds
from tests.testbed import migration
from tests.testbed import runner
from tests.testbed import spiceclient


class MovingTest(moving_case.MovingCase):
    def test_while_the_links_wait(self):
        self._try_all(lambda m: m.rule and m.linked)

    def test_on_the_way(self):
        self._try_all(lambda m: m.rule and not m.linked)

    def test_links_that_leave(self):
        """Nothing is refused; the gateway sees to the order of things."""
        self._try_all(lambda m: not m.rule)

    def _try_all(self, wanted):
        tried = [m for m in moving_misdeeds.ALL if wanted(m)]
        self.assertTrue(tried)
        for number, misdeed in enumerate(tried):
            channel = guard_case.CHANNEL_NAMES[misdeed.channel]
            with self.subTest(misdeed.name, channel=channel):
                self._check(number, misdeed)

    def _check(self, number, misdeed):
        pair = self.pair(misdeed)
        console = pair[0].console("vm", tls_port=None, ca_file=None)
        door = self.start_gateway([console], name=f"gateway{number}")
        tally = guard_case.Tally(door)
        self._lead(misdeed, pair, door)
        if misdeed.rule:
            self._check_refused(misdeed, tally)
        if misdeed.linked:
            self.depart(pair)
        migration.wait(pair[0])
        for vm in pair:
            self.assert_unhurt(vm)
        self.client.close()
        for vm in pair:
            self.assert_unhurt(vm)
        self._check_served(pair[1])
        self.assertEqual(tally.refusals(), int(misdeed.rule is not None))
        door.stop()
        for vm in pair:
            self.assert_unhurt(vm)
            vm.stop()

    def _lead(self, misdeed, pair, door):
        where = [{"port": door.port}] * 2
        try:
            self.lead(misdeed, pair, door.ticket("vm"), where)
        except (EOFError, OSError):
            if misdeed.rule:
                raise
            return  # the gateway ended the move: its good right
        if misdeed.rule:
            self.assertTrue(
                self.client.closed_by_peer(misdeed.victim, misdeed.channel),
                "the channel stays open",
            )

    def _check_refused(self, misdeed, tally):
        channel = guard_case.CHANNEL_NAMES[misdeed.channel]
        tally.wait(lambda t: t.records(), "a guard_refused record")
        self.assertEqual(
            tally.refusals(channel=channel, rule=misdeed.rule), 1
        )
        (record,) = tally.records()
        self.assertEqual(
            (record["channel"], record["rule"], record["action"]),
            (channel, misdeed.rule, "closed"),
        )
        tally.wait(lambda t: t.ended("client_guard") == 1, "its end")

    def _check_served(self, vm):
        """A viewer that comes to where the guest is now."""
        client = self.client_of(vm)
        client.open_main()
        self.assertIn((spiceclient.INPUTS, 0), client.channels_list())
        client.close()


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "openssl")
