# SPDX-License-Identifier: Apache-2.0
"""A test case with Debian's Keystone, a Nova that asks it, and portals."""

import shutil
import unittest

from tests.openstack import portal_case
from tests.testbed import keystone
from tests.testbed import nova_auth
from tests.testbed import pki
from tests.testbed import portal
from tests.testbed import processes

LIFE_S = 3600  # of tokens, unless a test wants another one
# As Nova's middleware keeps what it knows of a token.
_NOVA_KEEPS_S = 300
HARMLESS = "bystander"  # a user, and a role that nobody gives a right


class _Identity:
    """A Keystone with what all tests need in it."""

    def __init__(self, tls):
        directory = processes.temporary_directory()
        unittest.addModuleCleanup(
            shutil.rmtree, directory, ignore_errors=True
        )
        self.authority = pki.Authority(directory, "keystone-ca")
        certificate = self.authority.issue("keystone") if tls else None
        self.keystone = keystone.Keystone(
            directory, certificate, self.authority.cert_path, LIFE_S
        )
        unittest.addModuleCleanup(self.keystone.stop)
        self.keystone.start()
        self.project = self.keystone.add_project(portal.PROJECT)
        self.role = self.keystone.add_role(nova_auth.ROLE)
        self.user = self.add_user(portal.USER, self.role)
        self.add_user(HARMLESS, self.keystone.add_role(HARMLESS))
        self.compute = self.keystone.add_service("compute", "nova")

    def add_user(self, name, role_id):
        return self.keystone.add_user(
            name, portal.PASSWORD, self.project, role_id
        )


class KeystoneCase(portal_case.PortalCase):
    """One Keystone for all classes of a file: its database takes its time.

    A user "spicegate" has the role of nova_auth in the project "service",
    another one has a role without any right.

    Attributes:
      keystone: up, with the user's right password, before each test.
      authority: has signed its certificate, where TLS is set.
      project, user, compute: ids of them and of the compute service.
    """

    TLS = False
    _made = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.TLS not in cls._made:
            cls._made[cls.TLS] = _Identity(cls.TLS)
        made = cls._made[cls.TLS]
        cls.keystone = made.keystone
        cls.authority = made.authority
        cls.project, cls.user = made.project, made.user
        cls.compute = made.compute

    def start_nova(self, cache_s=_NOVA_KEEPS_S, **how):
        """A Nova that asks Keystone."""
        auth = nova_auth.ByKeystone(self.keystone, cache_s=cache_s)
        return super().start_nova(auth=auth, **how)

    def cloud(self, name="prod", made=None, **more):
        """An entry of "clouds" by password; "keystone" in `more` is added."""
        entry = portal.nova_cloud(
            self.directory, made or self.nova, self.keystone, name
        )
        entry["keystone"].update(more.pop("keystone", {}))
        entry.update(more)
        return entry

    def credential_cloud(self, who, secret, name="prod", **more):
        """The same by application credential.

        Args:
          who: keys of "application_credential" but for the file.
        """
        entry = self.cloud(name, **more)
        path = portal.write_secret(self.directory, name, secret)
        entry["keystone"] = {
            "url": self.keystone.url,
            "application_credential": {**who, "secret_file": path},
        }
        return entry

    def add_credential(self, name, secret, rules=None):
        """An application credential of the user's; returns its id."""
        token = self.keystone.login(
            portal.USER, portal.PASSWORD, portal.PROJECT
        )
        return self.keystone.add_credential(
            token, self.user, name, secret, rules
        )

    def add_user(self, name):
        """A user like "spicegate"; returns its id."""
        made = self._made[self.TLS]
        return made.add_user(name, made.role)

    def tell_where(self, url, interface="public", region=keystone.REGION):
        """Nova's place in the catalog, until the test ends."""
        made = self.keystone.add_endpoint(
            self.compute, url, interface, region
        )
        self.addCleanup(self.keystone.ask, "DELETE", f"/endpoints/{made}")

    def logins(self, door):
        """As requests() of portal_case, for Keystone."""
        return self.requests(door, "keystone")

    def shown(self):
        """The service tokens that Nova has seen, in their order."""
        seen = [r.headers.get("x-auth-token") for r in self.nova.requests()]
        return list(dict.fromkeys(seen))
