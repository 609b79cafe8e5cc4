# SPDX-License-Identifier: Apache-2.0
"""The parts of the test bed that judge: each must be able to say no."""

import os
import socket
import struct
import sys
import tempfile
import time
import unittest
from xml.etree import ElementTree

from tests.testbed import gateway
from tests.testbed import guestagent
from tests.testbed import metrics
from tests.testbed import migration
from tests.testbed import oaep
from tests.testbed import picture
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import proxmox
from tests.testbed import qmp
from tests.testbed import runner
from tests.testbed import skip
from tests.testbed import spiceclient
from tests.testbed import viewer


def _gradient(width, height):
    """A picture in which no two pixels and no two rows are equal."""
    return picture.Picture(
        width,
        height,
        b"".join(
            bytes((x, y, (x + y) & 0xFF))
            for y in range(height)
            for x in range(width)
        ),
    )


class PictureTest(unittest.TestCase):
    def setUp(self):
        self.directory = processes.temporary_directory(self)
        self.path = os.path.join(self.directory, "file")

    def test_ppm_with_comment(self):
        wanted = _gradient(5, 3)
        self._write(b"P6\n# a window's name\n5 3\n255\n" + wanted.pixels)
        self.assertEqual(picture.read_ppm(self.path), wanted)

    def test_short_ppm(self):
        self._write(b"P6\n5 3\n255\n" + bytes(44))
        with self.assertRaises(ValueError):
            picture.read_ppm(self.path)

    def test_xwd(self):
        wanted = _gradient(5, 3)
        words = [0] * 25
        words[0], words[1], words[4], words[5] = 104, 7, 5, 3
        words[11], words[12], words[19] = 32, 24, 1
        words[14:17] = 0xFF0000, 0xFF00, 0xFF
        rows = b""
        for y in range(3):
            line = wanted.row(y)
            for x in range(0, 15, 3):
                rows += line[x : x + 3][::-1] + b"\0"
            rows += b"pad "
        head = struct.pack(">25I", *words) + b"w\0\0\0" + bytes(12)
        self._write(head + rows)
        self.assertEqual(picture.read_xwd(self.path), wanted)

    def test_find_and_count(self):
        wanted = _gradient(6, 5)
        rows = [b"\1" * 3 * 10] * 9
        for y in range(5):
            rows[y + 2] = b"\1" * 9 + wanted.row(y) + b"\1" * 3
        shot = picture.Picture(10, 9, b"".join(rows))
        self.assertEqual(picture.find(shot, wanted), (3, 2))
        self.assertEqual(picture.differing_pixels(shot, wanted, (3, 2)), 0)
        rows[3] = rows[3][:12] + b"\2" * 6 + rows[3][18:]
        shot = picture.Picture(10, 9, b"".join(rows))
        self.assertEqual(picture.differing_pixels(shot, wanted, (3, 2)), 2)
        rows[4] = bytes(30)
        shot = picture.Picture(10, 9, b"".join(rows))
        self.assertIsNone(picture.find(shot, wanted))

    def test_rows_outside_differ(self):
        shot = _gradient(6, 5)
        self.assertEqual(picture.differing_pixels(shot, shot, (0, 4)), 30)

    def _write(self, data):
        with open(self.path, "wb") as stream:
            stream.write(data)


class MetricsTest(unittest.TestCase):
    TEXT = (
        "# TYPE a_total counter\n"
        'a_total{x="1",y="p"} 2\n'
        'a_total{x="2",y="q\\"}"} 3e1\n'
        "b 4\n"
    )

    def test_sums(self):
        reading = metrics.Metrics(self.TEXT)
        self.assertEqual(reading.sum("a_total"), 32)
        self.assertEqual(reading.sum("a_total", x="1"), 2)
        self.assertEqual(reading.sum("a_total", x="1", y="q"), 0)
        self.assertEqual(reading.by("a_total", "x"), {"1": 2, "2": 30})
        self.assertEqual(reading.names(), {"a_total", "b"})

    def test_refuses_other_text(self):
        with self.assertRaises(ValueError):
            metrics.Metrics("b four\n")


class MigrationLogTest(unittest.TestCase):
    LOG = (
        "x: open host one:5931\n"
        "x: migration message: migrate-begin-seamless\n"
        "x: migrate_begin 10 two 0 5932\n"
        "x: open host two:5932\n"
        "x: migration message: migrate-dst-seamless-ack\n"
        "x: migrate connect reply 111\n"
    )
    END = "x: migration: all channel migrated, success\n"

    def test_half_done_is_not_done(self):
        for log, times in (
            ("", 0),
            (self.LOG, 0),
            (self.END + self.LOG, 0),
            (self.LOG + self.END, 1),
            (self.LOG + self.LOG + self.END, 1),
            (2 * (self.LOG + self.END), 2),
        ):
            self.assertEqual(migration.done(log, migration.SEAMLESS), times)
            self.assertEqual(
                migration.done(log, migration.SEMI_SEAMLESS), 0
            )

    def test_places_and_answers(self):
        self.assertEqual(migration.answered(self.LOG), [111])
        self.assertEqual(migration.told(self.LOG), [("two", 0, 5932)])
        self.assertEqual(
            migration.dialled(self.LOG), {"one:5931", "two:5932"}
        )


class PollingTest(unittest.TestCase):
    def test_returns_the_first_true_answer(self):
        answers = iter([0, "", "yes", "no"])
        self.assertEqual(
            polling.until(lambda: next(answers), "answer", step_s=0), "yes"
        )

    def test_names_what_did_not_happen(self):
        with self.assertRaisesRegex(TimeoutError, "rain.*'dry'"):
            polling.until(lambda: "" or _Falsy("dry"), "rain", limit_s=0)


class _Falsy(str):
    def __bool__(self):
        return False


class ChildTest(unittest.TestCase):
    def setUp(self):
        self.directory = processes.temporary_directory(self)

    def test_exit_code_and_output(self):
        child = self._child("echo out; echo err >&2; exit 3")
        self.assertEqual(child.wait(10), 3)
        self.assertEqual((child.output(), child.errors()), ("out\n", "err\n"))

    def test_deaf_child_is_killed(self):
        child = self._child("trap '' TERM; echo up; while :; do sleep 1; done")
        polling.until(child.output, "child")
        self.assertEqual(child.stop(limit_s=0.1), -9)

    def test_dies_with_its_parent(self):
        script = (
            "import os, signal, sys\n"
            "from tests.testbed import polling, processes\n"
            "argv = ['sh', '-c', 'echo up; exec sleep 60']\n"
            "child = processes.Child('c', argv, sys.argv[1])\n"
            "polling.until(child.output, 'child')\n"
            "print(child.pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        code, out, err = processes.run(
            [sys.executable, "-c", script, self.directory],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual(code, -9, err)
        polling.until(lambda: not _runs(int(out)), "end of the grandchild")

    def _child(self, script):
        child = processes.Child("sh", ["sh", "-c", script], self.directory)
        self.addCleanup(child.stop)
        return child


def _runs(pid):
    """Whether the process lives; a zombie that nobody reaps does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class SkipTest(unittest.TestCase):
    def test_nobody_minds_at_home(self):
        self.assertEqual(self._run(CI=None), (0, True))

    def test_fails_in_ci(self):
        self.assertEqual(self._run(CI="1"), (1, True))

    def test_present_tools_are_not_missing(self):
        self.assertEqual(skip.missing("sh"), [])

    def _run(self, CI):
        env = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": "/usr/bin"}
        if CI:
            env["SPICEGATE_CI"] = CI
        script = (
            "from tests.testbed import skip; skip.need_tools('no-such-tool')"
        )
        code, out, _ = processes.run([sys.executable, "-c", script], env=env)
        return code, out.startswith("SKIPPED: no-such-tool is not installed")


class ReportTest(unittest.TestCase):
    def test_failure_with_control_characters(self):
        with tempfile.NamedTemporaryFile() as file:
            runner.write_xml(
                file.name,
                [("T.good", 0.5, None), ("T.bad", 1, "said <\x1b[0m\0&>\n  x")],
            )
            suite = ElementTree.parse(file.name).getroot()[0]
        self.assertEqual(suite.get("tests"), "2")
        self.assertEqual(suite.get("failures"), "1")
        self.assertEqual(suite[1][0].text, "said <?[0m?&>\n  x")
        self.assertEqual(suite[1][0].get("message"), "said <?[0m?&>")


class WireTest(unittest.TestCase):
    def test_vv_entries(self):
        body = b"[virt-viewer]\ntype=spice\nca=a=b\n\n"
        self.assertEqual(
            gateway.vv_entries(body), {"type": "spice", "ca": "a=b"}
        )
        with self.assertRaises(ValueError):
            gateway.vv_entries(b"type=spice\n")

    def test_ticket_length_limit(self):
        key = bytes.fromhex(
            "30819f300d06092a864886f70d010101050003818d0030818902818100"
            + "c1" * 128
            + "0203010001"
        )
        self.assertEqual(len(oaep.encrypt(key, bytes(86))), 128)
        self.assertNotEqual(oaep.encrypt(key, b"a"), oaep.encrypt(key, b"a"))
        with self.assertRaises(ValueError):
            oaep.encrypt(key, bytes(87))

    def test_message(self):
        self.assertEqual(
            spiceclient.message(101, b"ab"), b"\x65\0\2\0\0\0ab"
        )
        self.assertEqual(len(spiceclient.display_init()), 14)

    def test_viewer_arguments(self):
        target = viewer.Target(port=1, tls_port=2, password="")
        self.assertEqual(
            target.argv(),
            ["-h", "127.0.0.1", "-p", "1", "-s", "2", "-w", ""],
        )

    def test_no_monitor(self):
        with self.assertRaises(OSError):
            qmp.Qmp("/tmp/there-is-no-such-socket")


class ProxmoxTest(unittest.TestCase):
    """The vectors of gateway/auth/proxmox_ticket_test.cc."""

    PLAIN = "pvespiceproxy:6b023028:100:localhost:61501"

    def test_secret(self):
        self.assertEqual(
            proxmox.secret(b"abc"),
            "4mNgd1BnKaj2Gv8kQTMuQOhEqK1ESJ79gCEOptH1EIg",
        )

    def test_signatures(self):
        for secret, signature in (
            ("labsecret", "34eaeae96285fa17907752e4c106e241c9877b2f"),
            (
                "4mNgd1BnKaj2Gv8kQTMuQOhEqK1ESJ79gCEOptH1EIg",
                "d028a50bcf5749e0cd1b0f31f2ee12dcc6c2d78a",
            ),
        ):
            self.assertEqual(
                proxmox.sign(self.PLAIN, secret), f"{self.PLAIN}::{signature}"
            )

    def test_tickets(self):
        cluster = proxmox.Cluster(b"abc")
        ticket = cluster.ticket(101, "PVE1", 61000, age_s=39)
        prefix, issued, vmid, node, port, _, signature = ticket.split(":")
        self.assertEqual(
            [prefix, vmid, node, port],
            ["pvespiceproxy", "101", "pve1", "61000"],
        )
        self.assertLessEqual(int(issued, 16), time.time() - 39)
        self.assertRegex(issued, "^[0-9a-f]{8}$")
        self.assertRegex(signature, "^[0-9a-f]{40}$")
        plain = ticket.split("::")[0]
        self.assertEqual(ticket, proxmox.sign(plain, proxmox.secret(b"abc")))
        self.assertRegex(cluster.ticket(), ":100:localhost::[0-9a-f]{40}$")
        self.assertNotEqual(proxmox.forged(ticket), ticket)
        self.assertEqual(proxmox.forged(ticket)[:-1], ticket[:-1])

    def test_vv_is_one_line_an_entry(self):
        text = proxmox.vv("t", "http://gw:3128", 61000, "p", "A\nB\n", "CN=x")
        self.assertEqual(text.splitlines()[0], "[virt-viewer]")
        self.assertIn("ca=A\\nB\\n\n", text)
        self.assertIn("\nhost=t\n", text)


class AgentTest(unittest.TestCase):
    """The played agent, with the test in the place of QEMU and client."""

    def setUp(self):
        path = os.path.join(processes.temporary_directory(self), "agent")
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path)
            door.listen()
            self.agent = guestagent.Agent(path)
            self.addCleanup(self.agent.close)
            self.guest = door.accept()[0]
        self.addCleanup(self.guest.close)

    def _tell(self, kind, body, piece_len):
        """Sends a message to the agent in chunks of so many bytes."""
        data = guestagent.encode(kind, body)
        for at in range(0, len(data), piece_len):
            piece = data[at : at + piece_len]
            self.guest.sendall(struct.pack("<II", 1, len(piece)) + piece)

    def _answer(self, kind, body):
        data = guestagent.encode(kind, body)
        chunk = self.guest.recv(8 + len(data))
        self.assertEqual(chunk[:8], struct.pack("<II", 1, len(data)))
        self.assertEqual(chunk[8:], data)

    def test_messages_in_pieces(self):
        for piece_len in (1, 19, 2048):
            self._tell(guestagent.GRAB, b"some types", piece_len)
        self.agent.wait(guestagent.GRAB, 3)
        wanted = guestagent.Message(guestagent.GRAB, b"some types")
        self.assertEqual(self.agent.received, [wanted] * 3)

    def test_announces_when_asked(self):
        asked = guestagent.announce([], ask=True)
        self._tell(guestagent.ANNOUNCE, asked, 2048)
        self._answer(
            guestagent.ANNOUNCE, guestagent.announce(guestagent.CAPS)
        )

    def test_takes_files(self):
        start = struct.pack("<I", 7) + b"[vdagent-file-xfer]\nsize=3\n\0"
        self._tell(guestagent.XFER_START, start, 2048)
        can_send = struct.pack("<II", 7, guestagent.XFER_CAN_SEND)
        self._answer(guestagent.XFER_STATUS, can_send)
        self.assertEqual(self.agent.files(), {})
        self._tell(
            guestagent.XFER_DATA, struct.pack("<IQ", 7, 3) + b"abc", 2048
        )
        success = struct.pack("<II", 7, guestagent.XFER_SUCCESS)
        self._answer(guestagent.XFER_STATUS, success)
        self.assertEqual(self.agent.files(), {7: b"abc"})

    def test_client_without_tokens_waits(self):
        client, server = socket.socketpair()
        with server:
            link = spiceclient.Link(connected=client)
            self.addCleanup(link.close)
            talk = guestagent.Talker(link, num_tokens=1)
            token = struct.pack("<I", 2)
            server.sendall(
                spiceclient.message(guestagent.S_AGENT_TOKEN, token)
            )
            talk.send(guestagent.GRAB)
            self.assertEqual(talk.num_returned, 0)
            talk.send(guestagent.GRAB)
            self.assertEqual(talk.num_returned, 2)


if __name__ == "__main__":
    runner.main()
