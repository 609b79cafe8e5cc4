# SPDX-License-Identifier: Apache-2.0
"""A test case in which a guest moves between QEMUs while a viewer looks on."""

import os

from tests.testbed import case
from tests.testbed import migration
from tests.testbed import picture
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import viewer

TITLE = "The moving desktop"
DEBUG = {"SPICE_DEBUG": "1"}
# Keys that paint a square, each in a colour of its own, and their scan codes.
KEYS = {
    **{"a": 0x1E, "s": 0x1F, "d": 0x20, "h": 0x23, "j": 0x24, "k": 0x25},
    **{"q": 0x10, "w": 0x11, "e": 0x12, "r": 0x13, "t": 0x14, "y": 0x15},
}
TOOLS = (
    *("qemu-system-x86_64", "spicy", "Xvfb", "xdotool", "xwd"),
    "openssl",
)

# What spicy opens on a machine with every device; see viewer tests for why
# smartcard is not among them.
SPICY_CHANNELS = {
    *((qemu.MAIN, 0), (qemu.DISPLAY, 0), (qemu.INPUTS, 0), (qemu.CURSOR, 0)),
    *((qemu.PLAYBACK, 0), (qemu.RECORD, 0), (qemu.WEBDAV, 0)),
    *((qemu.USBREDIR, 0), (qemu.USBREDIR, 1)),
}
# What the picture has in the last corner of a key's square.
_SQUARE = 256
_COLOUR = 0x02A5C1
_LIMIT_S = 30


class MoveCase(case.Case):
    """Machines with every device, each at an address of its own.

    A machine's certificate names it alone, by subject and by address, so that
    whoever verifies one machine by another's identity is noticed.
    """

    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory)
        self.display = viewer.Display(self.directory)
        self.addCleanup(self.display.stop)
        self._x509_dirs = {}

    def machine(
        self, number, incoming=False, seamless=True, names=(), **how
    ):
        """A running QEMU at 127.0.0.NUMBER.

        A later machine with a number used before takes the place of the
        earlier one, which must have been stopped, and has its certificate.

        Args:
          incoming: waits for a guest.
          seamless: what it allows.
          names: what its certificate is for, in place of its address.
          how: see qemu.Vm.
        """
        name = f"host{number}"
        address = f"127.0.0.{number}"
        if number not in self._x509_dirs:
            self._x509_dirs[number] = self.authority.x509_dir(
                name, subject(number), names or (f"IP:{address}",)
            )
        return self.start_vm(
            name,
            "full",
            x509_dir=self._x509_dirs[number],
            address=address,
            incoming=incoming,
            spice=[f"seamless-migration={'on' if seamless else 'off'}"],
            **how,
        )

    def spicy(self, target, **env):
        """A running spicy whose window is there."""
        window = viewer.Spicy(
            self.directory, self.display, target, TITLE, **DEBUG, **env
        )
        self.addCleanup(window.stop)
        window.wait_window()
        return window

    def door(self, source, plain=False, console=None, **config):
        """A running gateway in front of the source, console "desktop".

        Args:
          console: more keys of the console.
          plain: reach the source, and so its destinations, without TLS.
          config: as of gateway.Gateway.
        """
        changes = {"title": TITLE, "host_subject": subject_of(source)}
        changes.update(console or {})
        if plain:
            changes.update(tls_port=None, ca_file=None, host_subject=None)
        return self.start_gateway(
            [source.console("desktop", **changes)], **config
        )

    def look(self, made, source, **env):
        """spicy at the gateway by TLS, with every channel at the source."""
        window = self.spicy(made.target("desktop", tls=True), **env)
        source.wait_channels(SPICY_CHANNELS)
        return window

    def announce(self, source, destination, **changes):
        """migration.announce with the destination's certificate subject."""
        said = {"cert_subject": subject_of(destination), **changes}
        migration.announce(source, destination, **said)

    def move(
        self,
        window,
        source,
        destination,
        num_answers=1,
        bytes_per_s=migration.BYTES_PER_S,
        **changes,
    ):
        """All of a migration that needs no switch of hosts."""
        before = source.connection_ids()
        self.announce(source, destination, **changes)
        self.wait_linked(window, destination, before, num_answers)
        migration.start(source, destination.incoming_uri, bytes_per_s)
        migration.wait(source)
        migration.wait_viewers(source)
        self.assertEqual(destination.connection_ids(), before)

    def check_key(self, window, vm, key):
        """Types a key; it arrives at vm, and vm's picture is the window's."""
        before = vm.keys()
        code = KEYS[key]
        window.wait_window()
        window.focus()
        window.key(key)
        wanted = before + bytes((code, code | 0x80))
        self.until(
            lambda: vm.keys() == wanted, f"key {key} at {vm.name}", window
        )
        dump = os.path.join(self.directory, "dump.ppm")

        def painted():
            shown = picture.read_ppm(vm.screendump(dump))
            corner = shown.row(_SQUARE - 1, _SQUARE - 1, 1)
            return shown if corner == _colour(code) else None

        window.wait_shows(self.until(painted, "the key's square", window))

    def wait_linked(self, window, destination, wanted, num_answers=1):
        """Waits until a viewer has all its links to the destination.

        Its answer is then on its way to the source.
        """
        destination.wait_channels(wanted)
        self.until(
            lambda: len(migration.answered(window.log())) == num_answers,
            "the viewer's answer",
            window,
        )

    def wait_done(self, window, kind, times=1):
        """Waits until a viewer has done its part."""
        self.until(
            lambda: migration.done(window.log(), kind) == times,
            f"{kind} migration in the viewer",
            window,
        )

    def until(self, probe, what, window, limit_s=_LIMIT_S):
        """polling.until, with the end of the viewer's log when it fails."""
        try:
            return polling.until(probe, what, limit_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{window.child.tail()}") from None


def subject(number):
    """Of the certificate of MoveCase.machine(number)."""
    return f"O=Test,CN=host{number}.example.test"


def subject_of(vm):
    """Of the certificate of a machine of MoveCase."""
    return subject(vm.address.rpartition(".")[2])


def _colour(code):
    value = code * _COLOUR & 0xFFFFFF
    return bytes((value >> 16, value >> 8 & 0xFF, value & 0xFF))
