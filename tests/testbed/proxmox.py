# SPDX-License-Identifier: Apache-2.0
"""A Proxmox cluster, as far as it signs tickets for its SPICE proxy.

    pvespiceproxy:<time>:<vmid>:<node>[:<port>]::<signature>
"""

import base64
import hashlib
import hmac
import time

MIN_AGE_S, MAX_AGE_S = -20, 40  # good between these, both excluded
PORTS = range(61000, 62000)


def secret(key):
    """What a cluster with the key file `key` (bytes) signs with."""
    digest = hmac.new(key, b"", hashlib.sha256).digest()
    return base64.b64encode(digest).rstrip(b"=").decode()


def sign(plain, signer):
    """`plain` with the signature of the secret `signer` behind it."""
    digest = hashlib.sha1((plain + signer).encode()).hexdigest()
    return f"{plain}::{digest}"


class Cluster:
    """One key, and the tickets made with it.

    Attributes:
      key: what the key file holds.
    """

    def __init__(self, key=b"a test cluster's key\n"):
        self.key = key
        self._secret = secret(key)

    def write_key(self, path):
        """Writes the key file; returns `path`."""
        with open(path, "wb") as stream:
            stream.write(self.key)
        return path

    def ticket(self, vmid=100, node="localhost", port=None, age_s=0):
        """A ticket, to be sent as the host name of CONNECT.

        Args:
          vmid: the machine.
          node: where it runs; in lower case in the ticket.
          port: of its SPICE server; None for the form of before 2026.
          age_s: how long ago it was made; negative: in the future.
        """
        issued_s = int(time.time()) - age_s
        plain = f"pvespiceproxy:{issued_s:08x}:{vmid}:{node.lower()}"
        if port is not None:
            plain += f":{port}"
        return sign(plain, self._secret)


def forged(ticket):
    """`ticket` with another last digit."""
    return ticket[:-1] + ("1" if ticket.endswith("0") else "0")


def vv(ticket, proxy, tls_port, password, ca_pem, host_subject, title="VM 100"):
    """The .vv file that Proxmox's API gives, with all keys that it writes.

    Args:
      ticket: the host.
      proxy: URL of the CONNECT proxy.
      tls_port: of the machine's SPICE server.
      password: of the same.
      ca_pem: its CA.
      host_subject: its certificate's subject.
      title: of the window.
    """
    entries = {
        "type": "spice",
        "title": title,
        "host": ticket,
        "proxy": proxy,
        "tls-port": tls_port,
        "password": password,
        "ca": ca_pem.replace("\n", "\\n"),
        "host-subject": host_subject,
        "delete-this-file": 1,
        "secure-attention": "Ctrl+Alt+Ins",
        "toggle-fullscreen": "Shift+F11",
        "release-cursor": "Ctrl+Alt+R",
    }
    lines = [f"{key}={value}\n" for key, value in entries.items()]
    return "[virt-viewer]\n" + "".join(lines)
