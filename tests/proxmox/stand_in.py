# SPDX-License-Identifier: Apache-2.0
"""A node's own proxy, as strict as Proxmox's is with what it is told.

It judges tickets by the Host line alone, and a node that it sends a client to
has to answer with exactly one form. What it does not do: limits, time limits,
logs, and looking at an age.
"""

import socket

from tests.proxmox import proxy
from tests.testbed import proxmox

_LIMIT_S = 15
_INVALID = b"HTTP/1.0 401 invalid ticket\r\nConnection: close\r\n\r\n"
_LOOP = b"HTTP/1.0 500 proxy loop detected\r\nConnection: close\r\n\r\n"
_FAILED = b"HTTP/1.0 596 no such node\r\nConnection: close\r\n\r\n"


class SpiceProxy(proxy.Proxy):
    """The proxy of one node.

    Attributes:
      heard: what the next nodes have answered, all of each head.
    """

    def __init__(self, key, node, places):
        """Starts at once.

        Args:
          key: what the cluster's key file holds.
          places: {node: (host, port)} of other nodes' proxies.
        """
        self.heard = []
        self._secret = proxmox.secret(key)
        self._node = node
        self._places = places
        super().__init__(self._decide)

    def _decide(self, request):
        host, _, port = request.headers.get("host", "").rpartition(":")
        fields = self._fields(host)
        if fields is None or fields[3] != port:
            return _INVALID
        node = fields[2]
        if node in (self._node, "localhost"):
            return ("127.0.0.1", int(port))
        if request.headers.get("pvedisableproxy"):
            return _LOOP
        if node not in self._places:
            return _FAILED
        return self._ask_next(self._places[node], f"{host}:{port}")

    def _fields(self, ticket):
        """Time, id, node and port of a well signed ticket, else None."""
        plain = ticket.rpartition("::")[0]
        kind, *fields = plain.split(":")
        if proxmox.sign(plain, self._secret) != ticket or len(fields) != 4:
            return None
        return fields if kind == "pvespiceproxy" else None

    def _ask_next(self, place, target):
        """A socket behind the next proxy, or what that one has said."""
        asked = socket.create_connection(place, _LIMIT_S)
        lines = [
            f"CONNECT {target} HTTP/1.0",
            f"Host: {target}",
            "Proxy-Connection: keep-alive",
            "User-Agent: spiceproxy",
            "PVEDisableProxy: true",
            "PVEClientIP: 192.0.2.77",
        ]
        asked.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = proxy.read_head(asked)
        self.heard.append(head)
        if head != proxy.OK:
            asked.close()
            return head
        return asked
