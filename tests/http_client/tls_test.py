# SPDX-License-Identifier: Apache-2.0
"""Whom the HTTP client trusts, against Python's ssl (OpenSSL)."""

import os
import socket
import ssl
import threading
import unittest

from tests.http_client import caller
from tests.testbed import pki
from tests.testbed import processes
from tests.testbed import runner

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class _Server:
    """HTTPS on 127.0.0.1: answers each request.

    Attributes:
      port: where.
      versions, protocols: of TLS and by ALPN, of each handshake.
      num_requests: that came.
    """

    def __init__(self, cert, key, **how):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._context.set_ciphers("ALL:@SECLEVEL=0")
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        for name, value in how.items():
            setattr(self._context, name, value)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.versions = []
        self.protocols = []
        self.num_requests = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                peer = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=[peer], daemon=True
            ).start()

    def _serve(self, peer):
        with peer:
            try:
                stream = self._context.wrap_socket(peer, server_side=True)
                self.versions.append(stream.version())
                self.protocols.append(stream.selected_alpn_protocol())
                while stream.recv(4096):
                    self.num_requests += 1
                    stream.sendall(_ANSWER)
            except (OSError, ssl.SSLError):
                pass  # the client left, which is what some tests are about


class TlsTest(unittest.TestCase):
    """One authority, one client."""

    def setUp(self):
        super().setUp()
        self.directory = processes.temporary_directory(self)
        self.authority = pki.Authority(self.directory, kind=pki.ECDSA)
        self.caller = caller.Caller(self.directory)
        self.addCleanup(self._end)

    def _end(self):
        self.assertEqual(self.caller.close(), 0)

    def serve(self, names=("DNS:localhost",), days=30, kind=pki.ECDSA, **how):
        cert, key = self.authority.issue(
            "server", "O=Test,CN=localhost", names, kind, days
        )
        server = _Server(cert, key, **how)
        self.addCleanup(server.close)
        return server

    def call(self, server, host="localhost", ca_file=None):
        return self.caller.call(
            f"https://{host}:{server.port}/v3?secret",
            ca_file=ca_file or self.authority.cert_path,
        )

    def assert_untrusted(self, outcome, server, host="localhost"):
        self.assertEqual(outcome.code, "FAILED_PRECONDITION", outcome.message)
        place = f"{host}:{server.port}: "
        self.assertTrue(outcome.message.startswith(place), outcome.message)
        self.assertNotIn("secret", outcome.message)
        self.assertNotIn("v3", outcome.message)
        self.assertEqual(server.num_requests, 0)

    def test_a_server_of_the_authority(self):
        for kind in (pki.RSA, pki.ECDSA):
            with self.subTest(kind):
                server = self.serve(kind=kind)
                outcome = self.call(server)
                self.assertEqual(outcome.status, 200, outcome.message)
                self.assertEqual(server.versions, ["TLSv1.3"])
                self.assertEqual(server.protocols, ["http/1.1"])

    def test_by_address(self):
        server = self.serve(names=("IP:127.0.0.1",))
        self.assert_untrusted(self.call(server), server)
        self.assertEqual(self.call(server, "127.0.0.1").status, 200)

    def test_connections_are_kept(self):
        server = self.serve()
        for _ in range(5):
            self.assertEqual(self.call(server).num_connections, 1)
        self.assertEqual(len(server.versions), 1)

    def test_a_kept_connection_is_for_its_authority_only(self):
        server = self.serve()
        self.assertEqual(self.call(server).status, 200)
        other = pki.Authority(self.directory, "other", pki.ECDSA)
        outcome = self.call(server, ca_file=other.cert_path)
        self.assertEqual(outcome.code, "FAILED_PRECONDITION", outcome.message)
        self.assertEqual(server.num_requests, 1)

    def test_another_authority(self):
        server = self.serve()
        other = pki.Authority(self.directory, "other", pki.ECDSA)
        for ca_file in (other.cert_path, "-"):
            outcome = self.call(server, ca_file=ca_file)
            self.assert_untrusted(outcome, server)

    def test_the_system_s_authorities(self):
        if not processes.can_see():
            self.skipTest("no right to make a name space")
        self._end()
        self.caller = caller.Caller(self.directory, self.authority.cert_path)
        server = self.serve()
        self.assertEqual(self.call(server, ca_file="-").status, 200)
        # Where there is a file of its own, the system's have no say.
        other = pki.Authority(self.directory, "other", pki.ECDSA)
        server = self.serve()
        outcome = self.call(server, ca_file=other.cert_path)
        self.assert_untrusted(outcome, server)

    def test_another_name(self):
        server = self.serve(names=("DNS:elsewhere.example.test",))
        self.assert_untrusted(self.call(server), server)

    def test_the_common_name_alone_is_no_name(self):
        server = self.serve(names=("IP:127.0.0.2",))
        address = "127.0.0.1"
        self.assert_untrusted(self.call(server, address), server, address)

    def test_expired(self):
        server = self.serve(days=-1)
        self.assert_untrusted(self.call(server), server)

    def test_a_file_without_certificates(self):
        server = self.serve()
        empty = os.path.join(self.directory, "empty.pem")
        with open(empty, "wb"):
            pass
        for ca_file in (empty, empty + ".none", self.directory):
            outcome = self.call(server, ca_file=ca_file)
            self.assert_untrusted(outcome, server)

    def test_tls_1_2_is_the_least(self):
        version = ssl.TLSVersion.TLSv1_2
        server = self.serve(maximum_version=version)
        self.assertEqual(self.call(server).status, 200)
        self.assertEqual(server.versions, ["TLSv1.2"])
        version = ssl.TLSVersion.TLSv1_1
        server = self.serve(minimum_version=version, maximum_version=version)
        self.assertEqual(self.call(server).code, "UNAVAILABLE")
        self.assertEqual(server.versions, [])

    def test_no_tls_at_all(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            call = self.caller.start(f"https://localhost:{port}/")
            with listener.accept()[0] as peer:
                peer.sendall(_ANSWER)
                outcome = self.caller.wait(call)
        self.assertEqual(outcome.code, "UNAVAILABLE", outcome.message)


if __name__ == "__main__":
    runner.main("openssl")
