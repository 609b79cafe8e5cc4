# SPDX-License-Identifier: Apache-2.0
"""A test case with the desktops of a cloud.

Keystone, Nova, hypervisors, and the gateway before them all.

A machine is known by its number: hypervisor(N) listens at 127.0.0.N, as Nova
leaves it: without a ticket. Its certificate names it as the cloud's template
wants it, so that nobody passes for another.
"""

import html
import os
import re
from urllib import parse

from tests.migration import move_case
from tests.openstack import cloud
from tests.testbed import gateway
from tests.testbed import migration
from tests.testbed import portal
from tests.testbed import processes
from tests.testbed import qemu
from tests.testbed import spiceclient
from tests.testbed import viewer

TOOLS = (
    *("qemu-system-x86_64", "remote-viewer", "Xvfb", "xdotool", "xwd"),
    *("openssl", "curl"),
)
CLOUD = "prod"
TEMPLATE = "O=Test,CN={host}"
# What remote-viewer opens on a machine with every device. It opens webdav once
# the user shares a folder.
CHANNELS = move_case.SPICY_CHANNELS - {(qemu.WEBDAV, 0)}


class DesktopCase(move_case.MoveCase):
    """One cloud for all tests of a class, its desktops for one test alone.

    Attributes:
      cloud: a cloud.Cloud.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cloud = cloud.Cloud()
        cls.addClassCleanup(cls.cloud.stop)
        cls.cloud.start()

    def setUp(self):
        super().setUp()
        self.cloud.reset()
        self.addCleanup(self.check_secrets)
        self._watched = []

    def hypervisor(self, number, subject=None, names=(), **how):
        """A running QEMU as Nova makes one; see MoveCase.machine.

        Args:
          subject: of its certificate; None: as TEMPLATE wants it.
          names: that the certificate is for.
        """
        address = f"127.0.0.{number}"
        self._x509_dirs[number] = self.authority.x509_dir(
            f"host{number}",
            subject or subject_of(address),
            names or (f"DNS:host{number}.example.test",),
        )
        return self.machine(number, password=None, **how)

    def start_cloud_gateway(self, servers=None, how=None, **config):
        """A running gateway with a portal for the cloud.

        Args:
          servers: how hypervisors are dialled; None: by TLS only, subjects
            by TEMPLATE.
          how: more keys of the cloud.
          config: as of gateway.Gateway.
        """
        certificate, key = self._portal_certificate()
        entry = {
            **self.cloud.entry(CLOUD, self.directory),
            "servers": self.servers() if servers is None else servers,
            "title": move_case.TITLE,
            **(how or {}),
        }
        own = {"certificate": certificate, "key": key}
        config.setdefault("portal", {"address": "127.0.0.1:0", **own})
        made = self.start_gateway((), clouds=[entry], **config)
        self._watched.append(made)
        return made

    def servers(self, **changes):
        """How the cloud's hypervisors are dialled; None removes a key."""
        said = {
            "require_secure": True,
            "ca_file": self.authority.cert_path,
            "host_subject": TEMPLATE,
            **changes,
        }
        return {key: v for key, v in said.items() if v is not None}

    def _portal_certificate(self):
        """Made once for a test: two gateways of it may share it."""
        path = os.path.join(self.directory, "ca", "portal-cert.pem")
        if not os.path.exists(path):
            return self.authority.issue("portal", "O=Test,CN=portal")
        return path, path.replace("-cert", "-key")

    def register(self, vm, instance=None, **changes):
        """The machine becomes an instance; returns a token for its console.

        Args:
          instance: its id; a new one if None.
          changes: of what Nova answers: host, port, tls_port.
        """
        answer = {
            "host": vm.address,
            "port": vm.port,
            "tls_port": vm.tls_port or None,
            **changes,
        }
        console = self.cloud.nova.add_console(instance=instance, **answer)
        return console.token

    def url(self, made, token, path="/nova"):
        """What Nova tells its user."""
        return f"https://localhost:{portal_port(made)}{path}?token={token}"

    def curl(self, url, *options, out="download"):
        """curl without a word of its own: (exit code, path of the body).

        The portal's certificate is checked as any.
        """
        path = os.path.join(self.directory, out)
        ca = ("--cacert", self.authority.cert_path)
        code, _, errors = processes.run(
            ["curl", "-sS", *ca, "-D", path + ".head", "-o", path]
            + [*options, url],
            env=viewer.private_environment(self.directory),
        )
        return code, path if code == 0 else errors

    def download(self, made, token, out="desktop.vv"):
        """The connection file, on disk; returns its path."""
        code, path = self.curl(self.url(made, token), "--fail", out=out)
        self.assertEqual(code, 0, path)
        with open(path + ".head", encoding="latin-1") as stream:
            head = stream.read().lower()
        self.assertIn("content-type: application/x-virt-viewer", head)
        self.assertIn("cache-control: no-store", head)
        return path

    def follow_page(self, made, token):
        """The page as a browser gets it; returns the file's URL in it."""
        url = self.url(made, token)
        code, path = self.curl(url, "--fail", "-H", f"Accept: {portal.BROWSER}")
        self.assertEqual(code, 0, path)
        with open(path, encoding="utf-8") as stream:
            page = stream.read()
        refresh = re.search(r'http-equiv="?refresh"?[^>]*url=([^">]+)', page)
        self.assertTrue(refresh, page)
        link = html.unescape(refresh[1])
        self.assertIn(f'href="{refresh[1]}"', page)
        return parse.urljoin(url, link)

    def status(self, made, token, *options):
        """(status, body) of the portal's answer, as curl gets it."""
        code, path = self.curl(self.url(made, token), *options, out="answer")
        self.assertEqual(code, 0, path)
        with open(path + ".head", encoding="latin-1") as stream:
            first = stream.readline()
        with open(path, encoding="utf-8") as stream:
            return int(first.split()[1]), stream.read()

    def entries(self, path):
        with open(path, "rb") as stream:
            return gateway.vv_entries(stream.read())

    def open(self, path, **how):
        """remote-viewer with this file, which it may delete."""
        window = viewer.RemoteViewer(
            self.directory,
            self.display,
            path,
            move_case.TITLE,
            **move_case.DEBUG,
            **how,
        )
        self.addCleanup(window.stop)
        return window

    def open_piped(self, url):
        """`curl URL | remote-viewer -`."""
        pipe = os.path.join(self.directory, "pipe")
        os.mkfifo(pipe)
        window = self.open(pipe, piped=True)
        code, said = self.curl(url, "--fail", out="pipe")
        self.assertEqual(code, 0, said)
        return window

    def announce(self, source, destination, **changes):
        """What libvirt tells: the destination's certificate, too."""
        said = {"cert_subject": subject_of(destination.address), **changes}
        migration.announce(source, destination, **said)

    def check_desktop(self, window, vm, key="a", tls=True):
        """All channels are open, and picture and keys are the machine's."""
        window.wait_window()
        self.until(
            lambda: set(vm.channels()) == CHANNELS, "all channels", window
        )
        self.assertEqual(set(vm.channels().values()), {tls})
        self.check_key(window, vm, key)

    def client(self, made, path):
        """A client of a few words, with what a connection file says."""
        entries = self.entries(path)
        made_client = spiceclient.Client(
            entries["password"], port=int(entries["tls-port"]), tls=True
        )
        self.addCleanup(made_client.close)
        return made_client

    def check_secrets(self):
        """No gateway of the test has said what only two should know."""
        for made in self._watched:
            if made.process:
                log = made.process.errors()
                for secret in self.cloud.secrets():
                    self.assertNotIn(secret, log)


def subject_of(host):
    """What TEMPLATE makes of a host."""
    return TEMPLATE.replace("{host}", host)


def portal_port(made):
    """Where a gateway's portal listens."""
    address = made.wait_record("portal_listening")["address"]
    return int(address.rpartition(":")[2])
