# SPDX-License-Identifier: Apache-2.0
"""The gateway's token over time: renewal, revocation, changed passwords."""

import os

from tests.openstack import keystone_case
from tests.openstack import portal_case
from tests.testbed import nova_auth
from tests.testbed import polling
from tests.testbed import portal
from tests.testbed import runner

_REFUSED = (502, "cloud_error")
_SHORT_LIFE_S = 12
_EXPIRES = "spicegate_cloud_token_expires_timestamp_seconds"
_LIMIT_S = portal_case.LIMIT_S


class LifeTest(keystone_case.KeystoneCase):
    def expires(self, door):
        """By Keystone's clock; 0: there is no token."""
        return door.gateway.metrics().sum(_EXPIRES, cloud="prod")

    def test_renewal(self):
        """Tokens come and go, and no request fails."""
        self.keystone.restart(expiration_s=_SHORT_LIFE_S)
        self.addCleanup(self.keystone.restart, keystone_case.LIFE_S)
        self.nova.auth = nova_auth.ByKeystone(self.keystone)
        door = self.open()
        ends = set()

        def look():
            self.assert_works(door)
            ends.add(self.expires(door))
            return len(ends) == 3

        polling.until(look, "two renewals", 2 * _LIMIT_S, step_s=0.3)
        self.assertEqual(set(self.requests(door)), {"ok"})
        self.assertEqual(set(self.logins(door)), {"ok"})
        self.assertGreater(len(self.shown()), 1)
        # Who does not use it lets it go.
        polling.until(
            lambda: self.expires(door) == 0, "its end", _LIMIT_S, 0.2
        )
        self.assert_works(door)

    def test_revoked(self):
        """Nova's 401 leads to one new token, once."""
        self.nova.auth = nova_auth.ByKeystone(self.keystone)
        door = self.open()
        self.assert_works(door)
        self.keystone.revoke(self.shown()[0])
        self.assert_works(door)
        self.assert_works(door)
        self.assertEqual(self.logins(door), {"ok": 2})
        self.assertEqual(self.requests(door), {"ok": 3, "refused": 1})
        self.assertEqual(len(self.shown()), 2)

    def test_changed_password(self):
        """In Keystone first, in the file later."""
        # Of its own: what Keystone has issued to a user in the second in which
        # the password changes is not good either, for whichever test.
        user = self.add_user("changing")
        self.nova.auth = nova_auth.ByKeystone(self.keystone)
        door = self.open(self.cloud(keystone={"user": "changing"}))
        self.assert_works(door)
        self.keystone.set_password(user, "another password")
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        portal.write_secret(self.directory, "prod", "another password")
        self.assert_works(door)

    def test_wrong_password(self):
        """Keystone hears it once, however many users come."""
        door = self.open()
        portal.write_secret(self.directory, "prod", "a wrong password")
        failed = self.keystone.logins(401)
        for _ in range(10):
            token = self.nova.add_console().token
            self.assert_error(door, token, *_REFUSED)
        self.assertEqual(self.keystone.logins(401), failed + 1)
        self.assertEqual(self.logins(door)["refused"], 1)
        record = door.gateway.wait_record("cloud_failed", service="keystone")
        self.assertIn("401", record["error"])
        portal.write_secret(self.directory, "prod", portal.PASSWORD)
        self.assert_works(door)
        self.assertEqual(self.logins(door)["ok"], 1)

    def test_no_password_file(self):
        door = self.open()
        path = portal.secret_path(self.directory)
        os.rename(path, path + ".away")
        self.assert_error(door, self.nova.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed", service="keystone")
        self.assertNotIn(portal.PASSWORD, record["error"])
        os.rename(path + ".away", path)
        self.assert_works(door)


if __name__ == "__main__":
    runner.main("keystone-manage", "openssl")
