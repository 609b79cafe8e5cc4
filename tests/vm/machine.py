# SPDX-License-Identifier: Apache-2.0
"""One virtual machine: a Debian kernel, a script, an exit code.

    files = {"/runfiles/main/x_test": "bazel-bin/tests/x_test"}
    payload = machine.Payload("#!/bin/sh\\n./x_test", files)
    result = machine.boot("6.1", payload, limit_s=240)

The machine is emulated (TCG): no /dev/kvm, no root, nothing installed. Nothing
counts as success but a guest that says so twice, on its console and by the
device that ends QEMU; a crash, a hang or a power-off is a failure.
"""

import contextlib
import dataclasses
import glob
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time

from tests.testbed import locate
from tests.testbed import processes
from tests.vm import initramfs
from tests.vm import kernels

# What boot() returns beside the script's own exit codes, 0 to 119.
HANG = 124
CRASH = 125

_OUT_DISK_BYTES = 256 << 20  # sparse
_POLL_S = 0.1
_HERE = os.path.dirname(os.path.abspath(__file__))

# By hand, as there is no modprobe inside. In this order; a series has some of
# them built in. AES-GCM without its modules is ENOENT from setsockopt(TLS_TX).
_MODULES = (
    "virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci"
    " virtio_blk"
    " cryptd crypto_simd gf128mul aesni-intel ghash-clmulni-intel crypto_null"
    " gcm"
    " libchacha chacha-x86_64 libpoly1305 poly1305-x86_64 chacha_generic"
    " poly1305_generic chacha20poly1305"
    " tls inet_diag tcp_diag"
).split()

_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr"
    " random.trust_cpu=on nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
)


@dataclasses.dataclass
class Payload:
    """What runs in the guest.

    Attributes:
      script: an executable's content, run as root in an empty environment but
        PATH, HOME, TMPDIR; what it leaves in /tmp/out comes back.
      files: path in the guest -> file of the host; shared libraries of
        binaries come along.
      programs: of the host's PATH, with their libraries.
      more_modules: kernel modules beyond the usual ones, in loading order.
      without_modules: of the usual ones, not to be there.
    """

    script: str
    files: dict = dataclasses.field(default_factory=dict)
    programs: tuple = ()
    more_modules: tuple = ()
    without_modules: tuple = ()


@dataclasses.dataclass
class Result:
    """How it ended.

    Attributes:
      code: the script's exit code, or HANG or CRASH.
      why: one line for a person; empty when code is 0.
      console: all the guest printed.
    """

    code: int
    why: str
    console: str


def boot(
    series,
    payload,
    limit_s=240,
    memory_mib=1024,
    num_cpus=2,
    out=None,
    echo=None,
    interactive=False,
):
    """Boots, runs the script, ends; takes at most limit_s for the guest.

    Args:
      series: "6.1" or "6.12".
      out: an existing directory for what the script left in /tmp/out.
      echo: a text stream that gets the console as it comes.
      interactive: the terminal is the console, and there is no limit.
    Raises:
      kernels.Unavailable, or FileNotFoundError for a file or program that the
      payload names.
    """
    folder = kernels.find(series)
    with _temporary_directory() as directory:
        initrd = os.path.join(directory, "initrd")
        _pack(folder, payload, _guest_exit(directory)).write(initrd)
        disk = os.path.join(directory, "out.raw")
        with open(disk, "wb") as stream:
            stream.truncate(_OUT_DISK_BYTES)
        argv = _qemu(kernels.image(folder), initrd, disk, memory_mib, num_cpus)
        if interactive:
            subprocess.call(argv + ["-serial", "mon:stdio"])
            return Result(0, "", "")
        result = _judge(*_run(argv, directory, limit_s, echo), limit_s)
        if out is not None:
            _unpack(disk, out)
        return result


def _guest_exit(directory):
    """The program that ends QEMU with a code, compiled if Bazel has not."""
    try:
        return locate.built("tests/vm/guest_exit")
    except FileNotFoundError:
        program = os.path.join(directory, "guest_exit")
        source = os.path.join(_HERE, "guest_exit.cc")
        subprocess.check_call(["c++", "-O2", "-static", source, "-o", program])
        return program


def _pack(folder, payload, guest_exit):
    root = initramfs.Initramfs()
    for path in ("/dev", "/proc", "/sys", "/tmp", "/run", "/root"):
        root.add_directory(path)
    root.add_file("/init", os.path.join(_HERE, "guest_init"))
    root.add_program("busybox")
    root.add_file("/usr/bin/guest_exit", guest_exit)
    root.add_bytes("/etc/passwd", b"root:x:0:0:root:/tmp:/bin/sh\n")
    root.add_bytes("/etc/group", b"root:x:0:\n")
    root.add_bytes("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
    # The openssl program wants to read one, even if there is nothing in it.
    root.add_bytes("/usr/lib/ssl/openssl.cnf", b"")
    wanted = [m for m in _MODULES if m not in payload.without_modules]
    _add_modules(root, folder, wanted + list(payload.more_modules))
    for program in payload.programs:
        root.add_program(program)
    for path, source in payload.files.items():
        root.add_file(path, source)
    root.add_bytes("/payload", payload.script.encode(), executable=True)
    return root


def _add_modules(root, folder, names):
    """Modules that the kernel has built in are not there, and not missed."""
    pattern = os.path.join(folder, "lib/modules/*/kernel/**/*.ko*")
    paths = {
        os.path.basename(path).partition(".ko")[0]: path
        for path in glob.glob(pattern, recursive=True)
    }
    found = [name for name in names if name in paths]
    for name in found:
        opener = lzma.open if paths[name].endswith(".xz") else open
        with opener(paths[name], "rb") as stream:
            root.add_bytes(f"/lib/modules/{name}.ko", stream.read())
    order = "".join(name + "\n" for name in found)
    root.add_bytes("/lib/modules/order", order.encode())


def _qemu(image, initrd, disk, memory_mib, num_cpus):
    # A /dev/kvm that opens may still be one that no stock kernel runs on, so
    # it has to be asked for.
    accelerator = "tcg,thread=multi"
    if os.environ.get("SPICEGATE_VM_KVM") == "1":
        accelerator = "kvm"
    return (
        "qemu-system-x86_64 -nodefaults -no-user-config -display none"
        f" -no-reboot -machine pc -accel {accelerator} -cpu max"
        f" -smp {num_cpus} -m {memory_mib}"
        " -device isa-debug-exit,iobase=0xf4,iosize=4"
    ).split() + [
        "-kernel",
        image,
        "-initrd",
        initrd,
        "-append",
        _KERNEL_ARGUMENTS,
        "-drive",
        f"if=virtio,format=raw,file={disk}",
    ]


def _run(argv, directory, limit_s, echo):
    """Runs QEMU; returns (exit code or None for a hang, console, errors)."""
    console_path = os.path.join(directory, "console")
    with open(console_path, "w+b") as console:
        argv = argv + ["-serial", f"file:{console_path}"]
        child = processes.Child("qemu", argv, directory)
        try:
            deadline = time.monotonic() + limit_s
            while child.running() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
                _pass_on(console, echo)
            code = child.exit_code()
        finally:
            child.stop()
        _pass_on(console, echo)
        console.seek(0)
        return code, _text(console.read()), child.errors()


def _pass_on(console, echo):
    new = console.read()
    if echo is not None and new:
        echo.write(_text(new))
        echo.flush()


def _text(data):
    return data.decode(errors="replace").replace("\r", "")


def _judge(status, console, errors, limit_s):
    """Success is what both the console and QEMU's exit status call so."""
    done = re.search(r"^GUEST-DONE rc=(\d+) ", console, re.MULTILINE)
    if status is None:
        return Result(HANG, f"still running after {limit_s:.0f} s", console)
    if done is None or status < 0 or status % 2 == 0:
        why = f"the guest crashed or powered off (QEMU: {status}) {errors}"
        return Result(CRASH, why.strip(), console)
    code = status >> 1
    if code != int(done.group(1)):
        why = f"console says {done.group(1)}, QEMU says {code}"
        return Result(CRASH, why, console)
    return Result(code, f"exit code {code}" if code else "", console)


def _unpack(disk, out):
    """Regular files only: the guest decides neither links nor places."""
    with contextlib.suppress(tarfile.ReadError), tarfile.open(disk) as archive:
        for member in archive:
            name = os.path.normpath(member.name)
            if not member.isfile() or name.startswith(("/", "..")):
                continue
            path = os.path.join(out, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.extractfile(member) as source, open(path, "wb") as to:
                shutil.copyfileobj(source, to)


@contextlib.contextmanager
def _temporary_directory():
    path = tempfile.mkdtemp(prefix="spicegate-vm-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
