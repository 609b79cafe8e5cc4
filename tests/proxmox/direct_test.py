# SPDX-License-Identifier: Apache-2.0
"""What the other tests rely on: viewers, QEMU and a proxy, no gateway.

How remote-viewer takes a proxy's answers, what it sends when its guest moves,
and why a migration loses it when the destination's password has expired.
"""

from tests.migration import move_case
from tests.proxmox import proxy
from tests.proxmox import tunnel_case
from tests.testbed import migration
from tests.testbed import proxmox
from tests.testbed import runner

_LOGIN = (
    b"HTTP/1.0 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="test"\r\n'
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
_USER = "ticket:sesame"


class DirectCase(tunnel_case.TunnelCase):
    def proxy(self, answer, **how):
        """A running proxy.Proxy."""
        made = proxy.Proxy(answer, **how)
        self.addCleanup(made.close)
        return made


class AnswersTest(DirectCase):
    def test_file_of_proxmox(self):
        """As many requests as channels, the ticket in each, in Host too."""
        vm = self.desktop()
        made = self.proxy(lambda _: place(vm))
        ticket = self.ticket(vm)
        url = f"http://127.0.0.1:{made.port}"
        window = self.open(self.vv(vm, url, ticket))
        self.check_desktop(window, vm)
        self.assertEqual(len(made.requests), len(tunnel_case.CHANNELS))
        target = f"{ticket}:{vm.tls_port}"
        for request in made.requests:
            self.assertEqual(request.line, f"CONNECT {target} HTTP/1.0")
            self.assertEqual(request.headers["host"], target)

    def test_https(self):
        """Trust in the proxy is the system's, whatever the file says."""
        vm = self.desktop()
        certificate = self.authority.issue("proxy")
        made = self.proxy(lambda _: place(vm), certificate=certificate)
        body = self.vv(vm, f"https://127.0.0.1:{made.port}")
        window = self.open(body)
        self.wait_said(window, "Unacceptable TLS certificate")
        self.assertEqual(made.requests, [])
        window.stop()
        ca = self.authority.cert_path
        window = self.open(body, system_ca=ca)
        self.check_desktop(window, vm)

    def test_errors(self):
        for code, said in (
            (403, "HTTP proxy connection not allowed"),
            (500, "HTTP proxy connection failed: 500"),
            (502, "HTTP proxy connection failed: 502"),
            (503, "HTTP proxy connection failed: 503"),
        ):
            with self.subTest(code=code):
                line = f"HTTP/1.0 {code} reason\r\n\r\n".encode()
                made = self.proxy(lambda _, line=line: line)
                window = self._open(made)
                self.wait_said(window, said)
                window.stop()
                self.assertEqual(len(made.requests), 1)

    def test_login(self):
        """Asks until it is let in, and has the answer for every channel."""
        vm = self.desktop()

        def answer(request):
            return place(vm) if request.credentials == _USER else _LOGIN

        made = self.proxy(answer)
        body = self.vv(vm, f"http://127.0.0.1:{made.port}")
        self.arm(vm, "never", vm.password)
        window = self.open(body)
        user, password = _USER.split(":")
        for number, typed in enumerate(("wrong", password), start=1):
            self.until(
                lambda n=number: len(made.requests) == n, "question", window
            )
            window.fill_in(tunnel_case.LOGIN, user, typed)
        self.check_desktop(window, vm)
        sent = [request.credentials for request in made.requests]
        self.assertEqual(sent[:2], [None, f"{user}:wrong"])
        self.assertEqual(set(sent[2:]), {_USER})

    def _open(self, made):
        url = f"http://127.0.0.1:{made.port}"
        vv = proxmox.vv(
            "desktop", url, 61000, "password", "", "O=Test", move_case.TITLE
        )
        return self.open(vv.encode())

    def wait_said(self, window, text):
        self.until(lambda: text in window.log(), text, window)


class MigrationTest(DirectCase):
    """Two machines behind one proxy, a ticket for each."""

    def test_seamless(self):
        """Credentials go to the new place as they went to the old one."""
        window, source, destination = self._begin()
        self.arm(destination, password=source.password)
        before = source.connection_ids()
        self._announce(source, destination)
        self.wait_linked(window, destination, before)
        self.assertEqual(migration.answered(window.log()), [111])
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        self.check_key(window, destination, "k")
        asked = self.made.requests[len(tunnel_case.CHANNELS) :]
        self.assertGreaterEqual(len(asked), len(before))
        for request in asked:
            self.assertTrue(request.target.startswith(self.moved))
            self.assertEqual(request.credentials, _USER)

    def test_password_of_the_destination_has_expired(self):
        """It links in vain, says so, and is sent to the same place again."""
        window, source, destination = self._begin()
        self.arm(destination, "now", source.password)
        self._announce(source, destination)
        self.until(
            lambda: migration.answered(window.log()) == [103],
            "the viewer's answer",
            window,
        )
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        self.until(
            lambda: "auth failure" in window.log(), "the end", window
        )
        source.wait_idle()
        self.assertFalse(destination.channels())
        self.assertEqual(len(destination.events("SPICE_CONNECTED")), 2)
        self.assertFalse(destination.events("SPICE_INITIALIZED"))

    def _begin(self):
        source, destination = self.desktop(2), self.desktop(3, incoming=True)
        self.moved = self.ticket(destination)
        places = {place(vm)[1]: place(vm) for vm in (source, destination)}

        def answer(request):
            return places[int(request.target.rpartition(":")[2])]

        self.made = self.proxy(answer)
        url = f"http://{_USER}@127.0.0.1:{self.made.port}"
        window = self.open(self.vv(source, url))
        self.check_desktop(window, source)
        return window, source, destination

    def _announce(self, source, destination):
        self.announce(source, destination, hostname=self.moved, port=0)


def place(vm):
    """Where a machine's TLS port is."""
    return (vm.address, vm.tls_port)


if __name__ == "__main__":
    tunnel_case.need_own_files()
    runner.main(*tunnel_case.TOOLS)
