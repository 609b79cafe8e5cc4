# SPDX-License-Identifier: Apache-2.0
"""What a policy forbids does not happen, and what it allows still does.

Where nothing must arrive, something that is allowed is sent behind it on the
same way, and the drop is in the metrics.
"""

import struct

from tests.policy import desktop
from tests.testbed import gateway
from tests.testbed import guestagent
from tests.testbed import picture
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.testbed import viewer

_POLICIES = {
    "paste-in": {"clipboard": "to_guest"},
    "copy-out": {"clipboard": "from_guest"},
    "no-clipboard": {"clipboard": "none"},
    "no-files": {"file_transfer": False},
    "look": {"read_only": True},
    "no-usb": {"refuse_channels": ["usbredir"]},
    "no-devices": {"refuse_channels": ["record", "webdav"]},
    "no-sound": {"refuse_channels": ["playback", "smartcard", "port"]},
    "all": {},
}
_KEY_A, _KEY_C = b"\x1e\x9e", b"\x2e\xae"  # set 1: pressed, released
_CLIPBOARD_KINDS = (
    guestagent.CLIPBOARD,
    guestagent.GRAB,
    guestagent.REQUEST,
    guestagent.RELEASE,
)
_XFER_KINDS = (guestagent.XFER_START, guestagent.XFER_DATA)
_REFUSED = "link result 9"  # CHANNEL_NOT_AVAILABLE
_KEY_DOWN, _KEY_UP, _MOTION, _POSITION = 101, 102, 111, 112
_MOTION_ACK = 111
_CONFIG_ERROR = 78
_LIMIT_S = 30


class _PolicyCase(desktop.DesktopCase):
    def start(self, *consoles, **config):
        """The gateway with all policies."""
        self.gateway = self.start_gateway(
            consoles, policies=_POLICIES, **config
        )

    def drops(self, policy):
        return self.gateway.metrics().sum(desktop.DROPS, policy=policy)

    def wait_drops(self, policy, count=1):
        """Waits until so many messages have been dropped by a policy."""
        what = f"{count} drops of {policy}"
        polling.until(lambda: self.drops(policy) >= count, what, _LIMIT_S)

    def client(self, console, policy=None):
        """A client of our own, main open, with a ticket of this policy."""
        ticket = self.gateway.ticket(console, policy)
        client = spiceclient.Client(ticket, port=self.gateway.port)
        self.addCleanup(client.close)
        client.open_main()
        return client

    def talk(self, console, policy=None):
        """A guestagent.Talker of such a client."""
        return guestagent.Talker(self.client(console, policy).links[0])

    def spicy(self, console, policy=None):
        """(display, spicy's window) with the agent's answer awaited."""
        ticket = self.gateway.ticket(console, policy)
        target = self.gateway.target(console, ticket=ticket)
        display = self.start_display()
        window = self.start_spicy(display, target)
        self.agent.wait(guestagent.ANNOUNCE)
        window.focus()
        return display, window


class ClipboardTest(_PolicyCase):
    def setUp(self):
        super().setUp()
        self.vm = self.start_agent_vm()
        self.start(self.vm.console())

    def test_to_guest_with_spicy(self):
        display, _ = self.spicy("vm", "paste-in")
        self.check_to_guest(display, "from the client")
        self._guest_copies("secret of the guest")
        self.wait_drops("clipboard")
        self.check_to_guest(display, "from the client again")
        self.wait_paste(display, "from the client again")

    def test_to_guest_with_remote_viewer(self):
        self.gateway.write_consoles([self.vm.console(title=desktop.TITLE)])
        self._wait_title()
        display = self.start_display()
        body = self.gateway.vv("vm", "paste-in")
        self.start_remote_viewer(display, body).focus()
        self.agent.wait(guestagent.ANNOUNCE)
        self.check_to_guest(display, "from the client")
        self._guest_copies("secret of the guest")
        self.wait_drops("clipboard")
        self.check_to_guest(display, "from the client again")
        self.wait_paste(display, "from the client again")

    def test_from_guest_with_spicy(self):
        display, _ = self.spicy("vm", "copy-out")
        self.check_from_guest(display, "from the guest")
        self.copy(display, "secret of the client")
        self.wait_drops("clipboard")  # the GRAB
        # A guest that asks although nobody offered anything.
        self.agent.send(guestagent.REQUEST, guestagent.request())
        self.wait_drops("clipboard", 2)
        self.check_from_guest(display, "from the guest again")
        self.assertEqual(self._seen(), {guestagent.REQUEST})

    def test_none_with_spicy(self):
        """The viewer learns that there is no clipboard, and leaves it."""
        display, _ = self.spicy("vm", "no-clipboard")
        self.copy(display, "secret of the client")
        self._guest_copies("secret of the guest")
        self.agent.send(guestagent.REQUEST, guestagent.request())
        self.wait_drops("clipboard", 2)
        self.wait_paste(display, "secret of the client")
        self.assertEqual(self._seen(), set())

    def test_everything_with_spicy(self):
        """A policy that forbids nothing: the other cases could fail."""
        display, _ = self.spicy("vm", "all")
        self.check_to_guest(display, "from the client")
        self.check_from_guest(display, "from the guest")
        self.assertEqual(self.drops("clipboard"), 0)

    def test_none_clears_capabilities(self):
        bits = self._announced("no-clipboard")
        for bit in (
            guestagent.CAP_CLIPBOARD,
            guestagent.CAP_BY_DEMAND,
            guestagent.CAP_SELECTION,
        ):
            self.assertFalse(bits >> bit & 1, bit)
        self.assertTrue(bits >> guestagent.CAP_MONITORS & 1)
        self.assertFalse(bits >> guestagent.CAP_XFER_DISABLED & 1)

    def test_one_way_keeps_capabilities(self):
        for policy in ("paste-in", "copy-out", "all"):
            with self.subTest(policy=policy):
                self.assertEqual(
                    self._announced(policy),
                    guestagent.caps_word(guestagent.CAPS),
                )

    def test_client_that_insists(self):
        """It has read no capabilities: everything is dropped all the same."""
        talk = self.talk("vm", "no-clipboard")
        talk.send(guestagent.GRAB, guestagent.grab(guestagent.TEXT))
        talk.send(guestagent.CLIPBOARD, guestagent.contents("x" * 9000))
        talk.send(guestagent.REQUEST, guestagent.request())
        talk.send(guestagent.RELEASE, bytes(4))
        talk.send(guestagent.ANNOUNCE, guestagent.announce([]))
        self.agent.wait(guestagent.ANNOUNCE)
        self.assertEqual(self._seen(), set())
        self.wait_drops("clipboard", 4)
        # And to it, from an agent that has read none either.
        for kind in _CLIPBOARD_KINDS:
            self.agent.send(kind, guestagent.contents("secret"))
        self.agent.send(guestagent.REPLY, bytes(8))
        talk.wait(guestagent.REPLY)
        heard = {message.kind for message in talk.received}
        self.assertEqual(heard & set(_CLIPBOARD_KINDS), set())
        self.wait_drops("clipboard", 8)

    def test_tokens_of_what_is_dropped_come_back(self):
        """The client never has to wait for a token that nobody returns."""
        talk = self.talk("vm", "no-clipboard")
        for _ in range(35):
            talk.send(guestagent.GRAB, guestagent.grab(guestagent.TEXT))
        # 33 pieces, one message.
        talk.send(guestagent.CLIPBOARD, guestagent.contents("x" * 66_000))
        talk.wait_returned(68)
        self.wait_drops("clipboard", 36)
        self.assertEqual(self.drops("clipboard"), 36)
        for num in range(1, 25):  # pass; their tokens come from the server
            talk.send(guestagent.ANNOUNCE, guestagent.announce([]))
            talk.send(guestagent.GRAB, guestagent.grab(guestagent.TEXT))
            self.agent.wait(guestagent.ANNOUNCE, num)
        self.assertEqual(self._seen(), set())

    def test_the_stricter_of_console_and_ticket(self):
        self.gateway.write_consoles([self.vm.console(policy="paste-in")])
        self.gateway.wait_metric(
            lambda m: m.sum("spicegate_consoles_reloads_total") == 1,
            "the console's policy",
        )
        both = guestagent.caps_word(guestagent.CAPS)
        for policy in (None, "all", "paste-in", "no-files"):
            with self.subTest(policy=policy):
                self.assertEqual(self._announced(policy) & both, both)
        self.assertEqual(
            self._announced("copy-out"),
            guestagent.caps_word([guestagent.CAP_MONITORS]),
        )

    def _announced(self, policy):
        """The capability bits that a client is told of the agent."""
        talk = self.talk("vm", policy)
        talk.send(guestagent.ANNOUNCE, guestagent.announce([], ask=True))
        body = talk.wait(guestagent.ANNOUNCE)
        return struct.unpack_from("<I", body, 4)[0]

    def _guest_copies(self, text):
        self.agent.text = text
        self.agent.send(guestagent.GRAB, guestagent.grab(guestagent.TEXT))

    def _seen(self):
        """The clipboard's message types that the agent has been sent."""
        return {m.kind for m in self.agent.of(*_CLIPBOARD_KINDS)}

    def _wait_title(self):
        polling.until(
            lambda: desktop.TITLE.encode() in self.gateway.vv("vm"), "title"
        )


class FileTransferTest(_PolicyCase):
    def setUp(self):
        super().setUp()
        self.vm = self.start_agent_vm()
        self.start(self.vm.console(policy="no-files"), self.vm.console("free"))

    def test_dropped_on_spicy(self):
        """The viewer tells its user, as the agent had told the viewer."""
        display, window = self.spicy("vm")
        self.drop_file(display, window, b"x" * 5000)
        self.check_to_guest(display, "behind the file")
        self.assertEqual(self.agent.of(*_XFER_KINDS), [])
        self.assertEqual(self.agent.files(), {})

    def test_dropped_on_spicy_where_it_is_allowed(self):
        display, window = self.spicy("free")
        self.drop_file(display, window, b"x" * 5000)
        files = polling.until(self.agent.files, "the file", _LIMIT_S)
        self.assertEqual(list(files.values()), [b"x" * 5000])

    def test_client_that_insists(self):
        talk = self.talk("vm")
        start = b"[vdagent-file-xfer]\nname=a\nsize=20000\n\0"
        talk.send(guestagent.XFER_START, bytes(4) + start)
        data = struct.pack("<IQ", 0, 20000) + bytes(20000)  # 10 pieces
        talk.send(guestagent.XFER_DATA, data)
        talk.send(guestagent.XFER_STATUS, struct.pack("<II", 0, 1))
        talk.send(guestagent.ANNOUNCE, guestagent.announce([], ask=True))
        bits = struct.unpack_from("<I", talk.wait(guestagent.ANNOUNCE), 4)[0]
        wanted = guestagent.caps_word(
            (*guestagent.CAPS, guestagent.CAP_XFER_DISABLED)
        )
        self.assertEqual(bits, wanted)
        self.assertEqual(
            [m.kind for m in self.agent.received], [guestagent.ANNOUNCE]
        )
        self.assertEqual(self.drops("file_transfer"), 3)
        self.agent.send(guestagent.XFER_STATUS, struct.pack("<II", 0, 0))
        self.agent.send(guestagent.REPLY, bytes(8))
        talk.wait(guestagent.REPLY)
        heard = {message.kind for message in talk.received}
        self.assertNotIn(guestagent.XFER_STATUS, heard)


class ReadOnlyTest(_PolicyCase):
    def test_spicy(self):
        """No key, no click arrives; the picture lives, the mouse too."""
        vm = self.start_vm("vm")
        self.start(vm.console(policy="look"))
        window = self.start_spicy(
            self.start_display(), self.gateway.target("vm")
        )
        vm.wait_channels(desktop.BASIC)
        window.focus()
        window.click()
        window.key("a")
        self.wait_drops("read_only", 4)

        self._move_on(window)
        self._type_in_guest(vm)
        path = vm.screendump(f"{self.directory}/square.ppm")
        window.wait_shows(picture.read_ppm(path))
        self.assertEqual(vm.keys(), _KEY_C)

    def test_remote_viewer_with_an_agent(self):
        """Neither its mouse nor its size reaches the agent; the rest does."""
        vm = self.start_agent_vm()
        self.start(vm.console(title=desktop.TITLE))
        display = self.start_display()
        body = self.gateway.vv("vm", "look")
        window = self.start_remote_viewer(display, body)
        self.agent.wait(guestagent.ANNOUNCE)
        vm.wait_channels(desktop.BASIC)
        window.focus()
        self._move_on(window)
        for width, height in ((900, 700), (1200, 800)):
            num_before = self.drops("read_only")
            window.resize(width, height)
            self.wait_drops("read_only", num_before + 1)
        self.check_to_guest(display, "read-only is no clipboard policy")
        self.check_from_guest(display, "in neither direction")
        self.assertEqual(self.agent.of(guestagent.MONITORS_CONFIG), [])
        self.assertEqual(self.agent.num_mouse_states, 0)

    def test_guard_off_changes_nothing(self):
        """A policy holds in every mode of the guard."""
        for mode in ("off", "count"):
            with self.subTest(mode=mode):
                vm = self.start_vm(mode)
                self.start(vm.console(policy="look"), guard=mode, name=mode)
                self._press_a(self.client(mode))
                self.wait_drops("read_only", 2)
                self._type_in_guest(vm)
                self.assertEqual(vm.keys(), _KEY_C)

    def test_motion_is_acknowledged(self):
        """One for every four motions; nothing else comes instead."""
        vm = self.start_vm("vm")
        self.start(vm.console(), vm.console("free"))
        inputs = self.client("vm", "look").link(spiceclient.INPUTS)
        for _ in range(6):
            inputs.send_message(_MOTION, struct.pack("<iiH", 1, 1, 0))
            inputs.send_message(_POSITION, struct.pack("<IIHB", 9, 9, 0, 0))
        for _ in range(3):
            self.assertEqual(inputs.read_until(_MOTION_ACK), b"")
        self.wait_drops("read_only", 12)
        self._type_in_guest(vm)
        self.assertEqual(self.drops("read_only"), 12)
        self.assertEqual(
            self.gateway.metrics().sum(desktop.REFUSALS), 0
        )

    def test_keys_arrive_where_it_is_allowed(self):
        vm = self.start_vm("vm")
        self.start(vm.console())
        self._press_a(self.client("vm"))
        polling.until(lambda: vm.keys() == _KEY_A, "the key")
        self.assertEqual(self.drops("read_only"), 0)

    def test_size_of_the_screen(self):
        """Read-only goes for the agent's MONITORS_CONFIG too, not for more."""
        vm = self.start_agent_vm()
        self.start(vm.console())
        talk = self.talk("vm", "look")
        monitors = struct.pack("<II5I", 1, 0, 600, 800, 32, 0, 0)
        for _ in range(12):  # more than there are tokens
            talk.send(guestagent.MONITORS_CONFIG, monitors)
        talk.send(guestagent.GRAB, guestagent.grab(guestagent.TEXT))
        self.agent.wait(guestagent.GRAB)
        self.assertEqual(
            [m.kind for m in self.agent.received], [guestagent.GRAB]
        )
        self.assertEqual(self.drops("read_only"), 12)

    def _move_on(self, window):
        """Moves on and on: without acknowledgements a viewer stops at 8."""
        wanted = self.drops("read_only") + 40

        def look():
            window.move(3, 2)
            window.move(-3, -2)
            return self.drops("read_only") >= wanted

        polling.until(look, "motion beyond what may be open", _LIMIT_S)

    def _press_a(self, client):
        inputs = client.link(spiceclient.INPUTS)
        inputs.send_message(_KEY_DOWN, struct.pack("<I", 0x1E))
        inputs.send_message(_KEY_UP, struct.pack("<I", 0x9E))

    def _type_in_guest(self, vm):
        """A key from elsewhere: what it changes is seen, and ends the wait."""
        keys = [{"type": "qcode", "data": "c"}]
        vm.qmp.command("send-key", keys=keys)
        polling.until(lambda: vm.keys().endswith(_KEY_C), "the key")


class RefusedChannelsTest(_PolicyCase):
    def setUp(self):
        super().setUp()
        x509_dir = pki.Authority(self.directory).x509_dir()
        self.vm = self.start_vm("vm", "full", x509_dir=x509_dir)
        console = {"host_subject": pki.SUBJECT}
        self.start(
            self.vm.console("no-usb", policy="no-usb", **console),
            self.vm.console("free", **console),
        )

    def test_spicy_stats_never_links_them(self):
        """The list it is given lacks them, so it does not even try."""
        ticket = self.gateway.ticket("no-usb", "no-devices")
        target = self.gateway.target("no-usb", ticket=ticket)
        stats = viewer.Stats(self.directory, "stats", target)
        self.addCleanup(stats.stop)
        self.vm.wait_channels(desktop.BASIC | {(qemu.PLAYBACK, 0)})
        polling.until(
            lambda: self._opened() == self._opened_wanted(), "its channels"
        )
        self.assertEqual(self._num_refused(), 0)
        read = stats.stop()
        self.assertEqual(
            set(read), {"main", "display", "inputs", "cursor", "playback"}
        )

    def test_list_lacks_them(self):
        everything = self._offered("free", None)
        for console, policy, missing in (
            ("no-usb", None, {qemu.USBREDIR}),
            ("no-usb", "all", {qemu.USBREDIR}),
            ("free", "no-devices", {qemu.RECORD, qemu.WEBDAV}),
            ("free", "no-sound", {qemu.PLAYBACK, qemu.SMARTCARD}),
            (
                *("no-usb", "no-devices"),
                {qemu.USBREDIR, qemu.RECORD, qemu.WEBDAV},
            ),
        ):
            with self.subTest(console=console, policy=policy):
                wanted = {c for c in everything if c[0] not in missing}
                self.assertNotEqual(wanted, everything)
                self.assertEqual(self._offered(console, policy), wanted)

    def test_link_in_spite_of_the_list(self):
        client = self.client("no-usb", "no-devices")
        kinds = (qemu.USBREDIR, qemu.RECORD, qemu.WEBDAV)
        for count, kind in enumerate(kinds, 1):
            with self.subTest(kind=kind):
                self.assertEqual(self._result(client, kind), _REFUSED)
                polling.until(lambda: self._num_refused() == count, "count")
        self.assertEqual(self.drops("channel"), len(kinds))
        for kind in ("usbredir", "record", "webdav"):
            self.gateway.wait_record(
                "channel_refused", channel=kind, reason="policy_refused"
            )
        client.link(spiceclient.CURSOR)
        self.vm.wait_channels({(qemu.MAIN, 0), (qemu.CURSOR, 0)})
        self.assertEqual(len(self.vm.channels()), 2)

    def test_link_where_it_is_allowed(self):
        client = self.client("free", "no-devices")
        client.link(qemu.USBREDIR)
        self.vm.wait_channels({(qemu.USBREDIR, 0)})
        self.assertEqual(self._result(client, qemu.WEBDAV), _REFUSED)

    def _offered(self, console, policy):
        client = self.client(console, policy)
        offered = client.channels_list()
        client.close()
        self.vm.wait_idle()
        return offered

    def _result(self, client, kind):
        """What a link that must be refused is told."""
        with self.assertRaises(PermissionError) as caught:
            client.link(kind)
        client.links[-1].close()  # the gateway waits for that
        return str(caught.exception)

    def _num_refused(self):
        return self.gateway.metrics().sum(
            "spicegate_links_refused_total", reason="policy_refused"
        )

    def _opened(self):
        opened = self.gateway.metrics().by(
            "spicegate_channels_opened_total", "channel"
        )
        return {name for name, count in opened.items() if count}

    def _opened_wanted(self):
        return {"main", "display", "inputs", "cursor", "playback"}


class NamesTest(_PolicyCase):
    def setUp(self):
        super().setUp()
        self.console = {"name": "vm", "host": "127.0.0.1", "port": 1}

    def test_answers_name_the_policy(self):
        self.start(self.console)
        path = "/v1/consoles/vm/ticket"
        plain = self.gateway.request("POST", path).json()
        self.assertNotIn("policy", plain)
        answer = self.gateway.request("POST", path + "?policy=look").json()
        self.assertEqual(answer["policy"], "look")

    def test_unknown_name_is_not_found(self):
        self.start(self.console)
        for method, path in (
            ("POST", "/v1/consoles/vm/ticket?policy=loook"),
            ("GET", "/v1/consoles/vm.vv?policy=loook"),
        ):
            with self.subTest(path=path):
                answer = self.gateway.request(method, path)
                self.assertEqual(answer.status, 404)
                self.assertIn("policy", answer.json()["error"])
        issued = self.gateway.metrics().sum("spicegate_tickets_issued_total")
        self.assertEqual(issued, 0)

    def test_unknown_name_from_the_start(self):
        consoles = [{**self.console, "policy": "loook"}]
        made = gateway.Gateway(self.directory, consoles, policies=_POLICIES)
        with self.assertRaises(RuntimeError):
            made.start()
        self.assertEqual(made.process.wait(_LIMIT_S), _CONFIG_ERROR)
        said = made.process.errors()
        self.assertIn("consoles.json: consoles[0].policy", said)
        self.assertIn("loook", said)

    def test_unknown_name_in_the_consoles_file(self):
        self.start(self.console)
        self.gateway.write_consoles([{**self.console, "policy": "loook"}])
        record = self.gateway.wait_record("consoles_refused")
        self.assertIn("consoles.json: consoles[0].policy", record["error"])
        self.assertIn("loook", record["error"])
        self.assertEqual(record["consoles_kept"], 1)
        self.assertTrue(self.gateway.ticket("vm"))


if __name__ == "__main__":
    runner.main(
        *("qemu-system-x86_64", "remote-viewer", "spicy", "spicy-stats"),
        *("Xvfb", "xdotool", "xwd", "openssl"),
    )
