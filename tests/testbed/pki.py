# SPDX-License-Identifier: Apache-2.0
"""Certificates for QEMU and the gateway, made with the openssl program."""

import os

from tests.testbed import processes

SUBJECT = "O=Test,CN=vm.example.test"
RSA, ECDSA = "rsa", "ecdsa"
_NAMES = ("DNS:vm.example.test", "DNS:localhost", "IP:127.0.0.1")
_NEW_KEY = {
    RSA: "-newkey rsa:2048 -nodes".split(),
    ECDSA: "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(),
}
_SERVER = (
    "basicConstraints=CA:FALSE\n"
    "keyUsage=digitalSignature,keyEncipherment\n"
    "extendedKeyUsage=serverAuth\n"
)
_AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n"


class Authority:
    """A CA of its own in one directory.

    Attributes:
      cert_path: the CA's certificate, PEM.
    """

    def __init__(self, directory, name="ca", kind=RSA, parent=None, days=30):
        """Makes the CA: self-signed, or an intermediate one of `parent`."""
        self._dir = os.path.join(directory, name)
        os.makedirs(self._dir)
        self._parent = parent
        if parent:
            subject = f"O=Test,CN=Test {name}"
            self.cert_path, self._key_path = parent.sign(
                os.path.join(self._dir, "ca"), subject, _AUTHORITY, kind, days
            )
            return
        self.cert_path = os.path.join(self._dir, "ca-cert.pem")
        self._key_path = os.path.join(self._dir, "ca-key.pem")
        _openssl(
            *("req", "-x509", "-days", str(days)),
            *_NEW_KEY[kind],
            *("-keyout", self._key_path, "-out", self.cert_path),
            *("-subj", f"/O=Test/CN=Test {name}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def pem(self):
        with open(self.cert_path, encoding="ascii") as stream:
            return stream.read()

    def issue(self, name, subject=SUBJECT, names=_NAMES, kind=RSA, days=30):
        """Signs a server certificate.

        Args:
          name: stem of the files.
          subject: in certificate order, comma separated; no comma inside.
          names: subjectAltName entries.
          kind: of the key.
          days: until it expires; negative for one that has.

        Returns:
          (certificate path, key path), both PEM. An intermediate authority's
          own certificate follows in the first.
        """
        extensions = _SERVER + f"subjectAltName={','.join(names)}\n"
        cert, key = self.sign(
            os.path.join(self._dir, name), subject, extensions, kind, days
        )
        if self._parent:
            with open(cert, "a", encoding="ascii") as stream:
                stream.write(self.pem())
        return cert, key

    def sign(self, stem, subject, extensions, kind=RSA, days=30):
        """Makes a key and signs a certificate; returns both paths."""
        with open(stem + ".ext", "w", encoding="ascii") as stream:
            stream.write(extensions)
        _openssl(
            *("req", *_NEW_KEY[kind]),
            *("-keyout", stem + "-key.pem", "-out", stem + ".csr"),
            *("-subj", "/" + subject.replace(",", "/")),
        )
        _openssl(
            *("x509 -req -CAcreateserial -days".split()),
            *(str(days), "-in"),
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
