# SPDX-License-Identifier: Apache-2.0
"""Some at the portal mean no good; the others hardly notice."""

import contextlib
import http.client
import json
import random
import threading

from tests.openstack import crowd
from tests.openstack import crowd_case
from tests.testbed import nova_faults
from tests.testbed import polling
from tests.testbed import runner

_HONEST = 100
_GUESSES = 3000
_GUESSER = "127.66.6.6"
_ALLOWED, _FORGIVE_S = 10, 6  # limits.portal_failures, and one is forgiven
_SITE_FACTOR = 16
_FRESH_TICKETS = 16  # of one link, not used yet
_MIB = 1 << 20


class GuesserTest(crowd_case.CrowdCase):
    def test_one_source(self):
        self._check(_GUESSER, lambda: {})

    def test_one_source_that_claims_to_be_many(self):
        """Its X-Forwarded-For is its own invention."""
        self._check(
            _GUESSER,
            lambda: {"X_Forwarded_For": f"203.0.113.{random.randrange(250)}"},
        )

    def test_one_network_of_ipv6(self):
        """A /64 is one person's, as a balancer sees it."""
        self._check_ipv6(
            lambda: f"2001:db8::{random.getrandbits(16):x}",
            other="2001:db8:0:1::7",
        )

    def test_one_site_of_ipv6(self):
        """Who has a /48 is many sources, but not 65 536."""
        self._check_ipv6(
            lambda: f"2001:db8:0:{random.getrandbits(16):x}::7",
            other="2001:db8:1::7",
            factor=_SITE_FACTOR,
        )

    def _check_ipv6(self, make_address, other, factor=1):
        """A guesser's addresses are one source's, and another is not its."""
        https = {"X-Forwarded-Proto": "https"}
        self.begin({"tls": False, "trusted_proxies": [crowd_case.BALANCER]})

        def visitor():
            return crowd.Visitor(
                self.port, source=crowd_case.BALANCER, headers=https
            )

        guesser = crowd.Guesser(
            4, visitor, lambda: {"X_Forwarded_For": make_address()}
        )
        self._wait_guesses(guesser)
        self._check_guesser(guesser, guesser.stop(), 4, factor)
        with contextlib.closing(visitor()) as honest:
            url = f"/nova?token={self.tokens(1)[0]}"
            answer = honest.ask(url, X_Forwarded_For=other)
        self.assertEqual(answer.status, 200)

    def test_many_tickets_of_one_link(self):
        """There is an end to them, and to nobody else's."""
        self.begin({"tls": False, "trusted_proxies": [crowd_case.BALANCER]})
        mine, other = (f"/nova?token={t}" for t in self.tokens(2))
        visitor = crowd.Visitor(
            self.port,
            source=crowd_case.BALANCER,
            headers={"X-Forwarded-Proto": "https"},
        )
        self.addCleanup(visitor.close)
        answers = [
            visitor.ask(mine, X_Forwarded_For=f"2001:db8:{number:x}::1")
            for number in range(4 * _FRESH_TICKETS)
        ]
        tickets = {a.password() for a in answers if a.status == 200}
        self.assertEqual(len(tickets), _FRESH_TICKETS)
        self.assertEqual({a.status for a in answers} - {200, 503}, set())
        answer = visitor.ask(other, X_Forwarded_For="203.0.113.9")
        self.assertEqual(answer.status, 200)

    def test_forgiven(self):
        """It is let in again, although it has asked all the time."""
        self.begin(limits={"portal_failures": 1})
        visitor = self.visitor(_GUESSER)
        good = f"/nova?token={self.tokens(1)[0]}"
        bad = "/nova?token=00000000-0000-0000-0000-00000000000"
        for last in "123":
            answer = visitor.ask(bad + last)
        self.assertEqual(answer.status, 429)
        self.assertEqual(json.loads(answer.body)["code"], "too_many")
        self.assertLessEqual(int(answer.headers["retry-after"]), _FORGIVE_S)
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        polling.until(
            lambda: visitor.ask(good).status == 200,
            "forgiveness",
            crowd_case.LIMIT_S,
        )

    def _check(self, source, headers):
        self.begin()
        ca_path = self.authority.cert_path
        before = self.made.process.memory_bytes()
        guesser = crowd.Guesser(
            4, lambda: crowd.Visitor(self.port, ca_path, source), headers
        )
        self._wait_guesses(guesser, 20)
        visits = self.visits(_HONEST)
        self.browse(visits, 2)
        self._wait_guesses(guesser)
        self._check_guesser(guesser, guesser.stop(), 4)
        self.check_visits(visits)
        self.report("beside the guesser", [v.file for v in visits])
        grown = self.made.process.memory_bytes() - before
        print(f"{guesser.total()} guesses, {grown / _MIB:.1f} MiB")
        self.assertLess(grown, 64 * _MIB)

    def _wait_guesses(self, guesser, wanted=_GUESSES):
        polling.until(
            lambda: guesser.total() >= wanted, "guesses", 2 * crowd_case.LIMIT_S
        )

    def _check_guesser(self, guesser, took_s, num_threads, factor=1):
        """Nova has heard of few of its guesses, it of its refusals."""
        print(guesser.statuses)
        self.assertEqual(set(guesser.statuses), {404, 429})
        # One more than is allowed, those that were under way, those forgiven.
        allowed = factor * (_ALLOWED + took_s / _FORGIVE_S)
        bound = allowed + 1 + num_threads
        self.assertLessEqual(guesser.statuses[404], bound)
        known = {r.token for r in self.cloud.nova.requests()}
        self.assertGreater(guesser.statuses[429], _GUESSES / 2)
        num_guesses = sum(
            self.cloud.nova.find(token) is None for token in known
        )
        self.assertEqual(num_guesses, guesser.statuses[404])
        for wait in guesser.waits:
            self.assertLessEqual(1, int(wait))
            self.assertLessEqual(int(wait), _FORGIVE_S * (num_threads + 1))
        self.made.wait_metric(
            lambda m: m.sum("spicegate_portal_throttled_total")
            == guesser.statuses[429],
            "the refusals in the metrics",
        )


class SlowTest(crowd_case.CrowdCase):
    def test_slow_clients(self):
        """Hundreds of handshakes and requests that do not go on."""
        self.begin()
        before = self.made.process.memory_bytes()
        slow = crowd.SlowClients(self.port)
        self.addCleanup(slow.close)
        slow.add_silent(200, _GUESSER)
        slow.add_half_hello(300, _GUESSER)
        slow.add_half_request(200, _GUESSER, self.authority.cert_path)
        visits = self.visits(50)
        self.browse(visits, 1)
        self.check_visits(visits)
        self.report("beside slow clients", [v.file for v in visits])
        grown = self.made.process.memory_bytes() - before
        print(f"700 slow clients, {grown / _MIB:.1f} MiB")
        self.assertLess(grown, 128 * _MIB)
        polling.until(
            lambda: slow.num_open() == 0,
            "the end of all of them",
            crowd_case.LIMIT_S,
        )

    def test_dripping(self):
        """A byte now and then does not buy a connection more time."""
        self.begin()
        slow = crowd.SlowClients(self.port)
        self.addCleanup(slow.close)
        slow.add_half_request(20, _GUESSER, self.authority.cert_path)

        def look():
            slow.drip()
            return slow.num_open() == 0

        polling.until(look, "the end of all of them", crowd_case.LIMIT_S, 0.2)

    def test_stop_amid_requests(self):
        """Nobody has to wait for a cloud that does not answer."""
        self.begin()
        self.cloud.nova.behave()
        self.cloud.nova.misbehave(nova_faults.slow(crowd_case.LIMIT_S))
        tokens = self.tokens(20)
        threads = [
            threading.Thread(target=self._take, args=(token,))
            for token in tokens
        ]
        for thread in threads:
            thread.start()
        polling.until(
            lambda: self.cloud.nova.count() >= len(tokens),
            "all of them",
            crowd_case.LIMIT_S,
        )
        self.made.stop()
        for thread in threads:
            thread.join()

    def _take(self, token):
        visitor = crowd.Visitor(self.port, self.authority.cert_path)
        with contextlib.closing(visitor):
            try:
                visitor.ask(f"/nova?token={token}")
            except (OSError, http.client.HTTPException):
                pass  # the gateway has gone

    def test_full(self):
        """More connections than there is place for, by one who says nothing.

        Whoever comes meanwhile is served in the end.
        """
        self.begin(limits={"portal_connections": 32})
        slow = crowd.SlowClients(self.port)
        self.addCleanup(slow.close)
        slow.add_silent(100, _GUESSER)
        token = self.tokens(1)[0]

        def served():
            visitor = crowd.Visitor(
                self.port, self.authority.cert_path, crowd.address(1)
            )
            with contextlib.closing(visitor):
                try:
                    return visitor.ask(f"/nova?token={token}").status == 200
                except OSError:
                    return False

        polling.until(served, "an answer for an honest one", crowd_case.LIMIT_S)


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    runner.main("openssl")
