# SPDX-License-Identifier: Apache-2.0
"""Name spaces that go with their last process: mounts, and a network.

    python3 name_space.py FILE INSTEAD_OF PROGRAM [ARGUMENT...]

runs a program that sees FILE in place of INSTEAD_OF. unshare(1) would do,
but for a root directory that is no mount (chroot), where it gives up.
"""

import ctypes
import os
import sys
import tempfile

_CLONE_NEWNS = 0x0002_0000
_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x4_0000
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_DEEPEST = 64  # directories that a root directory may be below another

_libc = ctypes.CDLL(None, use_errno=True)


def enter(net=False):
    """Takes this process, which has one thread, into name spaces of its own.

    One for mounts and, if wished, one for a network. OSError without the right
    to it: root's, or that to make user name spaces.
    """
    flags = _CLONE_NEWNS | (_CLONE_NEWNET if net else 0)
    if os.geteuid() == 0:
        _call("unshare", flags)
    else:
        _become_root(flags)
    _make_mounts_private()


def show(path, instead_of):
    """From now on there is that file, as far as the name space can see."""
    _mount(path, instead_of, _MS_BIND)


def _become_root(flags):
    """The same in a user name space, with every right inside it."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", flags | _CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:
            stream.write(text)


def _make_mounts_private():
    """Else what is mounted here would show everywhere."""
    try:
        _mount(None, "/", _MS_REC | _MS_PRIVATE)
        return
    except OSError:
        pass  # our root directory is none of the name space's
    here = os.getcwd()
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    with tempfile.TemporaryDirectory() as below:
        os.chdir("/")
        os.chroot(below)
        for _ in range(_DEEPEST):  # out of it: nothing is above the real root
            os.chdir("..")
        os.chroot(".")
        try:
            _mount(None, "/", _MS_REC | _MS_PRIVATE)
        finally:
            os.fchdir(root)
            os.chroot(".")
            os.close(root)
    os.chdir(here)


def _mount(source, target, flags):
    source = source.encode() if source else None
    _call("mount", source, target.encode(), None, flags, None)


def _call(name, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def main():
    """Shows the file and becomes the program."""
    path, instead_of, *argv = sys.argv[1:]
    enter()
    show(path, instead_of)
    # Forgotten with the change of rights: to go with whoever started us.
    _call("prctl", _PR_SET_PDEATHSIG, _SIGKILL)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
