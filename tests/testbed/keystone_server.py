# SPDX-License-Identifier: Apache-2.0
"""Keystone's own application behind Python's own HTTP server.

    /usr/bin/python3 -I keystone_server.py DIRECTORY PORT [CERTIFICATE KEY]

To be run by Debian's Python, which has Keystone, and isolated (-I), because a
module beside this one has its name. What DIRECTORY/keystone.conf names is made
by keystone-manage if it is not there yet. Prints one line with the port once it
serves, then one line for each request: METHOD PATH STATUS.

Several processes serve at the same time. Threads would not do with SQLite: a
connection that one thread leaves behind, inside a transaction, blocks all.
"""

import contextlib
import ctypes
import errno
import os
import signal
import socketserver
import sqlite3
import ssl
import sys
import time
from wsgiref import simple_server

ADMIN_PASSWORD = "first-admin-password"

_BIND_LIMIT_S = 60
_NUM_PROCESSES = 4
_PR_SET_PDEATHSIG = 1
_CLIENT_LIMIT_S = 20  # how long one that is silent may have a process


def _manage(config, *words):
    """keystone-manage in a child: it can be run once in a process."""
    child = os.fork()
    if child == 0:
        try:
            from keystone.cmd import manage

            sys.argv = ["keystone-manage", "--config-file", config, *words]
            manage.main()
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"keystone-manage {words[0]} failed")


def _prepare(directory, url):
    """Database, keys, the first administrator."""
    import keystone.cmd.manage  # noqa: here, so that no child has to

    config = os.path.join(directory, "keystone.conf")
    owner = (
        *("--keystone-user", str(os.geteuid())),
        *("--keystone-group", str(os.getegid())),
    )
    for name in ("fernet", "credential"):
        os.mkdir(os.path.join(directory, name), 0o700)
    _manage(config, "db_sync")
    _let_write_while_read(os.path.join(directory, "keystone.sqlite"))
    _manage(config, "fernet_setup", *owner)
    _manage(config, "credential_setup", *owner)
    _manage(
        config,
        "bootstrap",
        *("--bootstrap-password", ADMIN_PASSWORD),
        *("--bootstrap-public-url", url + "/v3"),
        *("--bootstrap-internal-url", url + "/v3"),
        *("--bootstrap-admin-url", url + "/v3"),
        *("--bootstrap-region-id", "RegionOne"),
    )
    os.mkdir(os.path.join(directory, "prepared"))


def _let_write_while_read(path):
    """A reader at the same time would else be "database is locked"."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")


class _Server(simple_server.WSGIServer):
    """One request at a time, no reverse look-up of any address."""

    request_queue_size = 256
    context = None

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address
        self.setup_environ()

    def get_request(self):
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)


class _Handler(simple_server.WSGIRequestHandler):
    def setup(self):
        self.request.settimeout(_CLIENT_LIMIT_S)
        if self.server.context:
            self.request.do_handshake()
        super().setup()

    def get_environ(self):
        environ = super().get_environ()
        if self.server.context:
            environ["HTTPS"] = "on"  # then URLs in answers are https
        return environ

    def log_request(self, code="-", size="-"):
        del size
        path = self.path.partition("?")[0]
        print(self.command, path, getattr(code, "value", code), flush=True)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        print(format % args, file=sys.stderr, flush=True)


def _bind(port):
    """A port that was ours may be somebody else's for a moment."""
    end = time.monotonic() + _BIND_LIMIT_S
    while True:
        try:
            return _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise
        time.sleep(0.1)


def main():
    directory, port, *certificate = sys.argv[1:]
    server = _bind(int(port))
    if certificate:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(*certificate)
    scheme = "https" if certificate else "http"
    if not os.path.exists(os.path.join(directory, "prepared")):
        _prepare(directory, f"{scheme}://127.0.0.1:{server.server_port}")
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = os.path.join(
        directory, "keystone.conf"
    )
    from keystone.server import wsgi

    sys.argv[1:] = []  # Keystone would read them
    server.set_app(wsgi.initialize_public_application())
    for _ in range(_NUM_PROCESSES):
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            server.serve_forever()
    print("port", server.server_port, flush=True)
    os.wait()
    sys.exit("a process of Keystone's has ended")


if __name__ == "__main__":
    main()
