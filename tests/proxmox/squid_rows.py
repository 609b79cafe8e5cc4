# SPDX-License-Identifier: Apache-2.0
"""What clients may ask a CONNECT proxy for, and what comes of it.

Each row was put to squid 5.7 first. Where the gateway decides otherwise the row
says why.
"""

import dataclasses

# The network that squid and the gateway are in: addresses, names.
ADDRESSES = (
    *("10.77.0.1/24", "10.77.0.5/32", "10.77.0.6/32", "10.77.9.9/32"),
    *("fd77::5/128", "fd77:9::9/128"),
)
NAMES = {
    "localhost": "127.0.0.1",
    "hv1.example.org": "10.77.0.5",
    "hv2.lab.example.org": "10.77.0.6",
    "far.lab.example.org": "10.77.9.9",
    "inside.example.net": "10.77.0.5",
    "stranger.example.net": "10.77.9.9",
    "inside.lab.example.org": "127.0.0.1",
    "rebound.example.net": "127.0.0.1",
}
# Where somebody listens, at every address.
PORTS = (22, 3128, 5900, 5999, 6000, 61000)

REFUSED = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One request.

    Attributes:
      what: the target, or a few words.
      request: its bytes.
      squid, gateway: "ADDRESS PORT" that it leads to, or REFUSED. A place
        where nobody listens is none: NOBODY.
      why: why they differ, or None where they do not.
    """

    what: str
    request: bytes
    squid: str | None
    gateway: str | None
    why: str | None = None

    def __post_init__(self):
        assert (self.squid == self.gateway) == (self.why is None), self.what


# Let through; but nobody is there, or it has no address.
NOBODY = "nobody"
_HV1, _HV2, _FAR = "10.77.0.5 5900", "10.77.0.6 5900", "10.77.9.9 5900"
_V6, _LOOPBACK = "fd77::5 5900", "127.0.0.1 5900"


def connect(target, version="1.1", host=None, more=""):
    """The bytes of a request.

    Args:
      host: what the Host line says instead of the target; "" for no such line.
      more: further lines.
    """
    host = target if host is None else host
    line = f"Host: {host}\r\n" if host else ""
    head = f"CONNECT {target} HTTP/{version}\r\n{line}{more}\r\n"
    return head.encode("latin-1")


def _to(target, place):
    """Both the same, for a target."""
    return Row(target, connect(target), place, place)


def _to_squid_only(target, place, why):
    return Row(target, connect(target), place, REFUSED, why)


def _same(what, request, place):
    return Row(what, request, place, place)


def _strict(what, request, why, place=_HV1):
    """squid takes it, the gateway does not."""
    return Row(what, request, place, REFUSED, why)


def _method(name, target):
    return f"{name} {target} HTTP/1.1\r\nHost: hv1.example.org\r\n\r\n".encode()


_FULL_FORM = (
    "an address has one form; a filter ahead of us may not know others"
)
_STRICT_PORT = "a port is digits; squid stops at the first other character"
_FIRST_COLON = "squid splits at the first colon; tickets have colons in them"
_CR_LF = "what ends a line for one proxy and not for the next hides headers"
_ONE_MEANING = "where two are given, the next proxy may take the other one"
_RFC = "RFC 9112 says so"
_CREDENTIALS = "Proxy-Authorization: Basic YTpi\r\n"

# hosts and ports of one list, and what it does.
LISTED_HOSTS = (
    *("10.77.0.0/24", "fd77::/64", "hv1.example.org", ".lab.example.org"),
)
LISTED_PORTS = ("5900-5999", 61000)
LISTED = (
    # Addresses and ports.
    _to("10.77.0.5:5900", _HV1),
    _to("10.77.0.5:5999", "10.77.0.5 5999"),
    _to("10.77.0.5:61000", "10.77.0.5 61000"),
    _to("10.77.0.5:05900", _HV1),
    _to("10.77.0.6:5901", NOBODY),
    _to("10.77.0.5:5899", REFUSED),
    _to("10.77.0.5:6000", REFUSED),
    _to("10.77.0.5:61001", REFUSED),
    _to("10.77.0.5:22", REFUSED),
    _to("10.77.0.1:3128", REFUSED),
    _to("10.77.9.9:5900", REFUSED),
    _to("10.77.9.9:22", REFUSED),
    _to("192.0.2.1:5900", REFUSED),
    _to("[fd77::5]:5900", _V6),
    _to("[FD77:0:0::5]:5900", _V6),
    _to("[fd77:9::9]:5900", REFUSED),
    _to("[fd77::5]:22", REFUSED),
    _to("[::ffff:10.77.0.5]:5900", _HV1),
    _to("[::ffff:10.77.9.9]:5900", REFUSED),
    _to("fd77::5:5900", REFUSED),
    # Names.
    _to("hv1.example.org:5900", _HV1),
    _to("HV1.Example.ORG:5900", _HV1),
    Row(
        "a dot at the end",
        connect("hv1.example.org.:5900"),
        _HV1,
        NOBODY,
        "such a name is looked for in DNS only, and DNS does not know it here",
    ),
    _to("hv1.example.org:22", REFUSED),
    _to("hv2.lab.example.org:5900", _HV2),
    _to("far.lab.example.org:5900", _FAR),
    _to("lab.example.org:5900", NOBODY),
    _to("none.lab.example.org:5900", NOBODY),
    _to("notlab.example.org:5900", REFUSED),
    _to("xhv1.example.org:5900", REFUSED),
    _to("hv1.example.org.example.net:5900", REFUSED),
    _to("inside.example.net:5900", _HV1),
    _to("stranger.example.net:5900", REFUSED),
    # This machine, the proxies themselves, and nobody.
    _to("127.0.0.1:5900", REFUSED),
    _to("127.0.0.53:5900", REFUSED),
    _to("localhost:5900", REFUSED),
    _to("LOCALHOST:5900", REFUSED),
    _to("inside.lab.example.org:5900", REFUSED),
    _to("rebound.example.net:5900", REFUSED),
    _to("0.0.0.0:5900", REFUSED),
    _to("[::1]:5900", REFUSED),
    _to("[::]:5900", REFUSED),
    _to("[::ffff:127.0.0.1]:5900", REFUSED),
    _to("[::ffff:0.0.0.0]:5900", REFUSED),
    _to("169.254.1.1:5900", REFUSED),
    _to("[fe80::1]:5900", REFUSED),
    _to("224.0.0.1:5900", REFUSED),
    _to("255.255.255.255:5900", REFUSED),
    # Other ways to write an address.
    _to("127.1:5900", REFUSED),
    _to("2130706433:5900", REFUSED),
    _to("0x7f000001:5900", REFUSED),
    _to("0177.0.0.1:5900", REFUSED),
    _to("0:5900", REFUSED),
    _to_squid_only("10.77.5:5900", _HV1, _FULL_FORM),
    _to_squid_only("172818437:5900", _HV1, _FULL_FORM),
    _to_squid_only("0x0a4d0005:5900", _HV1, _FULL_FORM),
    _to_squid_only("012.0115.0.05:5900", _HV1, _FULL_FORM),
    _to_squid_only("10.77.0.5.:5900", _HV1, _FULL_FORM),
    # Targets that are none.
    _to("10.77.0.5:0", REFUSED),
    _to("10.77.0.5:65536", REFUSED),
    _to("10.77.0.5:71436", REFUSED),
    _to("10.77.0.5", REFUSED),
    _to("10.77.0.5:", REFUSED),
    _to(":5900", REFUSED),
    _to("user@10.77.0.5:5900", REFUSED),
    _to("user:password@10.77.0.5:5900", REFUSED),
    _to("10.77.0.5@127.0.0.1:5900", REFUSED),
    _to("127.0.0.1@10.77.0.5:5900", REFUSED),
    _to("http://10.77.0.5:5900", REFUSED),
    _to("/10.77.0.5:5900", REFUSED),
    _to("hv1%2eexample.org:5900", REFUSED),
    _to("hv1.example.org%00:5900", REFUSED),
    _to_squid_only("10.77.0.5:+5900", _HV1, _STRICT_PORT),
    _to_squid_only("10.77.0.5:5900x", _HV1, _STRICT_PORT),
    _to_squid_only("10.77.0.5:5900/", _HV1, _STRICT_PORT),
    _to_squid_only("10.77.0.5:5900?x", _HV1, _STRICT_PORT),
    _to_squid_only("hv1.example.org:5900:22", _HV1, _FIRST_COLON),
    _to("hv1.example.org:22:5900", REFUSED),
    # Other methods.
    _same("GET", _method("GET", "http://10.77.0.5:5900/"), REFUSED),
    _same("HEAD", _method("HEAD", "http://10.77.0.5:5900/"), REFUSED),
    _same("POST", _method("POST", "http://10.77.0.5:5900/"), REFUSED),
    _same("PUT", _method("PUT", "http://10.77.0.5:5900/"), REFUSED),
    _same("TRACE", _method("TRACE", "http://10.77.0.5:5900/"), REFUSED),
    _same("OPTIONS", _method("OPTIONS", "*"), REFUSED),
    _same("GET in origin form", _method("GET", "/"), REFUSED),
    _strict(
        "connect in lower case",
        connect("10.77.0.5:5900").replace(b"CONNECT", b"connect"),
        "methods are case-sensitive",
    ),
    # Versions.
    _same("HTTP/1.0", connect("10.77.0.5:5900", "1.0"), _HV1),
    _same("HTTP/1.0, no Host", connect("10.77.0.5:5900", "1.0", ""), _HV1),
    _strict("HTTP/1.1, no Host", connect("10.77.0.5:5900", host=""), _RFC),
    _same("HTTP/2.0", connect("10.77.0.5:5900", "2.0"), REFUSED),
    _same("PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    _strict(
        "HTTP/1.2",
        connect("10.77.0.5:5900", "1.2"),
        "there is no such version",
    ),
    _strict("HTTP/0.9", connect("10.77.0.5:5900", "0.9"), "had no CONNECT"),
    _same("no version", b"CONNECT 10.77.0.5:5900\r\n\r\n", REFUSED),
    # Host is not what decides, for either of them.
    _same(
        "Host elsewhere",
        connect("10.77.0.5:5900", host="10.77.9.9:5900"),
        _HV1,
    ),
    _same(
        "Host that is allowed",
        connect("10.77.9.9:5900", host="10.77.0.5:5900"),
        REFUSED,
    ),
    _strict(
        "two Hosts",
        connect("10.77.0.5:5900", more="Host: 10.77.9.9:5900\r\n"),
        _ONE_MEANING,
    ),
    # Heads.
    _same(
        "credentials",
        connect("10.77.0.5:5900", more=_CREDENTIALS),
        _HV1,
    ),
    _same(
        "credentials for elsewhere",
        connect("10.77.9.9:5900", more=_CREDENTIALS),
        REFUSED,
    ),
    _same(
        "header without colon",
        connect("10.77.0.5:5900", more="X\r\n"),
        REFUSED,
    ),
    _same(
        "space before the colon",
        connect("10.77.0.5:5900", more="X : a\r\n"),
        REFUSED,
    ),
    _same(
        "NUL in a header",
        connect("10.77.0.5:5900", more="X: \0\r\n"),
        REFUSED,
    ),
    _same("NUL in the target", connect("10.77.0.5\0:5900"), REFUSED),
    _same(
        "100 KiB of header",
        connect("10.77.0.5:5900", more=f"X: {'x' * 100_000}\r\n"),
        REFUSED,
    ),
    _strict(
        "9 KiB of header",
        connect("10.77.0.5:5900", more=f"X: {'x' * 9_000}\r\n"),
        "8 KiB are enough for every viewer",
    ),
    _strict(
        "100 headers",
        connect("10.77.0.5:5900", more="X: y\r\n" * 100),
        "64 headers are enough for every viewer",
    ),
    _strict(
        "continued line",
        connect("10.77.0.5:5900", more="X: a\r\n b\r\n"),
        _CR_LF,
    ),
    _strict(
        "lines that end with LF",
        connect("10.77.0.5:5900").replace(b"\r\n", b"\n"),
        _CR_LF,
    ),
    _strict(
        "an empty line first", b"\r\n" + connect("10.77.0.5:5900"), _CR_LF
    ),
    _strict("two spaces", connect(" 10.77.0.5:5900", host="x"), _RFC),
    _strict(
        "a body", connect("10.77.0.5:5900", more="Content-Length: 5\r\n"), _RFC
    ),
    # Other protocols.
    _same("TLS", b"\x16\x03\x01\0\x05\x01\0\0\x01\0\r\n\r\n", REFUSED),
    _same("SPICE", b"REDQ\x02\0\0\0\x02\0\0\0\r\n\r\n", REFUSED),
)

# What the measured configuration for Proxmox says: this machine, and no other.
LOOPBACK_HOSTS = ("127.0.0.0/8",)
LOOPBACK_PORTS = (5900, "61000-61999")
LOOPBACK = (
    _to("127.0.0.1:5900", _LOOPBACK),
    _to("127.0.0.53:61000", "127.0.0.53 61000"),
    _to("localhost:5900", _LOOPBACK),
    _to("rebound.example.net:5900", _LOOPBACK),
    _to("[::ffff:127.0.0.1]:5900", _LOOPBACK),
    _to("127.0.0.1:61001", NOBODY),
    _to("127.0.0.1:22", REFUSED),
    _to("[::1]:5900", REFUSED),
    _to("0.0.0.0:5900", REFUSED),
    _to("[::]:5900", REFUSED),
    _to("10.77.0.5:5900", REFUSED),
    _to("hv1.example.org:5900", REFUSED),
)

# Everybody everywhere, by somebody who did not think of this machine.
WIDE_HOSTS = ("0.0.0.0/0", "::/0")
WIDE_PORTS = ("1-65535",)
_NO_DESKTOP = "no desktop has such an address"
WIDE = (
    _to("10.77.9.9:22", "10.77.9.9 22"),
    _to("[fd77:9::9]:5900", "fd77:9::9 5900"),
    _to("stranger.example.net:5900", _FAR),
    _to("127.0.0.1:22", REFUSED),
    _to("localhost:22", REFUSED),
    _to("rebound.example.net:22", REFUSED),
    _to("[::1]:5900", REFUSED),
    _to("[::ffff:127.0.0.1]:22", REFUSED),
    _to("0.0.0.0:22", REFUSED),
    _to("[::]:5900", REFUSED),
    _to("0:22", REFUSED),
    _to("169.254.1.1:5900", REFUSED),
    _to("[fe80::1]:5900", REFUSED),
    _to_squid_only("224.0.0.1:5900", NOBODY, _NO_DESKTOP),
    _to_squid_only("255.255.255.255:5900", NOBODY, _NO_DESKTOP),
    _to_squid_only("[ff02::1]:5900", NOBODY, _NO_DESKTOP),
)
