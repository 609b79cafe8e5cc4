# SPDX-License-Identifier: Apache-2.0
"""From a console's URL to a picture, as Nova's user comes.

curl fetches the file, remote-viewer opens it under Xvfb, TLS to the gateway,
TLS to a QEMU without a ticket. The window shows the guest, keys arrive.
"""

import hashlib
import os
import shutil
import signal
import time
import uuid

from tests.migration import checks
from tests.migration import move_case
from tests.openstack import desktop_case
from tests.testbed import gateway
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import processes
from tests.testbed import qemu
from tests.testbed import runner

_NO_TEMPLATE = {"host_subject": None}
_NAME = "compute7.example.test"
_LIMIT_S = 60


class DesktopTest(desktop_case.DesktopCase):
    def test_file(self):
        """The whole way, and what is left of it at the end."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        instance = str(uuid.uuid4())
        token = self.register(vm, instance)
        path = self.download(made, token)
        self._check_entries(made, path)
        password = self.entries(path)["password"]
        window = self.open(path)
        self.check_desktop(window, vm)
        self.assertFalse(os.path.exists(path))
        self._check_metrics(made)
        console = f"{desktop_case.CLOUD}.{instance}"
        self._check_ticket_record(made, token, console)
        window.stop()
        made.wait_no_sessions()
        record = made.wait_record("session_end")
        self.assertEqual(record["console"], console)
        vm.wait_idle()
        self.assertNotIn(password, made.process.errors())

    def test_page_and_pipe(self):
        """A browser's page leads to the file; a viewer takes it from curl.

        The machine's certificate names its address, as Kolla's do.
        """
        vm = self.hypervisor(2, "O=Test,CN=compute", names=("IP:127.0.0.2",))
        made = self.start_cloud_gateway(self.servers(**_NO_TEMPLATE))
        token = self.register(vm)
        window = self.open_piped(self.follow_page(made, token))
        self.check_desktop(window, vm)

    def test_own_certificate(self):
        """Of the gateway, for the portal too; the other usual path.

        It is one that the viewer's system trusts, so the file has none.
        """
        vm = self.hypervisor(2)
        certificate, key = self.authority.issue("desk", "O=Test,CN=desk")
        made = self.start_cloud_gateway(
            portal={"address": "127.0.0.1:0"},
            tls={"certificate": certificate, "key": key},
        )
        url = self.url(made, self.register(vm), "/nova-console.vv")
        code, path = self.curl(url, "--fail", out="desktop.vv")
        self.assertEqual(code, 0, path)
        self.assertNotIn("ca", self.entries(path))
        trust = self.authority.cert_path
        self.check_desktop(self.open(path, SSL_CERT_FILE=trust), vm)

    def test_plain(self):
        """A hypervisor without TLS, where the cloud does without."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway(self.servers(require_secure=False))
        path = self.download(made, self.register(vm, tls_port=None))
        self.check_desktop(self.open(path), vm, tls=False)

    def test_tls_first(self):
        """Where the cloud could do without, it is used all the same."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway(self.servers(require_secure=False))
        client = self.client(made, self.download(made, self.register(vm)))
        client.open_main()
        self.assertEqual(set(vm.channels().values()), {True})

    def test_connect_alone(self):
        """No listener speaks SPICE by itself: the file goes by CONNECT."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway(
            listeners=[{"address": "127.0.0.1:0", "protocol": "connect"}],
            # Of localhost's addresses a viewer tries the first alone, ::1.
            public={"host": "127.0.0.1"},
        )
        path = self.download(made, self.register(vm))
        entries = self.entries(path)
        self.assertRegex(
            entries["proxy"],
            rf"^http://ticket:\w{{48}}@127.0.0.1:{made.connect_port}$",
        )
        self.assertNotIn("tls-port", entries)
        self.check_desktop(self.open(path), vm)

    def test_host_by_name(self):
        if not processes.can_see():
            self.fail("no right to make a name space for mounts")
        vm = self.hypervisor(2, desktop_case.subject_of(_NAME))
        made = self.start_cloud_gateway(hosts={_NAME: vm.address})
        path = self.download(made, self.register(vm, host=_NAME))
        client = self.client(made, path)
        client.open_main()
        self.assertEqual(vm.channels(), {(qemu.MAIN, 0): True})

    def test_ipv6(self):
        for how, certificate in (
            ({}, {"subject": desktop_case.subject_of("::1")}),
            (_NO_TEMPLATE, {"names": ("IP:::1",)}),
        ):
            with self.subTest(how=how):
                name = f"v6-{len(how)}"
                x509_dir = self.authority.x509_dir(name, **certificate)
                vm = self.start_vm(
                    name,
                    "full",
                    x509_dir=x509_dir,
                    address="::1",
                    password=None,
                )
                made = self.start_cloud_gateway(
                    self.servers(**how), name=name
                )
                path = self.download(made, self.register(vm), name + ".vv")
                window = self.open(path)
                self.check_desktop(window, vm)
                window.stop()
                vm.stop()

    def test_disconnect(self):
        """The admin side knows the console by its name while it is open."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        instance = str(uuid.uuid4())
        path = self.download(made, self.register(vm, instance))
        client = self.client(made, path)
        main = client.open_main()
        self.assertEqual(made.disconnect(f"prod.{instance}"), 1)
        self.assertTrue(main.closed_by_peer())
        made.wait_no_sessions()
        vm.wait_idle()
        self.assertEqual(made.disconnect(f"prod.{instance}"), 0)

    def _check_entries(self, made, path):
        entries = self.entries(path)
        self.assertEqual(entries["tls-port"], str(made.tls_port))
        self.assertEqual(entries["type"], "spice")
        self.assertEqual(entries["host"], "localhost")
        self.assertEqual(entries["title"], move_case.TITLE)
        self.assertEqual(entries["delete-this-file"], "1")
        self.assertIn("BEGIN CERTIFICATE", entries["ca"])
        for key in ("port", "proxy", "host-subject"):
            self.assertNotIn(key, entries)

    def _check_metrics(self, made):
        reading = made.metrics()
        self.assertEqual(reading.sum("spicegate_sessions_open"), 1)
        self.assertEqual(
            reading.sum("spicegate_channels_open"),
            len(desktop_case.CHANNELS),
        )
        self.assertEqual(checks.refusals(made), {})
        for service in ("keystone", "nova"):
            asked = {"cloud": desktop_case.CLOUD, "service": service}
            name = "spicegate_cloud_requests_total"
            self.assertEqual(reading.sum(name, **asked), 1)
            self.assertEqual(reading.sum(name, **asked, result="ok"), 1)
        self.assertEqual(reading.sum("spicegate_cloud_breaker_open"), 0)
        files = reading.sum("spicegate_portal_answers_total", kind="file")
        self.assertEqual(files, 1)

    def _check_ticket_record(self, made, token, console):
        record = made.wait_record("ticket_issued")
        digest = hashlib.sha256(token.encode()).hexdigest()[:8]
        wanted = {
            "console": console,
            "cloud": desktop_case.CLOUD,
            "source": "127.0.0.1",
            "token": digest,
        }
        self.assertEqual({k: record.get(k) for k in wanted}, wanted, record)
        self.assertEqual(len(made.records("ticket_issued")), 1)


class RefusedTest(desktop_case.DesktopCase):
    def test_tls_is_required(self):
        """A token for a machine without TLS opens nothing."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        token = self.register(vm, tls_port=None)
        code, body = self.status(made, token)
        self.assertEqual(code, 409, body)
        self.assertIn('"not_available"', body)
        self.assertNotIn(vm.address, body)
        # The next one's desktop is not in the least troubled.
        instance = str(uuid.uuid4())
        path = self.download(made, self.register(vm, instance))
        self.client(made, path).open_main()
        record = made.wait_record("ticket_issued")
        self.assertEqual(record["console"], f"prod.{instance}")

    def test_certificate_of_another_host(self):
        """Signed by the same authority: the template tells them apart."""
        vm = self.hypervisor(2, desktop_case.subject_of("127.0.0.3"))
        self._check_refused(vm, gateway.SERVER_TLS_SUBJECT, self.servers())

    def test_certificate_names_another_address(self):
        vm = self.hypervisor(
            2, "O=Test,CN=127.0.0.2", names=("IP:127.0.0.3",)
        )
        self._check_refused(
            vm, gateway.SERVER_TLS_NAME, self.servers(**_NO_TEMPLATE)
        )

    def test_wrong_authority(self):
        other = pki.Authority(self.directory, "other")
        self._check_refused(
            self.hypervisor(2),
            gateway.SERVER_TLS_CHAIN,
            self.servers(ca_file=other.cert_path),
        )

    def test_never_plain_instead(self):
        """Not even where the cloud would allow it: TLS was there, and bad."""
        other = pki.Authority(self.directory, "other")
        self._check_refused(
            self.hypervisor(2),
            gateway.SERVER_TLS_CHAIN,
            self.servers(ca_file=other.cert_path, require_secure=False),
        )

    def test_new_authority(self):
        """The hypervisors get new certificates while sessions are open."""
        vm = self.hypervisor(2)
        ca_path = os.path.join(self.directory, "servers-ca.pem")
        shutil.copyfile(self.authority.cert_path, ca_path)
        made = self.start_cloud_gateway(self.servers(ca_file=ca_path))
        client = self.client(made, self.download(made, self.register(vm)))
        client.open_main()
        other = pki.Authority(self.directory, "other")
        self._replace(made, ca_path, b"no certificate")
        made.wait_record("cloud_ca_refused", cloud=desktop_case.CLOUD)
        client.link(qemu.INPUTS)
        with open(other.cert_path, "rb") as stream:
            self._replace(made, ca_path, stream.read())
        made.wait_record("cloud_ca_loaded", cloud=desktop_case.CLOUD)
        client.link(qemu.CURSOR)  # of a session of before
        late = self.client(made, self.download(made, self.register(vm)))
        with self.assertRaises((EOFError, PermissionError, OSError)):
            late.open_main()
        self._await_refusals(made, {gateway.SERVER_TLS_CHAIN: 1})
        self.assertIn((qemu.MAIN, 0), vm.channels())

    def _await_refusals(self, made, expected):
        """A refusal is counted once its goodbye is over."""
        polling.until(
            lambda: checks.refusals(made) == expected,
            "refusals %s" % expected,
            60,
        )

    def _replace(self, made, path, content):
        with open(path + ".new", "wb") as stream:
            stream.write(content)
        os.rename(path + ".new", path)
        made.process.send_signal(signal.SIGHUP)

    def _check_refused(self, vm, reason, servers):
        """The session ends with this reason, and the portal does not care."""
        made = self.start_cloud_gateway(servers)
        token = self.register(vm)
        client = self.client(made, self.download(made, token))
        with self.assertRaises((EOFError, PermissionError, OSError)):
            client.open_main()
        record = made.wait_record("channel_refused")
        self.assertEqual(record["reason"], reason)
        self.assertTrue(record["console"].startswith("prod."), record)
        self._await_refusals(made, {reason: 1})
        self.assertFalse(vm.events("SPICE_INITIALIZED"))
        self.assertEqual(self.status(made, token)[0], 200)
        self.assertEqual(made.metrics().sum("spicegate_cloud_breaker_open"), 0)


class TokenTest(desktop_case.DesktopCase):
    """What Nova does with a token is of no concern to an open session."""

    instance = str(uuid.uuid4())

    def test_deleted_while_the_session_runs(self):
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        token = self.register(vm, self.instance)
        path = self.download(made, token)
        client = self.client(made, path)
        client.open_main()
        self.cloud.nova.forget(self.instance)
        self._wait_expired(made, token)
        self._check_goes_on(client, vm)

    def test_cloud_goes_down_while_the_session_runs(self):
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        window = self.open(self.download(made, self.register(vm)))
        self.check_desktop(window, vm)
        self.cloud.go_down()
        self.addCleanup(self.cloud.come_back)
        self.check_key(window, vm, "k")
        self.assertEqual(set(vm.channels()), desktop_case.CHANNELS)

    def test_consoles_file_has_no_part_in_it(self):
        """It changes, and knows nothing of the clouds' desktops."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        path = self.download(made, self.register(vm, self.instance))
        client = self.client(made, path)
        client.open_main()
        path = self.download(made, self.register(vm, self.instance))
        unused = self.client(made, path)
        made.write_consoles([vm.console("another")])
        made.process.send_signal(signal.SIGHUP)
        made.wait_record("consoles_loaded", consoles=1)
        self._check_goes_on(client, vm)
        name = f"{desktop_case.CLOUD}.{self.instance}"
        for method, request in (
            ("POST", f"/v1/consoles/{name}/ticket"),
            ("GET", f"/v1/consoles/{name}.vv"),
        ):
            self.assertEqual(made.request(method, request).status, 404)
        unused.open_main()
        self._check_goes_on(unused, vm)

    def test_file_unused_when_the_token_goes(self):
        """A ticket is good for its own time, whatever comes of the token."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        token = self.register(vm, self.instance)
        client = self.client(made, self.download(made, token))
        self.cloud.nova.forget(self.instance)
        self._wait_expired(made, token)
        client.open_main()
        self._check_goes_on(client, vm)

    def test_second_download(self):
        """The same link later: another ticket, and it works."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        token = self.register(vm)
        first = self.download(made, token)
        password = self.entries(first)["password"]
        window = self.open(first)
        self.check_desktop(window, vm)
        window.stop()
        vm.wait_idle()
        window = self.open(self._download_anew(made, token, password))
        self.check_desktop(window, vm, "k")

    def test_second_download_at_once(self):
        """The first viewer has used its ticket and gone; the link is good."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        token = self.register(vm)
        for number in range(3):
            with self.subTest(number=number):
                client = self.client(made, self.download(made, token))
                client.open_main()
                client.close()
                vm.wait_idle()

    def test_file_that_is_too_old(self):
        """It was not opened in time; the same link gives another at once."""
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway(tickets={"first_use_s": 1})
        token = self.register(vm)
        old = self.client(made, self.download(made, token))
        end = time.monotonic() + 1
        polling.until(lambda: time.monotonic() >= end, "end of the ticket")
        with self.assertRaises(PermissionError):
            old.open_main()

        def opened():
            client = self.client(made, self.download(made, token))
            try:
                client.open_main()
            except PermissionError:
                return None  # we were too slow ourselves
            return client

        new = polling.until(opened, "a file in time", _LIMIT_S)
        self.assertNotEqual(new.password, old.password)

    def test_second_viewer_takes_over(self):
        """Somebody opens the link again: the first viewer's session ends.

        QEMU has one session only, and so has a person, at another place.
        """
        vm = self.hypervisor(2)
        made = self.start_cloud_gateway()
        token = self.register(vm)
        first = self.client(made, self.download(made, token))
        main = first.open_main()
        path = self._download_anew(made, token, first.password)
        second = self.client(made, path)
        second.open_main()
        self.assertTrue(main.closed_by_peer())
        self._check_goes_on(second, vm)

    def _check_goes_on(self, client, vm):
        """Channels that are opened now get to the machine."""
        late = (qemu.INPUTS, qemu.CURSOR, qemu.PLAYBACK)
        for kind in late:
            client.link(kind)
        vm.wait_channels({(kind, 0) for kind in (qemu.MAIN, *late)})

    def _download_anew(self, made, token, password):
        """A file with another ticket than the one there was.

        Requests within a few seconds are one request and its echo.
        """

        def download():
            path = self.download(made, token)
            other = self.entries(path)["password"] != password
            return path if other else None

        return polling.until(download, "another ticket", _LIMIT_S, 0.5)

    def _wait_expired(self, made, token):
        """Until the gateway has heard that the token is gone."""
        polling.until(
            lambda: self.status(made, token)[0] == 404, "404", _LIMIT_S
        )


if __name__ == "__main__":
    runner.main(*desktop_case.TOOLS)
