# SPDX-License-Identifier: Apache-2.0
"""A gateway with a portal in front of clouds, and users who come to it.

    cloud = portal.nova_cloud(test.directory, nova, identity)
    door = portal.start(test, [cloud])
    vv = door.file(nova.add_vm(vm).token)
"""

import http.client
import json
import os
import socket
import ssl

from tests.testbed import pki
from tests.testbed import web

FILE_PATH, PAGE_PATH = "/nova-console.vv", "/nova"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PASSWORD = "the service user's password"
USER, PROJECT = "spicegate", "service"
_LIMIT_S = 60


def nova_cloud(
    directory, nova, identity, name="prod", secret=PASSWORD, **more
):
    """An entry of "clouds" whose user logs in with a password.

    Args:
      nova: a nova.Nova; its address is taken from here, not from the catalog.
      identity: keystone.Keystone or identity.Identity.
      secret: the password, which goes into secret_path(directory, name).
      more: keys of the entry that replace or complete what is here.
    """
    return {
        "name": name,
        "kind": "nova",
        "keystone": {
            "url": identity.url + "/v3",
            "user": USER,
            "user_domain": "Default",
            "password_file": write_secret(directory, name, secret),
            "project": PROJECT,
            "project_domain": "Default",
        },
        "compute": {"endpoint": nova.url},
        **more,
    }


def secret_path(directory, name="prod"):
    """Where a cloud's password or secret is."""
    return os.path.join(directory, name + ".secret")


def write_secret(directory, name, secret):
    """Replaces it in one step; returns its path."""
    path = secret_path(directory, name)
    with open(path + ".new", "w", encoding="ascii") as stream:
        os.chmod(path + ".new", 0o600)
        stream.write(secret + "\n")
    os.rename(path + ".new", path)
    return path


def start(test, clouds, tls=True, consoles=(), portal=None, **config):
    """A running gateway with a portal; returns the Portal.

    Args:
      test: a case.Case, with which the gateway ends.
      clouds: entries of "clouds".
      tls: whether users come with https, to a certificate of a new authority.
      portal: keys of "portal" that replace or complete what is here.
      config: further keys of the configuration. Without "limits" a source may
        fail as often as it likes.
    """
    section = {"address": "127.0.0.1:0", "tls": tls}
    ca_path = None
    if tls:
        authority = pki.Authority(test.directory, "portal-ca")
        certificate, key = authority.issue("portal")
        section.update(certificate=certificate, key=key)
        ca_path = authority.cert_path
    section.update(portal or {})
    config.setdefault("limits", {"portal_failures": 10000})
    made = test.start_gateway(
        consoles, portal=section, clouds=list(clouds), **config
    )
    return Portal(made, ca_path)


class Portal:
    """The portal of a running gateway.

    Attributes:
      gateway: the gateway.Gateway.
      port, ca_path: where it is, and what it is verified with; ca_path is None
        without TLS.
      url: "https://localhost:PORT".
    """

    def __init__(self, made, ca_path=None):
        self.gateway = made
        self.ca_path = ca_path
        record = made.wait_record("portal_listening")
        self.port = int(record["address"].rpartition(":")[2])
        scheme = "https" if ca_path else "http"
        self.url = f"{scheme}://localhost:{self.port}"

    def request(
        self,
        path,
        method="GET",
        accept=None,
        source="127.0.0.1",
        limit_s=_LIMIT_S,
        headers=None,
    ):
        """One request on a new connection; returns web.Answer.

        Args:
          path: with the query.
          accept: of a machine, curl's, unless given: see BROWSER.
          source: the address it comes from, any of 127.0.0.0/8.
          headers: further ones, for example Host.
        """
        sent = {"Accept": accept or "*/*", **(headers or {})}
        connection = self._connection(source, limit_s)
        try:
            connection.request(method, path, headers=sent)
            answer = connection.getresponse()
            names = {k.lower(): v for k, v in answer.getheaders()}
            return web.Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def ask(self, token, path=FILE_PATH, **how):
        """request() with a console token."""
        return self.request(f"{path}?token={token}", **how)

    def file(self, token, path=FILE_PATH, **how):
        """The .vv file, as bytes; RuntimeError when there is none."""
        answer = self.ask(token, path, **how)
        if answer.status != 200:
            raise RuntimeError(f"no .vv: {answer.status} {answer.text()}")
        return answer.body

    def error(self, token, path=FILE_PATH, **how):
        """(status, code, text, Answer) of a request that is to fail."""
        answer = self.ask(token, path, **how)
        if answer.status < 400:
            raise RuntimeError(f"no error: {answer.status} {answer.text()}")
        content = json.loads(answer.body)
        return answer.status, content["code"], content["error"], answer

    def _connection(self, source, limit_s):
        if not self.ca_path:
            return http.client.HTTPConnection(
                "127.0.0.1", self.port, limit_s, source_address=(source, 0)
            )
        # Its name is localhost; 127.0.0.1 is where it listens.
        connection = http.client.HTTPSConnection(
            "localhost",
            self.port,
            timeout=limit_s,
            context=ssl.create_default_context(cafile=self.ca_path),
        )
        connection._create_connection = (  # pylint: disable=protected-access
            lambda _address, *_: socket.create_connection(
                ("127.0.0.1", self.port), limit_s, (source, 0)
            )
        )
        return connection
