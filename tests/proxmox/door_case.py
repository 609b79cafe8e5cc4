# SPDX-License-Identifier: Apache-2.0
"""A test case with doors, clients of a few words, and a server behind.

The server says again whatever it hears, until it hears BYE. What it hears must
begin like TLS, or the gateway would not let it through.
"""

import socket
import socketserver
import threading

from tests.testbed import case

# Begins like TLS, and has every byte.
HELLO = b"\x16\x03\x01\x00\xff" + bytes(range(256))
BYE = b"and bye"
OK = b"HTTP/1.0 200 OK\r\n\r\n"
FIN, RST = "FIN", "RST"
SHUT_WR = socket.SHUT_WR

_LIMIT_S = 15
# Clients at a time: a session may have 64 channels.
_LOT = 40


class Echo:
    """Sends back what it receives, on 127.0.0.1, until close().

    Hangs up once it has sent back BYE, so that a tunnel ends without delay: the
    gateway does not let a server know at once that its client has gone.
    """

    def __init__(self):
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.port = self._server.server_address[1]
        self.target = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A client that went is no event."""


class _Handler(socketserver.BaseRequestHandler):
    def handle(self):
        tail = b""
        while tail != BYE and (data := self.request.recv(65536)):
            tail = (tail + data)[-len(BYE) :]
            self.request.sendall(data)


class DoorCase(case.Case):
    """Doors in a row, each with listener options of its own.

    Attributes:
      echo: the server; the doors' allow-list has it and nothing else.
      made: the gateway, once start_doors() has returned.
      ports: of its listeners, in their order.
    """

    def setUp(self):
        super().setUp()
        self.echo = Echo()
        self.addCleanup(self.echo.close)
        self.made = None
        self.ports = []

    def start_doors(self, *listeners, consoles=(), **config):
        """A gateway with these listeners on ports the kernel chooses.

        Args:
          listeners: as in the configuration, without an address.
          config: more of the configuration.
        """
        if any(one.get("protocol") == "connect" for one in listeners):
            rule = {"hosts": ["127.0.0.0/8"], "ports": [self.echo.port]}
            config["connect"] = {"allow": [rule]}
        self.made = self.start_gateway(
            consoles,
            listeners=[{"address": "127.0.0.1:0", **one} for one in listeners],
            **config,
        )
        self.ports = [
            int(record["address"].rpartition(":")[2])
            for record in self.made.records("listening")
        ]

    def dial(self, port, *pieces, source=None):
        """A client that has said these pieces.

        Args:
          source: address to come from, somewhere in 127.0.0.0/8.
        """
        where = (source, 0) if source else None
        client = socket.create_connection(
            ("127.0.0.1", port), _LIMIT_S, source_address=where
        )
        self.addCleanup(client.close)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        return client

    def request(self, *headers, target=None, version="1.0", host=None):
        """A request for a tunnel to the echo server, or to another target.

        Args:
          headers: more lines.
          host: value of the Host line; None: the target, "": no such line.
        """
        target = target or self.echo.target
        lines = [f"CONNECT {target} HTTP/{version}"]
        if host != "":
            lines.append(f"Host: {target if host is None else host}")
        lines += headers
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def check_through(self, client, answer=OK, echo=HELLO):
        """It is told so, hears what it has said, and then ends the tunnel."""
        expected = answer + echo
        self.assertEqual(read(client, len(expected)), expected)
        client.sendall(BYE)
        self.assertEqual(read_to_end(client), (BYE, FIN))

    def check_cut(self, port, data, last=None, **how):
        """Data that ends with HELLO comes through however it is cut in two.

        Args:
          last: the last place to cut at; None: inside HELLO's first bytes.
          how: as of dial().
        """
        if last is None:
            last = len(data) - len(HELLO) + 4
        for first in range(1, last, _LOT):
            places = range(first, min(first + _LOT, last))
            # All beginnings before the first end: most are then read apart.
            clients = [self.dial(port, data[:at], **how) for at in places]
            for client, at in zip(clients, places):
                client.sendall(data[at:])
            for client, at in zip(clients, places):
                with self.subTest(cut_at=at), client:
                    self.check_through(client)

    def check_refused(self, reason, count, **more):
        """So many links have been refused for this reason so far."""
        self.made.wait_metric(
            lambda m: m.sum("spicegate_links_refused_total", reason=reason)
            == count,
            f"{count} times {reason}",
            **more,
        )

    def count(self, name, label):
        """{value of label: count} of spicegate_NAME_total, without zeros."""
        counts = self.made.metrics().by(f"spicegate_{name}_total", label)
        return {key: int(value) for key, value in counts.items() if value}


def read(client, length):
    """So many bytes; fewer only when the peer ends before."""
    data = b""
    while len(data) < length:
        piece = client.recv(length - len(data))
        if not piece:
            break
        data += piece
    return data


def read_to_end(client):
    """(bytes, FIN or RST) of all that comes until the peer ends."""
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        return data, RST
    return data, FIN
