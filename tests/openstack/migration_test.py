# SPDX-License-Identifier: Apache-2.0
"""The picture stays while the desktop moves to another compute host.

libvirt tells the source where its viewers shall go, the gateway tells them
something else, and Nova deletes the token they came with.
"""

import os
import uuid

from tests.migration import checks
from tests.migration import move_case
from tests.openstack import desktop_case
from tests.testbed import migration
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import viewer

_NAME = "compute3.example.test"
_LIMIT_S = 60


class _Case(desktop_case.DesktopCase):
    def begin(self, seamless=True, opens=None, hosts=None, **env):
        """An instance on one host, another host for it, a viewer.

        Args:
          opens: gives a window for a connection file; None: spicy.
          hosts: as of gateway.Gateway.
          env: of spicy.
        """
        self.source = self.hypervisor(2, seamless=seamless)
        self.destination = self.hypervisor(
            3, incoming=True, seamless=seamless
        )
        self.made = self.start_cloud_gateway(hosts=hosts)
        self.instance = str(uuid.uuid4())
        self.token = self.register(self.source, self.instance)
        path = self.download(self.made, self.token)
        window = opens(path) if opens else self._spicy(path, **env)
        window.wait_window()
        wanted = desktop_case.CHANNELS if opens else move_case.SPICY_CHANNELS
        self.source.wait_channels(wanted)
        self.check_key(window, self.source, "a")
        return window

    def _spicy(self, path, **env):
        entries = self.entries(path)
        ca_path = os.path.join(self.directory, "spicy-ca.pem")
        with open(ca_path, "w", encoding="ascii") as stream:
            stream.write(entries["ca"].replace("\\n", "\n"))
        target = viewer.Target(
            host=entries["host"],
            tls_port=int(entries["tls-port"]),
            password=entries["password"],
            ca_path=ca_path,
        )
        return self.spicy(target, **env)

    def check_moved(self, window, kind):
        """The gateway knows what has happened; nobody else knows where to."""
        console = f"{desktop_case.CLOUD}.{self.instance}"
        record = self.made.wait_record("migration")
        wanted = {
            "console": console,
            "kind": kind,
            "result": migration.COMPLETED,
        }
        self.assertEqual({k: record.get(k) for k in wanted}, wanted, record)
        self.assertEqual(
            checks.counts(self.made), {(kind, migration.COMPLETED): 1}
        )
        self.assertEqual(checks.refusals(self.made), {})
        self.assertEqual(checks.guarded(self.made), {})
        log = window.log()
        self.assertEqual(
            migration.told(log), [("localhost", 0, self.made.tls_port)]
        )
        for secret in (
            self.destination.address,
            desktop_case.subject_of(self.destination.address),
        ):
            self.assertNotIn(secret, log)

    def check_token_gone(self, window):
        """Nova deletes the old token; a new one leads to the new host."""
        self.cloud.nova.forget(self.instance)
        polling.until(
            lambda: self.status(self.made, self.token)[0] == 404,
            "404 for the old link",
            _LIMIT_S,
        )
        self.check_key(window, self.destination, "h")
        new = self.register(self.destination, self.instance)
        client = self.client(self.made, self.download(self.made, new))
        client.open_main()
        self.assertIn((qemu.MAIN, 0), self.destination.channels())
        self.assertFalse(self.source.channels())


class MigrationTest(_Case):
    def test_seamless(self):
        self._moves(migration.SEAMLESS)

    def test_semi_seamless(self):
        self._moves(migration.SEMI_SEAMLESS, seamless=False)

    def test_switch_host(self):
        self._moves(
            migration.SWITCH_HOST,
            seamless=False,
            **migration.NOT_SEMI_SEAMLESS,
        )

    def test_host_by_name(self):
        """What libvirt says where QEMU listens on every address."""
        if not processes.can_see():
            self.fail("no right to make a name space for mounts")
        window = self.begin(hosts={_NAME: "127.0.0.3"})
        self.move(window, self.source, self.destination, hostname=_NAME)
        self.wait_done(window, migration.SEAMLESS)
        self.check_key(window, self.destination, "k")
        self.check_moved(window, migration.SEAMLESS)
        self.assertNotIn(_NAME, window.log())

    def test_token_goes_before_the_guest(self):
        """Whatever Nova deletes, and when: the ticket is the gateway's."""
        window = self.begin()
        self.cloud.nova.forget(self.instance)
        polling.until(
            lambda: self.status(self.made, self.token)[0] == 404,
            "404",
            _LIMIT_S,
        )
        self.move(window, self.source, self.destination)
        self.wait_done(window, migration.SEAMLESS)
        self.check_key(window, self.destination, "k")
        self.check_moved(window, migration.SEAMLESS)

    def _moves(self, kind, seamless=True, **env):
        window = self.begin(seamless, **env)
        if kind == migration.SWITCH_HOST:
            self._switch()
        else:
            self.move(window, self.source, self.destination)
        self.wait_done(window, kind)
        self.destination.wait_channels(move_case.SPICY_CHANNELS)
        self.check_key(window, self.destination, "k")
        self.check_moved(window, kind)
        self.check_token_gone(window)

    def _switch(self):
        self.announce(self.source, self.destination)
        migration.start(self.source, self.destination.incoming_uri)
        migration.wait(self.source)
        migration.wait_viewers(self.source)


class RemoteViewerTest(_Case):
    def test_seamless(self):
        """remote-viewer links webdav at the destination, and there alone."""
        window = self.begin(opens=self.open)
        self.announce(self.source, self.destination)
        linked = desktop_case.CHANNELS | {(qemu.WEBDAV, 0)}
        self.wait_linked(window, self.destination, linked)
        migration.start(self.source, self.destination.incoming_uri)
        migration.wait(self.source)
        self.check_key(window, self.destination, "k")
        migration.wait_viewers(self.source)
        self.source.wait_idle()
        self.check_moved(window, migration.SEAMLESS)
        self.check_token_gone(window)


if __name__ == "__main__":
    runner.main("spicy", *desktop_case.TOOLS)
