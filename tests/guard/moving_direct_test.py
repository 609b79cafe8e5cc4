# SPDX-License-Identifier: Apache-2.0
"""What a moving client can do to two bare QEMUs: each misdeed has its effect.

Without this, moving_test would prove nothing.
"""

from tests.guard import guard_case
from tests.guard import moving_case
from tests.guard import moving_misdeeds
from tests.guard.misdeeds import GIB, Effect
from tests.testbed import polling
from tests.testbed import runner

_FAT_BYTES = GIB * 3 // 4
_LIMIT_S = 15


class MovingDirectTest(moving_case.MovingCase):
    def test_kills(self):
        self._try_all(Effect.DIES)

    def test_others(self):
        self._try_all(Effect.FATTENS, Effect.CLOSES, Effect.NOTHING)

    def _try_all(self, *effects):
        tried = [m for m in moving_misdeeds.ALL if m.effect in effects]
        self.assertTrue(tried)
        for misdeed in tried:
            channel = guard_case.CHANNEL_NAMES[misdeed.channel]
            with self.subTest(misdeed.name, channel=channel):
                self._check(misdeed)

    def _check(self, misdeed):
        pair = self.pair(misdeed)
        self._lead(misdeed, pair)
        victim = pair[0 if misdeed.victim == "source" else 1]
        check = {
            Effect.DIES: lambda: self.wait_hurt(victim),
            Effect.FATTENS: lambda: self._wait_fat(victim),
            Effect.CLOSES: lambda: self._wait_closed(misdeed),
            Effect.NOTHING: lambda: None,
        }[misdeed.effect]
        check()
        if misdeed.effect is not Effect.DIES:
            self.assert_unhurt(victim)
        self.client.close()
        for vm in pair:
            vm.process.kill()  # it might not hear SIGTERM any more

    def _lead(self, misdeed, pair):
        where = [{"port": vm.port} for vm in pair]
        self.lead(misdeed, pair, pair[0].password, where)

    def _wait_closed(self, misdeed):
        self.assertTrue(
            self.client.closed_by_peer(misdeed.victim, misdeed.channel),
            "the channel stays open",
        )

    def _wait_fat(self, vm):
        # A QEMU of 32 MiB, before: well below 1 GiB.
        polling.until(
            lambda: guard_case.peak_bytes(vm) > self._usual + _FAT_BYTES,
            "a fat QEMU",
            _LIMIT_S,
        )

    def pair(self, misdeed):
        pair = super().pair(misdeed)
        self._usual = guard_case.peak_bytes(pair[1])
        return pair


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "openssl")
