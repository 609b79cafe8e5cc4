# SPDX-License-Identifier: Apache-2.0
"""The cloud without a gateway: Nova's stand-in and Debian's Keystone.

What the other tests here rely on, said by whoever knows: the real Keystone
about tokens, Nova's documentation about everything else.
"""

import http.client
import json
import unittest

from tests.testbed import keystone
from tests.testbed import nova
from tests.testbed import nova_auth
from tests.testbed import nova_faults
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import web

_SHOW = "/v2.1/os-console-auth-tokens/"
_RULES = [
    {
        "service": "compute",
        "method": "GET",
        "path": "/v2.1/os-console-auth-tokens/*",
    }
]


class _NovaCase(unittest.TestCase):
    def start_nova(self, auth=None, **how):
        made = nova.Nova(auth, **how)
        self.addCleanup(made.stop)
        return made

    def ask(
        self, made, token, path=None, version="2.99", who=None, headers=None
    ):
        """One request of its own connection; returns web.Answer."""
        sent = {"X-Auth-Token": who or nova_auth.FIXED_TOKEN}
        if version:
            sent["OpenStack-API-Version"] = f"compute {version}"
        sent.update(headers or {})
        connection = http.client.HTTPConnection(made.host, made.port, 60)
        try:
            connection.request("GET", path or _SHOW + token, headers=sent)
            answer = connection.getresponse()
            names = {}
            for name, value in answer.getheaders():
                names.setdefault(name.lower(), []).append(value)
            return web.Answer(answer.status, names, answer.read())
        finally:
            connection.close()


class NovaTest(_NovaCase):
    def setUp(self):
        super().setUp()
        self.nova = self.start_nova()
        self.console = self.nova.add_console("10.0.0.7", 5900, 5901)

    def test_console(self):
        answer = self.ask(self.nova, self.console.token)
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.json(),
            {
                "console": {
                    "instance_uuid": self.console.instance,
                    "host": "10.0.0.7",
                    "port": 5900,
                    "tls_port": 5901,
                    "internal_access_path": None,
                }
            },
        )
        self.assertEqual(
            answer.headers["openstack-api-version"], ["compute 2.99"]
        )
        self.assertEqual(
            answer.headers["x-openstack-nova-api-version"], ["2.99"]
        )
        self.assertEqual(
            answer.headers["vary"],
            ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version"],
        )

    def test_other_types_have_no_tls_port(self):
        other = self.nova.add_console(kind=nova.NOVNC, tls_port=5901)
        console = self.ask(self.nova, other.token).json()["console"]
        self.assertNotIn("tls_port", console)
        none = self.nova.add_console(tls_port=None)
        console = self.ask(self.nova, none.token).json()["console"]
        self.assertIsNone(console["tls_port"])

    def test_versions(self):
        token = self.console.token
        old = self.ask(self.nova, token, version="2.98")
        self.assertNotIn("tls_port", old.json()["console"])
        legacy = {"X-OpenStack-Nova-API-Version": "2.99"}
        told = self.ask(self.nova, token, version=None, headers=legacy)
        self.assertEqual(told.json()["console"]["tls_port"], 5901)
        for version, status, key in (
            (None, 400, "badRequest"),  # that is 2.1
            ("2.30", 400, "badRequest"),
            ("2.100", 406, "computeFault"),
            ("2,99", 400, "badRequest"),
        ):
            with self.subTest(version=version):
                answer = self.ask(self.nova, token, version=version)
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.json()[key]["code"], status)
        before = self.start_nova(newest=(2, 96))
        answer = self.ask(before, token)
        self.assertEqual(answer.status, 406)
        self.assertIn("maximum is 2.96", answer.text())

    def test_refusals(self):
        token = self.console.token
        answer = self.ask(self.nova, "of-nobody")
        self.assertEqual(answer.status, 404)
        self.assertEqual(
            answer.json(),
            {"itemNotFound": {"code": 404, "message": "Token not found"}},
        )
        answer = self.ask(self.nova, token, who="another")
        self.assertEqual(answer.status, 401)
        self.assertIn("Keystone uri=", answer.headers["www-authenticate"][0])
        self.assertNotIn("openstack-api-version", answer.headers)
        answer = self.ask(self.nova, "", _SHOW + token + "?more=1")
        self.assertEqual(answer.status, 400)
        self.nova.forget(self.console.instance)
        self.assertEqual(self.ask(self.nova, token).status, 404)
        expired = self.nova.add_console(ttl_s=-1)
        self.assertEqual(self.ask(self.nova, expired.token).status, 404)
        self.assertEqual(self.nova.count(token), 3)

    def test_faults(self):
        token = self.console.token
        limited = nova_faults.status(429, retry_after=7)
        self.nova.misbehave(limited, token, times=1)
        answer = self.ask(self.nova, token)
        self.assertEqual(answer.headers["retry-after"], ["7"])
        self.assertEqual(answer.json()["overLimit"]["retryAfter"], "7")
        self.assertEqual(self.ask(self.nova, token).status, 200)
        absent = nova_faults.changed(tls_port=nova.ABSENT, host=7)
        self.nova.misbehave(absent, token, times=1)
        console = self.ask(self.nova, token).json()["console"]
        self.assertEqual((console["host"], len(console)), (7, 4))
        for fault in (
            nova_faults.cut_at_once,
            nova_faults.cut_in_headers,
            nova_faults.cut_in_body,
        ):
            self.nova.misbehave(fault, token, times=1)
            with self.assertRaises(
                (http.client.HTTPException, ConnectionError)
            ):
                self.ask(self.nova, token)
        self.nova.misbehave(nova_faults.huge(), times=1)
        self.assertGreater(len(self.ask(self.nova, token).body), 10_000_000)

    def test_down_and_back(self):
        self.nova.stop()
        with self.assertRaises(ConnectionRefusedError):
            self.ask(self.nova, self.console.token)
        self.nova.start()
        self.assertEqual(self.ask(self.nova, self.console.token).status, 200)


class KeystoneTest(_NovaCase):
    """Nova believes what Keystone says, access rules included."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = processes.temporary_directory()
        cls.addClassCleanup(
            processes.run, ["rm", "-r", "--", directory]
        )
        cls.keystone = keystone.Keystone(directory)
        cls.addClassCleanup(cls.keystone.stop)
        cls.keystone.start()
        cls.project = cls.keystone.add_project("service")
        role = cls.keystone.add_role(nova_auth.ROLE)
        cls.user = cls.keystone.add_user("gw", "secret", cls.project, role)
        service = cls.keystone.add_service("compute", "nova")
        cls.keystone.add_endpoint(
            service, "http://127.0.0.1:9/v2.1/%(project_id)s", "public"
        )
        other = cls.keystone.add_role("bystander")
        cls.keystone.add_user("other", "secret", cls.project, other)

    def setUp(self):
        super().setUp()
        self.nova = self.start_nova(nova_auth.ByKeystone(self.keystone))
        self.token = self.nova.add_console().token

    def status(self, who, path=None):
        return self.ask(self.nova, self.token, path, who=who).status

    def test_roles(self):
        mine = self.keystone.login("gw", "secret", "service")
        self.assertEqual(self.status(mine), 200)
        self.assertEqual(self.status(self.keystone.admin_token()), 200)
        others = self.keystone.login("other", "secret", "service")
        answer = self.ask(self.nova, self.token, who=others)
        self.assertEqual(answer.status, 403)
        self.assertEqual(answer.json()["forbidden"]["code"], 403)
        self.assertEqual(self.status("gAAAA-not-a-token"), 401)

    def test_project_in_the_path(self):
        mine = self.keystone.login("gw", "secret", "service")
        place = f"/v2.1/%s/os-console-auth-tokens/{self.token}"
        self.assertEqual(self.status(mine, place % self.project), 200)
        self.assertEqual(self.status(mine, place % ("0" * 32)), 400)

    def test_revoked(self):
        mine = self.keystone.login("gw", "secret", "service")
        self.assertEqual(self.status(mine), 200)
        self.keystone.revoke(mine)
        self.assertEqual(self.status(mine), 401)

    def test_access_rules(self):
        mine = self.keystone.login("gw", "secret", "service")
        credential = self.keystone.add_credential(
            mine, self.user, "console", "hidden", _RULES
        )
        body = {
            "auth": {
                "identity": {
                    "methods": ["application_credential"],
                    "application_credential": {
                        "id": credential,
                        "secret": "hidden",
                    },
                }
            }
        }
        status, headers, reply = self.keystone.request(
            "POST", "/v3/auth/tokens", body
        )
        self.assertEqual(status, 201, reply)
        catalog = json.dumps(reply["token"]["catalog"])
        self.assertIn(f"/v2.1/{self.project}", catalog)
        restricted = headers["x-subject-token"]
        self.assertEqual(self.status(restricted), 200)
        # The rule is about the path as it is asked for: with a project in it,
        # it is another one.
        place = f"/v2.1/{self.project}/os-console-auth-tokens/{self.token}"
        self.assertEqual(self.status(restricted, place), 401)
        self.assertEqual(self.status(restricted, "/v2.1/servers"), 401)
        body["auth"]["scope"] = {"project": {"id": self.project}}
        status, _, _ = self.keystone.request("POST", "/v3/auth/tokens", body)
        self.assertEqual(status, 401)

    def test_keystone_down_and_back(self):
        mine = self.keystone.login("gw", "secret", "service")
        self.keystone.stop()
        self.addCleanup(self.keystone.restart, self.keystone.expiration_s)
        self.assertEqual(self.status(mine), 503)
        self.keystone.restart(expiration_s=5)
        self.assertEqual(self.status(mine), 200)
        short = self.keystone.login("gw", "secret", "service")
        polling.until(lambda: self.status(short) == 401, "its end", 60, 0.5)


if __name__ == "__main__":
    runner.main("keystone-manage")
