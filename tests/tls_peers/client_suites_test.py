# SPDX-License-Identifier: Apache-2.0
"""OpenSSL and GnuTLS as viewers: every version and suite, both kinds of key."""

import itertools

from tests.testbed import pki
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.tls_peers import peers_case
from tests.tls_peers import programs
from tests.tls_peers import scripted_server

_CONNECTIONS = "spicegate_tls_connections_total"


class ClientSuitesTest(peers_case.PeersCase):
    def setUp(self):
        super().setUp()
        self.server = scripted_server.Server()
        self.addCleanup(self.server.stop)
        self.authority = pki.Authority(self.directory)

    def test_rsa(self):
        self._check_kind(pki.RSA)

    def test_ecdsa(self):
        self._check_kind(pki.ECDSA)

    def _check_kind(self, kind):
        cert, key = self.authority.issue(kind, kind=kind)
        gateway = self.start_gateway(
            [self.server.console()],
            tls={"certificate": cert, "key": key},
        )
        peers = {
            "openssl": (programs.s_client, programs.openssl_suite),
            "gnutls": (programs.gnutls_client, programs.gnutls_suite),
        }
        for name, version, cipher in itertools.product(
            peers, programs.VERSIONS, programs.CIPHERS
        ):
            with self.subTest(name, version=version, cipher=cipher):
                start, options = peers[name]
                self._check(
                    gateway,
                    {"version": version, "cipher": cipher},
                    lambda n: start(
                        self,
                        f"{name}-{version}-{cipher}-{n}",
                        gateway.tls_port,
                        *options(version, cipher, kind),
                    ),
                )
        self.assertEqual(self.server.faults, [])

    def _check(self, gateway, labels, connect):
        labels["leg"] = "client"
        before = gateway.metrics().sum(_CONNECTIONS, **labels)
        client = spiceclient.Client(
            gateway.ticket("vm"), connected=connect("main").socket
        )
        client.open_main()
        bulk = client.link(
            scripted_server.USBREDIR, connected=connect("bulk").socket
        )
        scripted_server.echo(self, bulk)
        gateway.wait_metric(
            lambda m: m.sum(_CONNECTIONS, **labels) == before + 2,
            f"two connections {labels}",
        )
        client.close()
        gateway.wait_no_sessions()


if __name__ == "__main__":
    runner.main("openssl", "gnutls-cli")
