# SPDX-License-Identifier: Apache-2.0
"""The misdeeds hurt: each is sent to a bare QEMU, and has its effect.

Without this, guard_test would prove nothing.
"""

from tests.guard import culprit
from tests.guard import guard_case
from tests.guard import misdeeds
from tests.guard.misdeeds import Effect
from tests.testbed import polling
from tests.testbed import runner

# Of 1 GiB claimed; the rest of QEMU does not grow by as much meanwhile.
_FAT_BYTES = misdeeds.GIB * 3 // 4
_LIMIT_S = 15
_TRIES = 5


class DirectTest(guard_case.GuardCase):
    """One QEMU after the other: many do not survive."""

    def setUp(self):
        super().setUp()
        self._vms = {}

    def test_kills(self):
        self._try_all(Effect.DIES, self._check_dies)

    def test_fattens(self):
        self._try_all(Effect.FATTENS, self._check_fattens)

    def test_closes_the_channel(self):
        self._try_all(Effect.CLOSES, self._check_closes)

    def test_does_nothing(self):
        self._try_all(Effect.NOTHING, self._check_nothing)

    def _try_all(self, effect, check):
        tried = [m for m in misdeeds.ALL if m.effect is effect]
        self.assertTrue(tried)
        for misdeed in tried:
            channel = guard_case.CHANNEL_NAMES[misdeed.channel]
            with self.subTest(misdeed.name, channel=channel):
                check(misdeed)

    def _check_dies(self, misdeed):
        for _ in range(_TRIES):
            vm = self._fresh_vm(misdeed.machine)
            self._commit(vm, misdeed)
            try:
                self.wait_hurt(vm)
                return
            except TimeoutError:
                pass  # a damaged heap need not be noticed
        self.fail(f"QEMU survived {_TRIES} times")

    def _check_fattens(self, misdeed):
        vm = self._fresh_vm(misdeed.machine)
        before = guard_case.peak_bytes(vm)
        self._commit(vm, misdeed)
        polling.until(
            lambda: guard_case.peak_bytes(vm) - before > _FAT_BYTES,
            "a fat QEMU",
            _LIMIT_S,
        )
        self.assert_unhurt(vm)

    def _check_closes(self, misdeed):
        vm = self._any_vm(misdeed.machine)
        link = self._commit(vm, misdeed)
        self.assertTrue(link.closed_by_peer(), "the channel stays open")
        self.assert_unhurt(vm)

    def _check_nothing(self, misdeed):
        vm = self._any_vm(misdeed.machine)
        self._commit(vm, misdeed)
        # Whatever main is told next it answers.
        self.assertTrue(self._client.channels_list())
        self.assert_unhurt(vm)

    def _commit(self, vm, misdeed):
        self._client = self.client_of(vm)
        return culprit.commit(self._client, misdeed)

    def _fresh_vm(self, kind):
        """A QEMU that nobody has spoken to; the one before it ends."""
        if kind in self._vms:
            old = self._vms.pop(kind)
            if old.alive():
                old.process.kill()  # it might not hear SIGTERM any more
            old.stop()
        return self._any_vm(kind)

    def _any_vm(self, kind):
        if kind not in self._vms:
            self._vms[kind] = self.machine(kind)
        return self._vms[kind]


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "openssl")
