# SPDX-License-Identifier: Apache-2.0
"""Keystone down, at the start or later; and who else may know its secrets."""

import os

from tests.openstack import keystone_case
from tests.testbed import nova_auth
from tests.testbed import portal
from tests.testbed import runner

_REFUSED = (502, "cloud_error")
_BUSY = (503, "busy")
_SILENT = (504, "cloud_error")


class DownTest(keystone_case.KeystoneCase):
    def down(self):
        self.keystone.stop()
        self.addCleanup(self._up)

    def _up(self):
        if self.keystone.process is None:
            self.keystone.start()

    def test_down_at_the_start(self):
        """The gateway starts, says what is wrong, and waits for it."""
        self.down()
        door = self.open()
        self.assert_error(door, self.nova.add_console().token, *_BUSY)
        record = door.gateway.wait_record("cloud_failed")
        self.assertEqual(record["service"], "keystone")
        self.assertEqual(door.gateway.request("GET", "/readyz").status, 200)
        self.keystone.start()
        self.wait_works(door)

    def test_down_later(self):
        """With a token in hand nobody notices."""
        door = self.open()
        self.assert_works(door)
        self.down()
        for _ in range(3):
            self.assert_works(door)
        self.assertEqual(self.logins(door), {"ok": 1})
        # Without one it is asked for, and comes back with Keystone.
        self.nova.auth = nova_auth.FixedToken("of nobody")
        self.assert_error(door, self.nova.add_console().token, *_BUSY)
        self.keystone.start()
        self.nova.auth = nova_auth.ByKeystone(self.keystone)
        self.wait_works(door)

    def test_hangs(self):
        """It takes connections and says nothing."""
        door = self.open()
        self.keystone.hang()
        self.addCleanup(self.keystone.go_on)
        self.assert_error(door, self.nova.add_console().token, *_SILENT)
        self.assertEqual(self.logins(door), {"timeout": 1})
        self.keystone.go_on()
        self.wait_works(door)

    def test_kept_from_it(self):
        """A Keystone that stays down is left in peace for a while."""
        self.down()
        door = self.open()
        for _ in range(20):
            self.assert_error(door, self.nova.add_console().token, *_BUSY)
        door.gateway.wait_record(
            "cloud_breaker", service="keystone", state="open"
        )
        self.assertGreater(self.logins(door)["rejected"], 0)


class SecretsTest(keystone_case.KeystoneCase):
    def test_nowhere(self):
        """Not in the log, the metrics, the process table, the files."""
        secret = "an application's secret"
        made = self.add_credential("secret", secret)
        credential = self.credential_cloud(
            {"id": made}, secret, name="app", paths=["/app.vv"]
        )
        door = self.open(self.cloud("word"), credential)
        self.assert_works(door)
        self.assert_works(door, "/app.vv")
        self.nova.auth = nova_auth.FixedToken("of nobody")
        token = self.nova.add_console().token
        self.assert_error(door, token, *_REFUSED)
        portal.write_secret(self.directory, "app", "a wrong secret")
        self.assert_error(door, token, *_REFUSED, "/app.vv")
        door.gateway.wait_record("cloud_failed", cloud="app")
        told = self.told(door)
        hidden = [portal.PASSWORD, secret, "a wrong secret", *self.shown()]
        hidden += [request.token for request in self.nova.requests()]
        self.assertGreater(len(hidden), 7)
        for word in hidden:
            self.assertNotIn(word, told)

    def told(self, door):
        """Whatever others can read of the gateway."""
        pid = door.gateway.process.pid
        text = door.gateway.process.output() + door.gateway.process.errors()
        text += door.gateway.metrics().text
        for name in ("cmdline", "environ", "comm"):
            with open(f"/proc/{pid}/{name}", encoding="utf-8") as stream:
                text += stream.read()
        for root, _, names in os.walk(os.path.join(door.gateway.directory)):
            for name in names:
                path = os.path.join(root, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += file.read()
        return text


if __name__ == "__main__":
    runner.main("keystone-manage", "openssl")
