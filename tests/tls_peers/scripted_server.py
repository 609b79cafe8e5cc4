# SPDX-License-Identifier: Apache-2.0
"""A SPICE server of a few lines, to stand behind any TLS library.

Wire format: the SPICE protocol, version 2.2, with the mini data header. It
takes every ticket unread, names the session on main, and sends back what
arrives on a usbredir channel. Where TLS is spoken by another program, run()
speaks SPICE on that program's plain side.
"""

import hashlib
import socket
import ssl
import struct
import threading

from tests.testbed import processes
from tests.testbed import spiceclient

USBREDIR = 9
VMC_DATA = 101  # both ways

# Bodies of VMC_DATA that make the server end the channel, and how it ends.
SAY_GOODBYE = b"end with close_notify"
DROP_OUT = b"end with FIN"
# Bodies that make it do what gnutls.Link can, and go on.
REKEY, RENEGOTIATE = b"new keys", b"a new handshake"
# How a client ended it.
CLOSE_NOTIFY, TRUNCATED = "close_notify", "truncated"

_SESSION = 7
_CAPS = 0x0B  # AUTH_SELECTION, AUTH_SPICE, MINI_HEADER
_TICKET_BYTES = 4 + 128
_LIMIT_S = 60


def public_key():
    """A new RSA key as a link reply carries it: 162 bytes of DER."""
    code, pem, err = processes.run(["openssl", "genrsa", "1024"])
    if code:
        raise RuntimeError(err)
    argv = ["openssl", "rsa", "-pubout", "-outform", "PEM"]
    _, pem, _ = processes.run(argv, stdin=pem.encode())
    der = ssl.PEM_cert_to_DER_cert(
        pem.replace("PUBLIC KEY", "CERTIFICATE").strip() + "\n"
    )
    if len(der) != 162:
        raise ValueError(f"a key of {len(der)} bytes")
    return der


def run(link, key):
    """Serves one channel on a connected socket; returns how it ended.

    Raises EOFError where the client ends before its channel is open.
    """
    channel = _serve_link(link, key)
    if channel == spiceclient.MAIN:
        body = struct.pack("<8I", _SESSION, 1, 3, 2, 0, 10, 0, 0)
        link.sendall(spiceclient.message(spiceclient.MAIN_INIT, body))
    while True:
        try:
            kind, size = struct.unpack("<HI", _read(link, 6))
            body = _read(link, size)
        except EOFError:
            return CLOSE_NOTIFY
        except ssl.SSLEOFError:
            return TRUNCATED
        if body in (SAY_GOODBYE, DROP_OUT):
            return body
        if body == REKEY:
            link.rekey()
        elif body == RENEGOTIATE:
            link.renegotiate()
        elif channel == USBREDIR and kind == VMC_DATA:
            link.sendall(spiceclient.message(VMC_DATA, body))


def serve_quietly(link, key):
    """run() in a thread, for a channel that the test ends at any moment."""

    def work():
        try:
            run(link, key)
        except (OSError, EOFError):
            pass  # the test looks at the client's side

    threading.Thread(target=work, daemon=True).start()


def _serve_link(link, key):
    magic, _, _, size = struct.unpack("<4sIII", _read(link, 16))
    if magic != b"REDQ":
        raise ValueError(f"not a link: {magic!r}")
    body = _read(link, size)
    reply = struct.pack("<I162sIIII", 0, key, 1, 0, 178, _CAPS)
    link.sendall(struct.pack("<4sIII", b"REDQ", 2, 2, len(reply)) + reply)
    _read(link, _TICKET_BYTES)
    link.sendall(struct.pack("<I", 0))
    return body[4]


def _read(link, length):
    data = bytearray()
    while len(data) < length:
        piece = link.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


class Server:
    """The server on a port of its own, a thread for each connection.

    Attributes:
      port: where it listens on 127.0.0.1.
      tls: of each TLS connection, oldest first, (version, cipher, whether it
        was resumed) in OpenSSL's words.
      ends: how channels ended, in this order; see above.
      faults: what went wrong with connections, as exceptions. A gateway that
        does not answer a close_notify with one of its own is at fault.
    """

    def __init__(self, context=None):
        """Listens at once. `context`: of Python's ssl; plain if None."""
        self.tls = []
        self.ends = []
        self.faults = []
        self._context = context
        self._key = public_key()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def console(self, name="vm", **more):
        """Itself as an entry of the consoles file."""
        entry = {"name": name, "host": "127.0.0.1", "ticket": "any"}
        entry["tls_port" if self._context else "port"] = self.port
        entry.update(more)
        return entry

    def replace_context(self, context):
        """From the next connection on, as if the server had been restarted."""
        self._context = context

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                made, _ = self._listener.accept()
            except OSError:
                return  # stopped
            made.settimeout(_LIMIT_S)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(
                target=self._serve, args=(made,), daemon=True
            ).start()

    def _serve(self, made):
        try:
            with self._wrap(made) as link:
                how = run(link, self._key)
                self.ends.append(how)
                if self._context and how != DROP_OUT:
                    link.unwrap()
        except (OSError, EOFError, ValueError) as error:
            self.faults.append(error)

    def _wrap(self, made):
        if not self._context:
            return made
        link = self._context.wrap_socket(
            made, server_side=True, suppress_ragged_eofs=False
        )
        self.tls.append((link.version(), link.cipher()[0], link.session_reused))
        return link


def echo(test, link, num_messages=8, seed=b"seed"):
    """Sends messages of many sizes on a usbredir Link and compares.

    One byte, odd sizes, whole records and a little more; each is sent before
    the last one is back.
    """
    sizes = (1, 100, 1369, 16384, 16385, 4000, 30000)
    sent = [
        hashlib.shake_128(seed + bytes([n])).digest(sizes[n % len(sizes)])
        for n in range(num_messages)
    ]
    for number, body in enumerate(sent):
        link.send_message(VMC_DATA, body)
        if number:
            test.assertEqual(link.read_message(), (VMC_DATA, sent[number - 1]))
    test.assertEqual(link.read_message(), (VMC_DATA, sent[-1]))
