# SPDX-License-Identifier: Apache-2.0
"""A CONNECT proxy that says what it is told to, and remembers who asked.

For what viewers do at a proxy that is not the gateway, and as the node beside
the gateway. One thread for each connection; they end with the process.
"""

import base64
import dataclasses
import select
import socket
import ssl
import threading

OK = b"HTTP/1.0 200 OK\r\n\r\n"
_MAX_REQUEST_BYTES = 8192
_LIMIT_S = 15
_PIECE_BYTES = 65536


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client of the proxy asked for.

    Attributes:
      line: the request line.
      headers: {name in lower case: value}.
    """

    line: str
    headers: dict

    @property
    def target(self):
        """HOST:PORT as the client wrote it."""
        return self.line.split(" ")[1]

    @property
    def credentials(self):
        """USER:PASSWORD as sent, or None."""
        kind, _, value = self.headers.get("proxy-authorization", "").partition(
            " "
        )
        return base64.b64decode(value).decode() if kind == "Basic" else None


class Proxy:
    """Listens on loopback until close().

    Attributes:
      port: where.
      requests: every Request so far, oldest first.
    """

    def __init__(
        self, answer, address="127.0.0.1", certificate=None, ok=OK
    ):
        """Starts at once.

        Args:
          answer: called with each Request, on its connection's thread. Returns
            bytes to say before the end of the connection, or a (host, port)
            to relay to, or a connected socket to relay to; None says nothing.
          certificate: (certificate path, key path) to speak TLS with.
          ok: what it says ahead of a relay.
        """
        self.requests = []
        self._ok = ok
        self._answer = answer
        self._sockets = []
        self._tls = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self):
        """Ends everything, tunnels too."""
        for each in [self._listener, *self._sockets]:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _start(self, what, *args):
        threading.Thread(target=what, args=args, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            self._start(self._serve, client)

    def _serve(self, client):
        try:
            client.settimeout(_LIMIT_S)
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
                self._sockets.append(client)
            request = parse(read_head(client))
            self.requests.append(request)
            self._say(client, self._answer(request))
        except (OSError, EOFError, ssl.SSLError):
            pass  # the client went
        finally:
            client.close()

    def _say(self, client, said):
        if said is None:
            client.recv(1)
        elif isinstance(said, bytes):
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
        else:
            server = said
            if isinstance(said, tuple):
                server = socket.create_connection(said, _LIMIT_S)
            self._sockets.append(server)
            client.sendall(self._ok)
            relay(client, server)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a proxy said to ask().

    Attributes:
      line: the status line.
      head: all of the head, as it came.
      body: everything behind it; empty with code 200.
      socket: connected through the proxy with code 200, else None. The
        caller closes it.
    """

    line: str
    head: bytes
    body: bytes
    socket: object

    @property
    def code(self):
        return int(self.line.split(" ")[1])


def ask(port, target, *lines, host=None, tls=False, address="127.0.0.1"):
    """Sends CONNECT as spice-gtk does and returns the Answer.

    Args:
      target: HOST:PORT, also of the Host line.
      lines: more lines of the head.
      host: what the Host line says instead; "" for no such line.
      tls: the proxy speaks TLS; its certificate is not checked.
    """
    asked = socket.create_connection((address, port), _LIMIT_S)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        asked = context.wrap_socket(asked)
    host = target if host is None else host
    head = [f"CONNECT {target} HTTP/1.0"]
    head += [f"Host: {host}"] if host else []
    head += ["Proxy-Connection: keep-alive", "User-Agent: GLib/2.74", *lines]
    asked.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    return _read_answer(asked)


def basic(user, password):
    """The line that a viewer sends for credentials in the proxy's URL."""
    value = base64.b64encode(f"{user}:{password}".encode()).decode()
    return f"Proxy-Authorization: Basic {value}"


def _read_answer(asked):
    head = read_head(asked)
    line = head.decode().split("\r\n")[0]
    if line.split(" ")[1] == "200":
        return Answer(line, head, b"", asked)
    with asked:
        body = b""
        while piece := asked.recv(_PIECE_BYTES):
            body += piece
    return Answer(line, head, body, None)


def read_head(connected):
    """Reads to the empty line of an HTTP head and no byte further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connected.recv(1)
        if not byte or len(head) > _MAX_REQUEST_BYTES:
            raise EOFError(f"no head: {head!r}")
        head += byte
    return head


def parse(head):
    """The Request of a head."""
    first, *others = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    pairs = [line.split(": ", 1) for line in others]
    return Request(first, {name.lower(): value for name, value in pairs})


def relay(one, other):
    """Moves bytes both ways until one side ends, then ends the other."""
    ways = {one: other, other: one}
    for each in ways:
        each.settimeout(_LIMIT_S)
    try:
        while True:
            ready = [s for s in ways if _has_more(s)] or select.select(
                list(ways), [], []
            )[0]
            for each in ready:
                data = each.recv(_PIECE_BYTES)
                if not data:
                    return
                ways[each].sendall(data)
    except (OSError, ValueError):
        pass
    finally:
        for each in ways:
            each.close()


def _has_more(connected):
    """Whether TLS holds bytes back that select() does not see."""
    return isinstance(connected, ssl.SSLSocket) and connected.pending()
