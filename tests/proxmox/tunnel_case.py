# SPDX-License-Identifier: Apache-2.0
"""A test case with Proxmox's machines, nodes and files.

A machine is known by its number: it listens at 127.0.0.NUMBER, and number 1 is
therefore one of the node that the gateway is on. Its ticket is a random one
that was set over QMP and expires, as Proxmox does it.
"""

import os
import secrets

from tests.migration import move_case
from tests.proxmox import proxy
from tests.testbed import processes
from tests.testbed import proxmox
from tests.testbed import qemu
from tests.testbed import skip
from tests.testbed import viewer

TOOLS = (
    *("qemu-system-x86_64", "remote-viewer", "Xvfb", "xdotool", "xwd"),
    "openssl",
)
# Where Proxmox lets QEMU listen; the kernel gives these to nobody by itself.
PORTS = (proxmox.PORTS[0], proxmox.PORTS[-1])
NODE = "pve1"
_NODES = {f"host{number}": f"127.0.0.{number}" for number in range(2, 6)}
TUNNEL = "tunnel"
LOGIN = "Authentication required"  # title of the viewer's question

# What remote-viewer opens on a machine with every device. It opens webdav once
# the user shares a folder.
CHANNELS = move_case.SPICY_CHANNELS - {(qemu.WEBDAV, 0)}


class TunnelCase(move_case.MoveCase):
    """Machines as of MoveCase, and what a Proxmox node has beside them.

    Attributes:
      key_path: the cluster's key file.
      cluster: a proxmox.Cluster, which signs with it.
    """

    def setUp(self):
        super().setUp()
        self.cluster = proxmox.Cluster()
        self.key_path = self.cluster.write_key(
            os.path.join(self.directory, "pve-www.key")
        )

    def desktop(self, number=1, **how):
        """A running QEMU with a password that expires.

        Args:
          how: as of MoveCase.machine.
        """
        vm = self.machine(number, tls_ports=PORTS, **how)
        self.arm(vm)
        return vm

    def arm(self, vm, expire="+30", password=None):
        """Sets its password, a new one unless given, good until `expire`."""
        vm.password = password or secrets.token_hex(20)
        spice = {"protocol": "spice"}
        vm.qmp.command("set_password", password=vm.password, **spice)
        vm.qmp.command("expire_password", time=expire, **spice)

    def node(self, consoles=(), nodes=None, https=False, **config):
        """A running gateway in place of spiceproxy, on node NODE.

        Args:
          nodes: as in the configuration; None: "hostN" for machine(N).
          https: the listener speaks TLS, with a certificate for its address.
          config: as of gateway.Gateway; "proxmox" has more keys of it.
        """
        listener = {"address": "127.0.0.1:0", "protocol": "connect"}
        if https:
            listener["tls"] = True
            certificate, key = self.authority.issue("gateway")
            config["tls"] = {"certificate": certificate, "key": key}
        config.setdefault("listeners", [listener])
        # Of localhost's addresses a viewer tries the first alone, ::1.
        config.setdefault("public", {"host": "127.0.0.1"})
        more = config.pop("proxmox", {})
        return self.start_gateway(
            consoles,
            proxmox={
                "key_file": self.key_path,
                "node": NODE,
                "nodes": _NODES if nodes is None else nodes,
                **more,
            },
            **config,
        )

    def ticket(self, vm, cluster=None, **changes):
        """A ticket as the cluster signs it for a machine.

        Args:
          changes: other arguments of proxmox.Cluster.ticket.
        """
        number = int(vm.address.rpartition(".")[2])
        said = {
            "vmid": 100 + number,
            "node": NODE if number == 1 else f"host{number}",
            "port": vm.tls_port,
            **changes,
        }
        return (cluster or self.cluster).ticket(**said)

    def vv(self, vm, proxy_url, ticket=None, password=None):
        """What the Proxmox API does: a new password, and the .vv file.

        Args:
          password: what the file says instead of it.
        """
        self.arm(vm)
        return proxmox.vv(
            ticket or self.ticket(vm),
            proxy_url,
            vm.tls_port,
            password or vm.password,
            self.authority.pem(),
            move_case.subject_of(vm),
            move_case.TITLE,
        ).encode()

    def console(self, vm, name="desktop", **changes):
        """A machine as console, with what a viewer's tunnel needs."""
        return vm.console(
            name,
            title=move_case.TITLE,
            host_subject=move_case.subject_of(vm),
            **changes,
        )

    def open(self, vv, **how):
        """remote-viewer with this .vv file (bytes); waits for nothing.

        Args:
          how: as of viewer.RemoteViewer.
        """
        path = os.path.join(self.directory, "desktop.vv")
        with open(path, "wb") as stream:
            stream.write(vv)
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

    def check_desktop(self, window, vm, key="a", tls=True):
        """All channels are open, and picture and keys are the machine's."""
        self.wait_window(window)
        self.until(
            lambda: set(vm.channels()) == CHANNELS, "all channels", window
        )
        self.assertEqual(set(vm.channels().values()), {tls})
        self.check_key(window, vm, key)

    def wait_window(self, window):
        try:
            window.wait_window()
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{window.child.tail()}") from None

    def check_tunnels(self, made, num_open=len(CHANNELS)):
        """So many channels are open at the gateway, all of them tunnels."""
        made.wait_metric(
            lambda m: open_channels(m) == {TUNNEL: num_open},
            f"{num_open} tunnels",
        )

    def ask(self, made, target, *lines, **how):
        """CONNECT to the gateway; proxy.ask's Answer, closed at the end."""
        answer = proxy.ask(made.connect_port, target, *lines, **how)
        if answer.socket:
            self.addCleanup(answer.socket.close)
        return answer


def url(made):
    """Of the gateway as proxy."""
    port = made.connect_tls_port or made.connect_port
    scheme = "https" if made.connect_tls_port else "http"
    return f"{scheme}://127.0.0.1:{port}"


def open_channels(reading):
    is_open = reading.by("spicegate_channels_open", "channel")
    return {name: int(count) for name, count in is_open.items() if count}


def answers(made):
    """{code: how often} of a gateway's answers to CONNECT."""
    counted = made.metrics().by("spicegate_connect_answers_total", "code")
    return {int(code): int(count) for code, count in counted.items() if count}


def need_own_files():
    """Ends the process by the skip rule unless processes.seeing() works."""
    if not processes.can_see():
        skip.skip("no right to make a name space for mounts")
