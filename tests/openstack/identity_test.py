# SPDX-License-Identifier: Apache-2.0
"""Debian's Keystone lets the gateway in, in every way it may be configured."""

from tests.openstack import keystone_case
from tests.testbed import keystone
from tests.testbed import nova_auth
from tests.testbed import pki
from tests.testbed import portal
from tests.testbed import runner

_REFUSED = (502, "cloud_error")
_SECRET = "an application's secret"


def _rule(path, method="GET"):
    return [{"service": "compute", "method": method, "path": path}]


class PasswordTest(keystone_case.KeystoneCase):
    def test_names(self):
        door = self.open()
        self.assert_works(door)
        self.assert_works(door)
        self.assertEqual(self.logins(door), {"ok": 1})
        record = door.gateway.wait_record("keystone_token", cloud="prod")
        self.assertEqual(record["expires_s"], keystone_case.LIFE_S)

    def test_ids(self):
        entry = self.cloud()
        for name in ("user", "user_domain", "project", "project_domain"):
            del entry["keystone"][name]
        entry["keystone"].update(user_id=self.user, project_id=self.project)
        self.assert_works(self.open(entry))

    def test_domain_by_id(self):
        entry = self.cloud()
        for name in ("user_domain", "project_domain"):
            del entry["keystone"][name]
            entry["keystone"][name + "_id"] = keystone.DEFAULT
        self.assert_works(self.open(entry))

    def test_url_without_version(self):
        for url in (self.keystone.url, self.keystone.url + "/v3/"):
            entry = self.cloud(keystone={"url": url})
            self.assert_works(self.named(entry, url[-4:].strip("/")))

    def named(self, entry, name):
        """One of several portals of a test."""
        cloud = [entry]
        own = {"address": "127.0.0.1:0", "tls": False}
        made = self.start_gateway(
            (), name=f"gateway-{name}", portal=own, clouds=cloud
        )
        return portal.Portal(made)

    def test_role_without_right(self):
        """Keystone knows it, Nova's policy does not."""
        door = self.open(self.cloud(keystone={"user": keystone_case.HARMLESS}))
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed")
        self.assertEqual(record["service"], "nova")
        self.assertIn("policy", record["error"])

    def test_unknown_project(self):
        door = self.open(self.cloud(keystone={"project": "nowhere"}))
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed")
        self.assertEqual(record["service"], "keystone")
        self.assertEqual(self.logins(door), {"refused": 1})


class CredentialTest(keystone_case.KeystoneCase):
    def test_id(self):
        made = self.add_credential("by-id", _SECRET)
        self.assert_works(
            self.open(self.credential_cloud({"id": made}, _SECRET))
        )

    def test_name(self):
        self.add_credential("by-name", _SECRET)
        who = {
            "name": "by-name",
            "user": portal.USER,
            "user_domain": "Default",
        }
        self.assert_works(self.open(self.credential_cloud(who, _SECRET)))

    def test_name_and_user_id(self):
        self.add_credential("by-user-id", _SECRET)
        who = {"name": "by-user-id", "user_id": self.user}
        self.assert_works(self.open(self.credential_cloud(who, _SECRET)))

    def test_wrong_secret(self):
        made = self.add_credential("wrong", _SECRET)
        door = self.open(self.credential_cloud({"id": made}, "not this one"))
        for _ in range(5):
            token = self.nova.add_console().token
            self.assert_error(door, token, *_REFUSED)
        self.assertEqual(self.logins(door)["refused"], 1)
        portal.write_secret(self.directory, "prod", _SECRET)
        self.assert_works(door)

    def test_access_rule(self):
        """One that may do what the gateway does, and nothing else."""
        rules = _rule("/v2.1/os-console-auth-tokens/*")
        made = self.add_credential("ruled", _SECRET, rules)
        door = self.open(self.credential_cloud({"id": made}, _SECRET))
        self.assert_works(door)
        self.assertEqual(self.logins(door), {"ok": 1})

    def test_access_rule_and_project_in_the_path(self):
        """The rule must have the path as the catalog has it."""
        self.tell_where(self.nova.project_url())
        rules = _rule("/v2.1/*/os-console-auth-tokens/*")
        made = self.add_credential("in-project", _SECRET, rules)
        entry = self.credential_cloud(
            {"id": made}, _SECRET, compute={"region": keystone.REGION}
        )
        door = self.open(entry)
        self.assert_works(door)
        path = self.nova.requests()[0].path
        self.assertTrue(path.startswith(f"/v2.1/{self.project}/"), path)

    def test_other_access_rule(self):
        """Nova's middleware says 401; a new token is no better."""
        made = self.add_credential("other", _SECRET, _rule("/v2.1/servers"))
        door = self.open(self.credential_cloud({"id": made}, _SECRET))
        for _ in range(20):
            token = self.nova.add_console().token
            self.assert_error(door, token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed")
        self.assertIn("401", record["error"])
        # Two for the first user; the others do not lead to Keystone again,
        # but for one in some seconds.
        self.assertEqual(set(self.logins(door)), {"ok"})
        self.assertLess(self.logins(door)["ok"], 20)

    def test_removed_credential(self):
        made = self.add_credential("removed", _SECRET)
        door = self.open(self.credential_cloud({"id": made}, _SECRET))
        self.assert_works(door)
        owner = self.keystone.login(
            portal.USER, portal.PASSWORD, portal.PROJECT
        )
        self.keystone.remove_credential(owner, self.user, made)
        self.nova.auth = nova_auth.ByKeystone(self.keystone)
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed")
        self.assertEqual(record["service"], "keystone")


class CatalogTest(keystone_case.KeystoneCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keystone.add_region("RegionTwo")

    def test_interface_and_region(self):
        places = {}
        for region in (keystone.REGION, "RegionTwo"):
            for interface in ("public", "internal", "admin"):
                made = self.start_nova()
                self.tell_where(made.project_url(), interface, region)
                places[region, interface] = made
        wanted = list(places)
        door = self.open(
            *(
                self.cloud(
                    f"c{number}",
                    paths=[f"/c{number}.vv"],
                    compute={"region": region, "interface": interface},
                )
                for number, (region, interface) in enumerate(wanted)
            )
        )
        for number, where in enumerate(wanted):
            with self.subTest(where):
                self.assert_works(door, f"/c{number}.vv", places[where])
        for made in places.values():
            self.assertEqual(made.count(), 1)

    def test_nothing_said(self):
        """The public one of the only region."""
        self.tell_where(self.nova.url + "/", "public")
        self.tell_where("http://127.0.0.1:9/v2.1", "internal")
        self.assert_works(self.open(self.cloud(compute={})))

    def test_not_in_the_catalog(self):
        self.tell_where(self.nova.url, "public")
        compute = {"interface": "internal", "region": keystone.REGION}
        door = self.open(self.cloud(compute=compute))
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed")
        self.assertEqual(record["service"], "keystone")
        self.assertIn("catalog", record["error"])


class TlsTest(keystone_case.KeystoneCase):
    TLS = True

    def test_own_authority(self):
        own = {"ca_file": self.authority.cert_path}
        door = self.open(self.cloud(keystone=own))
        self.assert_works(door)

    def test_wrong_authority(self):
        """Nobody shows a password to a stranger."""
        stranger = pki.Authority(self.directory, "stranger")
        before = self.keystone.logins()
        own = {"ca_file": stranger.cert_path}
        door = self.open(self.cloud(keystone=own))
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed")
        self.assertEqual(record["service"], "keystone")
        self.assertIn("certificate", record["error"].lower())
        self.assertEqual(self.keystone.logins(), before)

    def test_system_authorities(self):
        """No ca_file: what the system trusts, which this one is not."""
        door = self.open()
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed")
        self.assertEqual(record["service"], "keystone")


if __name__ == "__main__":
    runner.main("keystone-manage", "openssl")
