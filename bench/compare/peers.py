# SPDX-License-Identifier: Apache-2.0
"""The relays that are compared, each started afresh for a measurement."""

import os
import pwd
import re
import shutil
import socket

from bench.compare import configs
from bench.compare import procfs
from bench.compare import relay
from tests.testbed import locate
from tests.testbed import processes

GATEWAY = "spicegate"
_UNPRIVILEGED = "nobody"


class Direct(relay.Peer):
    """No relay at all."""

    name = "direct"
    title = "no relay"

    def missing(self):
        return None

    def refuses(self, scenario):
        if scenario.is_idle:
            return "there is no process whose memory could be measured"
        if scenario.veth:
            return "the load talks to itself, across no veth pair"
        return super().refuses(scenario)

    def start(self, setup, prefix):
        return relay.Running(self, setup)


class PlainRelay(relay.Peer):
    """The gateway's own data path without SPICE in front."""

    name = "plain-relay"
    title = "spicegate's data path alone"
    ends_tls = True
    optional = True

    def missing(self):
        try:
            locate.built("bench/plain_relay/plain-relay")
        except FileNotFoundError as error:
            return str(error)
        return None

    def command(self, setup):
        argv = [
            locate.built("bench/plain_relay/plain-relay"),
            f"--listen={setup.address}",
            f"--server={setup.server}",
        ]
        if setup.certificate:
            argv.append(f"--tls_certificate={setup.certificate.cert}")
            argv.append(f"--tls_key={setup.certificate.key}")
        return argv


class Spicegate(PlainRelay):
    """The gateway; its data path alone where no SPICE is spoken.

    Attributes:
      guard: what it does about messages that are not of SPICE.
    """

    name = GATEWAY
    title = "spicegate"
    optional = False
    guard = "enforce"

    def by_connect(self, scenario):
        """Whether viewers come by HTTP CONNECT."""
        return scenario.tunnel

    def missing(self):
        try:
            locate.gateway()
        except FileNotFoundError as error:
            return str(error)
        return super().missing()

    def version(self):
        return _first_line([locate.gateway(), "--version"])

    def command(self, setup):
        if setup.scenario.raw:
            return super().command(setup)
        setup.write("consoles.json", configs.consoles(setup, self.guard))
        if self.by_connect(setup.scenario):
            path = setup.write("spicegate.json", configs.connect(setup))
            return [locate.gateway(), "--config", path]
        spin_us = setup.scenario.spin_us
        if spin_us and not self._accepts_spin(setup, spin_us):
            spin_us = 0
        text = configs.spicegate(setup, spin_us)
        path = setup.write("spicegate.json", text)
        return [locate.gateway(), "--config", path]

    def note(self, setup):
        spin_us = setup.scenario.spin_us
        unknown = setup.scenario.raw or self.by_connect(setup.scenario)
        if unknown or not spin_us:
            return ""
        if self._accepts_spin(setup, spin_us):
            return f"spicegate polls for {spin_us} us before it sleeps"
        return "this spicegate has no relay.spin_us: it sleeps at once"

    def _accepts_spin(self, setup, spin_us):
        """Whether the gateway's configuration knows relay.spin_us."""
        text = configs.spicegate(setup, spin_us)
        path = setup.write("try.json", text)
        code, _, _ = processes.run(
            [locate.gateway(), "--check-config", "--config", path]
        )
        return code == 0

    def ready(self, setup, child):
        return setup.scenario.raw or '"event":"ready"' in child.errors()

    def load_flags(self, setup):
        if setup.scenario.raw:
            return []
        if self.by_connect(setup.scenario):
            return [f"--connect={setup.server}"]
        return [
            f"--admin=unix:{setup.directory}/admin.sock",
            f"--consoles={setup.num_consoles}",
        ]


class Connect(Spicegate):
    """The gateway as squid is used: CONNECT and an allow-list, no tickets."""

    name = "spicegate-connect"
    title = "spicegate CONNECT"
    ends_tls = False
    optional = True

    def by_connect(self, scenario):
        return True

    def refuses(self, scenario):
        if scenario.raw:
            return "nothing but SPICE and TLS comes through"
        if scenario.tunnel:
            return "spicegate itself does it there"
        if scenario.veth:
            return "all viewers have one address there, and are one to it"
        return super().refuses(scenario)


class Unguarded(Spicegate):
    """The gateway without its guard: what the guard costs."""

    name = "spicegate-unguarded"
    title = "spicegate, guard off"
    optional = True
    guard = "off"

    def refuses(self, scenario):
        if scenario.raw or scenario.tunnel:
            return "no SPICE is spoken: there is nothing to guard"
        return super().refuses(scenario)


class Haproxy(relay.Peer):
    """HAProxy in TCP mode, one thread."""

    name = "haproxy"
    title = "HAProxy"
    program = "haproxy"
    ends_tls = True

    def version(self):
        return _first_line(["haproxy", "-v"])

    def config(self, setup):
        return configs.haproxy(setup)

    def command(self, setup):
        path = setup.write("haproxy.cfg", self.config(setup))
        return ["haproxy", "-db", "-f", path]


class HaproxyTuned(Haproxy):
    name = "haproxy-tuned"
    title = "HAProxy, 64 KiB buffers"

    def config(self, setup):
        return configs.haproxy(setup, buffer_bytes=65536)


class HaproxySplice(Haproxy):
    """Splicing for certain: see check_used()."""

    name = "haproxy-splice"
    title = "HAProxy, splice"
    ends_tls = False  # in user space, where there is nothing to splice

    def config(self, setup):
        return configs.haproxy(setup, splice=True)

    def check_used(self, running):
        """Pipes it once took stay open, so its own count tells.

        Small messages may go through its buffers whatever the option says,
        hence only floods prove it.
        """
        if running.setup.scenario.command not in ("bulk", "mixed"):
            return
        info = _haproxy_info(running.setup)
        pipes = int(info.get("PipesUsed", 0)) + int(info.get("PipesFree", 0))
        ends = sum(map(procfs.num_pipe_ends, running.pids))
        if pipes == 0 or ends == 0:
            raise relay.PeerError(
                f"HAProxy does not splice: {pipes} pipes, {ends} pipe ends"
            )


class Nginx(relay.Peer):
    name = "nginx"
    title = "nginx stream"
    program = "nginx"
    ends_tls = True
    _MODULES = (
        "/usr/lib/nginx/modules/ngx_stream_module.so",
        "/usr/lib64/nginx/modules/ngx_stream_module.so",
    )

    def missing(self):
        if self._module() is None and shutil.which("nginx"):
            return "nginx has no stream module (libnginx-mod-stream)"
        return super().missing()

    def _module(self):
        return next(filter(os.path.exists, self._MODULES), None)

    def version(self):
        return _first_line(["nginx", "-v"])

    def command(self, setup):
        text = configs.nginx(setup, self._module())
        path = setup.write("nginx.conf", text)
        log = os.path.join(setup.directory, "nginx.log")
        return ["nginx", "-e", log, "-c", path]


class Stunnel(relay.Peer):
    """TLS and nothing else."""

    name = "stunnel"
    title = "stunnel"
    program = "stunnel4"
    ends_tls = True

    def refuses(self, scenario):
        return None if scenario.tls else "it relays TLS only"

    def version(self):
        lines = _output(["stunnel4", "-version"]).splitlines()
        return next((line for line in lines if "stunnel " in line), "")

    def command(self, setup):
        path = setup.write("stunnel.conf", configs.stunnel(setup))
        return ["stunnel4", path]


class Squid(relay.Peer):
    """squid, asked by CONNECT.

    Never as root: it would change its user, which ends the kernel's promise to
    end it with us.
    """

    name = "squid"
    title = "squid CONNECT"
    program = "squid"

    def missing(self):
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            return "setpriv is not installed"
        return super().missing()

    def version(self):
        return _first_line(["squid", "-v"])

    def command(self, setup):
        path = setup.write("squid.conf", configs.squid(setup))
        argv = ["squid", "-N", "-f", path]
        if os.geteuid() != 0:
            return argv
        user = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(setup.directory, user.pw_uid, user.pw_gid)
        return [
            "setpriv",
            f"--reuid={user.pw_uid}",
            f"--regid={user.pw_gid}",
            "--clear-groups",
            "--pdeathsig=KILL",
            "--",
        ] + argv

    def load_flags(self, setup):
        return [f"--connect={setup.server}"]


class Socat(relay.Peer):
    name = "socat"
    title = "socat"
    program = "socat"
    forks = True

    def refuses(self, scenario):
        if scenario.is_idle:
            return "a process for each channel: thousands of processes"
        return super().refuses(scenario)

    def version(self):
        lines = _output(["socat", "-V"]).splitlines()
        return next((line for line in lines if "version" in line), "")

    def command(self, setup):
        listen = f"TCP-LISTEN:{setup.port},bind={setup.host},backlog=1024"
        return [
            "socat",
            f"{listen},fork,reuseaddr,nodelay",
            f"TCP:{setup.server},nodelay",
        ]


ALL = (
    Spicegate(),
    Connect(),
    Unguarded(),
    Direct(),
    Haproxy(),
    HaproxyTuned(),
    HaproxySplice(),
    Nginx(),
    Stunnel(),
    Squid(),
    Socat(),
    PlainRelay(),
)


def choose(words):
    """The gateway and the named peers, or all that are not optional.

    Raises ValueError for a word that names none.
    """
    known = {peer.name: peer for peer in ALL}
    for word in words:
        if word not in known:
            raise ValueError(
                f"no peer '{word}'; there are: " + " ".join(known)
            )
    if not words:
        return [peer for peer in ALL if not peer.optional]
    return [p for p in ALL if p.name == GATEWAY or p.name in words]


def _haproxy_info(setup):
    """HAProxy's `show info` as a dict."""
    with socket.socket(socket.AF_UNIX) as stats:
        stats.settimeout(5)
        stats.connect(os.path.join(setup.directory, "haproxy.sock"))
        stats.sendall(b"show info\n")
        with stats.makefile("r", encoding="ascii") as stream:
            text = stream.read()
    return dict(re.findall(r"^(\w+): (.*)$", text, re.MULTILINE))


def _output(argv):
    _, out, errors = processes.run(argv)
    return (out + errors).strip()


def _first_line(argv):
    return _output(argv).partition("\n")[0]
