# SPDX-License-Identifier: Apache-2.0
"""Sound: what the guest plays arrives at the viewer."""

from tests.testbed import case
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import viewer

# A playback channel without sound carries less than 1 000 bytes.
_SOUND_BYTES = 20_000


class PlaybackTest(case.Case):
    def test_tone(self):
        vm = self.start_vm(
            "vm",
            guest="tone",
            machine="pc,accel=tcg,pcspk-audiodev=snd0",
            extra=["-audiodev", "spice,id=snd0"],
        )
        gateway = self.start_gateway([vm.console()])
        stats = viewer.Stats(self.directory, "stats", gateway.target("vm"))
        self.addCleanup(stats.stop)
        vm.wait_channels({(qemu.PLAYBACK, 0)})
        gateway.wait_metric(_has_sound, "sound through the gateway")
        self.assertGreater(stats.stop()["playback"], _SOUND_BYTES)
        vm.wait_idle()


def _has_sound(reading):
    passed = reading.sum(
        "spicegate_channel_bytes_total",
        channel="playback",
        direction="server_to_client",
    )
    # Twice what the viewer has to have read by then.
    return passed > 2 * _SOUND_BYTES


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-stats")
