# SPDX-License-Identifier: Apache-2.0
"""A test case with a portal, a cloud that takes its time, and many people."""

import contextlib
import random
import time

from tests.openstack import cloud
from tests.openstack import crowd
from tests.openstack import desktop_case
from tests.testbed import case
from tests.testbed import pki
from tests.testbed import polling

WITHIN_S, AT_ONCE = 10, 32
BALANCER = "127.0.0.9"
# An answer of Nova's is believed for a few seconds. Whoever takes longer from
# the page to the file may have it asked again.
FRESH_S = 2
SAME_S = 5  # a ticket is given again for so long
LIMIT_S = 60


class CrowdCase(case.Case):
    """One cloud for all; the portal, and Nova with a delay."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cloud = cloud.Cloud()
        cls.addClassCleanup(cls.cloud.stop)
        cls.cloud.start()

    def setUp(self):
        super().setUp()
        self.cloud.reset()
        self.authority = pki.Authority(self.directory)

    def begin(self, portal=None, **config):
        """A gateway whose Keystone token is there already."""
        certificate, key = self.authority.issue("portal", "O=Test,CN=portal")
        own = {"certificate": certificate, "key": key}
        entry = self.cloud.entry("prod", self.directory)
        self.made = self.start_gateway(
            (),
            portal={"address": "127.0.0.1:0", **(portal or own)},
            clouds=[entry],
            log={"level": "info"},
            **config,
        )
        self.port = desktop_case.portal_port(self.made)
        self._warm_up(portal)
        self.cloud.nova.forget_requests()
        self.cloud.nova.misbehave(delay(0.02, 0.2))

    def _warm_up(self, portal):
        """One look, without a file."""
        balancer = portal and crowd.Visitor(
            self.port,
            source=BALANCER,
            headers={"X-Forwarded-Proto": "https"},
        )
        with contextlib.closing(balancer or self.visitor()) as visitor:
            url = f"/nova?token={self.tokens(1)[0]}"
            polling.until(
                lambda: visitor.ask(url, "HEAD").status == 200,
                "the cloud",
                LIMIT_S,
            )

    def tokens(self, count):
        return [
            self.cloud.nova.add_console(host="127.0.0.2", tls_port=5901).token
            for _ in range(count)
        ]

    def visitor(self, source="127.0.0.1", **headers):
        made = crowd.Visitor(
            self.port, self.authority.cert_path, source, headers
        )
        self.addCleanup(made.close)
        return made

    def visits(self, count):
        return [
            crowd.Visit(token, crowd.address(number))
            for number, token in enumerate(self.tokens(count))
        ]

    def browse(self, visits, within_s=WITHIN_S):
        """Everybody looks at a page and takes the file."""
        crowd.run(
            visits,
            lambda visit: crowd.browse(
                visit, self.port, self.authority.cert_path
            ),
            within_s,
            AT_ONCE,
        )

    def check_visits(self, visits):
        """Each has the file, its own, and the same one twice."""
        errors = [v.error for v in visits if v.error]
        self.assertFalse(errors, errors[:3])
        for kind in ("head", "page", "file", "again"):
            statuses = {getattr(v, kind).status for v in visits}
            self.assertEqual(statuses, {200}, kind)
        passwords = [v.file.password() for v in visits]
        self.assertEqual(len(set(passwords)), len(visits))
        for visit in visits:
            if visit.span_s() < SAME_S:
                again = visit.again.password()
                self.assertEqual(again, visit.file.password())
            self.assertEqual(visit.head.body, b"")
            self.assertIn(b"<html", visit.page.body.lower())
            self.assertNotIn(visit.file.password().encode(), visit.page.body)

    def check_asked_once(self, visits):
        """Nova, for each token; more only for who took longer than usual."""
        for visit in visits:
            asked = self.cloud.nova.count(visit.token)
            most = 1 + int(visit.span_s() / FRESH_S)
            self.assertIn(asked, range(1, most + 1), visit.span_s())
        self.assertEqual(self._logins(), 1)

    def _logins(self):
        return self.made.metrics().sum(
            "spicegate_cloud_requests_total", service="keystone"
        )

    def report(self, what, answers):
        """For whoever reads the log; a slow machine is no failure."""
        took_ms = [a.took_s * 1000 for a in answers]
        print(
            f"{what}: {len(took_ms)} answers,"
            f" p50 {crowd.percentile(took_ms, 0.5):.0f} ms,"
            f" p99 {crowd.percentile(took_ms, 0.99):.0f} ms"
        )


def delay(low_s, high_s):
    """For nova.Nova.misbehave(): the right answer, some time later."""

    def act(handler, _token):
        time.sleep(random.uniform(low_s, high_s))
        path, _, query = handler.path.partition("?")
        headers = {name.lower(): v for name, v in handler.headers.items()}
        handler.serve(path, query, headers)

    return act
