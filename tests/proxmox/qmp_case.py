# SPDX-License-Identifier: Apache-2.0
"""A test case with machines whose second monitor belongs to the gateway."""

import os

from tests.testbed import case
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import qemu
from tests.testbed import qmp
from tests.testbed import spiceclient

# Of a password that the gateway sets: 20 s, and what a busy computer adds.
EXPIRY_LIMIT_S = 60
_INIT = spiceclient.display_init()


class QmpCase(case.Case):
    """Machines as of Case, each with a monitor socket for the gateway."""

    def setUp(self):
        super().setUp()
        self._x509_dir = None

    def socket_of(self, name):
        """Where the gateway finds the monitor of the machine of this name."""
        return os.path.join(self.directory, name + ".gateway")

    def desktop(self, name="desktop", kind="min", **how):
        """A running QEMU; see qemu.Vm for `how`.

        It begins with the password qemu.PASSWORD, which never expires.
        """
        listening = f"unix:{self.socket_of(name)},server=on,wait=off"
        return self.start_vm(
            name,
            kind,
            x509_dir=self.x509_dir() if kind in ("tls", "full") else None,
            extra=["-qmp", listening],
            guest=how.pop("guest", None),
            **how,
        )

    def x509_dir(self):
        """With the certificate of every machine here."""
        if self._x509_dir is None:
            authority = pki.Authority(self.directory)
            self._x509_dir = authority.x509_dir("machine")
        return self._x509_dir

    def console(self, name="desktop", **more):
        """An entry of the consoles file for desktop(name)."""
        return {"name": name, "qmp": self.socket_of(name), **more}

    def tls_console(self, name="desktop", **more):
        """The same for a machine with a TLS port, which is used then."""
        ca_file = os.path.join(self.x509_dir(), "ca-cert.pem")
        return self.console(name, ca_file=ca_file, **more)

    def client(self, **where):
        """A spiceclient.Client that is closed after the test."""
        made = spiceclient.Client(**where)
        self.addCleanup(made.close)
        return made

    def through(self, made, console="desktop", ticket=None):
        """A client of the gateway's, with a new ticket unless one is given."""
        return self.client(
            password=ticket or made.ticket(console), port=made.port
        )

    def direct(self, vm, password):
        """A client that goes past the gateway."""
        return self.client(
            password=password,
            port=vm.port or vm.tls_port,
            tls=not vm.port,
        )

    def assert_takes(self, vm, password):
        self.assertTrue(takes(vm, password), "the password is refused")

    def assert_refuses(self, vm, password):
        self.assertFalse(takes(vm, password), "the password is taken")

    def wait_expired(self, vm, password):
        polling.until(
            lambda: not takes(vm, password),
            f"expiry of the password of {vm.name}",
            EXPIRY_LIMIT_S,
            step_s=0.5,
        )

    def wait_ticket(self, made, console="desktop", limit_s=60):
        """Asks for a ticket until there is one, and returns it."""

        def ask():
            answer = made.request("POST", f"/v1/consoles/{console}/ticket")
            return answer.json()["ticket"] if answer.status == 201 else None

        return polling.until(ask, f"a ticket for {console}", limit_s, 0.2)

    def assert_no_ticket(self, made, console="desktop", status=503):
        """Asks for a ticket once; returns the answer's error text."""
        answer = made.request("POST", f"/v1/consoles/{console}/ticket")
        self.assertEqual(answer.status, status, answer.body)
        return answer.json()["error"]


def wait_display(vm):
    """Until a display that was linked is there, or QEMU waits for its INIT."""
    try:
        vm.wait_channels({(qemu.DISPLAY, 0)})
    except TimeoutError:
        pass  # it does so by itself now and then


def takes(vm, password):
    """Whether a machine lets this password in, without entering.

    A link to a session that is not there is refused for that reason only once
    its password was right.
    """
    link = spiceclient.Link(port=vm.port or vm.tls_port, tls=not vm.port)
    try:
        reply = link.hello(spiceclient.INPUTS, connection_id=1)
        result = link.ticket(reply, password)
    finally:
        link.close()
    if result == spiceclient.PERMISSION_DENIED:
        return False
    if result != spiceclient.BAD_CONNECTION_ID:
        raise ValueError(f"link result {result}")
    return True


def open_channels(client):
    """Opens main, display, inputs and cursor; returns their (type, id)."""
    client.open_main()
    opened = {(spiceclient.MAIN, 0)}
    for channel in (
        spiceclient.DISPLAY,
        spiceclient.INPUTS,
        spiceclient.CURSOR,
    ):
        link = client.link(channel)
        opened.add((channel, 0))
        if channel == spiceclient.DISPLAY:
            link.send_message(spiceclient.DISPLAY_INIT, _INIT)
    return opened


def connect_monitor(path):
    """A qmp.Qmp, or None while QEMU does not listen or serves another."""
    try:
        return qmp.Qmp(path, limit_s=1)
    except (OSError, EOFError):
        return None


def peer_ports(vm):
    """{port of the client's end} of every open channel."""
    listed = vm.qmp.command("query-spice")["channels"]
    return {channel["port"] for channel in listed}


def qmp_commands(made, result):
    """How many commands have ended like this."""
    return int(
        made.metrics().sum("spicegate_qmp_commands_total", result=result)
    )
