# SPDX-License-Identifier: Apache-2.0
"""Certificates for QEMU and the gateway, made with the openssl program."""

import os

from tests.testbed import processes

SUBJECT = "O=Test,CN=vm.example.test"
_NAMES = ("DNS:vm.example.test", "DNS:localhost", "IP:127.0.0.1")


class Authority:
    """A CA of its own in one directory.

    Attributes:
      cert_path: the CA's certificate, PEM.
    """

    def __init__(self, directory, name="ca"):
        self._dir = os.path.join(directory, name)
        os.makedirs(self._dir)
        self.cert_path = os.path.join(self._dir, "ca-cert.pem")
        self._key_path = os.path.join(self._dir, "ca-key.pem")
        _openssl(
            *("req -x509 -newkey rsa:2048 -nodes -days 30".split()),
            *("-keyout", self._key_path, "-out", self.cert_path),
            *("-subj", f"/O=Test/CN=Test {name}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def pem(self):
        with open(self.cert_path, encoding="ascii") as stream:
            return stream.read()

    def issue(self, name, subject=SUBJECT, names=_NAMES):
        """Signs a server certificate.

        Args:
          name: stem of the files.
          subject: in certificate order, comma separated; no comma inside.
          names: subjectAltName entries.

        Returns:
          (certificate path, key path), both PEM.
        """
        stem = os.path.join(self._dir, name)
        extensions = (
            "basicConstraints=CA:FALSE\n"
            "keyUsage=digitalSignature,keyEncipherment\n"
            "extendedKeyUsage=serverAuth\n"
            f"subjectAltName={','.join(names)}\n"
        )
        with open(stem + ".ext", "w", encoding="ascii") as stream:
            stream.write(extensions)
        _openssl(
            *("req -newkey rsa:2048 -nodes".split()),
            *("-keyout", stem + "-key.pem", "-out", stem + ".csr"),
            *("-subj", "/" + subject.replace(",", "/")),
        )
        _openssl(
            *("x509 -req -days 30 -CAcreateserial -in".split()),
            *(stem + ".csr", "-CA", self.cert_path, "-CAkey", self._key_path),
            *("-extfile", stem + ".ext", "-out", stem + "-cert.pem"),
        )
        return stem + "-cert.pem", stem + "-key.pem"

    def x509_dir(self, name="server", subject=SUBJECT, names=_NAMES):
        """A directory as QEMU's x509-dir wants it; returns its path."""
        cert, key = self.issue(name, subject, names)
        path = os.path.join(self._dir, name + ".x509")
        os.makedirs(path)
        os.symlink(self.cert_path, os.path.join(path, "ca-cert.pem"))
        os.symlink(cert, os.path.join(path, "server-cert.pem"))
        os.symlink(key, os.path.join(path, "server-key.pem"))
        return path


def _openssl(*args):
    code, out, err = processes.run(["openssl", *args])
    if code:
        raise RuntimeError(f"openssl {' '.join(args)}: {out}{err}")
