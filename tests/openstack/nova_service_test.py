# SPDX-License-Identifier: Apache-2.0
"""A Nova that is busy, down, behind TLS, or one of two."""

import threading

from tests.openstack import portal_case
from tests.testbed import identity
from tests.testbed import nova_faults
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import portal
from tests.testbed import runner

_BUSY = (503, "busy")
_REFUSED = (502, "cloud_error")
_LIMIT_S = portal_case.LIMIT_S
_FAILURES_TO_OPEN = 3


class BusyTest(portal_case.PortalCase):
    def test_short_retry_after(self):
        """A Nova that wants a second has it; the user does not notice."""
        door = self.open()
        token = self.nova.add_console().token
        limit = nova_faults.status(429, retry_after=1)
        self.nova.misbehave(limit, token, times=1)
        self.assert_file(door, token)
        self.assertEqual(self.nova.count(token), 2)
        self.assertEqual(self.requests(door), {"error": 1, "ok": 1})

    def test_long_retry_after(self):
        """One that wants longer is left alone by everybody, then asked."""
        door = self.open()
        token = self.nova.add_console().token
        limit = nova_faults.status(429, retry_after=4)
        self.nova.misbehave(limit, token, times=1)
        headers = self.assert_error(door, token, *_BUSY)
        self.assertEqual(headers["retry-after"], "5")
        self.assertEqual(self.nova.count(), 1)
        self.wait_works(door)
        self.assertEqual(self.breaker(door), 0)

    def test_one_bad_moment(self):
        """What fails once is asked again, without anybody noticing."""
        door = self.open()
        for fault in (
            nova_faults.status(500),
            nova_faults.status(503),
            nova_faults.cut_at_once,
            nova_faults.cut_in_body,
        ):
            token = self.nova.add_console().token
            self.nova.misbehave(fault, token, times=1)
            self.assert_file(door, token)
            self.assertEqual(self.nova.count(token), 2)
        polling.until(
            lambda: len(door.gateway.records("ticket_issued")) == 4,
            "the log",
            _LIMIT_S,
        )
        self.assertEqual(door.gateway.records("cloud_failed"), [])

    def test_connections_are_kept(self):
        door = self.open()
        for _ in range(10):
            self.assert_works(door)
        self.assertEqual(self.nova.connections, 1)
        # Nova closes one when it likes, without a word: no user notices.
        self.nova.misbehave(nova_faults.close_quietly)
        for _ in range(10):
            self.assert_works(door)
        self.assertEqual(self.requests(door), {"ok": 20})


class BreakerTest(portal_case.PortalCase):
    def fail_often(self, door, times=_FAILURES_TO_OPEN, path=portal.FILE_PATH):
        for _ in range(times):
            token = self.nova.add_console().token
            self.assert_error(door, token, *_BUSY, path)

    def is_spared(self, door):
        """Whether a user is told to wait without a question to Nova."""
        token = self.nova.add_console().token
        headers = self.assert_error(door, token, *_BUSY)
        self.assertEqual(headers["retry-after"], "5")
        return self.nova.count(token) == 0

    def test_opens_and_closes(self):
        door = self.open()
        self.assert_works(door)
        self.assertEqual(self.breaker(door), 0)
        self.nova.misbehave(nova_faults.status(500))
        self.fail_often(door)
        door.gateway.wait_record(
            "cloud_breaker", cloud="prod", state="open", service="nova"
        )
        self.assertEqual(self.breaker(door), 1)
        polling.until(
            lambda: self.is_spared(door), "a request Nova is spared", _LIMIT_S
        )
        self.assertGreater(self.requests(door)["rejected"], 0)
        self.nova.behave()
        self.wait_works(door)
        door.gateway.wait_record(
            "cloud_breaker", cloud="prod", state="closed"
        )
        self.assertEqual(self.breaker(door), 0)

    def test_down_and_back(self):
        """Nobody listens at Nova's place; then somebody does."""
        door = self.open()
        self.assert_works(door)
        self.nova.stop()
        self.fail_often(door)
        self.assertEqual(self.breaker(door), 1)
        self.nova.start()
        self.wait_works(door)

    def test_dead_cloud_beside_another(self):
        """While one cloud hangs, users of the other do not wait."""
        dead = self.start_nova()
        dead.misbehave(nova_faults.slow(600))
        door = self.open(
            self.cloud("dead", dead, paths=["/dead.vv"]),
            self.cloud("live", paths=["/live.vv"]),
        )
        over = threading.Event()
        tokens = [dead.add_console().token for _ in range(20)]

        def ask(token):
            door.ask(token, "/dead.vv")
            over.set()

        threads = [threading.Thread(target=ask, args=(t,)) for t in tokens]
        for thread in threads:
            thread.start()
        polling.until(dead.count, "a question to the dead cloud", _LIMIT_S)
        self.assert_works(door, "/live.vv")
        num_served = 1
        while not over.is_set():
            self.assert_works(door, "/live.vv")
            num_served += 1
        for thread in threads:
            thread.join()
        self.assertEqual(
            self.requests(door, cloud="live"), {"ok": num_served}
        )
        self.assertEqual(self.breaker(door, "live"), 0)
        self.assertEqual(self.breaker(door, "dead"), 1)


class WhichTest(portal_case.PortalCase):
    """A token is shown to the cloud it is of, and to no other."""

    def test_path(self):
        other = self.start_nova()
        door = self.open(
            self.cloud("one", paths=["/one", "/nova"]),
            self.cloud("two", other, paths=["/two"]),
        )
        mine, others = self.nova.add_console(), other.add_console()
        self.assert_file(door, mine.token, "/one")
        self.assert_file(door, others.token, "/two")
        self.assert_error(door, mine.token, 404, "expired_link", "/two")
        self.assertEqual(other.count(mine.token), 1)
        self.assertEqual(self.nova.count(), 1)
        answer = door.ask(mine.token, "/three")
        self.assertEqual(answer.status, 404)
        self.assertEqual(self.nova.count() + other.count(), 3)

    def test_host(self):
        other, rest = self.start_nova(), self.start_nova()
        door = self.open(
            self.cloud("rest", rest),
            self.cloud("one", hosts=["one.example.org"]),
            self.cloud("two", other, hosts=["two.example.org", "2.test"]),
        )
        for host, made in (
            ("one.example.org", self.nova),
            ("ONE.example.org:13002", self.nova),
            ("two.example.org", other),
            ("2.test", other),
            ("three.example.org", rest),
        ):
            with self.subTest(host):
                token = made.add_console().token
                counts = [n.count() for n in (self.nova, other, rest)]
                answer = door.ask(token, headers={"Host": host})
                self.assertEqual(answer.status, 200, answer.body)
                now = [n.count() for n in (self.nova, other, rest)]
                self.assertEqual(sum(now), sum(counts) + 1)


class OnceTest(portal_case.PortalCase):
    def tickets(self, door):
        return int(door.gateway.metrics().sum("spicegate_tickets_issued_total"))

    def shared(self, door):
        return door.gateway.metrics().sum(
            "spicegate_cloud_answers_shared_total", cloud="prod"
        )

    def hold_until_all_wait(self, door, num_users):
        """A fault: the answer once so many want it, or in good time."""

        def act(handler, token):
            for _ in range(20):
                if self.shared(door) >= num_users - 1:
                    break
                handler.owner.wait_over(0.1)
            handler.answer_json(self.nova.find(token).reply())

        return act

    def test_double_request(self):
        """Two at the same time: one question, one ticket, one file."""
        door = self.open()
        token = self.nova.add_console().token
        self.nova.misbehave(self.hold_until_all_wait(door, 8), token)
        files = []

        def take():
            files.append(self.assert_file(door, token))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.nova.count(token), 1)
        self.assertEqual(len({f["password"] for f in files}), 1)
        self.assertEqual(len(files), 8)
        self.assertEqual(self.tickets(door), 1)
        self.assertEqual(self.shared(door), 7)
        issued = door.gateway.wait_record("ticket_issued")
        self.assertEqual(issued["cloud"], "prod")
        self.assertNotIn(token, str(door.gateway.records()))

    def test_head(self):
        """It asks, as it is to know the answer, and issues nothing."""
        door = self.open()
        token = self.nova.add_console().token
        head = door.ask(token, method="HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(self.nova.count(token), 1)
        self.assertEqual(self.tickets(door), 0)
        got = door.ask(token)
        self.assertEqual(
            head.headers["content-length"], got.headers["content-length"]
        )
        self.assertEqual(self.tickets(door), 1)
        other = self.nova.add_console(ttl_s=-1).token
        self.assertEqual(door.ask(other, method="HEAD").status, 404)

    def test_page_makes_no_ticket(self):
        door = self.open()
        token = self.nova.add_console().token
        page = door.ask(token, portal.PAGE_PATH, accept=portal.BROWSER)
        self.assertEqual(page.status, 200)
        self.assertTrue(page.headers["content-type"].startswith("text/html"))
        self.assertEqual(self.tickets(door), 0)
        self.assertIn(token, page.text())  # where the file is

    def test_unknown_is_remembered(self):
        """For a moment; who holds the key down does not bother Nova."""
        door = self.open()
        token = self.nova.add_console(ttl_s=-1).token
        answers = [door.ask(token).status for _ in range(5)]
        self.assertEqual(answers, [404] * 5)
        self.assertLess(self.nova.count(token), 5)


class PlaceTest(portal_case.PortalCase):
    """Where Nova is, and how it shows that it is Nova."""

    def test_tls(self):
        authority = pki.Authority(self.directory, "cloud-ca")
        made = self.start_nova(certificate=authority.issue("nova"))
        compute = {"endpoint": made.url, "ca_file": authority.cert_path}
        door = self.open(self.cloud(made=made, compute=compute))
        self.assert_works(door, made=made)
        self.assertEqual(made.connections, 1)

    def test_wrong_certificates(self):
        authority = pki.Authority(self.directory, "cloud-ca")
        stranger = pki.Authority(self.directory, "stranger")
        name = "DNS:nova.example.test"
        for certificate, ca_path in (
            (authority.issue("nova"), stranger.cert_path),
            (authority.issue("other", names=(name,)), authority.cert_path),
            (authority.issue("old", days=-1), authority.cert_path),
        ):
            made = self.start_nova(certificate=certificate)
            compute = {"endpoint": made.url, "ca_file": ca_path}
            with self.subTest(certificate[0]):
                self.refuse(made, compute)

    def refuse(self, made, compute):
        name = f"gateway-{made.port}"
        cloud = self.cloud(made=made, compute=compute)
        certificate = pki.Authority(self.directory, name + "-ca")
        cert, key = certificate.issue("portal")
        own = {"certificate": cert, "key": key, "address": "127.0.0.1:0"}
        door = portal.Portal(
            self.start_gateway((), name=name, portal=own, clouds=[cloud]),
            certificate.cert_path,
        )
        self.assert_error(door, made.add_console().token, *_REFUSED)
        record = door.gateway.wait_record("cloud_failed", service="nova")
        self.assertIn("certificate", record["error"].lower())
        self.assertEqual(made.requests(), [])

    def test_ipv6(self):
        made = self.start_nova(host="::1")
        door = self.open(self.cloud(made=made))
        self.assert_works(door, made=made)

    def test_slash_at_the_end(self):
        compute = {"endpoint": self.nova.url + "/"}
        door = self.open(self.cloud(compute=compute))
        self.assert_works(door)

    def test_wrong_place(self):
        """Something else answers there: not the user's link is wrong."""
        other = identity.Identity(self.nova.url)
        self.addCleanup(other.stop)
        compute = {"endpoint": other.url + "/v2.1"}
        door = self.open(self.cloud(compute=compute))
        self.assert_error(door, self.nova.add_console().token, *_BUSY)
        self.assertEqual(self.nova.requests(), [])


if __name__ == "__main__":
    runner.main("openssl")
