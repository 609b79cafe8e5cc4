# SPDX-License-Identifier: Apache-2.0
"""Real QEMUs with a SPICE server and a boot-sector guest.

Kinds of machine:
  min       qxl, plain port, ticket: channels main, display, inputs, cursor
  noticket  the same without a ticket
  unix      the same without a ticket on a unix socket
  unixticket  the same on a unix socket, ticket
  tls       every device, TLS port only, ticket
  full      every device, plain and TLS port, ticket
"every device" is min's plus playback, record, two usbredir, webdav, smartcard
and the agent's port.
"""

import os

from tests.testbed import locate
from tests.testbed import polling
from tests.testbed import ports
from tests.testbed import processes
from tests.testbed import qmp

PASSWORD = "secret-of-the-hypervisor"
MAIN, DISPLAY, INPUTS, CURSOR = 1, 2, 3, 4
PLAYBACK, RECORD, SMARTCARD, USBREDIR, PORT, WEBDAV = 5, 6, 8, 9, 10, 11

_PAINTERS = ("gradient", "gradient2", "block", "noise")
_PAINTED = b"!"  # what screen.asm writes to COM1 behind its first picture
_PAINT_LIMIT_S = 30
_START_LIMIT_S = 10
_START_TRIES = 3

_EVERY_DEVICE = """
-device qxl-vga,id=vga0,vgamem_mb=16
-device virtio-serial-pci
-chardev spicevmc,id=vdagent,name=vdagent
-device virtserialport,chardev=vdagent,name=com.redhat.spice.0
-chardev spiceport,id=wd,name=org.spice-space.webdav.0
-device virtserialport,chardev=wd,name=org.spice-space.webdav.0
-audiodev spice,id=snd0
-device intel-hda
-device hda-duplex,audiodev=snd0
-device qemu-xhci,id=xhci
-device usb-tablet,bus=xhci.0
-chardev spicevmc,id=ur0,name=usbredir
-device usb-redir,chardev=ur0,bus=xhci.0
-chardev spicevmc,id=ur1,name=usbredir
-device usb-redir,chardev=ur1,bus=xhci.0
-device usb-ccid,bus=xhci.0
-chardev spicevmc,id=ccid,name=smartcard
-device ccid-card-passthru,chardev=ccid
""".split()


class Vm:
    """One QEMU. start() it, stop() it; both may be called again.

    Attributes:
      port, tls_port: its SPICE ports, 0 where it has none.
      unix_path: its SPICE socket, or None.
      password: its ticket, or None.
      address: where its SPICE ports are.
      incoming_uri: where a migration to it goes, None if it takes none.
      qmp: the monitor, connected between start() and stop().
      process: the Child.
    """

    def __init__(
        self,
        directory,
        name,
        kind="min",
        guest="gradient",
        x509_dir=None,
        extra=(),
        machine="pc,accel=tcg",
        incoming=False,
        spice=(),
        address="127.0.0.1",
        password=PASSWORD,
        tls_ports=None,
    ):
        """Only notes what to start.

        Args:
          directory: where sockets, logs and the serial file go.
          guest: a boot sector by name, or None for the bare firmware.
          x509_dir: see pki.Authority.x509_dir, for kinds tls and full.
          extra: more arguments for QEMU.
          machine: value of -machine.
          incoming: wait for a migration instead of booting.
          spice: more options of -spice, "seamless-migration=on".
          address: where to listen, somewhere in 127.0.0.0/8.
          password: the ticket, for the kinds that have one.
          tls_ports: (first, last) to choose tls_port from.
        """
        self.name = name
        self.kind = kind
        self.port = 0
        self.tls_port = 0
        self.unix_path = None
        self.password = None if kind in ("noticket", "unix") else password
        self.address = address
        self.incoming_uri = None
        self.qmp = None
        self.process = None
        self._dir = directory
        self._guest = guest
        self._x509_dir = x509_dir
        self._extra = list(extra)
        self._machine = machine
        self._spice_options = list(spice)
        self._tls_ports = tls_ports
        if incoming:
            path = os.path.join(directory, name + ".migration")
            self.incoming_uri = "unix:" + path
        self.serial_path = os.path.join(directory, name + ".serial")
        self._qmp_path = os.path.join(directory, name + ".qmp")

    def start(self):
        """Starts QEMU and waits until its monitor answers; returns self.

        Raises RuntimeError with QEMU's own words when it does not start.
        """
        for attempt in range(_START_TRIES):
            self.process = processes.Child(
                self.name, self._argv(), self._dir, cwd=self._dir
            )
            self.qmp = polling.until(
                self._connect, f"QMP of {self.name}", _START_LIMIT_S
            )
            if self.qmp != "gone":
                return self
        raise RuntimeError(
            f"QEMU ended {attempt + 1} times: {self.process.errors()}"
        )

    def stop(self):
        """Ends QEMU; nothing happens when it is not running."""
        if self.qmp:
            self.qmp.close()
            self.qmp = None
        if self.process:
            self.process.stop()

    def wait_painted(self):
        """Waits until the guest has completed its first picture.

        For guest "relay": until it has prepared its ports. Returns at once when
        the guest is one that paints nothing, or is still to come.
        """
        if self._guest == "relay":
            polling.until(self._relays, f"{self.name} to relay", _PAINT_LIMIT_S)
        if self._guest not in _PAINTERS or self.incoming_uri:
            return self
        polling.until(
            lambda: self.serial()[:1] == _PAINTED,
            f"picture of {self.name}",
            _PAINT_LIMIT_S,
        )
        return self

    def console(self, name=None, **changes):
        """This machine as an entry of the gateway's consoles file.

        `changes` replace or add keys; a value of None removes one.
        """
        entry = {"name": name or self.name}
        if self.unix_path:
            entry["unix"] = self.unix_path
        else:
            entry["host"] = self.address
            entry["port"] = self.port or None
            entry["tls_port"] = self.tls_port or None
        entry["ticket"] = self.password
        if self.tls_port:
            entry["ca_file"] = os.path.join(self._x509_dir, "ca-cert.pem")
        entry.update(changes)
        return {k: v for k, v in entry.items() if v is not None}

    def alive(self):
        return self.process.running()

    def answers(self, limit_s=2):
        """Whether QMP answers within limit_s; False when QEMU is gone."""
        try:
            return bool(self.qmp.command("query-status", limit_s))
        except (OSError, EOFError):
            return False

    def channels(self, limit_s=2):
        """The open channels: {(type, id): is TLS}, as QEMU lists them."""
        listed = self.qmp.command("query-spice", limit_s).get("channels", [])
        return {
            (c["channel-type"], c["channel-id"]): c["tls"] for c in listed
        }

    def connection_ids(self):
        """{(type, id): the connection_id that its client linked with}."""
        listed = self.qmp.command("query-spice").get("channels", [])
        return {
            (c["channel-type"], c["channel-id"]): c["connection-id"]
            & 0xFFFFFFFF
            for c in listed
        }

    def events(self, name):
        """Every event of this name since start(), oldest first."""
        self.qmp.command("query-status")  # reads those that wait
        return [e for e in self.qmp.events if e["event"] == name]

    def wait_channels(self, wanted, limit_s=10):
        """Waits until every (type, id) of `wanted` is open."""
        polling.until(
            lambda: set(wanted) <= set(self.channels()),
            f"channels {sorted(wanted)} of {self.name}",
            limit_s,
        )

    def wait_idle(self, limit_s=15):
        """Waits until no channel is open. Every look must be answered."""
        polling.until(
            lambda: not self.channels(),
            f"{self.name} without a viewer",
            limit_s,
        )

    def screendump(self, path):
        """Writes what the guest shows to a PPM file, and returns the path."""
        self.qmp.command("screendump", filename=os.path.abspath(path))
        return path

    def serial(self):
        """What the guest has written to COM1 so far."""
        try:
            with open(self.serial_path, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return b""

    def keys(self):
        """The scan codes the guest's keyboard has sent so far, here."""
        num_others = 0 if self.incoming_uri else len(_PAINTED)
        return self.serial()[num_others:]

    def _relays(self):
        """Whether relay.asm has said so, in its memory."""
        line = "xp /1hx 0x7e00"
        read = self.qmp.command(
            "human-monitor-command", **{"command-line": line}
        )
        return read.split()[-1] == "0x4b4f"  # OK

    def _connect(self):
        if not self.process.running():
            return "gone"
        try:
            return qmp.Qmp(self._qmp_path)
        except (OSError, EOFError):
            return None  # not listening yet, or ended just now

    def _argv(self):
        for path in (self._qmp_path, self.serial_path):
            if os.path.exists(path):
                os.unlink(path)
        argv = ["qemu-system-x86_64", "-name", self.name]
        argv += ["-machine", self._machine, "-m", "32"]
        argv += ["-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-qmp", f"unix:{self._qmp_path},server=on,wait=off"]
        if self._guest != "relay":  # which needs all four serial ports
            argv += ["-serial", f"file:{self.serial_path}"]
        if self._guest:
            image = locate.guest(self._guest)
            argv += ["-drive", f"file={image},format=raw,if=ide,snapshot=on"]
        if self.incoming_uri:
            argv += ["-incoming", self.incoming_uri]
        return argv + self._spice() + self._extra

    def _spice(self):
        first, second = ports.pick(2)
        if self._tls_ports:
            second = ports.pick_between(*self._tls_ports)
        options = [f"addr={self.address}", *self._spice_options]
        if self.kind in ("unix", "unixticket"):
            self.unix_path = os.path.join(self._dir, self.name + ".spice")
            options = ["unix=on", f"addr={self.unix_path}"]
            options += self._spice_options
        if self.kind in ("min", "noticket", "full"):
            self.port = first
            options.append(f"port={first}")
        if self.kind in ("tls", "full"):
            self.tls_port = second
            options.append(f"tls-port={second},x509-dir={self._x509_dir}")
        if self.password is None:
            options.append("disable-ticketing=on")
            argv = []
        else:
            options.append("password-secret=spw")
            argv = ["-object", f"secret,id=spw,data={self.password}"]
        every = self.kind in ("tls", "full")
        argv += _EVERY_DEVICE if every else ["-vga", "qxl"]
        return argv + ["-spice", ",".join(options)]
