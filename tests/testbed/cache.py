# SPDX-License-Identifier: Apache-2.0
"""Folders for what tests need and the tree does not hold: fetched once."""

import os
import pwd

_SYSTEM = "/var/cache/spicegate"


class Unavailable(Exception):
    """What was asked for is not here and cannot be fetched; says why."""


def folders(kind, variable):
    """Where things of a kind are looked for; the first writable gets new ones.

    The environment's `variable` alone where it is set. Otherwise the system's,
    which root fills, then the user's own. The home comes from the password
    database too, as tests and CI run without HOME.
    """
    if os.environ.get(variable):
        return [os.environ[variable]]
    own = os.environ.get("XDG_CACHE_HOME")
    if not own:
        try:
            own = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".cache")
        except KeyError:
            own = "/nonexistent"
    found = [
        os.path.join(_SYSTEM, kind),
        os.path.join(own, "spicegate", kind),
    ]
    # A user without a home still has what a test may use up.
    if os.environ.get("TEST_TMPDIR"):
        found.append(os.path.join(os.environ["TEST_TMPDIR"], kind))
    return found


def writable(kind, variable):
    """The first folder that can be written to, made now; else Unavailable."""
    for folder in folders(kind, variable):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise Unavailable(f"no cache folder can be written: set {variable}")


def publish(tree, folder, whole):
    """Renames tree to folder, or takes what another run put there first.

    Args:
      whole: says whether a folder holds all it should.
    """
    os.chmod(tree, 0o755)
    try:
        os.rename(tree, folder)
    except OSError:
        if not whole(folder):
            raise
    return folder
