# SPDX-License-Identifier: Apache-2.0
"""Debian's Keystone on loopback, with a database of its own in SQLite.

Everything it reads and writes lies in one directory. It is administered by the
test through the API, as by `openstack` on a command line.
"""

import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time

from tests.testbed import polling
from tests.testbed import processes

REGION = "RegionOne"
ADMIN = "admin"  # user, project and role of the bootstrap
DEFAULT = "default"  # the domain's id; its name is "Default"

_ADMIN_PASSWORD = "first-admin-password"  # as of keystone_server
_READY_LIMIT_S = 120
_STOP_LIMIT_S = 30
_SERVER = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "keystone_server.py"
)
_PYTHON = "/usr/bin/python3"  # Debian's own, whatever else is in PATH

# Hashes at their cheapest: nobody guesses these passwords. The cache keeps
# things for as long as one request lasts, which makes it fast enough.
_CONFIG = """[DEFAULT]
use_stderr = true
[application_credential]
user_limit = -1
[cache]
backend = dogpile.cache.null
enabled = true
[credential]
key_repository = {directory}/credential
[database]
connection = sqlite:///{directory}/keystone.sqlite
[fernet_tokens]
key_repository = {directory}/fernet
[identity]
password_hash_rounds = 4
[oslo_policy]
policy_dirs = {directory}/policy.d
policy_file = {directory}/policy.yaml
[token]
expiration = {expiration}
"""


class KeystoneError(Exception):
    """An answer that is none of those expected."""

    def __init__(self, status, text):
        super().__init__(f"{status} {text}")
        self.status = status


class Keystone:
    """One Keystone process; the same port and data after stop() and start().

    Attributes:
      port: where it listens; known after the first start().
      url: "http://127.0.0.1:PORT", to which "/v3" may be appended.
      directory: everything it reads, writes and logs.
    """

    def __init__(
        self, directory, certificate=None, ca_path=None, expiration_s=3600
    ):
        """Only notes what to start.

        Args:
          certificate: (certificate path, key path) for https.
          ca_path: what the test itself trusts then.
          expiration_s: how long tokens are good.
        """
        self.directory = os.path.join(directory, "keystone")
        os.makedirs(self.directory)
        self.port = 0
        self.expiration_s = expiration_s
        self.process = None
        self._certificate = certificate or ()
        self._context = None
        if certificate:
            self._context = ssl.create_default_context(cafile=ca_path)
        self._lines = []  # of processes that have ended
        self._lock = threading.Lock()
        self._admin = ("", 0.0)  # token, until when it is used

    @property
    def url(self):
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self):
        """Starts it and waits until it serves; returns self.

        The first time takes some seconds, for its database.
        """
        path = os.path.join(self.directory, "keystone.conf")
        with open(path, "w", encoding="ascii") as stream:
            stream.write(
                _CONFIG.format(
                    directory=self.directory, expiration=self.expiration_s
                )
            )
        argv = [_PYTHON, "-IB", _SERVER, self.directory, str(self.port)]
        self.process = processes.Child(
            "keystone",
            argv + list(self._certificate),
            self.directory,
            env=_environment(self.directory),
            cwd=self.directory,
        )
        self.port = polling.until(self._said_port, "keystone", _READY_LIMIT_S)
        self._admin = ("", 0.0)
        return self

    def stop(self):
        """From now on nobody listens there."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait(_STOP_LIMIT_S)
            polling.until(self._refuses, "end of keystone", _STOP_LIMIT_S)
            self._lines += self.process.output().splitlines()
            self.process = None

    def restart(self, expiration_s=None):
        """With another lifetime of tokens, if that is wished."""
        self.stop()
        self.expiration_s = expiration_s or self.expiration_s
        self.start()

    def hang(self):
        """From now on it accepts connections, and that is all."""
        self._signal(signal.SIGSTOP)

    def go_on(self):
        self._signal(signal.SIGCONT)

    def logins(self, status=None):
        """How many have asked for a token, with this outcome or any.

        The test's own requests as administrator are among them.
        """
        wanted = "POST /v3/auth/tokens " + (str(status) if status else "")
        running = self.process.output().splitlines() if self.process else []
        return sum(
            line.startswith(wanted) for line in self._lines + running
        )

    def request(self, method, path, body=None, token=None, headers=None):
        """(status, headers in lower case, JSON or None); OSError if down."""
        how = {"timeout": 60}
        make = http.client.HTTPConnection
        if self._context:
            make = http.client.HTTPSConnection
            how["context"] = self._context
        connection = make("127.0.0.1", self.port, **how)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token:
            sent["X-Auth-Token"] = token
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, sent)
            answer = connection.getresponse()
            data = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from None
        finally:
            connection.close()
        names = {k.lower(): v for k, v in answer.getheaders()}
        is_json = "json" in names.get("content-type", "")
        return answer.status, names, json.loads(data) if is_json else None

    def ask(self, method, path, body=None, token=None):
        """As administrator unless a token is given; returns the JSON."""
        token = token or self.admin_token()
        status, _, reply = self.request(method, "/v3" + path, body, token)
        if status >= 300:
            raise KeystoneError(status, f"{method} {path}: {reply}")
        return reply

    def login(self, user, password, project):
        """A token by password; names are of the default domain."""
        domain = {"id": DEFAULT}
        who = {"name": user, "domain": domain, "password": password}
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": who},
                },
                "scope": {"project": {"name": project, "domain": domain}},
            }
        }
        status, headers, reply = self.request(
            "POST", "/v3/auth/tokens", body
        )
        if status != 201:
            raise KeystoneError(status, reply)
        return headers["x-subject-token"]

    def admin_token(self):
        with self._lock:
            token, until = self._admin
            if time.monotonic() > until:
                until = time.monotonic() + self.expiration_s / 2
                token = self.login(ADMIN, _ADMIN_PASSWORD, ADMIN)
                self._admin = (token, until)
        return token

    def _forget_admin_token(self):
        with self._lock:
            self._admin = ("", 0.0)

    def validate(self, token):
        """What a token stands for, or None when it is not good.

        OSError where Keystone is down.
        """
        headers = {
            "X-Subject-Token": token,
            "OpenStack-Identity-Access-Rules": "1",
        }
        for _ in range(2):  # ours may have expired
            try:
                mine = self.admin_token()
            except KeystoneError as error:
                raise ConnectionError(str(error)) from None
            status, _, reply = self.request(
                "GET", "/v3/auth/tokens", None, mine, headers
            )
            if status == 200:
                return reply["token"]
            if status in (400, 404):
                return None
            self._forget_admin_token()
        raise ConnectionError(f"{status} {reply}")

    def revoke(self, token):
        headers = {"X-Subject-Token": token}
        status, _, reply = self.request(
            "DELETE", "/v3/auth/tokens", None, self.admin_token(), headers
        )
        if status != 204:
            raise KeystoneError(status, reply)

    def add_project(self, name):
        """Returns its id."""
        body = {"project": {"name": name, "domain_id": DEFAULT}}
        return self.ask("POST", "/projects", body)["project"]["id"]

    def add_role(self, name):
        """Returns its id."""
        body = {"role": {"name": name}}
        return self.ask("POST", "/roles", body)["role"]["id"]

    def add_user(self, name, password, project_id, role_id):
        """A user with one role in one project; returns its id."""
        body = {
            "user": {
                "name": name,
                "password": password,
                "domain_id": DEFAULT,
            }
        }
        user_id = self.ask("POST", "/users", body)["user"]["id"]
        self.ask(
            "PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}"
        )
        return user_id

    def set_password(self, user_id, password):
        body = {"user": {"password": password}}
        self.ask("PATCH", f"/users/{user_id}", body)

    def add_credential(self, token, user_id, name, secret, rules=None):
        """An application credential of the token's owner; returns its id.

        Args:
          rules: access rules as OpenStack's command line takes them.
        """
        content = {"name": name, "secret": secret}
        if rules is not None:
            content["access_rules"] = rules
        body = {"application_credential": content}
        path = f"/users/{user_id}/application_credentials"
        reply = self.ask("POST", path, body, token)
        return reply["application_credential"]["id"]

    def remove_credential(self, token, user_id, credential_id):
        path = f"/users/{user_id}/application_credentials/{credential_id}"
        self.ask("DELETE", path, None, token)

    def add_service(self, kind, name):
        """An entry of the catalog without endpoints; returns its id."""
        body = {"service": {"type": kind, "name": name}}
        return self.ask("POST", "/services", body)["service"]["id"]

    def add_region(self, name):
        self.ask("POST", "/regions", {"region": {"id": name}})

    def add_endpoint(self, service_id, url, interface, region=REGION):
        """Returns its id. %(project_id)s in the URL is Keystone's to fill."""
        body = {
            "endpoint": {
                "service_id": service_id,
                "interface": interface,
                "region_id": region,
                "url": url,
            }
        }
        return self.ask("POST", "/endpoints", body)["endpoint"]["id"]

    def set_endpoint(self, endpoint_id, url):
        body = {"endpoint": {"url": url}}
        self.ask("PATCH", f"/endpoints/{endpoint_id}", body)

    def _signal(self, number):
        """To all its processes: they are a session of their own."""
        if self.process.running():
            os.killpg(self.process.pid, number)

    def _refuses(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def _said_port(self):
        for line in self.process.output().splitlines():
            if line.startswith("port "):
                return int(line.removeprefix("port "))
        if not self.process.running():
            raise RuntimeError(f"keystone ended\n{self.process.tail()}")
        return None


def _environment(directory):
    """Nothing of the test's own: no proxy, no locale, no other Python."""
    return {
        "HOME": directory,
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "TMPDIR": directory,
    }
