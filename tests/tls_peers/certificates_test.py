# SPDX-License-Identifier: Apache-2.0
"""Several certificates: who is shown which, and with which suites."""

import ssl

from tests.testbed import pki
from tests.testbed import processes
from tests.testbed import runner
from tests.tls_peers import peers_case
from tests.tls_peers import programs

_VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
_ONLY = {
    pki.RSA: "ECDHE-RSA-AES128-GCM-SHA256",
    pki.ECDSA: "ECDHE-ECDSA-AES128-GCM-SHA256",
}
_SIGNATURES = {
    pki.RSA: ("RSA-PSS+SHA256", "+SIGN-RSA-PSS-RSAE-SHA256"),
    pki.ECDSA: (
        "ECDSA+SHA256",
        "+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SECP256R1-SHA256",
    ),
}


class _CertificatesCase(peers_case.PeersCase):
    def setUp(self):
        super().setUp()
        root = pki.Authority(self.directory, "root")
        self.authority = pki.Authority(self.directory, "below", parent=root)
        self.root = root
        self.pairs = {}

    def pair(self, name, kind, *names):
        """A configured pair; its certificate is known as `name` then."""
        cert, key = self.authority.issue(
            name, f"O=Test,CN={name}", [f"DNS:{n}" for n in names], kind
        )
        self.pairs[name] = peers_case.certificate_in(cert)
        return {"certificate": cert, "key": key}

    def name_of(self, certificate):
        """Which of the pairs it is, by all of its bytes."""
        found = [n for n, der in self.pairs.items() if der == certificate]
        return found[0] if found else "none of ours"

    def shown(self, gateway, server_name, context):
        return self.name_of(
            peers_case.shown_certificate(
                gateway.tls_port, context, server_name
            )
        )


class ServerNameTest(_CertificatesCase):
    def test_names(self):
        gateway = self.start_listener(
            tls={
                "certificates": [
                    self.pair("first", pki.ECDSA, "first.example.test"),
                    self.pair(
                        "second",
                        pki.RSA,
                        "second.example.test",
                        "also.example.test",
                    ),
                    self.pair("star", pki.ECDSA, "*.star.example.test"),
                    self.pair("inner", pki.ECDSA, "in.star.example.test"),
                ]
            }
        )
        wanted = {
            None: "first",
            "first.example.test": "first",
            "second.example.test": "second",
            "SECOND.Example.Test": "second",
            "also.example.test": "second",
            "x.star.example.test": "star",
            "in.star.example.test": "inner",
            "a.b.star.example.test": "first",
            "star.example.test": "first",
            "nobody.example.test": "first",
            "127.0.0.1": "first",
        }
        for version in _VERSIONS:
            context = peers_case.trusting_context(version)
            for server_name, name in wanted.items():
                with self.subTest(version.name, server_name=server_name):
                    self.assertEqual(
                        self.shown(gateway, server_name, context), name
                    )

    def test_verified_by_name(self):
        """An ordinary client, with the root alone, believes the chain."""
        names = ("first.example.test", "second.example.test")
        gateway = self.start_listener(
            tls={
                "certificates": [
                    self.pair("first", pki.ECDSA, names[0]),
                    self.pair("second", pki.RSA, names[1]),
                ]
            }
        )
        context = ssl.create_default_context(cafile=self.root.cert_path)
        for name in names:
            port = gateway.tls_port
            with peers_case.tls_socket(port, context, name=name) as made:
                self.assertIn(
                    ("DNS", name), made.getpeercert()["subjectAltName"]
                )
        with self.assertRaises(ssl.SSLCertVerificationError):
            peers_case.tls_socket(
                gateway.tls_port, context, name="nobody.example.test"
            )


class KindTest(_CertificatesCase):
    """ECDSA and RSA for one name: what the client can verify decides."""

    def setUp(self):
        super().setUp()
        self.gateway = self.start_listener(
            tls={
                "certificates": [
                    self.pair(pki.RSA, pki.RSA, "desk.example.test"),
                    self.pair(pki.ECDSA, pki.ECDSA, "desk.example.test"),
                ]
            }
        )

    def test_client_that_takes_both(self):
        for version in _VERSIONS:
            context = peers_case.trusting_context(version)
            for server_name in (None, "desk.example.test"):
                self.assertEqual(
                    self.shown(self.gateway, server_name, context), pki.ECDSA
                )

    def test_client_with_suites_of_one_kind(self):
        context = peers_case.trusting_context(ssl.TLSVersion.TLSv1_2)
        for kind, suite in _ONLY.items():
            with self.subTest(kind):
                context.set_ciphers(suite)
                self.assertEqual(self.shown(self.gateway, None, context), kind)

    def test_client_with_signatures_of_one_kind(self):
        for version in programs.VERSIONS:
            for kind, (openssl, gnutls) in _SIGNATURES.items():
                with self.subTest(version, kind=kind):
                    self.assertEqual(self._s_client(version, openssl), kind)
                    self.assertEqual(self._gnutls_cli(version, gnutls), kind)

    def _s_client(self, version, signatures):
        """The certificate that openssl's client is shown, by its name."""
        where = f"127.0.0.1:{self.gateway.tls_port}"
        option = "-tls" + version.replace(".", "_")
        _, out, err = processes.run(
            [
                *("openssl", "s_client", "-connect", where, option),
                *("-sigalgs", signatures, "-servername", "desk.example.test"),
            ]
        )
        return self._pem_in(out, err)

    def _gnutls_cli(self, version, signatures):
        priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}:-SIGN-ALL:{signatures}"
        _, out, err = processes.run(
            [
                *("gnutls-cli", "--insecure", "--print-cert", "--port"),
                *(str(self.gateway.tls_port), "--priority", priority),
                *("--sni-hostname", "desk.example.test", "127.0.0.1"),
            ]
        )
        return self._pem_in(out, err)

    def _pem_in(self, out, err):
        begin, end = (f"-----{w} CERTIFICATE-----" for w in ("BEGIN", "END"))
        self.assertIn(begin, out, err)
        pem = begin + out.partition(begin)[2].partition(end)[0] + end
        return self.name_of(ssl.PEM_cert_to_DER_cert(pem))


class SuitesTest(_CertificatesCase):
    def test_order_is_ours(self):
        order = ["chacha20_poly1305", "aes256_gcm", "aes128_gcm"]
        self._check_chosen(order, order[0])
        self._check_chosen(list(reversed(order)), order[-1])

    def test_what_is_left_out_is_refused(self):
        gateway = self._start(["aes256_gcm"])
        context = peers_case.trusting_context(ssl.TLSVersion.TLSv1_2)
        for suite in ("AES128-GCM-SHA256", "CHACHA20-POLY1305"):
            context.set_ciphers("ECDHE-ECDSA-" + suite)
            with self.assertRaisesRegex(ssl.SSLError, "handshake failure"):
                peers_case.tls_socket(gateway.tls_port, context)
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        peers_case.tls_socket(gateway.tls_port, context).close()
        # TLS 1.3 is not asked for by this list.
        newer = peers_case.trusting_context(ssl.TLSVersion.TLSv1_3)
        peers_case.tls_socket(gateway.tls_port, newer).close()

    def _start(self, suites):
        pair = self.pair("only", pki.ECDSA, "only.example.test")
        return self.start_listener(
            name="-".join(suites), tls={**pair, "tls12_suites": suites}
        )

    def _check_chosen(self, suites, wanted):
        gateway = self._start(suites)
        context = peers_case.trusting_context(ssl.TLSVersion.TLSv1_2)
        with peers_case.tls_socket(gateway.tls_port, context) as made:
            name = made.cipher()[0].lower().replace("-", "_")
        for part in wanted.split("_"):
            self.assertIn(part, name)


if __name__ == "__main__":
    runner.main("openssl", "gnutls-cli")
