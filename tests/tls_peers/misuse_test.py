# SPDX-License-Identifier: Apache-2.0
"""Handshakes within a connection: renegotiation refused, new keys followed.

With kernel TLS a change of keys ends a connection on some kernels; here records
stay in user space, where it does not.
"""

from tests.testbed import pki
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.tls_peers import gnutls
from tests.tls_peers import peers_case
from tests.tls_peers import programs
from tests.tls_peers import scripted_server

_PRIORITY = "NORMAL:-VERS-ALL:+VERS-TLS"
_MORE_THAN_ALLOWED = 200
_NUM_REKEYS = 5  # GnuTLS takes no more than eight a second


class _MisuseCase(peers_case.PeersCase):
    """A session with two usbredir channels, GnuTLS on both legs."""

    def start(self, version, name="gateway"):
        authority = pki.Authority(self.directory, "ca-" + name)
        priority = _PRIORITY + version
        pair = authority.issue("server", kind=pki.ECDSA)
        server = scripted_server.Server(gnutls.ServerContext(*pair, priority))
        self.addCleanup(server.stop)
        gateway = self.start_gateway(
            [server.console(ca_file=authority.cert_path)],
            name=name,
            tls={"offload": "off"},
        )
        context = gnutls.ClientContext(priority)
        client = spiceclient.Client(
            gateway.ticket("vm"), connected=context.connect(gateway.tls_port)
        )
        self.addCleanup(client.close)
        client.open_main()
        for number in range(2):
            link = client.link(
                scripted_server.USBREDIR,
                number,
                connected=context.connect(gateway.tls_port),
            )
            scripted_server.echo(self, link)
        return gateway, client.links[1:]

    def check_closed(self, gateway, reason, other):
        """One channel has ended for this reason, the other goes on."""
        gateway.wait_metric(
            lambda m: m.sum("spicegate_channels_closed_total") == 1,
            "the end of the channel",
        )
        closed = gateway.metrics().by(
            "spicegate_channels_closed_total", "reason"
        )
        self.assertEqual({k for k, v in closed.items() if v}, {reason})
        scripted_server.echo(self, other)


class RenegotiationTest(_MisuseCase):
    def test_before_the_link(self):
        gateway = self.start_listener()
        peer = programs.s_client(
            self, "again", gateway.tls_port, "-tls1_2", commands=True
        )
        peer.says("verify return:1")
        peer.socket.sendall(b"R\n")
        peer.says("alert no renegotiation")
        self.assertNotEqual(peer.child.wait(20), 0)
        self.check_good_client(gateway)

    def test_by_the_client(self):
        gateway, (bulk, other) = self.start("1.2")
        with self.assertRaises(OSError):
            bulk.socket.renegotiate()
        self.check_closed(gateway, "client_tls_record", other)

    def test_by_the_server(self):
        gateway, (bulk, other) = self.start("1.2")
        bulk.send_message(
            scripted_server.VMC_DATA, scripted_server.RENEGOTIATE
        )
        self.assertTrue(bulk.closed_by_peer())
        self.check_closed(gateway, "server_tls_record", other)


class KeyUpdateTest(_MisuseCase):
    def test_by_the_client(self):
        _, (bulk, _) = self.start("1.3")
        for number in range(_NUM_REKEYS):
            bulk.socket.rekey()
            scripted_server.echo(self, bulk, 2, str(number).encode())

    def test_by_the_server(self):
        _, (bulk, _) = self.start("1.3")
        for number in range(_NUM_REKEYS):
            bulk.send_message(scripted_server.VMC_DATA, scripted_server.REKEY)
            scripted_server.echo(self, bulk, 2, str(number).encode())

    def test_flood(self):
        """Keys and never data: work for nothing, so it ends."""
        gateway, (bulk, other) = self.start("1.3")
        with self.assertRaises(OSError):
            for _ in range(_MORE_THAN_ALLOWED):
                bulk.socket.rekey()
            bulk.read(1)
        self.check_closed(gateway, "client_tls_record", other)


if __name__ == "__main__":
    runner.main("openssl", "gnutls-cli")
