# SPDX-License-Identifier: Apache-2.0
"""PROXY headers, as balancers write them and as none should."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPECIFIED, TCP4, UDP4, TCP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x31
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL = 1, 2, 3, 4, 5, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER = 0x21, 0x22, 0x23

# Whose connection it is said to be, and as the gateway writes it.
SOURCE, SOURCE6 = "203.0.113.9", "2001:db8::7"
PORT = 40000
CLIENT, CLIENT6 = f"{SOURCE}:{PORT}", f"[{SOURCE6}]:{PORT}"
LONGEST_LINE = 107
LONGEST_BLOCK = 4096

_DESTINATION, _DESTINATION6 = "10.0.0.1", "2001:db8::1"
_PORTS = struct.pack(">HH", PORT, 3128)


def line(source=SOURCE, destination=_DESTINATION):
    """Version 1, for TCP over IPv4 or IPv6 by the source's kind."""
    family = "TCP6" if ":" in source else "TCP4"
    if family == "TCP6" and destination == _DESTINATION:
        destination = _DESTINATION6
    return f"PROXY {family} {source} {destination} {PORT} 3128\r\n".encode()


def addresses(source=SOURCE):
    """What a block says of both ends, by the source's kind."""
    destination = _DESTINATION6 if ":" in source else _DESTINATION
    both = (ipaddress.ip_address(text) for text in (source, destination))
    return b"".join(one.packed for one in both) + _PORTS


def block(body=None, command=PROXY, family=TCP4):
    """Version 2; with the addresses of SOURCE unless given another body."""
    if body is None:
        body = addresses()
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def tlv(kind, value=b"", length=None):
    """One extension.

    Args:
      length: what it says instead of the truth.
    """
    length = len(value) if length is None else length
    return struct.pack(">BH", kind, length) + value


def extended(*extensions):
    """A block with the addresses of SOURCE and these extensions."""
    return block(addresses() + b"".join(extensions))


def checked(*extensions):
    """The same with a checksum at the end."""
    whole = extended(*extensions, tlv(CRC32C, bytes(4)))
    return whole[:-4] + struct.pack(">I", crc32c(whole))


def tls_of_client():
    """What a balancer says of a client that came to it by TLS."""
    told = tlv(SSL_VERSION, b"TLSv1.3") + tlv(SSL_CN, b"a user")
    told += tlv(SSL_CIPHER, b"TLS_AES_256_GCM_SHA384")
    return tlv(SSL, bytes([1, 0, 0, 0, 0]) + told)


def local(body=b""):
    """A balancer's own connection."""
    return block(body, LOCAL, UNSPECIFIED)


def crc32c(data):
    """CRC-32C (Castagnoli) of bytes, a bit at a time."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF
