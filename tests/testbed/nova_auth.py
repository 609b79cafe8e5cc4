# SPDX-License-Identifier: Apache-2.0
"""Who may ask Nova: what stands before it in a cloud, keystonemiddleware.

The policy of os-console-auth-tokens is a deployer's that gives it to one role,
beside the administrators who have it anyway.
"""

import json
import re
import threading
import time

FIXED_TOKEN = "gAAAAAB-a-token-that-no-keystone-has-issued"
ROLE = "console-reader"
_ADMIN = "admin"


def unauthorized(where="http://127.0.0.1:5000"):
    """(status, headers, body) for a token that is not good."""
    return (
        401,
        [
            ("Content-Type", "application/json"),
            ("WWW-Authenticate", f'Keystone uri="{where}"'),
        ],
        json.dumps(
            {
                "error": {
                    "code": 401,
                    "title": "Unauthorized",
                    "message": "The request you have made requires"
                    " authentication.",
                }
            }
        ).encode(),
    )


class FixedToken:
    """No Keystone: one token is good, and its owner may ask.

    Attributes:
      token: which; a test may change it.
    """

    def __init__(self, token=FIXED_TOKEN):
        self.token = token

    def refuses(self, _method, _path, headers):
        """None, or (status, headers, body)."""
        if headers.get("x-auth-token") == self.token:
            return None
        return unauthorized()

    def project_of(self, _token):
        return None

    def may_show(self, _token):
        return True


class ByKeystone:
    """Asks a testbed Keystone about every token.

    Access rules of application credentials count, for the service type
    "compute".
    """

    def __init__(self, keystone, role=ROLE, cache_s=0):
        """Notes only.

        Args:
          role: may ask beside the administrators; None: nobody else may.
          cache_s: how long an answer about a token is believed; the real one
            keeps it for 300 s.
        """
        self._keystone = keystone
        self._roles = {_ADMIN, role}
        self._cache_s = cache_s
        self._lock = threading.Lock()
        self._known = {}  # token: (until, what Keystone says of it)

    def refuses(self, method, path, headers):
        """None, or (status, headers, body)."""
        token = headers.get("x-auth-token", "")
        try:
            about = self._about(token)
        except OSError:
            text = "The Keystone service is temporarily unavailable."
            return 503, [("Content-Type", "text/plain")], text.encode()
        if about is None or not _allowed(about, method, path):
            return unauthorized(self._keystone.url)
        return None

    def project_of(self, token):
        return self._known[token][1].get("project", {}).get("id")

    def may_show(self, token):
        roles = {role["name"] for role in self._known[token][1]["roles"]}
        return bool(roles & self._roles)

    def _about(self, token):
        with self._lock:
            until, about = self._known.get(token, (0, None))
        if time.monotonic() < until:
            return about
        about = self._keystone.validate(token) if token else None
        if about is not None:
            with self._lock:
                until = time.monotonic() + self._cache_s
                self._known[token] = (until, about)
        return about


def _allowed(about, method, path):
    """Whether the token's access rules, if it has any, know this request."""
    rules = about.get("application_credential", {}).get("access_rules")
    if rules is None:
        return True
    if "compute" not in {entry["type"] for entry in about["catalog"]}:
        return False
    return any(
        rule["service"] == "compute"
        and rule["method"] == method
        and _matches(path, rule["path"])
        for rule in rules
    )


def _matches(path, pattern):
    """`*` and {name} stand for one element of a path, `**` for any number."""
    wild = {"**": ".*", "*": "[^/]+"}
    parts = re.split(r"(\*\*|\*|\{[^}]*\})", pattern)
    regex = "".join(
        wild.get(p, "[^/]+" if p.startswith("{") else re.escape(p))
        for p in parts
    )
    return re.fullmatch(regex, path) is not None
