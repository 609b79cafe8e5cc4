# SPDX-License-Identifier: Apache-2.0
"""RSAES-OAEP with SHA-1 and an empty label (RFC 8017, 7.1.1), to encrypt.

Only for tests: slow, and it makes no attempt to hide anything.
"""

import hashlib
import os

_HASH_LEN = 20
# SubjectPublicKeyInfo of a 1024 bit key with e = 65537: this prefix, the
# modulus, then 0203010001.
_DER_PREFIX = bytes.fromhex(
    "30819f300d06092a864886f70d010101050003818d0030818902818100"
)
_DER_SUFFIX = bytes.fromhex("0203010001")
_MODULUS_LEN = 128


def modulus(public_key):
    """The modulus inside a link reply's 162 byte key; ValueError if odd."""
    if not public_key.startswith(_DER_PREFIX):
        raise ValueError(f"unexpected key: {public_key.hex()}")
    if not public_key.endswith(_DER_SUFFIX):
        raise ValueError(f"unexpected exponent: {public_key.hex()}")
    start = len(_DER_PREFIX)
    return int.from_bytes(public_key[start : start + _MODULUS_LEN], "big")


def encrypt(public_key, plain):
    """128 bytes of cipher text for at most 86 bytes of plain text."""
    zeros_len = _MODULUS_LEN - 2 * _HASH_LEN - 2 - len(plain)
    if zeros_len < 0:
        raise ValueError("plain text too long")
    block = hashlib.sha1(b"").digest() + bytes(zeros_len) + b"\1" + plain
    seed = os.urandom(_HASH_LEN)
    masked_block = _xor(block, _mask(seed, len(block)))
    masked_seed = _xor(seed, _mask(masked_block, _HASH_LEN))
    number = int.from_bytes(masked_seed + masked_block, "big")
    return pow(number, 65537, modulus(public_key)).to_bytes(_MODULUS_LEN, "big")


def _mask(seed, length):
    """MGF1 with SHA-1 (RFC 8017, B.2.1)."""
    out = b""
    for counter in range(-(-length // _HASH_LEN)):
        out += hashlib.sha1(seed + counter.to_bytes(4, "big")).digest()
    return out[:length]


def _xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))
