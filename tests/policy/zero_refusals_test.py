# SPDX-License-Identifier: Apache-2.0
"""Real viewers do everything they can, and the guard refuses none of it.

Each case ends its viewer, because what is said in leaving counts as well, and
shows that what it is about really passed: at the guest's end where the guest
has one, else by the bytes of the channel.
"""

import os
import struct

from tests.policy import desktop
from tests.policy import media
from tests.testbed import guestagent
from tests.testbed import locate
from tests.testbed import picture
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import skip
from tests.testbed import spiceclient
from tests.testbed import viewer

_KEY_A = b"\x1e\x9e"  # set 1: pressed, released
_LIMIT_S = 30
_SOUND_DEVICES = "-audiodev spice,id=snd0 -device AC97,audiodev=snd0,addr=5"
_SOUND_MACHINE = "pc,accel=tcg,pcspk-audiodev=snd0"
_SIZES = ("640x480", "800x600", "1024x768", "1280x1024")
# Clipboard and file of more than one AGENT_DATA.
_LONG_TEXT = "All work and no play. " * 500
_FILE_BYTES = 30_000

_FLUSH_MARK = 4  # kills a QEMU that no guard stands before

# Of the record channel.
_RECORD_START, _RECORD_DATA, _RECORD_MODE, _START_MARK = 101, 101, 102, 103
_RAW = 1
# Of the port channel.
_PORT_DATA, _PORT_INIT = 101, 201


class ZeroRefusalsTest(desktop.DesktopCase):
    def test_devices_of_spicy(self):
        """The guest boots from the viewer's CD, by USB redirection and TLS."""
        vm, gateway = self._full_vm(guest=None)
        shared = self._shared_folder()
        cd = os.path.join(self.directory, "cd.iso")
        media.bootable_cd(cd, locate.guest("gradient"))
        window = self.start_spicy(
            self.start_display(),
            gateway.target("vm", tls=True),
            *("--spice-share-cd=" + cd, desktop.REDIRECT_ALL, shared),
            *media.smartcard(self.directory),
        )
        # The device's descriptors; the firmware finds it at its next start.
        self.wait_moved(gateway, usbredir=(500, 200), smartcard=(80, 60))
        vm.qmp.command("system_reset")
        polling.until(vm.serial, "guest from the viewer's CD", _LIMIT_S)
        self.wait_moved(gateway, usbredir=(2500, 1500))
        self.assertIn((qemu.WEBDAV, 0), vm.channels())
        self._type(vm, window)
        window.resize(1200, 900)  # was made for the firmware's screen
        path = os.path.join(self.directory, "shown.ppm")
        polling.until(lambda: self._shows(vm, window, path), "the picture")
        self._leave(window, gateway)

    def test_channels_of_other_viewers(self):
        vm, gateway = self._full_vm()
        shot = viewer.screenshot(self.directory, "shot", gateway.target("vm"))
        self.assertEqual(shot.code, 0, shot.text)
        vm.wait_idle()
        stats = viewer.Stats(self.directory, "stats", gateway.target("vm"))
        self.addCleanup(stats.stop)
        vm.wait_channels(
            desktop.BASIC
            | {(qemu.PLAYBACK, 0), (qemu.RECORD, 0), (qemu.WEBDAV, 0)}
            | {(qemu.USBREDIR, 0), (qemu.USBREDIR, 1)}
        )
        self.wait_moved(
            gateway, webdav=(1, 60), usbredir=(1, 160), record=(1, 30)
        )
        self._leave(stats, gateway)

    def test_sound_both_ways(self):
        vm, gateway = self._sound_vm()
        window = self.start_spicy(
            self.start_display(),
            gateway.target("vm"),
            **viewer.sound_environment(self.directory),
        )
        self.wait_moved(gateway, playback=(0, 20_000), record=(4_000, 1))
        self._leave(window, gateway)

    def test_recorded_sound_reaches_the_guest(self):
        """Raw samples as a viewer without Opus sends them."""
        vm, gateway = self._sound_vm()
        client = self._client(gateway)
        record = client.link(qemu.RECORD)
        start = record.read_until(_RECORD_START)
        self.assertEqual(struct.unpack("<IHI", start)[:2], (2, 1))
        record.send_message(_RECORD_MODE, struct.pack("<IH", 0, _RAW))
        record.send_message(_START_MARK, bytes(4))
        samples = bytes(4) + struct.pack("<h", 0x1234) * 960
        sent = []

        def heard():
            sent.append(record.send_message(_RECORD_DATA, samples))
            return vm.serial()

        polling.until(heard, "sound in the guest", _LIMIT_S)
        self.assertEqual(vm.serial()[:2], b"\x34\x12")
        self._leave_client(client, gateway)

    def test_agent_of_spicy(self):
        """Clipboard both ways, a dropped file, a shared folder, the mouse."""
        vm = self.start_agent_vm()
        gateway = self._gateway(vm)
        display = self.start_display()
        window = self.start_spicy(
            display, gateway.target("vm"), self._shared_folder()
        )
        self.agent.wait(guestagent.ANNOUNCE)
        vm.wait_channels(desktop.BASIC | {(qemu.WEBDAV, 0)})
        window.focus()
        self._use_agent(display, window)
        request = "GET /hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
        desktop.webdav_request(self.port, 7, request)
        desktop.read_webdav(self.port, b"said in the folder")
        self._leave(window, gateway)

    def test_agent_of_remote_viewer(self):
        """The same, and a window whose size the guest follows."""
        vm = self.start_agent_vm()
        gateway = self._gateway(vm, title=desktop.TITLE)
        display = self.start_display()
        window = self.start_remote_viewer(display, gateway.vv("vm"))
        self.agent.wait(guestagent.ANNOUNCE)
        vm.wait_channels(desktop.BASIC)
        window.focus()
        self._use_agent(display, window)
        num_before = len(self.agent.of(guestagent.MONITORS_CONFIG))
        for width, height in ((900, 700), (1200, 800)):
            window.resize(width, height)
            num_before += 1
            self.agent.wait(guestagent.MONITORS_CONFIG, num_before)
        self._leave(window, gateway)

    def test_sizes_of_the_screen(self):
        """The primary surface comes and goes with every size."""
        vm = self.start_vm("vm", guest="modes")
        gateway = self._gateway(vm)
        window = self.start_spicy(
            self.start_display(), gateway.target("vm"), "--spice-debug"
        )
        vm.wait_channels(desktop.BASIC)
        polling.until(vm.serial, "first size")
        window.focus()
        for step, size in enumerate((*_SIZES, _SIZES[0])):
            polling.until(
                lambda: window.log().count(f"primary: {size}"), size, _LIMIT_S
            )
            if step < len(_SIZES):
                window.key("a")
                wanted = step + 2
                polling.until(lambda: len(vm.serial()) >= wanted, "a key")
        self._leave(window, gateway)

    def test_mouse_that_the_server_leads(self):
        """Relative motion, far beyond what may be unacknowledged."""
        vm = self.start_vm("vm")
        gateway = self._gateway(vm)
        window = self.start_spicy(self.start_display(), gateway.target("vm"))
        vm.wait_channels(desktop.BASIC)
        window.focus()
        window.click()
        before = gateway.metrics()
        sent = desktop.moved(before, "inputs", desktop.TO_SERVER)
        heard = desktop.moved(before, "inputs", desktop.TO_CLIENT)

        def look():
            window.move(3, 2)
            window.move(-3, -2)
            reading = gateway.metrics()
            num_sent = desktop.moved(reading, "inputs", desktop.TO_SERVER)
            num_heard = desktop.moved(reading, "inputs", desktop.TO_CLIENT)
            # 20 motions of 16 bytes, and their acknowledgements of 6.
            return num_sent >= sent + 320 and num_heard >= heard + 30

        polling.until(look, "motion and acknowledgements", _LIMIT_S)
        self._type(vm, window)
        self._leave(window, gateway)

    def test_port_both_ways(self):
        """A port that no viewer knows by name; a client of its own uses it."""
        extra = guestagent.devices(
            self.directory, "spiceport,name=org.example.test"
        )
        vm = self.start_vm("vm", guest="relay", extra=extra)
        gateway = self._gateway(vm)
        self.connect_port()
        client = self._client(gateway)
        port = client.link(qemu.PORT)
        self.assertIn(b"org.example.test", port.read_until(_PORT_INIT))
        port.send_message(_PORT_DATA, b"to the guest")
        self.assertEqual(desktop.read_exactly(self.port, 12), b"to the guest")
        self.port.sendall(b"to the client")
        data = b""
        while len(data) < len(b"to the client"):
            data += port.read_until(_PORT_DATA)
        self.assertEqual(data, b"to the client")
        self._leave_client(client, gateway)

    def test_a_refusal_would_be_noticed(self):
        """The check of every case above, where it has to fail."""
        vm = self.start_vm("vm")
        gateway = self._gateway(vm)
        client = self._client(gateway)
        inputs = client.link(spiceclient.INPUTS)
        inputs.send_message(_FLUSH_MARK)
        self.assertTrue(inputs.closed_by_peer())
        client.close()
        gateway.wait_no_sessions()
        with self.assertRaises(AssertionError):
            self.check_unrefused(gateway)

    def _full_vm(self, **how):
        """A machine with every device, and its gateway."""
        x509_dir = pki.Authority(self.directory).x509_dir()
        vm = self.start_vm("vm", "full", x509_dir=x509_dir, **how)
        return vm, self._gateway(vm, host_subject=pki.SUBJECT)

    def _sound_vm(self):
        extra = _SOUND_DEVICES.split()
        vm = self.start_vm(
            "vm", guest="sound", machine=_SOUND_MACHINE, extra=extra
        )
        return vm, self._gateway(vm)

    def _gateway(self, vm, **console):
        return self.start_gateway([vm.console(**console)], guard="enforce")

    def _client(self, gateway):
        """A client of our own with main open."""
        client = spiceclient.Client(gateway.ticket("vm"), port=gateway.port)
        self.addCleanup(client.close)
        client.open_main()
        return client

    def _shared_folder(self):
        """spicy's option for a folder with one file."""
        path = os.path.join(self.directory, "shared")
        os.mkdir(path)
        name = os.path.join(path, "hello.txt")
        with open(name, "w", encoding="ascii") as stream:
            stream.write("said in the folder")
        return "--spice-shared-dir=" + path

    def _use_agent(self, display, window):
        """Everything that a viewer does with an agent, but for its size."""
        self.check_to_guest(display, "from the client")
        self.check_from_guest(display, "from the guest")
        self.check_to_guest(display, "client: " + _LONG_TEXT)
        self.check_from_guest(display, "guest: " + _LONG_TEXT)
        data = os.urandom(_FILE_BYTES)
        self.drop_file(display, window, data)
        files = polling.until(self.agent.files, "the file", _LIMIT_S)
        self.assertEqual(list(files.values()), [data])
        self._move_until_seen(window)

    def _move_until_seen(self, window):
        """The agent hears of the mouse: client mode."""
        wanted = self.agent.num_mouse_states + 20

        def look():
            window.move(5, 3)
            window.move(-5, -3)
            return self.agent.num_mouse_states >= wanted

        polling.until(look, "mouse states", _LIMIT_S)

    def _type(self, vm, window):
        """A key typed at the viewer arrives in the guest."""
        window.focus()
        window.key("a")
        polling.until(lambda: _KEY_A in vm.serial(), "the key", _LIMIT_S)

    def _shows(self, vm, window, path):
        wanted = picture.read_ppm(vm.screendump(path))
        shot = window.shot()
        at = picture.find(shot, wanted)
        return at and picture.differing_pixels(shot, wanted, at) == 0

    def _leave(self, window, gateway):
        window.stop()
        gateway.wait_no_sessions()
        self.check_unrefused(gateway)

    def _leave_client(self, client, gateway):
        client.close()
        gateway.wait_no_sessions()
        self.check_unrefused(gateway)


if __name__ == "__main__":
    if not viewer.has_sound():
        skip.skip("gstreamer1.0-plugins-good is not installed")
    runner.main(
        *("qemu-system-x86_64", "remote-viewer", "spicy", "spicy-stats"),
        *("spicy-screenshot", "Xvfb", "xdotool", "xwd", "openssl", "certutil"),
    )
