# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium without a screen, which goes where a test sends it.

A Node program (browser.js) drives it with playwright-core; one browser serves a
whole test file, each tab in it begins with nothing of the earlier ones.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import threading

from tests.portal import node_packages
from tests.testbed import cache
from tests.testbed import processes
from tests.testbed import skip

PROGRAMS = ("chromium", "node", "openssl")
HOST = "desk.example.test"

# Whom Chromium itself asks, for updates and the time, whatever is open.
_MAKERS = ("google.com", "googleapis.com", "gstatic.com", "gvt1.com")
_ANSWER_LIMIT_S = 150  # browser.js gives up after 60 s, twice in some orders
_STOP_LIMIT_S = 60
_TRAP_LIMIT_S = 5
_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "browser.js")


class Browser:
    """One running Chromium.

    HOST is 127.0.0.1 for it. Every other name, and every other address, is a
    trap: a listener that only notes who comes. Names of the browser's makers
    do not exist, as it goes there of its own accord.
    """

    def __init__(self, trusted=()):
        """Starts it, or ends the program by the skip rule.

        Args:
          trusted: certificates, paths of PEM files, that it takes for good
            from whomever shows them. It trusts no authority of ours.
        """
        try:
            packages = node_packages.find()
        except cache.Unavailable as why:
            skip.skip(str(why))
        self._directory = processes.temporary_directory()
        self._trap = _Trap()
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = processes.Child(
                "browser",
                ["node", _SCRIPT],
                self._directory,
                env=self._environment(packages, trusted),
                talk=theirs,
            )
        ours.settimeout(_ANSWER_LIMIT_S)
        self._socket = ours
        self._lines = ours.makefile("rb")
        self.version = self._hear()["version"]

    def stop(self):
        """Ends it; AssertionError unless it ends by itself."""
        self._lines.close()
        self._socket.close()
        try:
            code = self._child.wait(_STOP_LIMIT_S)
        finally:
            self._child.stop()
            self._trap.close()
            shutil.rmtree(self._directory, ignore_errors=True)
        if code != 0:
            raise AssertionError(f"the browser's driver ended with {code}")

    def strangers(self):
        """What it said to anything but HOST: a list of its first words."""
        return list(self._trap.heard)

    @contextlib.contextmanager
    def tab(self, **how):
        """A Tab that is closed at the end of the `with`.

        Args:
          how: scheme ("light", "dark"), width, height, mobile, headers (more
            of them, for every request).
        """
        self.order("open", **how)
        try:
            yield Tab(self)
        finally:
            self.order("close")

    def order(self, order, **how):
        """One order of browser.js; RuntimeError in its words if it failed."""
        line = json.dumps({"order": order, **how}) + "\n"
        self._socket.sendall(line.encode())
        return self._hear()

    def _hear(self):
        try:
            line = self._lines.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise RuntimeError(f"no answer\n{self._child.tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _environment(self, packages, trusted):
        """Everything it writes lies in one directory, which we remove."""
        env = {
            name: os.path.join(self._directory, name.lower())
            for name in ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
        }
        for path in env.values():
            os.mkdir(path)
        rules = [f"MAP {HOST} 127.0.0.1"]
        rules += [f"MAP *.{domain} ~NOTFOUND" for domain in _MAKERS]
        rules += [f"MAP * 127.0.0.1:{self._trap.port}"]
        argv = [
            # Root cannot have its sandbox, nor can all containers' users. It
            # sees our own pages only.
            "--no-sandbox",
            # A container's /dev/shm may be too small.
            "--disable-dev-shm-usage",
            "--disable-gpu",
            f"--host-resolver-rules={','.join(rules)}",
        ]
        if trusted:
            keys = ",".join(map(_key_hash, trusted))
            argv.append(f"--ignore-certificate-errors-spki-list={keys}")
        env.update(
            PATH=os.environ["PATH"],
            LC_ALL="C.UTF-8",
            NODE_PATH=os.path.join(packages, "node_modules"),
            CHROMIUM=shutil.which("chromium"),
            CHROMIUM_ARGS=json.dumps(argv),
        )
        return env


class Tab:
    """The open tab; every call is an order of browser.js."""

    def __init__(self, browser):
        self._browser = browser

    def goto(self, url):
        """{status, headers} of a page; {} of what was a file."""
        return self._browser.order("goto", url=url)

    def back(self):
        """As the button; whether that needed no request."""
        return self._browser.order("back")["restored"]

    def files(self, count):
        """Waits for so many downloads; all since the start, in order.

        Each is a dict with name, url and text.
        """
        return self._browser.order("files", count=count)["files"]

    def press(self, key):
        self._browser.order("press", key=key)

    def follow(self, key):
        """The same of a key that leads to another page; waits for that."""
        self._browser.order("follow", key=key)

    def focus(self):
        """What has the focus, and how it looks."""
        return self._browser.order("focus")

    def facts(self):
        """What the page is and has done; see browser.js."""
        return self._browser.order("facts")

    def axe(self):
        """axe-core's verdict: violations, undecided, passed."""
        return self._browser.order("axe")

    def shot(self):
        """Numbers of a screenshot, see pixels.js."""
        return self._browser.order("shot")


class _Trap:
    """A listener that hears who is wanted, and says nothing."""

    def __init__(self):
        self.heard = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(_TRAP_LIMIT_S)
                self.heard.append(_words(connection))

    def close(self):
        # close() alone would leave accept() waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _words(connection):
    """What can be read of a first request or hello, host names above all."""
    try:
        said = connection.recv(4096)
    except OSError:
        return ""
    words = re.findall(rb"[\w./:-]{6,}", said, re.ASCII)
    return " ".join(word.decode() for word in words)


def _key_hash(cert_path):
    """Base64 of the SHA-256 of the certificate's public key (DER, RFC 7469)."""
    argv = ["openssl", "x509", "-in", cert_path, "-noout", "-pubkey"]
    code, pem, errors = processes.run(argv)
    if code != 0:
        raise RuntimeError(errors)
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    return base64.b64encode(hashlib.sha256(der).digest()).decode()
