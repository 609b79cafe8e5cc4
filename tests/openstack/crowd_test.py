# SPDX-License-Identifier: Apache-2.0
"""Many people at the portal at the same time."""

import contextlib
import hashlib
import json
import threading

from tests.openstack import crowd
from tests.openstack import crowd_case
from tests.testbed import polling
from tests.testbed import runner

_USERS = 500


class CrowdTest(crowd_case.CrowdCase):
    def test_users(self):
        """500 in 10 s: pages, files, previews and double clicks."""
        self.begin()
        visits = self.visits(_USERS)
        self.browse(visits)
        self.check_visits(visits)
        self.check_asked_once(visits)
        wanted = sorted((v.source, mark(v.token)) for v in visits)
        polling.until(
            lambda: wanted == self._ticket_sources(),
            "everybody's ticket in the log",
            crowd_case.LIMIT_S,
        )
        for kind in ("head", "page", "file", "again"):
            self.report(kind, [getattr(v, kind) for v in visits])

    def test_office(self):
        """Everybody behind one address, and Nova takes its time.

        So many at once are looked up; the others are told to come back, and
        are served when they do.
        """
        self.begin()
        self.cloud.nova.behave()
        self.cloud.nova.misbehave(crowd_case.delay(0.5, 1))
        tokens = self.tokens(150)
        answers = {}

        def take(token):
            visitor = crowd.Visitor(self.port, self.authority.cert_path)
            with contextlib.closing(visitor):
                answers[token] = visitor.ask(f"/nova?token={token}")

        crowd.run(tokens, take, 0, len(tokens))
        for answer in answers.values():
            self.assertIn(answer.status, (200, 503, 504))
            if answer.status == 503:
                self.assertEqual(answer.headers["retry-after"], "5")
                self.assertEqual(json.loads(answer.body)["code"], "busy")
        self.assertIn(200, {a.status for a in answers.values()})

        def served():
            late = [t for t in tokens if answers[t].status != 200]
            crowd.run(late, take, 0, crowd_case.AT_ONCE)
            return not late

        polling.until(served, "everybody's file", crowd_case.LIMIT_S)

    def _ticket_sources(self):
        """Who got tickets, one entry for each that differs."""
        records = self.made.records("ticket_issued")
        return sorted({(r["source"], r["token"]) for r in records})

    def test_same_token_at_once(self):
        """One question to Nova and one ticket, however often somebody asks.

        Who has the same link elsewhere gets another ticket: the first one's
        viewer would lose its desktop to them only once they use it.
        """
        self.begin()
        token = self.tokens(1)[0]
        found = []

        def take(number):
            source = crowd.address(number // 50)
            visitor = crowd.Visitor(
                self.port, self.authority.cert_path, source
            )
            with contextlib.closing(visitor):
                answer = visitor.ask(f"/nova?token={token}")
            found.append((source, answer))

        crowd.run(range(100), take, 0, 100)
        self.assertEqual({a.status for _, a in found}, {200})
        ended = max(a.began + a.took_s for _, a in found)
        if ended - min(a.began for _, a in found) < crowd_case.FRESH_S:
            self.assertEqual(self.cloud.nova.count(token), 1)
            tickets = {(source, a.password()) for source, a in found}
            self.assertEqual(len(tickets), 2)
            self.assertEqual(len({ticket for _, ticket in tickets}), 2)

    def test_behind_a_balancer(self):
        """It ends TLS, and says for whom it asks; others cannot."""
        self.begin({"tls": False, "trusted_proxies": [crowd_case.BALANCER]})
        tokens = self.tokens(40)
        for number, token in enumerate(tokens):
            user = f"203.0.113.{number}"
            said = f"198.51.100.1, {user}"  # the first is what the user said
            balancer = crowd.Visitor(
                self.port,
                source=crowd_case.BALANCER,
                headers={
                    "X-Forwarded-For": said,
                    "X-Forwarded-Proto": "https",
                },
            )
            with contextlib.closing(balancer):
                answer = balancer.ask(f"/nova?token={token}")
            self.assertEqual(answer.status, 200, answer.body)
        wanted = {f"203.0.113.{number}" for number in range(len(tokens))}
        polling.until(
            lambda: len(self.made.records("ticket_issued")) == len(tokens),
            "the tickets in the log",
            crowd_case.LIMIT_S,
        )
        records = self.made.records("ticket_issued")
        self.assertEqual({r["source"] for r in records}, wanted)
        stranger = crowd.Visitor(
            self.port,
            source="127.0.0.8",
            headers={
                "X-Forwarded-For": "203.0.113.1",
                "X-Forwarded-Proto": "https",
            },
        )
        self.addCleanup(stranger.close)
        self.assertEqual(stranger.ask(f"/nova?token={tokens[0]}").status, 403)


def mark(token):
    """What stands for a token in the log."""
    return hashlib.sha256(token.encode()).hexdigest()[:8]


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    runner.main("openssl")
