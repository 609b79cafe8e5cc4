# SPDX-License-Identifier: Apache-2.0
"""Whatever Nova answers: what users are told, operators read, metrics count.

Every row has a cloud of its own, so that none sees what another has done to
the breaker; all of them are one Nova.
"""

import dataclasses
import re

from tests.openstack import portal_case
from tests.testbed import nova
from tests.testbed import nova_faults
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import portal
from tests.testbed import runner

_EXPIRED = (404, "expired_link")
_REFUSED = (502, "cloud_error")
_BUSY = (503, "busy")
_SILENT = (504, "cloud_error")
_RETRY_S = "5"


@dataclasses.dataclass(frozen=True)
class Row:
    """One way in which Nova answers.

    Attributes:
      fault: of nova_faults; None: none.
      answer: (status, code) for the user.
      result: label of the metric.
      log: what the log says, a regular expression; None: nothing.
      asked: how often Nova is asked; the label counts each.
      console: of the token; None: the token is unknown.
    """

    name: str
    fault: object
    answer: tuple
    result: str
    log: object = None
    asked: int = 1
    console: object = dataclasses.field(default_factory=dict)


_changed = nova_faults.changed
_body = nova_faults.body
_status = nova_faults.status
_NO_USABLE = "no usable "
_NO_JSON = "not JSON"

ROWS = (
    Row("unknown", None, _EXPIRED, "not_found", console=None),
    Row("expired", None, _EXPIRED, "not_found", console={"ttl_s": -1}),
    Row("novnc", None, _EXPIRED, "not_found", console={"kind": nova.NOVNC}),
    Row("no-key", _changed(tls_port=nova.ABSENT), _EXPIRED, "not_found"),
    Row("not-nova", _body(b"nobody", 404), _BUSY, "error", "endpoint"),
    Row("bad", _status(400), _REFUSED, "error", "400.*2[.]99"),
    Row("unauthorized", _status(401), _REFUSED, "refused", "401", 2),
    Row("forbidden", _status(403), _REFUSED, "refused", "403.*policy"),
    Row("too-old", _status(406), _REFUSED, "refused", "406.*2[.]99"),
    Row("limit", _status(429, retry_after=60), _BUSY, "error", "429"),
    Row("failed", _status(500), _BUSY, "error", "500", 2),
    Row("gateway", _body(b"<html>", 502), _BUSY, "error", "502", 2),
    Row("down", _status(503), _BUSY, "error", "503", 2),
    Row("moved", None, _BUSY, "error", "302"),
    Row("no-reply", nova_faults.cut_at_once, _BUSY, "gone", ".", 2),
    Row("half-headers", nova_faults.cut_in_headers, _BUSY, "gone", ".", 2),
    Row("half-body", nova_faults.cut_in_body, _BUSY, "gone", ".", 2),
    Row("huge", nova_faults.huge(), _BUSY, "error", "."),
    Row("text", _body(b"no JSON"), _BUSY, "error", _NO_JSON),
    Row("empty", _body(b""), _BUSY, "error", _NO_JSON),
    Row("list", _body(b"[]"), _BUSY, "error", _NO_JSON),
    Row("twice", _body(b'{"console": {}}{}'), _BUSY, "error", _NO_JSON),
    Row("deep", _body(b'{"console":' + b"[" * 9999), _BUSY, "error", "JSON"),
    Row("port-text", _changed(port="5900"), _BUSY, "error", _NO_USABLE),
    Row("port-0", _changed(port=0, tls_port=0), _BUSY, "error", _NO_USABLE),
    Row("port-70000", _changed(port=70000), _BUSY, "error", _NO_USABLE),
    Row("port-half", _changed(port=5900.5), _BUSY, "error", _NO_USABLE),
    Row("tls-text", _changed(tls_port="5901"), _BUSY, "error", _NO_USABLE),
    Row("tls-negative", _changed(tls_port=-2), _BUSY, "error", _NO_USABLE),
    Row("tls-list", _changed(tls_port=[]), _BUSY, "error", _NO_USABLE),
    Row("host-number", _changed(host=7), _BUSY, "error", _NO_USABLE),
    Row("host-empty", _changed(host=""), _BUSY, "error", _NO_USABLE),
    Row("host-null", _changed(host=None), _BUSY, "error", _NO_USABLE),
    Row("host-path", _changed(host="a/../b"), _BUSY, "error", _NO_USABLE),
    Row("host-line", _changed(host="a\r\nb"), _BUSY, "error", _NO_USABLE),
    Row("no-host", _changed(host=nova.ABSENT), _BUSY, "error", _NO_USABLE),
    Row("id-text", _changed(instance_uuid="../x"), _BUSY, "error", _NO_USABLE),
    Row("no-id", _changed(instance_uuid=None), _BUSY, "error", _NO_USABLE),
)


class NovaErrorsTest(portal_case.PortalCase):
    def setUp(self):
        super().setUp()
        self.stranger = portal_case.Deaf()
        self.addCleanup(self.stranger.stop)

    def test_every_answer(self):
        door = self.open(
            *(self.cloud(row.name, paths=[f"/{row.name}.vv"]) for row in ROWS)
        )
        for row in ROWS:
            with self.subTest(row.name):
                self.check(door, row)
        self.assertEqual(self.stranger.asked, [])
        self.check_log_is_short(door)

    def check(self, door, row):
        token = "2b7e1516-28ae-d2a6-abf7-158809cf4f3c"
        if row.console is not None:
            token = self.nova.add_console(**row.console).token
        fault = row.fault
        if row.name == "moved":
            fault = nova_faults.redirect(self.stranger.origin + "/else")
        if fault:
            self.nova.misbehave(fault, token)
        self.nova.forget_requests()
        path = f"/{row.name}.vv"
        headers = self.assert_error(door, token, *row.answer, path)
        retry = _RETRY_S if row.answer in (_BUSY, _SILENT) else None
        self.assertEqual(headers.get("retry-after"), retry)
        # A connection that was kept may have gone meanwhile: a request to it
        # is sent once more, which is no other request.
        seen = self.nova.count(token)
        extra = seen - row.asked if row.result == "gone" else 0
        self.assertIn(extra, (0, 1))
        self.assertEqual(seen, row.asked + extra)
        self.assertEqual(
            self.requests(door, cloud=row.name), {row.result: row.asked}
        )
        self.check_log(door, row)
        for request in self.nova.requests():
            self.assertEqual(
                request.headers["openstack-api-version"], "compute 2.99"
            )
        # Nova is as well as before for everybody else. After a 429 it is
        # left alone.
        if row.name == "limit":
            other = self.nova.add_console().token
            self.assert_error(door, other, *_BUSY, path)
            self.assertEqual(self.nova.count(other), 0)
        elif row.name != "unauthorized":
            self.assert_works(door, path)

    def check_log(self, door, row):
        if row.log is None:
            return  # see check_log_is_short
        record = door.gateway.wait_record("cloud_failed", cloud=row.name)
        self.assertEqual(record["service"], "nova")
        self.assertRegex(record["error"], re.compile(row.log, re.S))

    def check_log_is_short(self, door):
        """One record of each cloud that failed, and no breaker has opened."""
        # The last row's success is the last thing that is logged.
        door.gateway.wait_record("ticket_issued", cloud=ROWS[-1].name)
        failed = [r["cloud"] for r in door.gateway.records("cloud_failed")]
        self.assertEqual(
            sorted(failed), sorted(row.name for row in ROWS if row.log)
        )
        self.assertEqual(door.gateway.records("cloud_breaker"), [])


class SlowTest(portal_case.PortalCase):
    def test_slow(self):
        """Silence, and an answer that never ends: 504, not asked again."""
        names = ("silent", "trickle")
        door = self.open(
            *(self.cloud(name, paths=[f"/{name}.vv"]) for name in names)
        )
        for name, fault in zip(
            names, (nova_faults.slow(600), nova_faults.trickle())
        ):
            with self.subTest(name):
                token = self.nova.add_console().token
                self.nova.misbehave(fault, token)
                headers = self.assert_error(
                    door, token, *_SILENT, f"/{name}.vv"
                )
                self.assertEqual(headers.get("retry-after"), _RETRY_S)
                self.assertEqual(self.nova.count(token), 1)
                self.assertEqual(
                    self.requests(door, cloud=name), {"timeout": 1}
                )
                self.assert_works(door, f"/{name}.vv")

    def test_moment(self):
        """An answer that takes its time is an answer."""
        door = self.open()
        token = self.nova.add_console().token
        self.nova.misbehave(nova_faults.slow(1.5), token)
        self.assert_file(door, token)


class ConsolesTest(portal_case.PortalCase):
    """What is right, however odd."""

    def test_hosts_and_ports(self):
        door = self.open()
        for row in (
            {"host": "::1"},
            {"host": "fd00::1:2"},
            {"host": "compute-7.example.org"},
            {"host": "10.0.0.7", "tls_port": 5901},
            {"port": 1, "tls_port": 65535},
        ):
            with self.subTest(row):
                token = self.nova.add_console(**row).token
                entries = self.assert_file(door, token)
                for value in entries.values():
                    self.assertNotIn(row.get("host", "nobody"), value)

    def test_no_tls_port(self):
        """libvirt's word for a port that is not there is -1."""
        door = self.open()
        for tls_port in (None, 0, -1):
            token = self.nova.add_console(tls_port=tls_port).token
            self.assert_file(door, token)

    def test_unknown_keys(self):
        """A later Nova may say more."""
        door = self.open()
        token = self.nova.add_console().token
        more = nova_faults.changed(more={"a": [1, None]}, tls_port=None)
        self.nova.misbehave(more, token)
        self.assert_file(door, token)

    def test_require_secure(self):
        """Where TLS is a must, a desktop without it is none."""
        authority = pki.Authority(self.directory, "hypervisors")
        servers = {"require_secure": True, "ca_file": authority.cert_path}
        door = self.open(self.cloud(servers=servers))
        token = self.nova.add_console(tls_port=None).token
        self.assert_error(door, token, 409, "not_available")
        token = self.nova.add_console(tls_port=5901).token
        self.assert_file(door, token)

    def test_not_a_token(self):
        """Nobody is asked for what cannot be a token."""
        door = self.open()
        token = self.nova.add_console().token
        for query in (
            *("", "?", "?token=", "?token=..%2f..%2fservers"),
            *(f"?token={token}x", f"?token={token}&token={token}"),
            *(f"?token={token}%00", f"?tok={token}", f"?token={token}/x"),
        ):
            with self.subTest(query):
                answer = door.request(portal.FILE_PATH + query)
                self.assertEqual(answer.status, 400, answer.body)
                self.assertEqual(answer.json()["code"], "bad_link")
        self.assertEqual(self.nova.count(), 0)
        self.assertEqual(self.identity.bodies, [])
        # Any case, and what is beside the token is none of our business.
        self.nova.misbehave(
            lambda handler, _: handler.answer_json(
                self.nova.find(token).reply()
            )
        )
        self.assert_file(door, token.upper() + "&utm=1")
        polling.until(lambda: self.nova.count() == 1, "one question")


if __name__ == "__main__":
    runner.main("openssl")
