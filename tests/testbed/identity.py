# SPDX-License-Identifier: Apache-2.0
"""Stands in for Keystone where a test is about something else.

It issues the one token that nova_auth.FixedToken takes, to anybody who comes
with a password, and as badly as it is told to. The real one is keystone.
"""

import json
import time

from tests.testbed import nova_auth
from tests.testbed import web_server

PROJECT = "5f705771cab943ddbb4cf7fa3d9a3ae8"


class Identity(web_server.WebServer):
    """A server of POST /v3/auth/tokens alone.

    Attributes:
      bodies: what has been asked, as parsed JSON.
      compute_url: Nova's in the catalog.
      token: what it issues.
      lifetime_s: of tokens.
      faults: {user name: what is called with the handler and reply() in place
        of an answer}.
    """

    def __init__(self, compute_url, certificate=None, lifetime_s=3600):
        self.bodies = []
        self.compute_url = compute_url
        self.token = nova_auth.FIXED_TOKEN
        self.lifetime_s = lifetime_s
        self.faults = {}
        super().__init__(_Handler, certificate=certificate)

    @property
    def url(self):
        return self.origin

    def reply(self):
        """The body of a 201 as a dict."""
        now = time.time()
        endpoint = {
            "interface": "public",
            "region": "RegionOne",
            "region_id": "RegionOne",
            "url": self.compute_url,
            "id": "e939b2bda5a74297ae49e5f8b864f23e",
        }
        return {
            "token": {
                "methods": ["password"],
                "expires_at": _stamp(now + self.lifetime_s),
                "issued_at": _stamp(now),
                "project": {"id": PROJECT, "name": "service"},
                "roles": [{"id": "2e1b", "name": nova_auth.ROLE}],
                "catalog": [
                    {
                        "type": "compute",
                        "name": "nova",
                        "id": "3cfc",
                        "endpoints": [endpoint],
                    }
                ],
            }
        }


class _Handler(web_server.Handler):
    def do_GET(self):
        refuse(self, 404)

    def do_POST(self):
        body = self.take_body()
        if self.path.partition("?")[0] != "/v3/auth/tokens":
            self.answer(404, [], b"")
            return
        asked = json.loads(body)
        self.owner.bodies.append(asked)
        user = asked["auth"]["identity"]["password"]["user"]["name"]
        fault = self.owner.faults.get(user, issue)
        fault(self, self.owner.reply())


def issue(handler, reply, token=None):
    """Keystone's answer with this body, a dict or bytes."""
    if not isinstance(reply, bytes):
        reply = json.dumps(reply).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("X-Subject-Token", token or handler.owner.token),
        ("Vary", "X-Auth-Token"),
    ]
    handler.answer(201, headers, reply)


def refuse(handler, status, message="as the test wishes", headers=()):
    """An error in Keystone's own format."""
    title = handler.responses[status][0]
    error = {"code": status, "title": title, "message": message}
    handler.answer(
        status,
        [("Content-Type", "application/json"), *headers],
        json.dumps({"error": error}).encode(),
    )


def _stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(seconds))
