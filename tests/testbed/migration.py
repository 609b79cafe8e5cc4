# SPDX-License-Identifier: Apache-2.0
"""Moving a guest from one QEMU to another while somebody looks at it.

What a management layer does: announce() tells the source where its viewers
shall go, start() moves the guest, wait() sees the end of it.
"""

import re

from tests.testbed import polling

# Kinds, by the gateway's own words.
SEAMLESS = "seamless"
SEMI_SEAMLESS = "semi_seamless"
SWITCH_HOST = "switch_host"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"

# What makes a viewer refuse a kind, as its environment.
NOT_SEAMLESS = {"SPICE_MAIN_CAP_SEAMLESS_MIGRATE": "0"}
NOT_SEMI_SEAMLESS = {"SPICE_MAIN_CAP_SEMI_SEAMLESS_MIGRATE": "0"}

# Slow enough that a viewer's answer to the announcement, already on its way,
# is there before the guest has moved; the moved gradient is about 3 MB.
BYTES_PER_S = 8 << 20
_LIMIT_S = 60

# What spice-gtk says with SPICE_DEBUG=1: the source's message that begins it,
# then what shows that the viewer has done its part.
_SAID = {
    SEAMLESS: (
        "migration message: migrate-begin-seamless\n",
        "migration message: migrate-dst-seamless-ack\n",
        "migrate connect reply 111\n",
        "migration: all channel migrated, success\n",
    ),
    SEMI_SEAMLESS: (
        "migration message: migrate-begin\n",
        "migrate connect reply 102\n",
        "migration message: migrate-end\n",
        "migration: all channel migrated, success\n",
    ),
    SWITCH_HOST: (
        "migration message: migrate-switch-host\n",
        "inputs-3:0: channel up, state 3\n",
    ),
}


def announce(source, destination, **changes):
    """Tells the source's viewers where the guest is about to go.

    Args:
      destination: a qemu.Vm.
      changes: other arguments of client_migrate_info, with underscores; None
        leaves one out.
    """
    said = {
        "protocol": "spice",
        "hostname": destination.address,
        "port": destination.port,
        "tls_port": destination.tls_port,
    }
    said.update(changes)
    source.qmp.command(
        "client_migrate_info",
        **{k.replace("_", "-"): v for k, v in said.items() if v is not None},
    )


def start(source, uri, bytes_per_s=BYTES_PER_S):
    """Starts to move the guest; see qemu.Vm.incoming_uri."""
    source.qmp.command(
        "migrate-set-parameters", **{"max-bandwidth": bytes_per_s}
    )
    source.qmp.command("migrate", uri=uri)


def cancel(source):
    source.qmp.command("migrate_cancel")


def wait(source, wanted=COMPLETED):
    """Waits until the guest has moved, or has not, as far as QEMU knows.

    Raises AssertionError when it ends in another way.
    """
    ended = polling.until(
        lambda: _ended(source), f"migration of {source.name}", _LIMIT_S
    )
    if ended["status"] != wanted:
        raise AssertionError(f"migration of {source.name}: {ended}")


def wait_viewers(source):
    """Waits until the source has let go of its viewers, 10 s at most."""
    polling.until(
        lambda: source.events("SPICE_MIGRATE_COMPLETED"),
        f"SPICE_MIGRATE_COMPLETED of {source.name}",
        _LIMIT_S,
    )


def done(log, kind):
    """How often a viewer has gone through all of this kind, by its log."""
    first, *others = _SAID[kind]
    return sum(
        all(line in part for line in others) for part in log.split(first)[1:]
    )


def answered(log):
    """What a viewer has told the source: 111, 102 or 103 for each BEGIN."""
    return [int(n) for n in re.findall(r"migrate connect reply (\d+)", log)]


def told(log):
    """Where viewers were sent: (host, port, TLS port) for each message."""
    found = re.findall(r"migrate_(?:begin \d+|switch) (\S+) (\d+) (\d+)", log)
    return [(host, int(port), int(tls)) for host, port, tls in found]


def dialled(log):
    """Every place a viewer has connected to, "HOST:PORT"."""
    return set(re.findall(r"open host (\S+)", log))


def _ended(source):
    answer = source.qmp.command("query-migrate")
    ends = (COMPLETED, FAILED, CANCELLED)
    return answer if answer.get("status") in ends else None
