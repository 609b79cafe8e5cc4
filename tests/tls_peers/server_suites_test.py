# SPDX-License-Identifier: Apache-2.0
"""OpenSSL and GnuTLS as hypervisors: versions, suites, keys, resumption."""

import itertools
import ssl

from tests.testbed import pki
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.tls_peers import gnutls
from tests.tls_peers import peers_case
from tests.tls_peers import programs
from tests.tls_peers import scripted_server

_CONNECTIONS = "spicegate_tls_connections_total"
_NUM_CHANNELS = 6
_KINDS = (pki.RSA, pki.ECDSA)


class _ServerCase(peers_case.PeersCase):
    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory)

    def console(self, port, **more):
        """A console of a TLS server that shows a certificate of ours."""
        return {
            "name": "vm",
            "host": "127.0.0.1",
            "tls_port": port,
            "ticket": "any",
            "ca_file": self.authority.cert_path,
            **more,
        }

    def python_server(self, context):
        server = scripted_server.Server(context)
        self.addCleanup(server.stop)
        return server

    def context(self, version, kind=pki.RSA):
        """A server context of one version with a key of this kind."""
        cert, key = self.authority.issue(f"{kind}-{version.name}", kind=kind)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.minimum_version = context.maximum_version = version
        return context

    def session(self, gateway, num_channels=1):
        """An open session: a client with main and so many more channels."""
        client = spiceclient.Client(gateway.ticket("vm"), port=gateway.port)
        self.addCleanup(client.close)
        client.open_main()
        for number in range(num_channels):
            link = client.link(scripted_server.USBREDIR, number)
            scripted_server.echo(self, link)
        return client


class ServerSuitesTest(_ServerCase):
    def test_openssl(self):
        """SPICE on the plain side of s_server: one main channel."""
        for version, cipher, kind in itertools.product(
            programs.VERSIONS, programs.CIPHERS, _KINDS
        ):
            with self.subTest(version=version, cipher=cipher, kind=kind):
                name = f"openssl-{version}-{cipher}-{kind}"
                peer = programs.s_server(
                    *(self, name, *self.authority.issue(name, kind=kind)),
                    *programs.openssl_suite(version, cipher, kind),
                )
                key = scripted_server.public_key()
                scripted_server.serve_quietly(peer.socket, key)
                self._check_suite(peer, name, version, cipher, 0)
                peer.stop()

    def test_gnutls(self):
        for version, cipher, kind in itertools.product(
            programs.VERSIONS, programs.CIPHERS, _KINDS
        ):
            with self.subTest(version=version, cipher=cipher, kind=kind):
                name = f"gnutls-{version}-{cipher}-{kind}"
                _, priority = programs.gnutls_suite(version, cipher, kind)
                pair = self.authority.issue(name, kind=kind)
                context = gnutls.ServerContext(*pair, priority)
                server = self.python_server(context)
                self._check_suite(server, name, version, cipher, 1)
                self.assertEqual(server.faults, [])

    def test_python(self):
        """Many channels at once over OpenSSL's library."""
        for version, kind in itertools.product(
            (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), _KINDS
        ):
            with self.subTest(version=version.name, kind=kind):
                server = self.python_server(self.context(version, kind))
                gateway = self.start_gateway(
                    [self.console(server.port)],
                    name=f"{version.name}-{kind}",
                )
                client = self.session(gateway, _NUM_CHANNELS)
                client.close()
                gateway.wait_no_sessions()
                self.assertEqual(server.faults, [])
                gateway.stop()

    def test_no_common_suite(self):
        """What the gateway does not offer, a server cannot have."""
        options = {
            "CBC": ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"],
            "static RSA": ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
            "1.1": ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        }
        for name, chosen in options.items():
            with self.subTest(name):
                stem = name.replace(" ", "-")
                peer = programs.s_server(
                    *(self, stem, *self.authority.issue(stem), *chosen)
                )
                gateway = self._gateway(peer, stem)
                self._check_refused(gateway, "server_tls")
                gateway.stop()
                peer.stop()

    def _gateway(self, peer, name):
        return self.start_gateway([self.console(peer.port)], name="to-" + name)

    def _check_suite(self, peer, name, version, cipher, num_channels):
        gateway = self._gateway(peer, name)
        client = self.session(gateway, num_channels)
        labels = {"leg": "server", "version": version, "cipher": cipher}
        gateway.wait_metric(
            lambda m: m.sum(_CONNECTIONS, **labels) == 1 + num_channels,
            str(labels),
        )
        client.close()
        gateway.stop()

    def _check_refused(self, gateway, reason):
        client = spiceclient.Client(gateway.ticket("vm"), port=gateway.port)
        self.addCleanup(client.close)
        with self.assertRaises((PermissionError, EOFError)):
            client.open_main()
        gateway.wait_record("channel_refused", reason=reason, console="vm")


class ServerResumptionTest(_ServerCase):
    """One full handshake with a server, however many channels follow."""

    def test_1_2(self):
        self._check_resumes(self.context(ssl.TLSVersion.TLSv1_2))

    def test_1_2_by_session_id(self):
        context = self.context(ssl.TLSVersion.TLSv1_2)
        context.options |= ssl.OP_NO_TICKET
        self._check_resumes(context)

    def test_gnutls(self):
        for version in programs.VERSIONS:
            with self.subTest(version):
                pair = self.authority.issue("gnutls-" + version)
                priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}"
                context = gnutls.ServerContext(*pair, priority)
                self._check_resumes(context, version)

    def test_1_3(self):
        self._check_resumes(self.context(ssl.TLSVersion.TLSv1_3))

    def test_server_without_tickets(self):
        """Nothing to resume with: every handshake is full, all succeed."""
        context = self.context(ssl.TLSVersion.TLSv1_3)
        context.num_tickets = 0
        server = self.python_server(context)
        gateway = self.start_gateway([self.console(server.port)])
        self.session(gateway, _NUM_CHANNELS)
        self.assertEqual(_resumed(server), [False] * (1 + _NUM_CHANNELS))
        self._check_outcomes(gateway, 1 + _NUM_CHANNELS, 0)

    def test_server_that_forgot(self):
        """Restarted with other keys on the same port: full, then resumed."""
        server = self.python_server(self.context(ssl.TLSVersion.TLSv1_3))
        gateway = self.start_gateway([self.console(server.port)])
        self.session(gateway).close()
        gateway.wait_no_sessions()
        server.replace_context(self.context(ssl.TLSVersion.TLSv1_3, pki.ECDSA))
        del server.tls[:]
        self.session(gateway, _NUM_CHANNELS)
        self.assertEqual(
            _resumed(server), [False] + [True] * _NUM_CHANNELS
        )

    def test_other_identity_is_never_resumed(self):
        """A session belongs to the identity that was checked for it.

        The console's demands change while its server stays the same; with a
        resumed session nobody would look at the certificate again.
        """
        server = self.python_server(self.context(ssl.TLSVersion.TLSv1_3))
        console = self.console(server.port)
        gateway = self.start_gateway([console])
        self.session(gateway, 2).close()
        gateway.wait_no_sessions()
        other = pki.Authority(self.directory, "other")
        changes = {
            "server_tls_chain": {"ca_file": other.cert_path},
            "server_tls_subject": {"host_subject": "O=Test,CN=other"},
        }
        for number, (reason, change) in enumerate(changes.items(), start=1):
            with self.subTest(reason):
                gateway.write_consoles([{**console, **change}])
                _wait_consoles(gateway, number)
                client = spiceclient.Client(
                    gateway.ticket("vm"), port=gateway.port
                )
                self.addCleanup(client.close)
                with self.assertRaises((PermissionError, EOFError)):
                    client.open_main()
                gateway.wait_record("channel_refused", reason=reason)

    def test_consoles_do_not_share(self):
        """Two consoles on one server: each has handshakes of its own."""
        server = self.python_server(self.context(ssl.TLSVersion.TLSv1_3))
        both = [
            self.console(server.port),
            self.console(server.port, name="second", host="localhost"),
        ]
        gateway = self.start_gateway(both)
        self.session(gateway, 2)
        client = spiceclient.Client(gateway.ticket("second"), port=gateway.port)
        self.addCleanup(client.close)
        client.open_main()
        self.assertEqual(_resumed(server), [False, True, True, False])

    def _check_resumes(self, context, name="gateway"):
        server = self.python_server(context)
        gateway = self.start_gateway([self.console(server.port)], name=name)
        self.session(gateway, _NUM_CHANNELS).close()
        gateway.wait_no_sessions()
        self.assertEqual(_resumed(server), [False] + [True] * _NUM_CHANNELS)
        self._check_outcomes(gateway, 1, _NUM_CHANNELS)
        self.assertEqual(server.faults, [])

    def _check_outcomes(self, gateway, full, resumed):
        outcomes = peers_case.handshakes(gateway, "server")
        self.assertEqual(
            outcomes, {"full": full, "resumed": resumed, "failed": 0}
        )


def _wait_consoles(gateway, num_reloads):
    gateway.wait_metric(
        lambda m: m.sum("spicegate_consoles_reloads_total") == num_reloads,
        "the changed consoles",
    )


def _resumed(server):
    return [resumed for _, _, resumed in server.tls]


if __name__ == "__main__":
    runner.main("openssl", "gnutls-cli")
