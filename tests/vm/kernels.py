#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels, unpacked into a cache; none is ever installed.

Usage: python3 -m tests.vm.kernels [--any]

Fetches what the cache lacks and prints one folder a line. The packages' names
carry version numbers that vanish from the archive with the next security fix,
so they are looked up in apt's package lists each time. Needs no root. With
--any a kernel that was fetched earlier serves where today's cannot be had.

A folder is what one .deb holds: boot/vmlinuz-* and lib/modules/*. It appears
by one rename, so runs side by side do not see half of one. Old ones are left
alone, another run may be using them; remove them at will.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from tests.testbed import cache

# The series we test on, by the package that always depends on its newest.
META_PACKAGES = {
    "6.1": "linux-image-cloud-amd64",
    "6.12": "linux-image-6.12-cloud-amd64",
}

_DOWNLOAD_LIMIT_S = 600
_HELPER_LIMIT_S = 120


# Named here too, for those who only know this module.
Unavailable = cache.Unavailable


def cache_dirs():
    """Where kernels are looked for; the first that is writable gets new ones.

    $SPICEGATE_KERNELS alone where it is set; see cache.folders().
    """
    return cache.folders("kernels", "SPICEGATE_KERNELS")


def find(series):
    """The folder of a series' newest kernel, fetched if it is not here.

    A kernel of the same series that was fetched earlier serves when apt cannot
    name or deliver the newest. Raises Unavailable.
    """
    try:
        return ensure(series)
    except Unavailable as why:
        folder = _newest_cached(series)
        if folder is None:
            raise
        print(f"using {os.path.basename(folder)}: {why}", file=sys.stderr)
        return folder


def ensure(series):
    """The folder of what apt says is the newest; raises Unavailable."""
    package, version = _resolve(series)
    name = f"{package}_{version.replace(':', '%3a')}"
    for folder in cache_dirs():
        if _whole(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return _fetch(package, version, name)


def image(folder):
    """The bootable kernel in a folder."""
    return glob.glob(os.path.join(folder, "boot", "vmlinuz-*"))[0]


def _whole(folder):
    return bool(glob.glob(os.path.join(folder, "boot", "vmlinuz-*")))


def _newest_cached(series):
    """The newest folder of a series in any cache; None when there is none."""
    found = []
    for folder in cache_dirs():
        pattern = f"linux-image-{series}.*-cloud-amd64_*"
        found += filter(_whole, glob.glob(os.path.join(folder, pattern)))
    return max(found, key=_version_key, default=None)


def _version_key(folder):
    version = os.path.basename(folder).rpartition("_")[2]
    return [int(part) for part in re.findall(r"\d+", version)]


def _resolve(series):
    """(package, version) that apt would install today."""
    meta = META_PACKAGES[series]
    text = _run(["apt-cache", "--no-all-versions", "show", meta])
    match = re.search(
        r"^Depends: (linux-image-\S+) \(= (\S+)\)", text, re.MULTILINE
    )
    if match is None:
        raise Unavailable(f"apt's package lists have no {meta}")
    return match.groups()


def _fetch(package, version, name):
    home = cache.writable("kernels", "SPICEGATE_KERNELS")
    temporary = tempfile.mkdtemp(prefix=".fetching-", dir=home)
    try:
        print(f"fetching {package} {version}", file=sys.stderr, flush=True)
        # As root apt would change to a user that cannot write here.
        _run(
            ["apt-get", "-q", "-o", "APT::Sandbox::User=root"]
            + ["-o", "Acquire::Retries=3"]
            + ["download", f"{package}={version}"],
            cwd=temporary,
            limit_s=_DOWNLOAD_LIMIT_S,
        )
        (archive,) = glob.glob(os.path.join(temporary, "*.deb"))
        tree = os.path.join(temporary, "tree")
        _run(["dpkg", "-x", archive, tree])
        if not _whole(tree):
            raise Unavailable(f"{os.path.basename(archive)} holds no kernel")
        return cache.publish(tree, os.path.join(home, name), _whole)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(argv, cwd=None, limit_s=_HELPER_LIMIT_S):
    """Standard output of a program; Unavailable when it fails."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=limit_s,
            check=False,
        )
    except FileNotFoundError:
        raise Unavailable(f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{argv[0]} took over {limit_s} s") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = lines[-1] if lines else f"exit code {done.returncode}"
        raise Unavailable(f"{argv[0]}: {why}")
    return done.stdout.decode(errors="replace")


def main():
    get = find if sys.argv[1:] == ["--any"] else ensure
    for series in META_PACKAGES:
        try:
            print(get(series))
        except Unavailable as why:
            sys.exit(f"no kernel {series}: {why}")


if __name__ == "__main__":
    main()
