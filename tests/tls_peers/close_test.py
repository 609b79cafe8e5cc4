# SPDX-License-Identifier: Apache-2.0
"""How TLS connections end, as both peers see it."""

import ssl

from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.tls_peers import gnutls
from tests.tls_peers import peers_case
from tests.tls_peers import programs
from tests.tls_peers import scripted_server

_TRUNCATED = "spicegate_tls_truncated_total"
_UNEXPECTED = "unexpected eof"  # OpenSSL's words for a missing close_notify
_VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class _CloseCase(peers_case.PeersCase):
    """A session whose usbredir channel ends; TLS of one version on both legs.

    Attributes:
      server, gateway, client: of start().
    """

    def start(self, context, name="gateway"):
        """`context`: the server's, or None for a plain one."""
        self.server = scripted_server.Server(context)
        self.addCleanup(self.server.stop)
        console = self.server.console()
        if context:
            console["ca_file"] = self.authority.cert_path
        self.gateway = self.start_gateway([console], name=name)
        self.client = spiceclient.Client(self.gateway.ticket("vm"))

    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory)
        self.server = self.gateway = self.client = None

    def pair(self, name):
        return self.authority.issue(name, kind=pki.ECDSA)

    def python_context(self, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair(version.name))
        context.minimum_version = context.maximum_version = version
        return context

    def open(self, connect):
        """Opens main and usbredir over sockets that connect() makes."""
        self.client.where = {"connected": connect()}
        self.client.open_main()
        bulk = self.client.link(scripted_server.USBREDIR, connected=connect())
        scripted_server.echo(self, bulk)
        return bulk

    def tell(self, bulk, what):
        """Tells the server to end the channel in this way."""
        bulk.send_message(scripted_server.VMC_DATA, what)

    def wait_server_ends(self, *wanted):
        polling.until(
            lambda: self.server.ends == list(wanted), f"ends {wanted}"
        )

    def finish(self, client=0, server=0):
        """Ends main; so many truncated streams were there by then."""
        self.client.links[0].socket.unwrap()
        self.client.close()
        self.gateway.wait_no_sessions()
        self.check_truncated(client, server)
        self.gateway.stop()
        self.assertEqual(self.server.faults, [])

    def check_truncated(self, client, server):
        numbers = self.gateway.metrics()
        found = numbers.by(_TRUNCATED, "leg")
        self.assertEqual(found, {"client": client, "server": server})


class LibraryTest(_CloseCase):
    """OpenSSL on both sides, by Python: what each end of a channel becomes."""

    def test_client_says_goodbye(self):
        for version in _VERSIONS:
            with self.subTest(version.name):
                bulk = self._open(version)
                bulk.socket.unwrap()  # returns when the gateway's has come
                self.wait_server_ends(scripted_server.CLOSE_NOTIFY)
                self.finish()

    def test_client_drops_out(self):
        for version in _VERSIONS:
            with self.subTest(version.name):
                bulk = self._open(version)
                bulk.end(spiceclient.End.HALF)
                self.wait_server_ends(scripted_server.CLOSE_NOTIFY)
                self.assertTrue(_ends_cleanly(bulk))
                self.finish(client=1)

    def test_server_says_goodbye(self):
        for version in _VERSIONS:
            with self.subTest(version.name):
                bulk = self._open(version)
                self.tell(bulk, scripted_server.SAY_GOODBYE)
                self.assertTrue(_ends_cleanly(bulk))
                bulk.socket.unwrap()
                self.finish()

    def test_server_drops_out(self):
        for version in _VERSIONS:
            with self.subTest(version.name):
                bulk = self._open(version)
                self.tell(bulk, scripted_server.DROP_OUT)
                self.assertTrue(_ends_cleanly(bulk))
                bulk.socket.unwrap()
                self.finish(server=1)

    def test_session_over(self):
        """Main's end ends the others; everybody is told in TLS's own way."""
        for version in _VERSIONS:
            with self.subTest(version.name):
                bulk = self._open(version)
                self.client.links[0].socket.unwrap()
                self.assertTrue(_ends_cleanly(bulk))
                self.client.close()
                self.gateway.wait_no_sessions()
                self.wait_server_ends(*[scripted_server.CLOSE_NOTIFY] * 2)
                self.check_truncated(0, 0)
                self.gateway.stop()
                self.assertEqual(self.server.faults, [])

    def test_refused_ticket(self):
        gateway = self.start_listener()
        for version in _VERSIONS:
            context = peers_case.trusting_context(version)
            made = peers_case.tls_socket(gateway.tls_port, context)
            link = spiceclient.Link(connected=made)
            self.addCleanup(link.close)
            result = link.ticket(link.hello(spiceclient.MAIN), "wrong")
            self.assertEqual(result, spiceclient.PERMISSION_DENIED)
            self.assertTrue(_ends_cleanly(link))

    def test_gateway_stops(self):
        bulk = self._open(ssl.TLSVersion.TLSv1_3)
        main = self.client.links[0]
        self.gateway.stop()
        self.assertTrue(_ends_cleanly(bulk))
        self.assertTrue(_ends_cleanly(main))
        self.client.close()
        self.wait_server_ends(*[scripted_server.CLOSE_NOTIFY] * 2)

    def _open(self, version):
        self.start(self.python_context(version), version.name)
        context = peers_case.trusting_context(version)
        return self.open(
            lambda: peers_case.tls_socket(self.gateway.tls_port, context)
        )


class ProgramTest(_CloseCase):
    """The same in the words of the openssl and GnuTLS programs."""

    def test_openssl_client_is_told(self):
        for version in programs.VERSIONS:
            for how in (scripted_server.SAY_GOODBYE, scripted_server.DROP_OUT):
                with self.subTest(version, how=how):
                    self._check_told(
                        version,
                        how,
                        programs.s_client,
                        "-tls" + version.replace(".", "_"),
                    )

    def test_gnutls_client_is_told(self):
        for version in programs.VERSIONS:
            for how in (scripted_server.SAY_GOODBYE, scripted_server.DROP_OUT):
                with self.subTest(version, how=how):
                    self._check_told(
                        version,
                        how,
                        programs.gnutls_client,
                        f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}",
                    )

    def test_openssl_client_leaves(self):
        for version in programs.VERSIONS:
            with self.subTest(version):
                option = "-tls" + version.replace(".", "_")
                bulk, peer = self._open(
                    version, f"leave-{version}", programs.s_client, option
                )
                bulk.close()
                self.assertEqual(peer.child.wait(20), 0)
                self.wait_server_ends(scripted_server.CLOSE_NOTIFY)
                self.finish()

    def test_openssl_server_is_told(self):
        key = scripted_server.public_key()
        for version in programs.VERSIONS:
            with self.subTest(version):
                self._check_server_told(version, key)

    def _check_told(self, version, how, start, option):
        """The program ends by itself and has seen nothing odd."""
        name = f"{start.__name__}-{version}-{how == scripted_server.DROP_OUT}"
        bulk, peer = self._open(version, name, start, option)
        self.tell(bulk, how)
        self.assertEqual(peer.child.wait(20), 0, peer.child.tail())
        self.assertNotIn(_UNEXPECTED, peer.child.errors())
        self.assertNotIn("properly", peer.child.errors())
        bulk.close()
        # gnutls-cli itself says no goodbye to one who has gone.
        gone = start == programs.gnutls_client
        self.finish(client=gone, server=how == scripted_server.DROP_OUT)

    def _open(self, version, name, start, option):
        """Main by Python, usbredir by the program; returns (link, peer)."""
        _, priority = programs.gnutls_suite(version, "aes128_gcm", "ecdsa")
        context = gnutls.ServerContext(*self.pair(name), priority)
        self.start(context, name)
        peers = []

        def connect():
            if not peers:
                peers.append(None)
                trusting = peers_case.trusting_context()
                return peers_case.tls_socket(self.gateway.tls_port, trusting)
            peers.append(
                start(self, "peer-" + name, self.gateway.tls_port, option)
            )
            return peers[-1].socket

        return self.open(connect), peers[-1]

    def _check_server_told(self, version, key):
        name = "server-" + version
        option = "-tls" + version.replace(".", "_")
        peer = programs.s_server(
            self, name, *self.pair(name), option, "-naccept", "1"
        )
        scripted_server.serve_quietly(peer.socket, key)
        console = {
            "name": "vm",
            "host": "127.0.0.1",
            "tls_port": peer.port,
            "ca_file": self.authority.cert_path,
        }
        self.gateway = self.start_gateway([console], name="to-" + name)
        client = spiceclient.Client(
            self.gateway.ticket("vm"), port=self.gateway.port
        )
        client.open_main()
        client.close()
        self.gateway.wait_no_sessions()
        self.assertEqual(peer.child.wait(20), 0)
        self.assertNotIn(_UNEXPECTED, peer.child.errors())
        self.check_truncated(0, 0)
        self.gateway.stop()


def _ends_cleanly(link):
    """Reads to the end; False where it comes without a close_notify."""
    try:
        while link.socket.recv(65536):
            pass
    except ssl.SSLEOFError:
        return False
    return True


if __name__ == "__main__":
    runner.main("openssl", "gnutls-cli")
