# SPDX-License-Identifier: Apache-2.0
"""The admin address over TLS, as its clients meet it."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl

from tests.testbed import case
from tests.testbed import locate
from tests.testbed import metrics
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import prometheus
from tests.testbed import runner

_BAD_CONFIG = 78  # EX_CONFIG
_CONSOLE = {"name": "vm", "host": "127.0.0.1", "port": 5900}
_LIMIT_S = 20
_CLIENT = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n"
_NUM_PLACES = 64  # kMaxAdminConnections


class _AdminCase(case.Case):
    """A CA for servers, one for clients, and files that name them."""

    def setUp(self):
        super().setUp()
        self.servers = pki.Authority(self.directory, "servers", pki.ECDSA)
        self.clients = pki.Authority(self.directory, "clients", pki.ECDSA)
        self.cert_path = os.path.join(self.directory, "admin-cert.pem")
        self.key_path = os.path.join(self.directory, "admin-key.pem")
        self.install("first")
        self.prometheus = self.issue("prometheus")

    def install(self, name):
        """A new server certificate takes the place of the one before."""
        cert, key = self.servers.issue(
            name, subject=f"O=Test,CN={name}", kind=pki.ECDSA
        )
        for made, path in ((cert, self.cert_path), (key, self.key_path)):
            shutil.copy(made, path + ".new")
            os.rename(path + ".new", path)

    def issue(self, name, authority=None, kind=pki.ECDSA, **how):
        """A client's (certificate, key)."""
        stem = os.path.join(self.directory, "client-" + name)
        return (authority or self.clients).sign(
            stem, f"O=Test,CN={name}", _CLIENT, kind, **how
        )

    def admin(self, address="127.0.0.1:0", **tls):
        return {
            "address": address,
            "tls": {
                "certificate": self.cert_path,
                "key": self.key_path,
                "client_ca": self.clients.cert_path,
                **tls,
            },
        }

    def start(self, **admin):
        return self.start_gateway([_CONSOLE], admin=self.admin(**admin))

    def connect(self, made, pair, version=None):
        """An HTTPSConnection that verifies the gateway; OSError if refused."""
        context = ssl.create_default_context(cafile=self.servers.cert_path)
        if version:
            context.minimum_version = context.maximum_version = version
        if pair:
            context.load_cert_chain(*pair)
        connection = http.client.HTTPSConnection(
            "localhost", made.admin, timeout=_LIMIT_S, context=context
        )
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, path, method="GET", **headers):
        """(status, text) of one request."""
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def check_refused(self, made, pair, **how):
        """Nothing is said to this client but that it is refused."""
        with self.assertRaises(ssl.SSLError) as caught:
            self.ask(self.connect(made, pair, **how), "/livez")
        self.assertIn("ALERT", caught.exception.reason)

    def check_served(self, made, pair, **how):
        connection = self.connect(made, pair, **how)
        self.assertEqual(self.ask(connection, "/livez")[0], 200)


class PrometheusTest(_AdminCase):
    def setUp(self):
        super().setUp()
        self.made = self.start(client_names=["prometheus"])

    def test_scrapes_with_its_certificate(self):
        server = self._prometheus(self.prometheus)
        server.wait_value('up{job="spicegate"}', 1)
        server.wait_value("spicegate_build_info", 1)

    def test_is_refused_with_another(self):
        server = self._prometheus(self.issue("grafana"))
        server.wait_value('up{job="spicegate"}', 0)
        self.made.wait_record("admin_client_refused")

    def _prometheus(self, pair):
        server = prometheus.Prometheus(
            self.directory,
            self.made.admin,
            scheme="https",
            tls_config={
                "ca_file": self.servers.cert_path,
                "cert_file": pair[0],
                "key_file": pair[1],
            },
        )
        self.addCleanup(server.stop)
        return server


class ClientsTest(_AdminCase):
    def test_scraper(self):
        """Two scrapes on one connection, as Prometheus does."""
        made = self.start()
        connection = self.connect(made, self.prometheus)
        for _ in range(2):
            status, text = self.ask(connection, "/metrics")
            self.assertEqual(status, 200)
            families = metrics.Metrics(text)
            self.assertEqual(families.sum("spicegate_consoles"), 1)

    def test_portal(self):
        connection = self.connect(self.start(), self.issue("portal"))
        status, text = self.ask(connection, "/v1/consoles/vm/ticket", "POST")
        self.assertEqual(status, 201)
        self.assertEqual(len(json.loads(text)["ticket"]), 48)
        status, text = self.ask(connection, "/v1/consoles/vm.vv")
        self.assertEqual(status, 200)
        self.assertIn("[virt-viewer]", text)

    def test_kinds_and_versions(self):
        made = self.start()
        inner = pki.Authority(self.directory, "inner", parent=self.clients)
        cert, key = self.issue("behind", inner)
        with open(cert, "a", encoding="ascii") as stream:
            stream.write(inner.pem())
        for pair in (
            self.prometheus,
            self.issue("rsa", kind=pki.RSA),
            (cert, key),
        ):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(pair=pair[0], version=version):
                    self.check_served(made, pair, version=version)

    def test_refused(self):
        made = self.start()
        strangers = pki.Authority(self.directory, "strangers")
        pairs = {
            "none": None,
            "stranger": self.issue("stranger", strangers),
            "itself": (strangers.cert_path, _key_of(strangers)),
            "server": self.servers.issue("server"),
            "expired": self.issue("expired", days=-1),
        }
        for name, pair in pairs.items():
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(name, version=version):
                    self.check_refused(made, pair, version=version)
        self.check_served(made, self.prometheus)
        self.assertTrue(made.records("admin_client_refused"))

    def test_names(self):
        made = self.start(client_names=["portal", "prometheus"])
        self.check_served(made, self.prometheus)
        self.check_refused(made, self.issue("promethea"))

    def test_no_client_ca(self):
        """Encrypted, and open to every program of this machine as before."""
        admin = self.admin()
        del admin["tls"]["client_ca"]
        made = self.start_gateway([_CONSOLE], admin=admin)
        self.check_served(made, None)

    def test_s_client(self):
        """OpenSSL's own client: an answer, or an alert and nothing else."""
        made = self.start()
        for version in ("-tls1_2", "-tls1_3"):
            with self.subTest(version):
                out = self._s_client(made, version, *_options(self.prometheus))
                self.assertIn("HTTP/1.1 200 OK", out)
                self.assertIn("Verify return code: 0 (ok)", out)
                self.assertIn("CN = Test clients", out)  # the CA it may use
                self.assertIn("Secure Renegotiation", out)
                out = self._s_client(made, version)
                self.assertIn("alert", out)
                self.assertNotIn("HTTP/1.1", out)

    def test_s_client_old_versions(self):
        made = self.start()
        for version in ("-tls1", "-tls1_1"):
            with self.subTest(version):
                out = self._s_client(
                    made,
                    version,
                    *_options(self.prometheus),
                    *("-cipher", "ALL:@SECLEVEL=0"),
                )
                self.assertRegex(out, "alert (protocol version|handshake)")
                self.assertNotIn("HTTP/1.1", out)

    def _s_client(self, made, *options):
        command = [
            *("openssl s_client -ign_eof -verify_return_error".split()),
            *("-CAfile", self.servers.cert_path),
            *("-connect", f"127.0.0.1:{made.admin}", *options),
        ]
        _, out, err = processes.run(
            command, limit_s=_LIMIT_S, stdin=b"GET /livez HTTP/1.0\r\n\r\n"
        )
        return out + err


class NetworkTest(_AdminCase):
    def test_any_host_but_no_web_page(self):
        made = self.start(address="*:0")
        connection = self.connect(made, self.prometheus)
        for headers, status in (
            ({"Host": "gateway.example.test:9480"}, 200),
            ({"Host": "x", "Origin": "https://portal.example.test"}, 403),
            ({"Host": "x", "Sec-Fetch-Site": "cross-site"}, 403),
        ):
            with self.subTest(headers):
                self.assertEqual(
                    self.ask(connection, "/livez", **headers)[0], status
                )
        self.check_refused(made, None)

    def test_loopback_keeps_its_checks(self):
        connection = self.connect(self.start(), self.prometheus)
        self.assertEqual(
            self.ask(connection, "/livez", Host="gateway.example.test")[0], 403
        )


class CrowdTest(_AdminCase):
    def test_stalled_and_garbled(self):
        made = self.start()
        early = self.connect(made, self.prometheus)
        self.assertEqual(self.ask(early, "/livez")[0], 200)
        noise = (b"", b"\x16\x03\x01", b"GET /livez HTTP/1.0\r\n\r\n")
        for number in range(2 * _NUM_PLACES):
            crowd = socket.create_connection(("127.0.0.1", made.admin))
            self.addCleanup(crowd.close)
            crowd.sendall(noise[number % len(noise)])
        self.check_served(made, self.prometheus)
        self.assertEqual(self.ask(early, "/livez")[0], 200)

    def test_plain_http_is_told_nothing(self):
        made = self.start()
        with socket.create_connection(("127.0.0.1", made.admin)) as plain:
            plain.settimeout(_LIMIT_S)
            plain.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: plain.recv(4096), b""))
        self.assertNotIn(b"HTTP", answer)
        self.assertLess(len(answer), 10)  # an alert


class ReloadTest(_AdminCase):
    def test_new_files(self):
        made = self.start()
        kept = self.connect(made, self.prometheus)
        self.assertEqual(self.ask(kept, "/livez")[0], 200)
        self.assertEqual(self._shown(made), "first")
        self.install("second")
        made.process.send_signal(signal.SIGHUP)
        polling.until(
            lambda: self._shown(made) == "second",
            "the new certificate",
            _LIMIT_S,
        )
        polling.until(
            lambda: len(made.records("admin_certificates_loaded")) == 2,
            "the record of it",
            _LIMIT_S,
        )
        # The connection of before was ended, in order.
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.ask(kept, "/livez")

    def test_broken_files(self):
        made = self.start()
        with open(self.cert_path, "w", encoding="ascii") as stream:
            stream.write("broken")
        made.wait_record("admin_certificates_refused")
        self.check_served(made, self.prometheus)
        self.assertEqual(self._shown(made), "first")
        self.install("third")
        polling.until(
            lambda: self._shown(made) == "third", "the new files", _LIMIT_S
        )

    def test_new_client_ca(self):
        made = self.start()
        self.check_served(made, self.prometheus)
        others = pki.Authority(self.directory, "others")
        pair = self.issue("other", others)
        self.check_refused(made, pair)
        shutil.copy(others.cert_path, self.clients.cert_path)
        polling.until(
            lambda: len(made.records("admin_certificates_loaded")) == 2,
            "the new CA",
            _LIMIT_S,
        )
        self.check_served(made, pair)
        self.check_refused(made, self.prometheus)

    def _shown(self, made):
        """The common name that the gateway shows now."""
        connection = self.connect(made, self.prometheus)
        connection.connect()
        subject = connection.sock.getpeercert()["subject"]
        connection.close()
        return dict(part[0] for part in subject)["commonName"]


class FilesTest(_AdminCase):
    def test_check_config(self):
        missing = os.path.join(self.directory, "missing.pem")
        _, other_key = self.servers.issue("other")
        consoles = self._write("consoles.json", {"consoles": []})
        for expected, admin in (
            ("", self.admin()),
            ("", self.admin(address="*:0")),
            (missing + ": ", self.admin(certificate=missing)),
            (missing + ": ", self.admin(client_ca=missing)),
            (self.key_path + ": no PEM", self.admin(client_ca=self.key_path)),
            ("does not belong", self.admin(key=other_key)),
            ("admin.address: expected", {"address": "*:0"}),
            ("admin: expected", {"unix": "/x", "tls": self.admin()["tls"]}),
        ):
            with self.subTest(expected, admin=admin):
                path = self._write(
                    "config.json",
                    {
                        "listeners": [{"address": "127.0.0.1:0"}],
                        "admin": admin,
                        "consoles": consoles,
                    },
                )
                code, _, err = processes.run(
                    [locate.gateway(), "--check-config", "--config", path]
                )
                self.assertEqual(code, _BAD_CONFIG if expected else 0, err)
                self.assertIn(expected, err)

    def test_expired_is_a_warning(self):
        path = self._write(
            "config.json",
            {
                "listeners": [{"address": "127.0.0.1:0"}],
                "admin": self.admin(
                    **dict(
                        zip(
                            ("certificate", "key"),
                            self.servers.issue("old", days=-1),
                        )
                    )
                ),
                "consoles": self._write("consoles.json", {"consoles": []}),
            },
        )
        code, out, err = processes.run(
            [locate.gateway(), "--check-config", "--config", path]
        )
        self.assertEqual(code, 0)
        self.assertIn("expired", out + err)

    def _write(self, name, value):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as stream:
            json.dump(value, stream)
        return path


def _key_of(authority):
    return authority.cert_path.replace("-cert", "-key")


def _options(pair):
    return ("-cert", pair[0], "-key", pair[1])


if __name__ == "__main__":
    runner.main("openssl", "prometheus")
