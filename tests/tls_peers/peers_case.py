# SPDX-License-Identifier: Apache-2.0
"""What the tests here share: a gateway with a TLS listener, clients of it."""

import os
import socket
import ssl

from tests.testbed import case
from tests.testbed import polling
from tests.testbed import spiceclient

_NOWHERE = {"name": "vm", "host": "127.0.0.1", "port": 1}
_LIMIT_S = 20


class PeersCase(case.Case):
    def start_gateway(self, consoles, **how):
        """As Case's; without the guard, unless it is asked for.

        Scripted servers talk about anything on a usbredir channel.
        """
        return super().start_gateway(consoles, **{"guard": "off", **how})

    def start_listener(self, **how):
        """A gateway for tests that go no further than the link reply."""
        return self.start_gateway([_NOWHERE], **how)

    def check_good_client(self, gateway):
        """An ordinary client gets its handshake and its link reply."""
        link = spiceclient.Link(gateway.tls_port, tls=True)
        try:
            reply = link.hello(spiceclient.MAIN)
            self.assertEqual(reply.error, spiceclient.OK)
        finally:
            link.close()


def trusting_context(version=None):
    """A client that takes any certificate, of one version if one is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = version
        context.maximum_version = version
    return context


def tls_socket(port, context, session=None, name=None):
    """A connected TLS socket; an end without close_notify is SSLEOFError.

    `session` is offered for resumption.
    """
    plain = socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(
            plain,
            session=session,
            server_hostname=name,
            suppress_ragged_eofs=False,
        )
    except BaseException:
        plain.close()
        raise


def linked(port, context, session=None, name=None):
    """A tls_socket() that has had its link reply.

    The gateway sends the tickets of TLS 1.3 together with that.
    """
    made = tls_socket(port, context, session, name)
    link = spiceclient.Link(connected=made)
    link.hello(spiceclient.MAIN)
    return made


def shown_certificate(port, context, name=None):
    """The certificate that such a client is shown, DER."""
    with tls_socket(port, context, name=name) as made:
        return made.getpeercert(binary_form=True)


def certificate_in(path):
    """The first certificate of a PEM file, DER."""
    with open(path, encoding="ascii") as stream:
        text = stream.read()
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text.partition(end)[0] + end)


def handshakes(gateway, leg):
    """{outcome: count} of one leg."""
    numbers = gateway.metrics()
    return {
        outcome: numbers.sum(
            "spicegate_tls_handshakes_total", leg=leg, outcome=outcome
        )
        for outcome in ("full", "resumed", "failed")
    }


def wait_no_links(gateway):
    """Waits until no connection of a client is on its way any more."""

    def idle():
        numbers = gateway.metrics()
        accepted = numbers.sum("spicegate_links_accepted_total")
        refused = numbers.sum("spicegate_links_refused_total")
        opened = numbers.sum("spicegate_channels_opened_total")
        return accepted == refused + opened

    polling.until(idle, "end of all links", _LIMIT_S)


class Usage:
    """What a gateway holds, to be compared later."""

    # What an allocator may keep after a storm; a leak of a connection's state
    # in the hundreds of connections that tests make is many times more.
    _SLACK_BYTES = 2 << 20

    def __init__(self, gateway, settled=True):
        """Looks at once if `settled` is False, without waiting for clients."""
        if settled:
            wait_no_links(gateway)
        self._gateway = gateway
        self._num_fds = self._count_fds()
        self._memory_bytes = gateway.process.memory_bytes()

    def check_no_growth(self, test):
        wait_no_links(self._gateway)
        polling.until(
            lambda: self._count_fds() <= self._num_fds,
            f"{self._num_fds} descriptors",
            _LIMIT_S,
        )
        now = self._gateway.process.memory_bytes()
        test.assertLess(now - self._memory_bytes, self._SLACK_BYTES)

    def _count_fds(self):
        return len(os.listdir(f"/proc/{self._gateway.process.pid}/fd"))
