# SPDX-License-Identifier: Apache-2.0
"""HAProxy before the portal and before SPICE, as deployers of a cloud have it.

Users are known by their own addresses: for the limits, and in the log.
"""

import contextlib
import json
import os
import re
import shutil
import socket

from tests.openstack import crowd
from tests.openstack import desktop_case
from tests.testbed import locate
from tests.testbed import polling
from tests.testbed import ports
from tests.testbed import processes
from tests.testbed import qemu
from tests.testbed import runner

_PAGE = locate.built("docs/openstack.md")
_BALANCER = "127.0.0.9"  # where its connections to the gateway come from
_USER, _OTHER = "127.5.5.5", "127.5.5.6"
_TRIES = 3  # somebody else may take a port first
_NUM_CHECKS = 3
_LIMIT_S = 60
_COMMON = """
global
    maxconn 1000
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


class HaproxyTest(desktop_case.DesktopCase):
    def test_http(self):
        """It ends TLS, and looks whether the portal is there."""
        made = self.start_cloud_gateway(
            portal={
                "address": "127.0.0.1:0",
                "tls": False,
                "trusted_proxies": [_BALANCER],
            }
        )
        port = self._start(
            f"    bind 127.0.0.1:{{port}} ssl crt {self._certificate()}",
            "    mode http",
            "    option forwardfor",
            "    http-request set-header X-Forwarded-Proto https",
            "    option httpchk GET /",
            f"    {self._server(made)} check inter 100ms",
        )
        self._check_users(made, port)
        self._check_looks(made)

    def test_tls_and_proxy_header(self):
        """TLS is the portal's own; a header before it names the user."""
        for version in ("send-proxy", "send-proxy-v2"):
            with self.subTest(version):
                certificate, key = self._portal_certificate()
                made = self.start_cloud_gateway(
                    portal={
                        "address": "127.0.0.1:0",
                        "certificate": certificate,
                        "key": key,
                        "trusted_proxies": [_BALANCER],
                        "proxy_protocol": True,
                    },
                    name=version,
                )
                port = self._start(
                    "    bind 127.0.0.1:{port}",
                    "    mode tcp",
                    "    option httpchk GET /",
                    f"    {self._server(made)} {version} check check-ssl"
                    " verify none inter 100ms",
                    name=version,
                )
                self._check_users(made, port)
                self._check_looks(made)

    def test_desktop(self):
        """The portal and the desktop, all of it through HAProxy."""
        vm = self.hypervisor(2)
        spice_port, = ports.pick(1)
        certificate, key = self._portal_certificate()
        made = self.start_cloud_gateway(
            portal={
                "address": "127.0.0.1:0",
                "certificate": certificate,
                "key": key,
                "trusted_proxies": [_BALANCER],
                "proxy_protocol": True,
            },
            listeners=[
                {
                    "address": "127.0.0.1:0",
                    "tls": True,
                    "proxy_protocol": True,
                    "proxy_from": [_BALANCER],
                }
            ],
            public={"host": "localhost", "tls_port": spice_port},
        )
        port = self._start(
            "    bind 127.0.0.1:{port}",
            "    mode tcp",
            f"    {self._server(made)} send-proxy-v2",
            "listen desktops",
            f"    bind 127.0.0.1:{spice_port}",
            "    mode tcp",
            f"    server gateway 127.0.0.1:{made.tls_port}"
            f" source {_BALANCER} send-proxy-v2",
        )
        url = f"https://localhost:{port}/nova?token={self.register(vm)}"
        code, path = self.curl(url, "--fail", out="desktop.vv")
        self.assertEqual(code, 0, path)
        self.assertEqual(self.entries(path)["tls-port"], str(spice_port))
        window = self.open(path)
        self.check_desktop(window, vm)
        window.stop()
        record = made.wait_record("session_end")
        self.assertTrue(record["client"].startswith("127.0.0.1"), record)

    def test_documented(self):
        """docs/openstack.md's own lines, TLS of the portal at HAProxy."""
        vm = self.hypervisor(2)
        spice_ports = ports.pick(2)
        made = self.start_cloud_gateway(
            portal={
                "address": "127.0.0.1:0",
                "tls": False,
                "trusted_proxies": ["127.0.0.1"],
            },
            listeners=[
                {
                    "address": "127.0.0.1:0",
                    "tls": True,
                    "proxy_protocol": True,
                    "proxy_from": ["127.0.0.1"],
                }
            ],
            public={"host": "localhost", "tls_port": spice_ports[0]},
        )
        port = self._start_documented(
            "frontend portal",
            made,
            {
                "/etc/haproxy/desktops.pem": self._certificate(),
                "bind :5931": f"bind 127.0.0.1:{spice_ports[0]}",
                "bind :5941": f"bind 127.0.0.1:{spice_ports[1]}",
            },
        )
        self._check_users(made, port)
        url = f"https://localhost:{port}/nova?token={self.register(vm)}"
        code, path = self.curl(url, "--fail", out="desktop.vv")
        self.assertEqual(code, 0, path)
        self.client(made, path).open_main()
        self.assertEqual(vm.channels(), {(qemu.MAIN, 0): True})

    def test_documented_tls(self):
        """The same page's lines where TLS passes through."""
        certificate, key = self._portal_certificate()
        made = self.start_cloud_gateway(
            portal={
                "address": "127.0.0.1:0",
                "certificate": certificate,
                "key": key,
                "trusted_proxies": ["127.0.0.1"],
                "proxy_protocol": True,
            }
        )
        port = self._start_documented("listen portal", made, {})
        self._check_users(made, port)
        self._check_looks(made)

    def _start_documented(self, first, made, changes):
        """HAProxy with a block of the page, at other addresses.

        Args:
          first: the block's first line.
          changes: {text of the page: text instead}.
        """
        with open(_PAGE, encoding="utf-8") as stream:
            block = rf"```\n({first}\n.*?)```"
            text = re.search(block, stream.read(), re.S)[1]
        portal_port = desktop_case.portal_port(made)
        for old, new in {
            "bind :13002": "bind 127.0.0.1:{port}",
            "10.0.0.21:13002": f"127.0.0.1:{portal_port}",
            "10.0.0.22:13002": f"127.0.0.1:{portal_port}",
            "10.0.0.21:5931": f"127.0.0.1:{made.tls_port}",
            "10.0.0.22:5931": f"127.0.0.1:{made.tls_port}",
            **changes,
        }.items():
            text = text.replace(old, new)
        self.assertNotRegex(text, r"10\.0\.0\.|bind :|/etc/")
        return self._run(text)

    def test_stranger(self):
        """Nobody but the balancer says who somebody is."""
        made = self.start_cloud_gateway(
            portal={
                "address": "127.0.0.1:0",
                "tls": False,
                "trusted_proxies": [_BALANCER],
            }
        )
        stranger = crowd.Visitor(
            desktop_case.portal_port(made),
            source=_USER,
            headers={
                "X-Forwarded-For": _OTHER,
                "X-Forwarded-Proto": "https",
            },
        )
        self.addCleanup(stranger.close)
        answer = stranger.ask(f"/nova?token={self._token()}")
        self.assertEqual(answer.status, 403)
        self.assertEqual(json.loads(answer.body)["code"], "https_needed")
        self.assertEqual(self.cloud.nova.count(), 0)

    def _token(self):
        console = self.cloud.nova.add_console(host="127.0.0.2", tls_port=5901)
        return console.token

    def _check_users(self, made, port):
        """One tries too much, with a lie about it; another is let in."""
        good = f"/nova?token={self._token()}"
        with self._visitor(port, _USER) as visitor:
            answer = visitor.ask(good, X_Forwarded_For=_OTHER)
            self.assertEqual(answer.status, 200, answer.body)
            statuses = [self._guess(visitor).status for _ in range(10)]
            self.assertEqual(set(statuses), {404})
            polling.until(
                lambda: self._guess(visitor).status == 429, "429", _LIMIT_S
            )
        with self._visitor(port, _OTHER) as visitor:
            self.assertEqual(visitor.ask(good).status, 200)
        polling.until(
            lambda: len(made.records("ticket_issued")) == 2, "two tickets"
        )
        sources = [r["source"] for r in made.records("ticket_issued")]
        self.assertEqual(sources, [_USER, _OTHER])

    def _guess(self, visitor):
        number = len(self.cloud.nova.requests())
        token = f"00000000-0000-4000-8000-{number:012x}"
        return visitor.ask(f"/nova?token={token}", X_Forwarded_For=_OTHER)

    def _visitor(self, port, source):
        return contextlib.closing(
            crowd.Visitor(port, self.authority.cert_path, source)
        )

    def _check_looks(self, made):
        """HAProxy has looked, and has not been told off."""
        looks = polling.until(
            lambda: self._looks(made, "200") >= _NUM_CHECKS and made.metrics(),
            "HAProxy's looks",
            _LIMIT_S,
        )
        other = looks.sum("spicegate_portal_answers_total", kind="other")
        self.assertEqual(other, self._looks_of(looks, "200"))

    def _looks(self, made, code):
        return self._looks_of(made.metrics(), code)

    def _looks_of(self, reading, code):
        return reading.sum(
            "spicegate_portal_answers_total", kind="other", code=code
        )

    def _certificate(self):
        """Certificate and key in one file, as HAProxy wants them."""
        path = os.path.join(self.directory, "haproxy.pem")
        with open(path, "wb") as both:
            for part in self._portal_certificate():
                with open(part, "rb") as stream:
                    shutil.copyfileobj(stream, both)
        return path

    def _server(self, made):
        port = desktop_case.portal_port(made)
        return f"server gateway 127.0.0.1:{port} source {_BALANCER}"

    def _start(self, *lines, name="haproxy"):
        """HAProxy with one section; {port} in it is what this returns."""
        text = _COMMON + "listen portal\n" + "\n".join(lines) + "\n"
        return self._run(text, name)

    def _run(self, text, name="haproxy"):
        for _ in range(_TRIES):
            port, = ports.pick(1)
            path = os.path.join(self.directory, name + ".cfg")
            with open(path, "w", encoding="ascii") as stream:
                stream.write(text.replace("{port}", str(port)))
            child = processes.Child(
                name, ["haproxy", "-db", "-f", path], self.directory
            )
            self.addCleanup(child.stop)
            if self._answers(child, port):
                return port
        raise RuntimeError(f"no HAProxy\n{child.tail()}")

    def _answers(self, child, port):
        """Waits until it listens; False when it has ended."""

        def look():
            if not child.running():
                return "gone"
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
            except ConnectionRefusedError:
                return None
            return "here"

        return polling.until(look, "HAProxy", _LIMIT_S) == "here"


if __name__ == "__main__":
    runner.main("haproxy", *desktop_case.TOOLS)
