# SPDX-License-Identifier: Apache-2.0
"""What TLS adds: certificates, configuration files, who takes part."""

import dataclasses
import json
import ssl
import unittest

from bench.compare import certificates
from bench.compare import configs
from bench.compare import load
from bench.compare import measure
from bench.compare import peers
from bench.compare import relay
from bench.compare import scenarios
from tests.testbed import processes
from tests.testbed import runner

_SUITE = "TLS_AES_128_GCM_SHA256"
_TLS_PEERS = (
    "spicegate",
    "spicegate-unguarded",
    "haproxy",
    "haproxy-tuned",
    "nginx",
    "stunnel",
    "plain-relay",
)


def _setup(directory, certificate):
    return relay.Setup(
        directory=directory,
        host="127.0.0.1",
        port=5931,
        server="127.0.0.1:5900",
        scenario=scenarios.choose(["tls-bulk-8"])[0],
        max_channels=100,
        max_pipes=10,
        max_descriptors=1000,
        certificate=certificate,
    )


class CertificatesTest(unittest.TestCase):
    def setUp(self):
        self.directory = processes.temporary_directory(self)

    def test_key_and_certificate_belong_together(self):
        for kind in (certificates.ECDSA, certificates.RSA):
            made = certificates.make(self.directory, kind)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(made.cert, made.key)
            context.load_cert_chain(made.both)

    def test_one_of_each_kind_in_a_run(self):
        first = certificates.make(self.directory, certificates.ECDSA)
        with open(first.cert, encoding="ascii") as stream:
            text = stream.read()
        again = certificates.make(self.directory, certificates.ECDSA)
        self.assertEqual(first, again)
        with open(again.cert, encoding="ascii") as stream:
            self.assertEqual(stream.read(), text)

    def test_what_openssl_says_is_told(self):
        with self.assertRaisesRegex(OSError, "openssl: .*nowhere"):
            certificates.make("/nowhere", certificates.ECDSA)


class ConfigsTest(unittest.TestCase):
    def _texts(self, certificate):
        setup = _setup("/run/x", certificate)
        return {
            "haproxy": configs.haproxy(setup),
            "nginx": configs.nginx(setup, "module.so"),
        }

    def test_the_suite_is_asked_for(self):
        made = certificates.Certificate("/c", "/k", "/b")
        texts = self._texts(made)
        texts["stunnel"] = configs.stunnel(_setup("/run/x", made))
        for name, text in texts.items():
            with self.subTest(name):
                self.assertIn(_SUITE, text)
                self.assertIn("TLSv1.3", text)
        self.assertIn("bind 127.0.0.1:5931 ssl crt /b\n", texts["haproxy"])
        self.assertIn("listen 127.0.0.1:5931 ssl;", texts["nginx"])

    def test_plain_stays_plain(self):
        for name, text in self._texts(None).items():
            with self.subTest(name):
                self.assertNotIn("ssl", text)
                self.assertNotIn("TLS", text)

    def test_gateway(self):
        made = certificates.Certificate("/c", "/k", "/b")
        config = json.loads(configs.spicegate(_setup("/run/x", made)))
        self.assertEqual(config["tls"]["certificate"], "/c")
        self.assertTrue(config["listeners"][0]["tls"])
        config = json.loads(configs.spicegate(_setup("/run/x", None)))
        self.assertNotIn("tls", config)
        self.assertFalse(config["listeners"][0]["tls"])


class WhoTakesPartTest(unittest.TestCase):
    def test_refusals(self):
        (tls,) = scenarios.choose(["tls-bulk-8"])
        (plain,) = scenarios.choose(["bulk-8"])
        for peer in peers.ALL:
            with self.subTest(peer.name):
                refused = peer.refuses(tls) is not None
                self.assertEqual(refused, peer.name not in _TLS_PEERS)
                refused = peer.refuses(plain) is not None
                self.assertEqual(refused, peer.name == "stunnel")

    def test_every_tls_scenario_is_of_the_group(self):
        grouped = scenarios.choose(["tls"])
        self.assertEqual(grouped, [s for s in scenarios.ALL if s.tls])
        self.assertTrue(all(s.name.startswith("tls-") for s in grouped))


class LoadTest(unittest.TestCase):
    def _arguments(self, name):
        (scenario,) = scenarios.choose([name])
        scenario = dataclasses.replace(scenario, flags={})
        return load.flags_of_tls(scenario)

    def test_viewers_insist_on_the_suite(self):
        self.assertEqual(self._arguments("bulk-8"), [])
        argv = self._arguments("tls-bulk-8")
        self.assertEqual(argv[0], "--tls")
        self.assertIn("aes128_gcm", argv)
        self.assertNotIn("--tls-resume", argv)
        self.assertIn("--tls-resume", self._arguments("tls-resumed"))

    def test_full_handshakes_do_not_pass_for_resumed_ones(self):
        (full,) = scenarios.choose(["tls-full-ecdsa"])
        (resumed,) = scenarios.choose(["tls-resumed"])
        for counts, fits_full, fits_resumed in (
            ({"full": 900, "resumed": 0}, True, False),
            ({"full": 32, "resumed": 900}, False, True),
            ({"full": 100, "resumed": 900}, False, False),
        ):
            found = {"result": {"handshakes": counts}}
            for scenario, fits in ((full, fits_full), (resumed, fits_resumed)):
                if fits:
                    measure.check_handshakes(scenario, scenario.flags, found)
                    continue
                with self.assertRaises(relay.PeerError):
                    measure.check_handshakes(scenario, scenario.flags, found)


if __name__ == "__main__":
    runner.main("openssl")
