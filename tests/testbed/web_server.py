# SPDX-License-Identifier: Apache-2.0
"""HTTP and HTTPS servers on loopback that a test can end and start again.

Base of the stand-ins for services of a cloud.
"""

import errno
import http.server
import socket
import socketserver
import ssl
import sys
import threading

from tests.testbed import polling

_BIND_LIMIT_S = 60
_CLIENT_LIMIT_S = 120


class WebServer:
    """One server with a thread for each connection.

    Attributes:
      port: where it listens; the same after stop() and start().
      connections: how many have been taken.
    """

    def __init__(self, handler, host="127.0.0.1", certificate=None):
        """Binds a port and starts to answer.

        Args:
          handler: a subclass of Handler.
          host: "127.0.0.1" or "::1".
          certificate: (certificate path, key path) for https.
        """
        self.host = host
        self.port = 0
        self.connections = 0
        self._handler = handler
        self._certificate = certificate
        self._server = None
        self._over = threading.Event()
        self.start()

    @property
    def origin(self):
        """"http://127.0.0.1:PORT"."""
        scheme = "https" if self._certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    def start(self):
        """Listens again after stop(), on the same port; returns self."""
        if self._server is None:
            self._over.clear()
            self._server = polling.until(
                self._bind, f"port {self.port}", _BIND_LIMIT_S
            )
            self.port = self._server.server_address[1]
            threading.Thread(
                target=self._server.serve_forever, args=(0.05,), daemon=True
            ).start()
        return self

    def _bind(self):
        """None while somebody else has the port that was ours."""
        try:
            return _Server(
                self, self._handler, self.host, self.port, self._certificate
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return None

    def stop(self):
        """Refuses connections and cuts those that are open."""
        if self._server is not None:
            self._over.set()
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def wait_over(self, seconds):
        """For slow answers: sleeps so long; true if stop() came before."""
        return self._over.wait(seconds)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection, kept open for more requests.

    Attributes:
      owner: the WebServer.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        self.owner = self.server.owner
        self.request.settimeout(_CLIENT_LIMIT_S)
        if self.server.context:  # here, so that nobody else waits for it
            self.request.do_handshake()
        super().setup()

    def log_message(self, *_):
        pass

    def take_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, headers, body):
        """A whole answer."""
        self.send(self.head(status, headers, len(body)))
        if self.command != "HEAD":
            self.send(body)

    def head(self, status, headers, body_len):
        """The bytes before a body."""
        lines = [
            ("Content-Length", str(body_len)),
            *headers,
            ("Date", self.date_time_string()),
        ]
        text = f"HTTP/1.1 {status} {self.responses[status][0]}\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in lines)
        return text.encode("latin-1") + b"\r\n"

    def send(self, data):
        self.wfile.write(data)

    def cut(self):
        """Ends the connection, whatever has been sent of an answer."""
        self.close_connection = True


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, owner, handler, host, port, certificate):
        self.owner = owner
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        self._open = set()
        self._lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), handler)

    def get_request(self):
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def process_request(self, request, client_address):
        with self._lock:
            self._open.add(request)
        self.owner.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self):
        """Ends what is open; their threads notice."""
        with self._lock:
            left = list(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # has gone by itself

    def handle_error(self, request, client_address):
        """Clients that go away are none of the test's business."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
