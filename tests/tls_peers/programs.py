# SPDX-License-Identifier: Apache-2.0
"""The openssl and GnuTLS programs as TLS peers with their plain side in hand.

Each is a child whose standard input and output are one socket of ours: what is
written there goes out encrypted, what arrives decrypted is read there.
"""

import re
import socket

from tests.testbed import polling
from tests.testbed import ports
from tests.testbed import processes

_LISTEN_TRIES = 3

# GnuTLS' names of what the metrics call a cipher.
_GNUTLS_CIPHERS = {
    "aes128_gcm": "AES-128-GCM",
    "aes256_gcm": "AES-256-GCM",
    "chacha20_poly1305": "CHACHA20-POLY1305",
}
_OPENSSL_12 = {
    "aes128_gcm": "ECDHE-{kind}-AES128-GCM-SHA256",
    "aes256_gcm": "ECDHE-{kind}-AES256-GCM-SHA384",
    "chacha20_poly1305": "ECDHE-{kind}-CHACHA20-POLY1305",
}
_OPENSSL_13 = {
    "aes128_gcm": "TLS_AES_128_GCM_SHA256",
    "aes256_gcm": "TLS_AES_256_GCM_SHA384",
    "chacha20_poly1305": "TLS_CHACHA20_POLY1305_SHA256",
}

# Quiet, and over when our side ends.
_S_CLIENT = ("-quiet", "-no_ign_eof")

VERSIONS = ("1.2", "1.3")
CIPHERS = tuple(_GNUTLS_CIPHERS)


def openssl_suite(version, cipher, kind):
    """Options of s_client and s_server that leave one suite.

    Args:
      version, cipher: in the words of the metrics.
      kind: of the server's key, "rsa" or "ecdsa".
    """
    if version == "1.3":
        return ["-tls1_3", "-ciphersuites", _OPENSSL_13[cipher]]
    suite = _OPENSSL_12[cipher].format(kind=kind.upper())
    return ["-tls1_2", "-cipher", suite]


def gnutls_suite(version, cipher, kind):
    """The same for gnutls-cli; the second word alone is a priority."""
    priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}"
    priority += f":-CIPHER-ALL:+{_GNUTLS_CIPHERS[cipher]}"
    if version == "1.2":
        priority += f":-KX-ALL:+ECDHE-{kind.upper()}"
    return ["--priority", priority]


class Peer:
    """A running program and the socket to its plain side.

    Attributes:
      child: the process.
      socket: ours; belongs to the Peer.
      port: where a server listens, 0 for a client.
    """

    def __init__(self, test, name, argv, port=0):
        """Starts argv in the test's directory; ends with the test."""
        self.port = port
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        with theirs:
            self.child = processes.Child(
                name, argv, test.directory, talk=theirs
            )
        test.addCleanup(self.stop)

    def stop(self):
        self.socket.close()
        self.child.stop()

    def says(self, pattern):
        """Waits until it has said this on standard error; the match."""
        return polling.until(
            lambda: re.search(pattern, self.child.errors()),
            f"{pattern} from {self.child.tail(5)}",
        )


def s_client(test, name, port, *options, commands=False):
    """An openssl client that says nothing of its own on the plain side.

    It leaves with a close_notify when our side ends. With `commands` a letter
    in front of what we send is one, such as R: that of SPICE's magic, too.
    """
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *_S_CLIENT]
    if not commands:
        argv.append("-nocommands")
    return Peer(test, name, [*argv, *options])


def gnutls_client(test, name, port, *options):
    argv = ["gnutls-cli", "--insecure", "--disable-sni", "--port", str(port)]
    argv += ["--logfile", f"{test.directory}/{name}.log"]
    return Peer(test, name, [*argv, *options, "127.0.0.1"])


def s_server(test, name, cert, key, *options):
    """An openssl server, one connection at a time, that is listening."""

    def argv(port):
        where = ["-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key]
        return ["openssl", "s_server", "-quiet", *where, *options]

    return _listening(test, name, argv)


def _listening(test, name, argv):
    """Starts a server on a free port; again when the port got lost."""
    for number in range(_LISTEN_TRIES):
        (port,) = ports.pick()
        peer = Peer(test, f"{name}-{number}", argv(port), port)
        polling.until(
            lambda: _is_listening(port) or not peer.child.running(),
            f"{name} on port {port}",
        )
        if peer.child.running():
            return peer
    raise RuntimeError(f"{name} does not start: {peer.child.tail()}")


def _is_listening(port):
    """Looks without connecting: a connection would be one to serve."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path, encoding="ascii") as stream:
            for line in stream.readlines()[1:]:
                fields = line.split()
                local = fields[1].rpartition(":")[2]
                if fields[3] == "0A" and int(local, 16) == port:
                    return True
    return False
