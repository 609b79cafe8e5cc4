# SPDX-License-Identifier: Apache-2.0
"""Real viewers: spicy-screenshot, spicy-stats; spicy, remote-viewer in Xvfb."""

import contextlib
import dataclasses
import glob
import os
import re
import signal

from tests.testbed import picture
from tests.testbed import polling
from tests.testbed import processes

# spice-gtk's SpiceChannelEvent, as spicy-stats prints it for main.
CLOSED, CONNECT, TLS, LINK, AUTH, IO = 12, 20, 21, 22, 23, 24

_RUN_LIMIT_S = 20
_SOUND_PLUGINS = (
    *("app", "audioconvert", "audioresample", "audiotestsrc", "autodetect"),
    "coreelements",
)
_SCREEN = "1400x1000x24"  # larger than a window for 1024x768: no scaling


@dataclasses.dataclass(frozen=True)
class Target:
    """What a viewer is told to connect to.

    Attributes:
      password: the ticket, or None to send an empty one.
      ca_path: CA file for tls_port; the system's own ones when None.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls_port: int = 0
    unix_path: str | None = None
    password: str | None = None
    ca_path: str | None = None

    def argv(self):
        if self.unix_path:
            return [f"--uri=spice+unix://{self.unix_path}"]
        argv = ["-h", self.host]
        if self.port:
            argv += ["-p", str(self.port)]
        if self.tls_port:
            argv += ["-s", str(self.tls_port)]
        if self.password is not None:
            argv += ["-w", self.password]
        return argv


def direct(vm, tls=False, ca_path=None):
    """The target that is the QEMU itself."""
    if vm.unix_path:
        return Target(unix_path=vm.unix_path)
    if tls:
        return Target(
            host="localhost",
            tls_port=vm.tls_port,
            password=vm.password,
            ca_path=ca_path,
        )
    return Target(port=vm.port, password=vm.password)


def private_environment(directory, target=None, **more):
    """An environment in which no setting of the user reaches a viewer."""
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    for variable, name in (
        ("HOME", "home"),
        ("XDG_RUNTIME_DIR", "xdg-runtime"),
        ("XDG_CONFIG_HOME", "xdg-config"),
        ("XDG_CACHE_HOME", "xdg-cache"),
    ):
        path = os.path.join(directory, name)
        os.makedirs(path, 0o700, exist_ok=True)
        env[variable] = path
    env.update(GSETTINGS_BACKEND="memory", NO_AT_BRIDGE="1", LC_ALL="C.UTF-8")
    env["GST_PLUGIN_SYSTEM_PATH_1_0"] = _plugins(directory, "coreelements")
    if target and target.ca_path:
        env["SSL_CERT_FILE"] = target.ca_path
    env.update(more)
    return env


def sound_environment(directory):
    """What lets a viewer play into nothing and record silence.

    The plugins needed for that, and no more: a viewer with a new home looks at
    every plugin there is, which takes it seconds.
    """
    path = _plugins(directory, *_SOUND_PLUGINS)
    return {"GST_PLUGIN_SYSTEM_PATH_1_0": path}


def has_sound():
    """Whether the plugins for that are installed."""
    return all(_installed(name) for name in _SOUND_PLUGINS)


def _plugins(directory, *names):
    """A directory with these plugins of GStreamer, as far as they exist."""
    path = os.path.join(directory, f"gstreamer-{len(names)}")
    os.makedirs(path, exist_ok=True)
    for plugin in sum(map(_installed, names), []):
        link = os.path.join(path, os.path.basename(plugin))
        # Several viewers of one test may start at once.
        with contextlib.suppress(FileExistsError):
            os.symlink(plugin, link)
    return path


def _installed(plugin):
    """Paths of a plugin of GStreamer: one, or none."""
    return glob.glob(f"/usr/lib/*/gstreamer-1.0/libgst{plugin}.so")[:1]


@dataclasses.dataclass(frozen=True)
class Shot:
    """How one spicy-screenshot ended.

    Attributes:
      code: 0 when it wrote its picture, 1 otherwise.
      path: the PPM file, whether it exists or not.
      event: the main channel's event, see the constants above; None if none.
    """

    code: int
    path: str
    event: int | None
    text: str

    def bytes(self):
        with open(self.path, "rb") as stream:
            return stream.read()


def screenshot(directory, name, target, **env):
    """Runs spicy-screenshot to its end and returns the Shot.

    Args:
      env: is added to its environment.
    """
    path = os.path.join(directory, name + ".ppm")
    child = processes.Child(
        name,
        ["spicy-screenshot", *target.argv(), "-o", path],
        directory,
        env=private_environment(directory, target, **env),
    )
    try:
        code = child.wait(_RUN_LIMIT_S)
    finally:
        child.stop()
    return Shot(code, path, _main_event(child), child.tail())


class Stats:
    """A running spicy-stats: a viewer without a window, all channels open."""

    def __init__(self, directory, name, target, **env):
        """Starts it; `env` is added to its environment."""
        self.child = processes.Child(
            name,
            ["spicy-stats", *target.argv()],
            directory,
            env=private_environment(directory, target, **env),
        )

    def event(self):
        """The main channel's event so far, or None."""
        return _main_event(self.child)

    def wait_end(self, limit_s=_RUN_LIMIT_S):
        """Waits until it has ended by itself, and returns the event.

        It ends when main closes; its exit code says nothing.
        """
        try:
            self.child.wait(limit_s)
        finally:
            self.child.stop()
        return self.event()

    def stop(self):
        """Ends it as Ctrl-C does; returns {channel: bytes it has read}."""
        self.child.stop(signal.SIGINT)
        counts = re.findall(r"^(\w+): (\d+)$", self.child.output(), re.M)
        totals = {}
        for channel, count in counts:
            totals[channel] = totals.get(channel, 0) + int(count)
        return totals


class Display:
    """An X server without a screen.

    Attributes:
      name: value for DISPLAY.
    """

    def __init__(self, directory):
        self._number_path = os.path.join(directory, "xvfb.number")
        # -displayfd lets the server choose the number; a shell opens the file.
        # -noreset: without a client for a moment it would begin anew, and
        # refuse one that comes meanwhile.
        self._child = processes.Child(
            "xvfb",
            [
                "sh",
                "-c",
                'exec Xvfb -displayfd 3 -screen 0 "$1" -nolisten tcp -noreset'
                ' 3>"$2"',
                "xvfb",
                _SCREEN,
                self._number_path,
            ],
            directory,
        )
        self.name = ":" + polling.until(self._number, "Xvfb", 20)

    def stop(self):
        self._child.stop()

    def _number(self):
        if not self._child.running():
            raise RuntimeError(f"Xvfb ended: {self._child.tail()}")
        try:
            with open(self._number_path, encoding="ascii") as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        return text.strip() if text.endswith("\n") else None


class WindowGone(Exception):
    """The viewer shows no window now; after a reconnect it shows another."""


class _Window:
    """A viewer with a window on a Display."""

    def __init__(self, directory, argv, env, title):
        self._dir = directory
        self._title = title
        self._env = env
        self.child = processes.Child(argv[0], argv, directory, env=env)

    def stop(self):
        return self.child.stop()

    def log(self):
        """What it has written so far, both outputs."""
        return self.child.output() + self.child.errors()

    def wait_window(self, limit_s=20):
        """Waits for the viewer's window."""
        polling.until(
            self._find_window, f"window {self._title}", limit_s, 0.1
        )

    def shot(self):
        """What the window shows now; raises WindowGone."""
        path = os.path.join(self._dir, "window.xwd")
        self._x("xwd", "-silent", "-id", self._window(), "-out", path)
        return picture.read_xwd(path)

    def wait_shows(self, wanted, limit_s=20):
        """Waits until the window shows this picture; returns its place."""

        def place():
            try:
                shot = self.shot()
            except WindowGone:
                return None
            at = picture.find(shot, wanted)
            if at and picture.differing_pixels(shot, wanted, at) == 0:
                return at
            return None

        return polling.until(place, "picture in the window", limit_s, 0.1)

    def focus(self):
        """Makes the window the keyboard's; no window manager is needed."""
        window = self._window()
        self._x("xdotool", "windowfocus", "--sync", window)
        # --sync waits for a movement, so there has to be one.
        move = ("xdotool", "mousemove", "--window", window)
        self._x(*move, "390", "390")
        self._x(*move, "--sync", "400", "400")

    def key(self, name):
        """Types one key through the X server, as a keyboard does."""
        self._x("xdotool", "key", name)

    def fill_in(self, title, *fields, limit_s=20):
        """Types into the fields of a dialog, one by one, and confirms it."""
        dialog = polling.until(
            lambda: self._find_window(title), f"dialog {title}", limit_s, 0.1
        )
        self._x("xdotool", "windowfocus", "--sync", dialog)
        for number, text in enumerate(fields):
            if number:
                self.key("Tab")
            self.key("ctrl+a")
            self._x("xdotool", "type", text)
        self.key("Return")

    def click(self, button=1):
        """Clicks where the pointer is; in server mode that grabs it."""
        self._x("xdotool", "click", str(button))

    def move(self, dx, dy):
        """Moves the pointer by so many pixels."""
        self._x("xdotool", "mousemove_relative", "--", str(dx), str(dy))

    def resize(self, width, height):
        """Gives the window another size, as its user does."""
        size = (str(width), str(height))
        self._x("xdotool", "windowsize", self._window(), *size)

    def window_id(self):
        """Id of the top-level window; raises WindowGone."""
        return int(self._window())

    def _window(self):
        window = self._find_window()
        if not window:
            raise WindowGone(self._title)
        return window

    def _find_window(self, title=None):
        if not self.child.running():
            raise RuntimeError(f"the viewer ended\n{self.child.tail()}")
        name = title or self._title
        code, out, _ = processes.run(
            ["xdotool", "search", "--onlyvisible", "--name", name],
            env=self._env,
        )
        return out.split()[-1] if code == 0 and out.split() else None

    def _x(self, *argv):
        code, out, err = processes.run(argv, env=self._env)
        if code:
            raise WindowGone(f"{' '.join(argv)}: {out}{err}")


# glib-networking trusts what is in this file, and nothing can tell it another.
_SYSTEM_CAS = "/etc/ssl/certs/ca-certificates.crt"


class RemoteViewer(_Window):
    """remote-viewer with one .vv file on a Display."""

    def __init__(
        self,
        directory,
        display,
        vv_path,
        title,
        system_ca=None,
        piped=False,
        **env,
    ):
        """Starts it; `env` is added to its environment.

        Args:
          system_ca: PEM file with the only authorities that the system trusts
            as far as this viewer can see. A proxy's certificate is held
            against those, never against the `ca` of the .vv file.
          piped: vv_path becomes its standard input; a pipe may be empty yet.
        """
        env = private_environment(
            directory, DISPLAY=display.name, GDK_BACKEND="x11", **env
        )
        argv = ["remote-viewer", "--debug", vv_path]
        if piped:
            shell = 'exec remote-viewer --debug - <"$1"'
            argv = ["sh", "-c", shell, "remote-viewer", vv_path]
        if system_ca:
            argv = processes.seeing(system_ca, _SYSTEM_CAS, argv)
        super().__init__(directory, argv, env, title)


class Spicy(_Window):
    """spicy on a Display, its picture neither scaled nor cut.

    It follows a switch of hosts, with a new window.
    """

    def __init__(self, directory, display, target, title, options=(), **env):
        """Starts it with more options; `env` is added to its environment."""
        env = private_environment(
            directory, DISPLAY=display.name, GDK_BACKEND="x11", **env
        )
        settings = os.path.join(env["XDG_CONFIG_HOME"], "spicy", "settings")
        os.makedirs(os.path.dirname(settings), exist_ok=True)
        with open(settings, "w", encoding="ascii") as stream:
            stream.write("[general]\nscaling=false\nresize-guest=false\n")
            stream.write("[ui]\ntoolbar=false\nstatusbar=false\n")
        argv = ["spicy", "--title", title, *target.argv()]
        if target.ca_path:
            argv.append("--spice-ca-file=" + target.ca_path)
        argv += options
        super().__init__(directory, argv, env, title)


def _main_event(child):
    found = re.findall(r"main channel event: (\d+)", child.errors())
    return int(found[-1]) if found else None
