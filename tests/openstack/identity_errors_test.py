# SPDX-License-Identifier: Apache-2.0
"""Whatever Keystone answers that the real one hardly ever does.

Every row has a cloud of its own with a user of the same name, by which the
stand-in for Keystone knows what to answer.
"""

import dataclasses
import re

from tests.openstack import portal_case
from tests.testbed import identity
from tests.testbed import runner

_REFUSED = (502, "cloud_error")
_BUSY = (503, "busy")
_SILENT = (504, "cloud_error")
_RETRY_S = "5"


@dataclasses.dataclass(frozen=True)
class Row:
    """One way in which Keystone answers.

    Attributes:
      fault: of identity.Identity.faults.
      answer: (status, code) for the user.
      result: label of the metric.
      log: what the log says, a regular expression.
      asked: how often Keystone is asked.
    """

    name: str
    fault: object
    answer: tuple
    result: str
    log: str
    asked: int = 1


def _refused(status, **headers):
    named = [(k.replace("_", "-"), v) for k, v in headers.items()]
    return lambda handler, _: identity.refuse(handler, status, headers=named)


def _token(**fields):
    """A reply whose token has other values; None takes a key away."""

    def act(handler, reply):
        for key, value in fields.items():
            reply["token"].pop(key)
            if value is not None:
                reply["token"][key] = value
        identity.issue(handler, reply)

    return act


def _body(data):
    return lambda handler, _: identity.issue(handler, data)


def _header(token):
    return lambda handler, reply: identity.issue(handler, reply, token)


def _no_header(handler, _):
    handler.answer(201, [("Content-Type", "application/json")], b"{}")


def _missing(handler, _):
    handler.answer(404, [("Content-Type", "text/html")], b"<html>")


def _cut(handler, _):
    handler.send(handler.head(201, [], 1000))
    handler.cut()


def _hang(handler, _):
    handler.owner.wait_over(600)


def _endpoint(url):
    def act(handler, reply):
        reply["token"]["catalog"][0]["endpoints"][0]["url"] = url
        identity.issue(handler, reply)

    return act


_NO_TOKEN = "X-Subject-Token"
_EXPIRY = "expire"
_CATALOG = "catalog"
_PAST = "2001-02-03T04:05:06.000000Z"

ROWS = (
    Row("bad", _refused(400), _REFUSED, "error", "400"),
    Row("wrong", _refused(401), _REFUSED, "refused", "401"),
    Row(
        "second-factor",
        _refused(401, Openstack_Auth_Receipt="gAAA"),
        _REFUSED,
        "refused",
        "second factor",
    ),
    Row("forbidden", _refused(403), _REFUSED, "refused", "403"),
    Row("unknown", _refused(404), _REFUSED, "refused", "404.*credential"),
    Row("no-keystone", _missing, _BUSY, "error", "404.*URL"),
    Row("limit", _refused(429, Retry_After="60"), _BUSY, "error", "429"),
    Row("failed", _refused(500), _BUSY, "error", "500", 2),
    Row("down", _refused(503), _BUSY, "error", "503", 2),
    Row("cut", _cut, _BUSY, "gone", ".", 2),
    Row("hang", _hang, _SILENT, "timeout", "."),
    Row("no-header", _no_header, _BUSY, "error", _NO_TOKEN),
    Row("long-header", _header("g" * 9000), _BUSY, "error", _NO_TOKEN),
    Row("odd-header", _header("g\tA"), _BUSY, "error", _NO_TOKEN),
    Row("text", _body(b"no JSON"), _BUSY, "error", "JSON"),
    Row("empty", _body(b""), _BUSY, "error", "JSON"),
    Row("huge", _body(b"[" * 10_000_000), _BUSY, "error", "."),
    Row("no-token", _body(b'{"token": 7}'), _BUSY, "error", "JSON"),
    Row("no-expiry", _token(expires_at=None), _BUSY, "error", _EXPIRY),
    Row("odd-expiry", _token(expires_at="soon"), _BUSY, "error", _EXPIRY),
    Row("past", _token(expires_at=_PAST), _BUSY, "error", _EXPIRY),
    Row("no-catalog", _token(catalog=None), _BUSY, "error", _CATALOG),
    Row("empty-catalog", _token(catalog=[]), _REFUSED, "error", _CATALOG),
    Row("odd-catalog", _token(catalog=[7, {}]), _REFUSED, "error", _CATALOG),
    Row("odd-url", _endpoint("file:///etc"), _REFUSED, "error", _CATALOG),
    Row("query-url", _endpoint("http://a/?b="), _REFUSED, "error", _CATALOG),
)


class IdentityErrorsTest(portal_case.PortalCase):
    def cloud_of(self, row):
        entry = self.cloud(row.name, paths=[f"/{row.name}.vv"])
        entry["keystone"]["user"] = row.name
        entry["compute"] = {"interface": "public"}
        return entry

    def test_every_answer(self):
        door = self.open(*(self.cloud_of(row) for row in ROWS))
        self.identity.faults = {row.name: row.fault for row in ROWS}
        for row in ROWS:
            with self.subTest(row.name):
                self.check(door, row)
        self.assertEqual(self.nova.count(), 0)

    def check(self, door, row):
        before = len(self.identity.bodies)
        headers = self.assert_error(
            door,
            self.nova.add_console().token,
            *row.answer,
            f"/{row.name}.vv",
        )
        retry = None if row.answer == _REFUSED else _RETRY_S
        self.assertEqual(headers.get("retry-after"), retry)
        self.assertEqual(
            self.requests(door, "keystone", row.name),
            {row.result: row.asked},
        )
        seen = len(self.identity.bodies) - before
        extra = seen - row.asked if row.result == "gone" else 0
        self.assertIn(extra, (0, 1))  # see nova_errors_test
        self.assertEqual(seen, row.asked + extra)
        record = door.gateway.wait_record("cloud_failed", cloud=row.name)
        self.assertEqual(record["service"], "keystone")
        self.assertRegex(record["error"], re.compile(row.log, re.S))

    def test_large_token_and_catalog(self):
        """A cloud of many regions, and tokens of several KiB."""
        token = "gAAAAAB" + "x" * 6000

        def fault(handler, reply):
            entry = reply["token"]["catalog"][0]
            more = [
                {
                    **entry["endpoints"][0],
                    "region": f"R{number}",
                    "region_id": f"R{number}",
                    "url": "http://127.0.0.1:9/v2.1",
                }
                for number in range(1500)
            ]
            volumes = {**entry, "type": "volumev3", "endpoints": more}
            entry["endpoints"] = more + entry["endpoints"]
            reply["token"]["catalog"] = [volumes, entry]
            identity.issue(handler, reply, token)

        self.identity.faults = {"spicegate": fault}
        self.nova.auth.token = token
        cloud = self.cloud(compute={"region": "RegionOne"})
        self.assert_works(self.open(cloud))

    def test_body(self):
        """What is asked, to the letter."""
        door = self.open()
        self.assert_works(door)
        self.assertEqual(
            self.identity.bodies,
            [
                {
                    "auth": {
                        "identity": {
                            "methods": ["password"],
                            "password": {
                                "user": {
                                    "name": "spicegate",
                                    "domain": {"name": "Default"},
                                    "password": "the service user's password",
                                }
                            },
                        },
                        "scope": {
                            "project": {
                                "name": "service",
                                "domain": {"name": "Default"},
                            }
                        },
                    }
                }
            ],
        )


if __name__ == "__main__":
    runner.main("openssl")
