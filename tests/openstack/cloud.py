# SPDX-License-Identifier: Apache-2.0
"""A cloud as the gateway knows one: a real Keystone, Nova's API before it."""

import os
import shutil
import threading

from tests.testbed import keystone
from tests.testbed import nova
from tests.testbed import nova_auth
from tests.testbed import processes

_USER, _PASSWORD = "spicegate", "password-of-the-gateway"
_PROJECT = "service"
# As the middleware before Nova keeps what Keystone has said of a token.
_CACHE_S = 300


class _Auth(nova_auth.ByKeystone):
    """One question to Keystone at a time.

    Else the first crowd would ask it of one token hundreds of times.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._gate = threading.Lock()

    def refuses(self, method, path, headers):
        with self._gate:
            return super().refuses(method, path, headers)


class Cloud:
    """A Keystone with a user for the gateway, and the desktops of a Nova.

    The catalog says where Nova is. stop() it.

    Attributes:
      keystone, nova: of the testbed.
    """

    def __init__(self):
        self._directory = processes.temporary_directory()
        self.keystone = keystone.Keystone(self._directory)
        self.nova = None

    def start(self):
        self.keystone.start()
        self.nova = nova.Nova(_Auth(self.keystone, cache_s=_CACHE_S))
        project = self.keystone.add_project(_PROJECT)
        role = self.keystone.add_role(nova_auth.ROLE)
        self.keystone.add_user(_USER, _PASSWORD, project, role)
        service = self.keystone.add_service("compute", "nova")
        self.keystone.add_endpoint(
            service, self.nova.project_url(), "internal"
        )
        # The first of each takes seconds, for modules and tables.
        token = self.keystone.login(_USER, _PASSWORD, _PROJECT)
        self.keystone.validate(token)

    def stop(self):
        if self.nova:
            self.nova.stop()
        self.keystone.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def reset(self):
        """For the next test: no fault, no request so far."""
        self.nova.behave()
        self.nova.forget_requests()

    def entry(self, name, directory):
        """The cloud in the gateway's configuration.

        Args:
          name: what the gateway calls it.
          directory: for the file with the password.
        """
        path = os.path.join(directory, "keystone-password")
        with open(path, "w", encoding="ascii") as stream:
            stream.write(_PASSWORD + "\n")
        return {
            "name": name,
            "kind": "nova",
            "keystone": {
                "url": self.keystone.url,
                "user": _USER,
                "password_file": path,
                "project": _PROJECT,
            },
            "compute": {"interface": "internal", "region": keystone.REGION},
        }

    def go_down(self):
        """Nobody answers any more, neither Nova nor Keystone."""
        self.nova.stop()
        self.keystone.hang()

    def come_back(self):
        self.keystone.go_on()
        self.nova.start()

    def secrets(self):
        """What no log may hold: the password, tokens shown to Nova."""
        requests = self.nova.requests()
        shown = {r.headers.get("x-auth-token") for r in requests}
        tokens = {r.token for r in requests}
        return {_PASSWORD, *filter(None, shown), *filter(None, tokens)}
