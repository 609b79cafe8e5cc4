# SPDX-License-Identifier: Apache-2.0
"""tools/demo as a newcomer runs it, but with a gateway already built."""

import os
import re
import signal
import struct
import sys
import zlib

from tests.testbed import case
from tests.testbed import locate
from tests.testbed import metrics
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import viewer
from tests.testbed import web

_ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)
_DEMO = os.path.join(_ROOT, "tools/demo")
_LIMIT_S = 60
_WIDTH, _HEIGHT = 1024, 768
_COLOUR_STEP = 0x010203  # of screen.asm's picture, from one pixel to the next


class DemoTest(case.Case):
    def setUp(self):
        super().setUp()
        self.picture_path = os.path.join(self.directory, "desktop.png")

    def test_picture(self):
        demo = self._start("--picture", self.picture_path)
        self.assertEqual(demo.wait(_LIMIT_S), 0, demo.tail())
        with open(self.picture_path, "rb") as stream:
            width, height, pixels = _read_png(stream.read())
        self.assertEqual((width, height), (_WIDTH, _HEIGHT))
        self.assertTrue(pixels == _expected_pixels(), "not the guest's screen")
        self._assert_nothing_left(demo)

    def test_ctrl_c(self):
        demo = self._start()
        self._wait_line(demo, r"Ctrl-C ends it")
        self._assert_urls_work(demo)
        demo.send_signal(signal.SIGINT)
        self.assertEqual(demo.wait(_LIMIT_S), 0, demo.tail())
        self._assert_nothing_left(demo)

    def test_terminated_while_it_starts(self):
        demo = self._start()
        self._wait_line(demo, r"starting QEMU")
        demo.send_signal(signal.SIGTERM)
        self.assertIn(demo.wait(_LIMIT_S), (0, 130), demo.tail())
        self._assert_nothing_left(demo)

    def test_window(self):
        screen = viewer.Display(self.directory)
        self.addCleanup(screen.stop)
        env = viewer.private_environment(self.directory, DISPLAY=screen.name)
        demo = self._start(**env)
        url = self._wait_line(demo, r"metrics: +http://127\.0\.0\.1:(\d+)")
        polling.until(
            lambda: self._metrics(int(url[1])).sum(
                "spicegate_channels_open", channel="display"
            )
            == 1,
            "display of remote-viewer",
            _LIMIT_S,
        )
        demo.send_signal(signal.SIGINT)
        self.assertEqual(demo.wait(_LIMIT_S), 0, demo.tail())
        self._assert_nothing_left(demo)

    def test_something_is_missing(self):
        code, _, err = processes.run(
            [sys.executable, _DEMO, "--picture", self.picture_path],
            env={"PATH": self.directory},
        )
        self.assertIn("run tools/setup", self._missing(code, err))

    def test_no_such_binary(self):
        binary = os.path.join(self.directory, "nothing")
        code, _, err = processes.run(
            [sys.executable, _DEMO, "--binary", binary]
        )
        self.assertIn(binary, self._missing(code, err))

    def _start(self, *args, **env):
        """The demo, without HOME unless env has it."""
        demo = processes.Child(
            "demo",
            [sys.executable, _DEMO, *args],
            self.directory,
            env={"SPICEGATE_BINARY": locate.gateway(), **env},
        )
        self.addCleanup(demo.stop)
        return demo

    def _wait_line(self, demo, pattern):
        def look():
            if not demo.running():
                raise RuntimeError(f"the demo ended\n{demo.tail()}")
            return re.search(pattern, demo.output())

        return polling.until(look, pattern, _LIMIT_S)

    def _assert_urls_work(self, demo):
        urls = re.findall(r"http://127\.0\.0\.1:(\d+)(/\S+)", demo.output())
        self.assertEqual(
            [path for _, path in urls], ["/v1/consoles/demo.vv", "/metrics"]
        )
        for port, path in urls:
            answer = web.request(int(port), "GET", path)
            self.assertEqual(answer.status, 200, path)

    def _metrics(self, port):
        return metrics.Metrics(web.request(port, "GET", "/metrics").text())

    def _missing(self, code, err):
        self.assertEqual(code, 1, err)
        self.assertNotIn("Traceback", err)
        return err

    def _assert_nothing_left(self, demo):
        directory = re.search(r"files are in (/\S+)", demo.output())[1]
        self.assertFalse(os.path.exists(directory))
        # Every program of the demo has a path in there among its arguments.
        self.assertEqual(_processes_with(directory), [])


def _processes_with(text):
    """Command lines that contain `text`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as stream:
                    line = stream.read().replace(b"\0", b" ").decode()
            except OSError:  # it has ended
                continue
            if text in line:
                found.append(line)
    return found


def _expected_pixels():
    out = bytearray()
    colour = 0
    for _ in range(_WIDTH * _HEIGHT):
        out += colour.to_bytes(3, "big")
        colour = (colour + _COLOUR_STEP) & 0xFFFFFF
    return bytes(out)


def _read_png(data):
    """(width, height, RGB bytes) of a PNG with 8 bit RGB and no filter."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
    at = 8
    chunks = {}
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        (check,) = struct.unpack_from(">I", data, at + 8 + size)
        assert check == zlib.crc32(kind + body), kind
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + size
    assert kind == b"IEND", kind
    width, height, *how = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert how == [8, 2, 0, 0, 0], how
    rows = zlib.decompress(chunks[b"IDAT"])
    stride = 1 + width * 3
    assert len(rows) == height * stride, len(rows)
    assert not any(rows[::stride]), "a filtered row"
    lines = (rows[y * stride + 1 : (y + 1) * stride] for y in range(height))
    return width, height, b"".join(lines)


if __name__ == "__main__":
    runner.main(
        "nasm",
        "qemu-system-x86_64",
        "remote-viewer",
        "spicy-screenshot",
        "Xvfb",
    )
