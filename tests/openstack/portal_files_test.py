# SPDX-License-Identifier: Apache-2.0
"""The files behind portal and clouds: certificates that change, and a check."""

import json
import os
import socket
import ssl

from tests.openstack import portal_case
from tests.testbed import locate
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import portal
from tests.testbed import processes
from tests.testbed import runner

_BAD_CONFIG = 78  # EX_CONFIG


class CertificateTest(portal_case.PortalCase):
    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory)
        own = os.path.join(self.directory, "own")
        self.pair = [own + ".pem", own + ".key"]
        self.install("first")

    def install(self, name):
        """A new certificate of that common name in place of the old one."""
        made = self.authority.issue(name, f"O=Test,CN={name}")
        for path, source in zip(self.pair, made):
            os.replace(source, path)

    def shown(self, door):
        """The common name that users are shown now."""
        context = ssl.create_default_context(cafile=self.authority.cert_path)
        address = ("127.0.0.1", door.port)
        with socket.create_connection(address, portal_case.LIMIT_S) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                subject = tls.getpeercert()["subject"]
        return dict(part[0] for part in subject)["commonName"]

    def await_shown(self, door, name):
        polling.until(
            lambda: self.shown(door) == name, name, portal_case.LIMIT_S
        )

    def check_reloads(self, door, refused):
        self.assertEqual(self.shown(door), "first")
        self.assert_works(door)
        self.install("second")
        self.await_shown(door, "second")
        # Half a pair is no pair: what was read before stays.
        with open(self.pair[0], "w", encoding="ascii") as stream:
            stream.write("broken")
        door.gateway.wait_record(refused)
        self.assertEqual(self.shown(door), "second")
        self.install("third")
        self.await_shown(door, "third")
        self.assert_works(door)

    def start(self, section, **config):
        made = self.start_gateway(
            (),
            portal={"address": "127.0.0.1:0", **section},
            clouds=[self.cloud()],
            **config,
        )
        return portal.Portal(made, self.authority.cert_path)

    def test_own(self):
        own = dict(zip(("certificate", "key"), self.pair))
        self.check_reloads(self.start(own), "portal_certificates_refused")

    def test_listeners(self):
        """The portal shows what the listeners show, also when it changes."""
        own = dict(zip(("certificate", "key"), self.pair))
        self.check_reloads(self.start({}, tls=own), "certificates_refused")


class CheckConfigTest(portal_case.PortalCase):
    def setUp(self):
        super().setUp()
        self.entry = self.cloud()

    def check(self, expected, section=None, **changes):
        """Runs --check-config, with changes of the cloud; returns its words.

        Args:
          expected: what it says of a mistake; "": there is none.
          section: changes of "portal".
        """
        path = os.path.join(self.directory, "config.json")
        config = {
            "listeners": [{"address": "127.0.0.1:0"}],
            "admin": {"address": "127.0.0.1:0"},
            "consoles": os.path.join(self.directory, "consoles.json"),
            "portal": {
                **{"address": "127.0.0.1:0", "tls": False},
                **(section or {}),
            },
            "clouds": [self.entry | changes],
        }
        with open(path, "w", encoding="ascii") as stream:
            json.dump(config, stream)
        code, out, err = processes.run(
            [locate.gateway(), "--check-config", "--config", path]
        )
        with self.subTest(expected):
            self.assertEqual(code, _BAD_CONFIG if expected else 0, err)
            self.assertIn(expected, err)
            self.assertNotIn(portal.PASSWORD, out + err)
        return out + err

    def test_files(self):
        absent = os.path.join(self.directory, "absent")
        authority = pki.Authority(self.directory)
        certificate, _ = authority.issue("one")
        _, other_key = authority.issue("other")
        keystone = self.entry["keystone"]
        self.check("")
        self.check("", servers={"ca_file": authority.cert_path})
        self.check(absent, servers={"ca_file": absent})
        self.check(absent, keystone=keystone | {"password_file": absent})
        self.check(absent, keystone=keystone | {"ca_file": absent})
        own = {"tls": True, "certificate": certificate}
        self.check(absent, own | {"key": absent})
        self.check("does not belong", own | {"key": other_key})

    def test_what_is_told(self):
        """A secret that others may read, and hypervisors without TLS."""
        secret = self.entry["keystone"]["password_file"]
        said = self.check("")
        self.assertIn("servers.ca_file", said)
        self.assertNotIn(secret, said)
        os.chmod(secret, 0o644)
        self.assertIn(secret, self.check(""))


if __name__ == "__main__":
    runner.main()
