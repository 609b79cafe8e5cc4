#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Takes all captures of this directory anew: take_captures.py OUT_DIR.

Needs qemu-system-x86 with its SPICE modules, spice-client-gtk, virt-viewer,
xvfb, xdotool and nasm. Uses ports 25300-25304 on 127.0.0.1. README.md says what
each capture is for.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PASSWORD = "secret"
SUBJECT = "O=Test,CN=vm.example.test"
SOURCE, TARGET, SOURCE_PROXY, TARGET_PROXY, INCOMING = range(25300, 25305)
ALL_DEVICES = """
 -device qxl-vga,id=vga0,vgamem_mb=16 -device virtio-serial-pci
 -chardev spicevmc,id=vdagent,name=vdagent
 -device virtserialport,chardev=vdagent,name=com.redhat.spice.0
 -chardev spiceport,id=wd,name=org.spice-space.webdav.0
 -device virtserialport,chardev=wd,name=org.spice-space.webdav.0
 -chardev spiceport,id=po,name=org.example.port.0
 -device virtserialport,chardev=po,name=org.example.port.0
 -audiodev spice,id=snd0 -device intel-hda -device hda-duplex,audiodev=snd0
 -device qemu-xhci,id=xhci -device usb-tablet,bus=xhci.0
 -chardev spicevmc,id=ur0,name=usbredir
 -device usb-redir,chardev=ur0,bus=xhci.0
 -chardev spicevmc,id=ur1,name=usbredir
 -device usb-redir,chardev=ur1,bus=xhci.0"""
# Copies COM1 to COM2 and back: the test plays the agent at COM2.
AGENT_GUEST = """
bits 16
org 0x7c00
    mov dx,0x3fb
    call setup
    mov dx,0x2fb
    call setup
loop_: mov bx,0x3f8
    mov di,0x2f8
    call copy
    xchg bx,di
    call copy
    jmp loop_
setup: mov al,0x03          ; 8n1
    out dx,al
    inc dx
    out dx,al               ; DTR and RTS
    ret
copy: lea dx,[bx+5]
    in al,dx
    test al,1
    jz .no
    lea dx,[di+5]
    in al,dx
    test al,0x20
    jz .no
    mov dx,bx
    in al,dx
    mov dx,di
    out dx,al
.no: ret
times 510-($-$$) db 0
dw 0xaa55
"""


def until(what, poll):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        result = poll()
        if result:
            return result
        time.sleep(0.05)
    raise TimeoutError(what)


class Vm:
    def __init__(self, work, name, port, devices, seamless="off", more=()):
        self.qmp_path = work / f"{name}.qmp"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-name", "capture", "-machine",
             "pc,accel=tcg", "-m", "32", "-nodefaults", "-no-user-config",
             "-display", "none", "-uuid",
             "00112233-4455-6677-8899-aabbccddeeff",
             "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
             "-object", f"secret,id=spw,data={PASSWORD}", "-spice",
             f"addr=127.0.0.1,port={port},password-secret=spw,"
             f"seamless-migration={seamless}", *devices.split(), *more],
            stdin=subprocess.DEVNULL)
        self.qmp = until("QMP", self.connect).makefile("rw")
        self.qmp.readline()
        self.command("qmp_capabilities")

    def connect(self):
        with contextlib.suppress(OSError):
            qmp = socket.socket(socket.AF_UNIX)
            qmp.connect(str(self.qmp_path))
            return qmp

    def command(self, name, **arguments):
        self.qmp.write(json.dumps({"execute": name, "arguments": arguments}))
        self.qmp.flush()
        while True:
            reply = json.loads(self.qmp.readline())
            if "event" not in reply:
                return reply["return"]

    def channels(self):
        return self.command("query-spice").get("channels", [])

    def wait_channels(self, count):
        until("channels", lambda: len(self.channels()) >= count)

    def stop(self):
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def recording(proxy_port, server_port, out_dir, *options):
    process = subprocess.Popen(
        [sys.executable, HERE / "record.py", str(proxy_port), str(server_port),
         out_dir, *options], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def viewer(**environment):
    process = subprocess.Popen(
        ["spicy-stats", "-h", "127.0.0.1", "-p", str(SOURCE_PROXY), "-w",
         PASSWORD], stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        process.wait()


def all_channels(work, out):
    vm = Vm(work, "all", SOURCE, ALL_DEVICES)
    with recording(SOURCE_PROXY, SOURCE, out / "all"), viewer():
        vm.wait_channels(10)
        time.sleep(1)
    vm.stop()


def full_headers(work, out):
    vm = Vm(work, "full", SOURCE, "-vga qxl")
    with recording(SOURCE_PROXY, SOURCE, out / "full_headers",
                   "--full-headers"), viewer():
        vm.wait_channels(4)
        time.sleep(1)
    vm.stop()


def agent(work, out):
    (work / "agent.asm").write_text(AGENT_GUEST)
    image = work / "agent.img"
    subprocess.run(["nasm", "-f", "bin", "-o", image, work / "agent.asm"],
                   check=True)
    vm = Vm(work, "agent", SOURCE,
            "-vga qxl -chardev spicevmc,id=vd,name=vdagent "
            "-device isa-serial,chardev=vd,index=0 "
            f"-chardev socket,id=s1,path={work}/agent.sock,server=on,wait=off "
            "-device isa-serial,chardev=s1,index=1 "
            f"-drive file={image},format=raw,if=ide,snapshot=on")
    guest = socket.socket(socket.AF_UNIX)
    guest.connect(str(work / "agent.sock"))
    guest.settimeout(5)
    with recording(SOURCE_PROXY, SOURCE, out / "agent"), viewer():
        vm.wait_channels(4)
        time.sleep(3)  # SeaBIOS, then the guest.
        announce = struct.pack("<IIQIII", 1, 6, 0, 8, 1, 0x35077)
        grab = struct.pack("<IIQIIII", 1, 7, 0, 12, 0, 1, 1)
        for message in (announce, grab):
            guest.sendall(struct.pack("<II", 1, len(message)) + message)
            time.sleep(1)
        guest.recv(65536)
    guest.close()
    vm.stop()


@contextlib.contextmanager
def desktop_viewer(work):
    """remote-viewer on a display of its own; yields a function for xdotool."""
    read_end, write_end = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1024x768x24",
         "-nolisten", "tcp"], pass_fds=[write_end], stderr=subprocess.DEVNULL)
    display = ":" + os.read(read_end, 16).decode().strip()
    environment = {**os.environ, "DISPLAY": display, "HOME": str(work),
                   "GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1"}
    file = work / "console.vv"
    file.write_text("[virt-viewer]\ntype=spice\nhost=127.0.0.1\n"
                    f"port={SOURCE_PROXY}\npassword={PASSWORD}\n"
                    "enable-usbredir=0\n")
    process = subprocess.Popen(
        ["remote-viewer", str(file)], env=environment,
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield lambda *args: subprocess.run(["xdotool", *args], check=True,
                                           env=environment, timeout=20)
    finally:
        process.terminate()
        process.wait()
        screen.terminate()
        screen.wait()


def keys_and_mouse(work, out):
    vm = Vm(work, "keys", SOURCE, "-vga qxl")
    with recording(SOURCE_PROXY, SOURCE, out / "keys_and_mouse"), \
            desktop_viewer(work) as xdotool:
        vm.wait_channels(4)
        time.sleep(2)
        xdotool("search", "--sync", "--onlyvisible", "--class",
                "remote-viewer", "windowfocus")
        xdotool("mousemove", "400", "400", "click", "1")
        time.sleep(1)
        xdotool("key", "a", "key", "Shift_L")
        for step in range(8):
            xdotool("mousemove_relative", str(step + 1), "3")
            time.sleep(0.05)
        time.sleep(1)
    vm.stop()


def migration(work, out, name, seamless, **environment):
    source = Vm(work, "source", SOURCE, "-vga qxl", seamless)
    target = Vm(work, "target", TARGET, "-vga qxl", seamless,
                ["-incoming", f"tcp:127.0.0.1:{INCOMING}"])
    with recording(SOURCE_PROXY, SOURCE, out / name / "source"), \
            recording(TARGET_PROXY, TARGET, out / name / "target"), \
            viewer(**environment):
        source.wait_channels(4)
        time.sleep(1)
        # No tls-port: it goes out as 0xFFFF.
        source.command("client_migrate_info", protocol="spice",
                       hostname="127.0.0.1", port=TARGET_PROXY,
                       **{"cert-subject": SUBJECT})
        if name != "switch_host":
            target.wait_channels(4)
        source.command("migrate", uri=f"tcp:127.0.0.1:{INCOMING}")
        until("migration", lambda: source.command("query-migrate")["status"]
              == "completed")
        time.sleep(2)
    source.stop()
    target.stop()


def link_header(size, major=2, minor=2):
    return b"REDQ" + struct.pack("<III", major, minor, size)


def link_mess(num_common, num_channel, offset, size, channel=(1, 0)):
    fixed = struct.pack("<IBBIII", 0, *channel, num_common, num_channel, offset)
    return link_header(size) + fixed.ljust(size, b"\0")


# Links at the edge of what spice-server takes, most of them beyond.
EDGE_LINKS = {
    "magic_after_4_bytes": b"REDq",
    "magic_http": b"GET / HTTP/1.1\r\n\r\n",
    "major_0": link_header(26, major=0),
    "major_1": link_header(26, major=1),
    "major_3_before_size": link_header(0, major=3),
    "minor_0": link_header(18, minor=0) + link_mess(0, 0, 18, 18)[16:],
    "minor_99": link_header(18, minor=99) + link_mess(0, 0, 18, 18)[16:],
    "size_0": link_header(0),
    "size_17": link_header(17),
    "size_18": link_mess(0, 0, 18, 18),
    "size_4096": link_mess(0, 0, 18, 4096),
    "size_4097": link_header(4097),
    "size_2g": link_header(0x80000000),
    "size_4g": link_header(0xffffffff),
    "no_caps_offset_free": link_mess(0, 0, 0xffffffff, 18),
    "caps_offset_odd": link_mess(1, 0, 21, 25),
    "caps_offset_17": link_mess(1, 0, 17, 26),
    "caps_offset_end": link_mess(1, 0, 22, 26),
    "caps_offset_past": link_mess(1, 0, 23, 26),
    "caps_fill_4096": link_mess(1000, 19, 18, 4096),
    "caps_1020_words": link_mess(1000, 20, 18, 4096),
    "caps_1025_words": link_mess(1025, 0, 18, 4096),
    "caps_counts_wrap": link_mess(0x80000000, 0x80000000, 18, 26),
    "caps_len_wraps": link_mess(0x40000000, 0, 18, 26),
    "type_0": link_mess(0, 0, 18, 18, (0, 0)),
    "type_255": link_mess(0, 0, 18, 18, (255, 255)),
}


def edge_links(work, out):
    """What spice-server answers to each of EDGE_LINKS."""
    vm = Vm(work, "edge", SOURCE, "-vga qxl")
    (out / "edge").mkdir(parents=True, exist_ok=True)
    for name, link in EDGE_LINKS.items():
        peer = socket.create_connection(("127.0.0.1", SOURCE))
        # A success leaves the link open: that long is an answer waited for.
        peer.settimeout(1)
        peer.sendall(link)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while data := peer.recv(4096):
                answer += data
        peer.close()
        (out / "edge" / f"{name}.client_to_server.bin").write_bytes(link)
        (out / "edge" / f"{name}.server_to_client.bin").write_bytes(answer)
    vm.stop()


def main():
    out = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        edge_links(work, out)
        all_channels(work, out)
        full_headers(work, out)
        agent(work, out)
        keys_and_mouse(work, out)
        migration(work, out, "seamless", "on")
        migration(work, out, "semi_seamless", "off")
        migration(work, out, "switch_host", "off",
                  SPICE_MAIN_CAP_SEMI_SEAMLESS_MIGRATE="0")


if __name__ == "__main__":
    main()
