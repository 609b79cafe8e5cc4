# SPDX-License-Identifier: Apache-2.0
"""--check-config on certificates: mistakes, warnings, notes, and silence."""

import json
import os

from tests.testbed import case
from tests.testbed import locate
from tests.testbed import pki
from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import viewer

_BAD_CONFIG = 78  # EX_CONFIG
_HOST = "desk.example.test"
_NAMES = (f"DNS:{_HOST}", "IP:127.0.0.1")


class CheckConfigTest(case.Case):
    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory, kind=pki.ECDSA)

    def test_good_pair(self):
        self._check_silent(self._issue("good"))

    def test_good_chain(self):
        below = pki.Authority(self.directory, "below", parent=self.authority)
        self._check_silent(below.issue("leaf", names=_NAMES))

    def test_self_signed_default(self):
        self.assertEqual(self._run({"tls": {}}), (0, []))

    def test_key_of_another_certificate(self):
        cert, _ = self._issue("one")
        _, key = self._issue("two")
        self._check_mistake((cert, key), f"{cert}, {key}: ", "key")

    def test_files_that_cannot_be_used(self):
        cert, key = self._issue("one")
        gone = os.path.join(self.directory, "gone.pem")
        for pair, named in (
            ((gone, key), gone),
            ((cert, gone), gone),
            ((key, key), key),
            ((cert, cert), cert),
            ((self._half(cert), key), ".half"),
            ((cert, self._half(key)), ".half"),
        ):
            with self.subTest(pair):
                self._check_mistake(pair, named)

    def test_small_rsa_key(self):
        key = os.path.join(self.directory, "small-key.pem")
        cert = os.path.join(self.directory, "small-cert.pem")
        argv = "openssl req -x509 -newkey rsa:1024 -nodes -days 30".split()
        argv += ["-subj", "/CN=small", "-keyout", key, "-out", cert]
        self.assertEqual(processes.run(argv)[0], 0)
        self._check_mistake((cert, key), "2048")

    def test_expired(self):
        self._check_warning(self._issue("old", days=-1), "expired on")

    def test_expires_soon(self):
        self._check_warning(self._issue("soon", days=5), "expires in")

    def test_expired_intermediate(self):
        below = pki.Authority(
            self.directory, "below", parent=self.authority, days=-1
        )
        pair = below.issue("leaf", names=_NAMES)
        self._check_warning(pair, "certificate 2 of the chain", "expired on")

    def test_chain_out_of_order(self):
        cert, key = self._issue("leaf")
        stranger = pki.Authority(self.directory, "stranger")
        with open(cert, "a", encoding="ascii") as stream:
            stream.write(stranger.pem())
        self._check_warning((cert, key), "did not sign")

    def test_chain_without_its_middle(self):
        """The leaf alone, though viewers know the root only."""
        below = pki.Authority(self.directory, "below", parent=self.authority)
        cert, key = below.issue("leaf", names=_NAMES)
        self._keep_first(cert)
        self._check_warning((cert, key), "does not lead to the CA")

    def test_other_names(self):
        pair = self._issue("other", names=("DNS:other.example.test",))
        self._check_warning(pair, _HOST, "not among the names")

    def test_address_that_viewers_go_to(self):
        pair = self._issue("names-only", names=(f"DNS:{_HOST}",))
        self._check_warning(pair, "127.0.0.1", "iPAddress", host="127.0.0.1")

    def test_no_address_for_proxies(self):
        pair = self._issue("names-only", names=(f"DNS:{_HOST}",))
        code, lines = self._run(self._config(pair))
        self.assertEqual(code, 0)
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("note", lines[0])
        self.assertIn("iPAddress", lines[0])
        self.assertIn("CONNECT over TLS", lines[0])

    def test_no_address_where_there_is_an_https_proxy(self):
        pair = self._issue("names-only", names=(f"DNS:{_HOST}",))
        config = self._config(pair)
        config["listeners"] = [
            {"address": "127.0.0.1:0", "tls": True},
            {"address": "127.0.0.1:0", "tls": True, "protocol": "connect"},
        ]
        code, lines = self._run(config)
        self.assertEqual(code, 0)
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("warning", lines[0])
        self.assertIn("CONNECT over TLS", lines[0])

    def test_each_pair_is_looked_at(self):
        good = self._issue("good")
        old = self._issue("old", names=("DNS:old.example.test",), days=-1)
        config = self._config(good)
        config["tls"] = {
            "certificates": [
                {"certificate": cert, "key": key} for cert, key in (good, old)
            ]
        }
        code, lines = self._run(config)
        self.assertEqual(code, 0)
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(old[0], lines[0])
        self.assertIn("expired on", lines[0])

    def test_a_start_says_the_same(self):
        """Warnings do not keep it from starting; its log has them."""
        cert, key = self._issue("old", days=-1)
        gateway = self.start_gateway([], tls={"certificate": cert, "key": key})
        said = [r for r in gateway.records() if r["level"] == "warning"]
        self.assertTrue(any("expired on" in str(r) for r in said), said)

    def _issue(self, name, names=_NAMES, days=30):
        return self.authority.issue(
            name, names=names, kind=pki.ECDSA, days=days
        )

    def _half(self, path):
        half = path + ".half"
        with open(path, "rb") as stream:
            data = stream.read()
        with open(half, "wb") as stream:
            stream.write(data[: len(data) // 2])
        return half

    def _keep_first(self, path):
        end = "-----END CERTIFICATE-----\n"
        with open(path, encoding="ascii") as stream:
            text = stream.read()
        with open(path, "w", encoding="ascii") as stream:
            stream.write(text.partition(end)[0] + end)

    def _config(self, pair, host=_HOST):
        cert, key = pair
        return {
            "listeners": [{"address": "127.0.0.1:0", "tls": True}],
            "public": {"host": host, "ca_file": self.authority.cert_path},
            "tls": {"certificate": cert, "key": key},
        }

    def _run(self, config):
        """--check-config; returns (exit code, lines on standard error)."""
        config.setdefault("state_dir", self.directory)
        path = os.path.join(self.directory, "spicegate.json")
        with open(path, "w", encoding="ascii") as stream:
            json.dump(config, stream)
        code, out, err = processes.run(
            [locate.gateway(), "--check-config", "--config", path],
            env=viewer.private_environment(self.directory),
        )
        self.assertEqual(out, "")
        return code, err.splitlines()

    def _check_silent(self, pair):
        self.assertEqual(self._run(self._config(pair)), (0, []))

    def _check_mistake(self, pair, *words):
        code, lines = self._run(self._config(pair))
        self.assertEqual((code, len(lines)), (_BAD_CONFIG, 1), lines)
        for word in words:
            self.assertIn(word, lines[0])

    def _check_warning(self, pair, *words, **how):
        """One of the lines is a warning about this pair with these words."""
        code, lines = self._run(self._config(pair, **how))
        self.assertEqual(code, 0, lines)
        found = [
            line
            for line in lines
            if "warning" in line and all(word in line for word in words)
        ]
        self.assertEqual(len(found), 1, lines)
        self.assertIn(pair[0], found[0])


if __name__ == "__main__":
    runner.main("openssl")
