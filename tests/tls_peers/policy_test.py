# SPDX-License-Identifier: Apache-2.0
"""What a well-formed hello may ask a TLS listener for, and what it gets."""

import os

from tests.testbed import runner
from tests.tls_peers import peers_case
from tests.tls_peers import tls_bytes as tls

_FATAL = 2

# Suites that nobody may be given, by what is wrong with them.
_REFUSED_SUITES = {
    "no encryption": (0x0001, 0x0002, 0x003B, 0xC006, 0xC010),
    "export": (0x0003, 0x0008, 0x0014, 0x0062),
    "RC4": (0x0004, 0x0005, 0xC007, 0xC011),
    "3DES": (0x000A, 0x0016, 0xC008, 0xC012),
    "anonymous": (0x0018, 0x0034, 0x006D, 0xC018, 0xC019),
    "static RSA": (0x002F, 0x0035, 0x003C, 0x009C, 0x009D),
    "CBC": (0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC027, 0xC028),
    "finite fields": (0x0033, 0x0039, 0x009E, 0x009F, 0xCCAA),
    "shared key": (0x008C, 0x00A8, 0xC035, 0xCCAC),
    "CCM": (0xC09C, 0xC0AC, 0xC0AE),
}
_REFUSED_GROUPS = (1, 9, 14, 19, 21, tls.SECP256K1, tls.P521, 256, 257)
_SHA1_SIGNATURES = (0x0201, 0x0203)


class PolicyTest(peers_case.PeersCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_listener()

    def test_old_versions(self):
        for version in (tls.SSL3, tls.TLS10, tls.TLS11):
            with self.subTest(hex(version)):
                hello = tls.Hello(version=version)
                for outer in (tls.SSL3, tls.TLS10):
                    data = hello.record(outer)
                    self._refused(data, tls.PROTOCOL_VERSION)
        with self.subTest("listed by the extension"):
            offered = [tls.versions(tls.TLS11, tls.TLS10)]
            hello = tls.Hello(extensions=tls.extensions12() + offered)
            self._refused(hello.record(), tls.PROTOCOL_VERSION)

    def test_versions(self):
        self.assertEqual(self._answer(tls.Hello()).version, tls.TLS12)
        self.assertEqual(self._answer(tls.hello13()).version, tls.TLS13)
        unknown = tls.extensions13(offered=(0x0A0A, 0x7F1C, tls.TLS13))
        answer = self._answer(tls.hello13(extensions=unknown))
        self.assertEqual(answer.version, tls.TLS13)
        later = tls.Hello(version=0x0305)
        self.assertEqual(self._answer(later).version, tls.TLS12)

    def test_minimum_version(self):
        self.gateway.stop()
        config = {"min_version": "1.3"}
        self.gateway = self.start_listener(name="strict", tls=config)
        self._refused(tls.Hello().record(), tls.PROTOCOL_VERSION)
        self.assertEqual(self._answer(tls.hello13()).version, tls.TLS13)

    def test_downgrade_sentinel(self):
        """RFC 8446 4.1.3: who speaks 1.3 says so in a 1.2 answer."""
        self.assertEqual(self._answer(tls.Hello()).random[-8:], b"DOWNGRD\1")
        answer = self._answer(tls.hello13())
        self.assertNotEqual(answer.random[-8:-1], b"DOWNGRD")

    def test_fallback_signal(self):
        """RFC 7507: a client that came back with less than it can."""
        suites = tls.TLS12_SUITES + (tls.SIGNAL_FALLBACK,)
        hello = tls.Hello(suites=suites)
        self._refused(hello.record(), tls.INAPPROPRIATE_FALLBACK)

    def test_refused_suites(self):
        for why, suites in _REFUSED_SUITES.items():
            for suite in suites:
                with self.subTest(why, suite=hex(suite)):
                    hello = tls.Hello(suites=(suite,))
                    self._refused(hello.record(), tls.HANDSHAKE_FAILURE)
        every = sum(_REFUSED_SUITES.values(), ())
        good = tls.TLS12_SUITES
        self.assertIn(self._answer(tls.Hello(suites=every + good)).suite, good)

    def test_suites(self):
        ecdsa = tls.TLS12_SUITES[3:]  # the self-signed certificate's kind
        for suite in ecdsa:
            with self.subTest(hex(suite)):
                answer = self._answer(tls.Hello(suites=(suite,)))
                self.assertEqual(answer.suite, suite)
        for suite in tls.TLS13_SUITES:
            with self.subTest(hex(suite)):
                answer = self._answer(tls.hello13(suites=(suite,)))
                self.assertEqual(answer.suite, suite)

    def test_groups(self):
        for group in (tls.X25519, tls.P256, tls.P384):
            with self.subTest(group=group):
                hello = tls.Hello(extensions=tls.extensions12((group,)))
                messages = self._flight(hello)
                self.assertEqual(
                    messages[tls.SERVER_KEY_EXCHANGE][:3],
                    b"\x03" + group.to_bytes(2, "big"),
                )
        for group in _REFUSED_GROUPS:
            with self.subTest(group=group):
                old = tls.Hello(extensions=tls.extensions12((group,)))
                self._refused(old.record(), tls.HANDSHAKE_FAILURE)
                offer = tls.extensions13((group,), group, (tls.TLS13,))
                new = tls.hello13(extensions=offer)
                self._refused(new.record(), tls.HANDSHAKE_FAILURE)

    def test_other_key_share_is_asked_for(self):
        share = tls.key_share(tls.SECP256K1)
        offer = tls.extensions13((tls.SECP256K1, tls.X25519))[:-1] + [share]
        answer = self._answer(tls.hello13(extensions=offer))
        self.assertTrue(answer.is_retry())
        self.assertEqual(answer.extensions[tls.KEY_SHARE], b"\0\x1d")

    def test_no_compression(self):
        answer = self._answer(tls.Hello(compression=b"\1\0"))
        self.assertEqual(answer.compression, 0)
        self._refused(
            tls.Hello(compression=b"\1").record(), tls.ILLEGAL_PARAMETER
        )
        self._refused(
            tls.hello13(compression=b"\1\0").record(), tls.ILLEGAL_PARAMETER
        )

    def test_safe_renegotiation_is_said(self):
        """RFC 5746: by the extension, or by the suite that stands for it."""
        plain = [
            pair
            for pair in tls.extensions12()
            if pair[0] != tls.RENEGOTIATION_INFO
        ]
        suites = tls.TLS12_SUITES + (tls.SIGNAL_RENEGOTIATION,)
        signal = tls.Hello(suites=suites, extensions=plain)
        for hello in (tls.Hello(), signal):
            answer = self._answer(hello)
            self.assertEqual(answer.extensions[tls.RENEGOTIATION_INFO], b"\0")
        lie = plain + [(tls.RENEGOTIATION_INFO, b"\x0c" + bytes(12))]
        hello = tls.Hello(extensions=lie)
        self._refused(hello.record(), tls.HANDSHAKE_FAILURE)

    def test_no_heartbeat(self):
        offer = [(tls.HEARTBEAT_EXTENSION, b"\1")]
        hello = tls.Hello(extensions=tls.extensions12() + offer)
        with tls.Raw(self.gateway.tls_port) as raw:
            raw.send(hello.record())
            messages = raw.read_messages(tls.SERVER_HELLO_DONE)
            answer = tls.parse_server_hello(messages[tls.SERVER_HELLO])
            self.assertNotIn(tls.HEARTBEAT_EXTENSION, answer.extensions)
            # CVE-2014-0160's question: 16 KiB please, and here are none.
            raw.send(tls.record(tls.HEARTBEAT, b"\1\x40\0"))
            end = raw.end()
        self.assertEqual(end.alert, (_FATAL, tls.UNEXPECTED_MESSAGE))
        self.assertEqual(end.num_bytes, 7)

    def test_early_data_is_skipped(self):
        """Neither read nor an error: the handshake goes on as without."""
        offer = tls.extensions13(offered=(tls.TLS13,))
        offer.insert(0, (tls.EARLY_DATA, b""))
        hello = tls.hello13(suites=tls.TLS13_SUITES, extensions=offer)
        with tls.Raw(self.gateway.tls_port) as raw:
            raw.send(hello.record())
            raw.send(tls.record(tls.DATA, os.urandom(1000)) * 4)
            self.assertEqual(raw.read_server_hello().version, tls.TLS13)
            raw.finish()
            self.assertTrue(raw.end().closed)

    def test_names_and_protocols_are_never_required(self):
        offers = [
            [],
            [tls.server_name(b"nobody.example.test")],
            [tls.server_name(b"127.0.0.1")],
            [tls.server_name(b"a" * 255)],
            [tls.alpn(b"h2", b"http/1.1")],
            [tls.alpn(b"spice")],
            [tls.alpn(b"\xff" * 255)],
        ]
        for offer in offers:
            with self.subTest(repr(offer)[:60]):
                old = tls.Hello(extensions=tls.extensions12() + offer)
                answer = self._answer(old)
                self.assertNotIn(tls.ALPN, answer.extensions)
                extensions = tls.extensions13() + offer
                self._answer(tls.hello13(extensions=extensions))
        context = peers_case.trusting_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with peers_case.tls_socket(self.gateway.tls_port, context) as made:
            self.assertIsNone(made.selected_alpn_protocol())

    def test_weak_signatures(self):
        """RFC 9155: no SHA-1, asked for or by the absence of a wish."""
        groups = (tls.GROUPS, tls.words((tls.X25519,)))
        asked = (tls.SIGNATURES, tls.words(_SHA1_SIGNATURES))
        for extensions in ([groups, asked], [groups]):
            with tls.Raw(self.gateway.tls_port) as raw:
                raw.send(tls.Hello(extensions=extensions).record())
                end = raw.end()
            self.assertEqual(end.alert, (_FATAL, tls.HANDSHAKE_FAILURE))

    def _flight(self, hello):
        with tls.Raw(self.gateway.tls_port) as raw:
            raw.send(hello.record())
            return raw.read_messages(tls.SERVER_HELLO_DONE)

    def _answer(self, hello):
        with tls.Raw(self.gateway.tls_port) as raw:
            raw.send(hello.record())
            return raw.read_server_hello()

    def _refused(self, data, description):
        with tls.Raw(self.gateway.tls_port) as raw:
            raw.send(data)
            end = raw.end()
        self.assertEqual(end, tls.End((_FATAL, description), True, 7))


if __name__ == "__main__":
    runner.main()
