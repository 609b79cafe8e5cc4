# SPDX-License-Identifier: Apache-2.0
"""Any broker as a directory: from its token to a desktop."""

import json
import os
import re
import sys

from tests.openstack import broker_case
from tests.testbed import gateway
from tests.testbed import locate
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import qemu
from tests.testbed import runner

_EXAMPLE = locate.built("docs/examples/broker.py")
_NOT_AVAILABLE = 9  # link result of a channel that a policy refuses
_LIMIT_S = 60


class _DesktopCase(broker_case.BrokerCase):
    """A real QEMU, and what a broker can say of it."""

    def setUp(self):
        super().setUp()
        x509_dir = self.authority.x509_dir()
        self.vm = self.start_vm("vm", "full", x509_dir=x509_dir)
        self.console = {
            "id": "vm-7",
            "title": "Ada's desktop",
            "host": self.vm.address,
            "port": self.vm.port,
            "tls_port": self.vm.tls_port,
            "password": self.vm.password,
            "ca": self.authority.pem(),
            "host_subject": pki.SUBJECT,
            "policy": "no-record",
        }
        self.broker.answers[broker_case.TOKEN] = self.console


class DesktopTest(_DesktopCase):
    def test_everything_said(self):
        """Password, authority, subject, policy: all by the broker."""
        self.begin()
        entries = self.take()
        self.assertEqual(entries["title"], "Ada's desktop")
        self.assertNotEqual(entries["password"], self.vm.password)
        client = self.client(entries)
        client.link(qemu.PLAYBACK)
        with self.assertRaisesRegex(PermissionError, f"{_NOT_AVAILABLE}"):
            client.link(qemu.RECORD)
        self.assertEqual(
            self.vm.channels(),
            {(qemu.MAIN, 0): True, (qemu.PLAYBACK, 0): True},
        )
        client.close()
        record = self.made.wait_record("session_end")
        self.assertEqual(record["console"], "desks.vm-7")
        log = self.made.process.errors()
        for secret in (self.vm.password, broker_case.TOKEN, broker_case.BEARER):
            self.assertNotIn(secret, log)

    def test_what_it_is_asked(self):
        self.begin()
        self.take()
        self.assertEqual(len(self.broker.requests), 1)
        request = self.broker.requests[0]
        self.assertEqual(request.method, "POST")
        self.assertEqual(json.loads(request.body), {"token": broker_case.TOKEN})
        said = request.headers
        self.assertEqual(said["authorization"], f"Bearer {broker_case.BEARER}")
        self.assertEqual(said["content-type"], "application/json")

    def test_servers_of_the_configuration(self):
        """Where the broker says nothing of certificates."""
        for key in ("ca", "host_subject", "policy", "title", "port"):
            del self.console[key]
        servers = {
            "require_secure": True,
            "ca_file": self.authority.cert_path,
            "host_subject": pki.SUBJECT,
        }
        self.begin(
            self.entry(
                self.broker,
                servers=servers,
                title="A desktop",
                policy="no-record",
            )
        )
        entries = self.take()
        self.assertEqual(entries["title"], "A desktop")
        client = self.client(entries)
        self.assertEqual(set(self.vm.channels().values()), {True})
        with self.assertRaisesRegex(PermissionError, f"{_NOT_AVAILABLE}"):
            client.link(qemu.RECORD)

    def test_wrong_password(self):
        self.console["password"] = "wrong"
        self.begin()
        self._check_refused("server_ticket_refused")

    def test_another_authority(self):
        """The broker's replaces the configured one, also for the worse."""
        other = pki.Authority(self.directory, "other")
        self.console["ca"] = other.pem()
        servers = {"ca_file": self.authority.cert_path}
        self.begin(self.entry(self.broker, servers=servers))
        self._check_refused(gateway.SERVER_TLS_CHAIN)

    def test_another_subject(self):
        self.console["host_subject"] = "O=Test,CN=another.example.test"
        self.begin()
        self._check_refused(gateway.SERVER_TLS_SUBJECT)

    def test_title_is_text(self):
        """It adds no key to the file and no element to the page."""
        title = "<script>x</script>\"'&; \\nproxy=http://127.0.0.1/"
        self.console["title"] = title
        self.begin()
        entries = self.take()
        self.assertNotIn("proxy", entries)
        self.client(entries)
        html = ("-H", "Accept: text/html")
        status, page = self.ask(broker_case.TOKEN, "/console", *html)
        self.assertEqual(status, 200)
        self.assertNotIn(b"<script", page)

    def _check_refused(self, reason):
        entries = self.take()
        with self.assertRaises((EOFError, PermissionError, OSError)):
            self.client(entries)
        record = self.made.wait_record("channel_refused")
        self.assertEqual(record["reason"], reason)


class ExampleTest(_DesktopCase):
    """docs/examples/broker.py, as its own words say."""

    def setUp(self):
        super().setUp()
        self.tokens_path = os.path.join(self.directory, "tokens.json")

    def test_http(self):
        self.begin(self.entry(self._serve()))
        self._check_desktop(self._issue())

    def test_https(self):
        url = self._serve(certificate=self.authority.issue("broker"))
        ca_file = self.authority.cert_path
        self.begin(self.entry(url, ca_file=ca_file))
        self._check_desktop(self._issue())

    def test_https_of_somebody_else(self):
        other = pki.Authority(self.directory, "other")
        url = self._serve(certificate=other.issue("broker"))
        ca_file = self.authority.cert_path
        self.begin(self.entry(url, ca_file=ca_file))
        status, body = self.ask(self._issue())
        self.assertEqual(status, 502)
        self.assertEqual(json.loads(body)["code"], "cloud_error")

    def test_tokens_that_are_over(self):
        self.begin(self.entry(self._serve()))
        self._issue()
        for token in (self._issue("--life", "0"), "unknown-token"):
            status, body = self.ask(token)
            self.assertEqual(status, 404)
            self.assertEqual(json.loads(body)["code"], "expired_link")

    def test_once(self):
        """Good for the page and for the file after it."""
        self.begin(self.entry(self._serve()))
        token = self._issue("--once")
        page = self.ask(token, "/console", "-H", "Accept: text/html")
        self.assertIn(b"<html", page[1])
        self._check_desktop(token)

    def test_not_welcome(self):
        self.begin(self.entry(self._serve(), bearer="another"))
        self.assertEqual(self.ask(self._issue())[0], 502)

    def _serve(self, certificate=()):
        """Starts it; returns its URL."""
        bearer_path = os.path.join(self.directory, "broker.bearer")
        with open(bearer_path, "w", encoding="ascii") as stream:
            stream.write(broker_case.BEARER + "\n")
        argv = [sys.executable, _EXAMPLE, "serve"]
        argv += ["--tokens", self.tokens_path, "--bearer-file", bearer_path]
        argv += ["--address", "127.0.0.1:0"]
        if certificate:
            argv += ["--certificate", certificate[0], "--key", certificate[1]]
        child = processes.Child("broker", argv, self.directory)
        self.addCleanup(child.stop)
        said = polling.until(
            lambda: re.search(r"listening on (\S+)\n", child.output()),
            "the broker",
            _LIMIT_S,
        )
        scheme = "https" if certificate else "http"
        return f"{scheme}://{said[1]}/"

    def _issue(self, *options):
        code, out, errors = processes.run(
            [sys.executable, _EXAMPLE, "issue", "--tokens", self.tokens_path]
            + [*options, json.dumps(self.console)]
        )
        self.assertEqual(code, 0, errors)
        return out.strip()

    def _check_desktop(self, token):
        self.client(self.take(token))
        self.assertEqual(set(self.vm.channels().values()), {True})


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "openssl", "curl")
