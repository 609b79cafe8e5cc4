# SPDX-License-Identifier: Apache-2.0
"""The certificates that all relays show, made with the openssl program."""

import dataclasses
import os
import shutil

from tests.testbed import processes

ECDSA = "ecdsa"
RSA = "rsa"
_NEW_KEY = {
    ECDSA: "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
    RSA: "-newkey rsa:2048",
}


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key, as PEM files.

    Attributes:
      cert, key: each in a file of its own.
      both: both in one file, as HAProxy wants them.
    """

    cert: str
    key: str
    both: str


def missing():
    """Why none can be made here, or None."""
    return None if shutil.which("openssl") else "openssl is not installed"


def make(directory, kind):
    """The certificate of this kind in `directory`; made where there is none.

    A run has one directory for it, so that all relays show the same.

    Raises OSError with the words of openssl.
    """
    stem = os.path.join(directory, kind)
    made = Certificate(stem + ".cert", stem + ".key", stem + ".pem")
    if os.path.exists(made.both):
        return made
    code, _, errors = processes.run(
        ["openssl", "req", "-x509", "-nodes", "-days", "30"]
        + ["-subj", "/CN=localhost"]
        + _NEW_KEY[kind].split()
        + ["-keyout", made.key, "-out", made.cert]
    )
    if code:
        raise OSError(f"openssl: {errors.strip()}")
    with open(made.both, "w", encoding="ascii") as both:
        for path in (made.cert, made.key):
            with open(path, encoding="ascii") as stream:
                both.write(stream.read())
    return made
