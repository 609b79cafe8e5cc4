# SPDX-License-Identifier: Apache-2.0
"""The rule for tests that this machine cannot run.

A test that needs a program, or root, that is not here prints the reason on a
line "SKIPPED: reason" and exits 0. With SPICEGATE_CI=1 in the environment it
fails instead: in CI nothing may be left out silently.
"""

import os
import shutil
import sys

_PACKAGES = {
    "Xvfb": "xvfb",
    "certutil": "libnss3-tools",
    "gnutls-cli": "gnutls-bin",
    "nasm": "nasm",
    "node": "nodejs",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "qemu-system-x86_64": "qemu-system-x86",
    "ip": "iproute2",
    "keystone-manage": "python3-keystone",
    "remote-viewer": "virt-viewer",
    "spicy": "spice-client-gtk",
    "spicy-screenshot": "spice-client-gtk",
    "spicy-stats": "spice-client-gtk",
    "squid": "squid",
    "xdotool": "xdotool",
    "xwd": "x11-apps",
}


# Servers' programs are there, which is not in everybody's PATH.
_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"


def missing(*tools):
    """Returns one line per program that is not in PATH, from now with sbin."""
    path = os.environ.get("PATH", os.defpath)
    if not path.endswith(_SBIN):
        os.environ["PATH"] = path + _SBIN
    return [
        f"{tool} is not installed (package {_PACKAGES.get(tool, tool)})"
        for tool in tools
        if shutil.which(tool) is None
    ]


def need_tools(*tools):
    """Ends the process by the skip rule unless all programs are here."""
    reasons = missing(*tools)
    if reasons:
        skip("; ".join(reasons) + "; run tools/setup")


def need_root(why):
    """Ends the process by the skip rule unless it runs as root."""
    if os.geteuid() != 0:
        skip(f"needs root {why}")


def skip(reason):
    """Ends the process now: exit 0, or 1 where SPICEGATE_CI=1."""
    print(f"SKIPPED: {reason}", flush=True)
    sys.exit(1 if os.environ.get("SPICEGATE_CI") == "1" else 0)
