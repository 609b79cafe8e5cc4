#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The packages of package-lock.json, unpacked into a cache by npm.

Usage: python3 -m tests.portal.node_packages

Fetches them unless the cache has them, and prints the folder: its
`node_modules` is what Node's require() wants. The lock names exact versions
and the hash of each archive, no server: npm asks the one it is set up for.
Needs no root and no HOME. A changed lock is another folder; old ones are left
alone, another run may be using them; remove them at will.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from tests.testbed import cache

_KIND, _VARIABLE = "node", "SPICEGATE_NODE_PACKAGES"
_LOCK, _MANIFEST = "package-lock.json", "package.json"
_OURS = os.path.dirname(os.path.abspath(__file__))
_SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
_ATTEMPTS = 4
_PAUSE_S = 5
_LIMIT_S = 300
_NPM = (
    *("npm", "ci", "--ignore-scripts", "--omit=dev", "--omit=optional"),
    *("--no-audit", "--no-fund", "--no-update-notifier", "--no-progress"),
    *("--fetch-retries=1", "--fetch-retry-mintimeout=2000"),
    *("--loglevel=error", "--logs-max=0"),
)


def find():
    """The folder of what the lock names; cache.Unavailable if not fetched."""
    for folder in cache.folders(_KIND, _VARIABLE):
        if _whole(os.path.join(folder, _name())):
            return os.path.join(folder, _name())
    raise cache.Unavailable(
        "the node packages of tests/portal are not here; run tools/setup"
    )


def ensure():
    """The same, fetched if it is not here; raises cache.Unavailable."""
    try:
        return find()
    except cache.Unavailable:
        return _fetch()


def _name():
    with open(os.path.join(_OURS, _LOCK), "rb") as stream:
        return "portal-" + hashlib.sha256(stream.read()).hexdigest()[:16]


def _whole(folder):
    """Whether every package of the lock is there in its version."""
    with open(os.path.join(_OURS, _LOCK), encoding="utf-8") as stream:
        locked = json.load(stream)["packages"]
    try:
        for place, package in locked.items():
            if not place:
                continue  # the lock's own
            path = os.path.join(folder, place, _MANIFEST)
            with open(path, encoding="utf-8") as stream:
                if json.load(stream)["version"] != package["version"]:
                    return False
    except (OSError, ValueError, KeyError):
        return False
    return True


def _fetch():
    home = cache.writable(_KIND, _VARIABLE)
    temporary = tempfile.mkdtemp(prefix=".fetching-", dir=home)
    try:
        tree = os.path.join(temporary, "tree")
        os.mkdir(tree)
        for name in (_MANIFEST, _LOCK):
            shutil.copyfile(os.path.join(_OURS, name), os.path.join(tree, name))
        print("fetching node packages", file=sys.stderr, flush=True)
        _install(tree, _environment(temporary))
        if not _whole(tree):
            raise cache.Unavailable("npm left packages of the lock out")
        return cache.publish(tree, os.path.join(home, _name()), _whole)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _environment(temporary):
    """What npm runs with: its own settings, the system's authorities."""
    env = dict(os.environ)
    if not env.get("HOME"):
        env["HOME"] = temporary
    # npm's files would else be left in the home, root's in a user's.
    env["npm_config_cache"] = os.path.join(temporary, "npm")
    if os.path.exists(_SYSTEM_CA):
        env.setdefault("NODE_EXTRA_CA_CERTS", _SYSTEM_CA)
    return env


def _install(tree, env):
    """Runs npm until it is content; a network may fail now and then."""
    for attempt in range(1, _ATTEMPTS + 1):
        why = _npm(tree, env)
        if why is None:
            return
        print(f"npm, attempt {attempt}: {why}", file=sys.stderr, flush=True)
        if attempt < _ATTEMPTS:
            time.sleep(_PAUSE_S * attempt)
    raise cache.Unavailable(f"npm: {why}")


def _npm(tree, env):
    """One run; what went wrong, or None."""
    try:
        done = subprocess.run(
            _NPM,
            cwd=tree,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise cache.Unavailable("npm is not installed") from None
    except subprocess.TimeoutExpired:
        return f"no end within {_LIMIT_S} s"
    if done.returncode == 0:
        return None
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return " / ".join(lines[:4]) or f"exit code {done.returncode}"


def main():
    try:
        print(ensure())
    except cache.Unavailable as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
