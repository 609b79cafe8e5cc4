# SPDX-License-Identifier: Apache-2.0
"""What a broker is asked, and what people hear of each of its answers."""

import json

from tests.openstack import broker_case
from tests.openstack import fake_broker
from tests.testbed import gateway
from tests.testbed import polling
from tests.testbed import runner

_LIMIT_S = 60


class AnswerTest(broker_case.BrokerCase):
    """Each answer of a broker and what the person at the portal hears."""

    _GOOD = {"id": "vm-7", "host": "127.0.0.2", "port": 5900}

    def test_good(self):
        ca = self.authority.pem()
        self._check_rows(
            ("least", {}, 200),
            ("unknown key", {"colour": "red"}, 200),
            ("IPv6", {"host": "::1"}, 200),
            ("IPv6 in full", {"host": "2001:db8::7", "tls_port": None}, 200),
            ("name", {"host": "vm7.example.test"}, 200),
            ("only TLS", {"port": None, "tls_port": 5901, "ca": ca}, 200),
            ("59 characters", {"password": "x" * 59}, 200),
            ("null", {"title": None, "password": None, "ca": None}, 200),
        )

    def test_bad_consoles(self):
        """Nothing of them reaches a dial or a file."""
        broken = (502, 503)
        end = "\n-----END CERTIFICATE-----\n"
        bad_pem = self.authority.pem()[:400] + end
        self._check_rows(
            ("no id", {"id": None}, broken),
            ("empty id", {"id": ""}, broken),
            ("path in id", {"id": "../../etc"}, broken),
            ("space in id", {"id": "vm 7"}, broken),
            ("newline in id", {"id": "vm\n7"}, broken),
            ("long id", {"id": "x" * 300}, broken),
            ("id is a number", {"id": 7}, broken),
            ("no host", {"host": None}, broken),
            ("empty host", {"host": ""}, broken),
            ("host with a port", {"host": "vm7:5900"}, broken),
            ("host with a path", {"host": "vm7/x"}, broken),
            ("host is a list", {"host": ["127.0.0.2"]}, broken),
            ("no port", {"port": None}, broken),
            ("port 0", {"port": 0}, broken),
            ("port 65536", {"port": 65536}, broken),
            ("port is text", {"port": "5900"}, broken),
            ("negative port", {"port": -1}, broken),
            ("port with a fraction", {"port": 5900.5}, broken),
            ("60 characters", {"password": "x" * 60}, broken),
            ("title of two lines", {"title": "a\nproxy=x"}, broken),
            ("no PEM", {"ca": "hello", "tls_port": 5901}, broken),
            ("bad PEM", {"ca": bad_pem, "tls_port": 5901}, (*broken, 409)),
            ("unknown policy", {"policy": "kiosk"}, (*broken, 409)),
        )

    def test_tls_is_required(self):
        """By the configuration; the broker knows a plain port only."""
        servers = {
            "require_secure": True,
            "ca_file": self.authority.cert_path,
        }
        self.begin(self.entry(self.broker, servers=servers))
        self.broker.answers[broker_case.TOKEN] = self._GOOD
        status, body = self.ask()
        self.assertEqual(status, 409, body)
        self.assertEqual(json.loads(body)["code"], "not_available")

    def test_bad_answers(self):
        deep = b"[" * 100_000
        good = json.dumps({"console": self._GOOD}).encode()
        away = fake_broker.redirect("http://127.0.0.1:1/")
        rows = {
            "not found": (fake_broker.NOT_FOUND, 404, "expired_link"),
            "410": ((410, {}), (404, 502, 503), None),
            "401": ((401, {}), 502, "cloud_error"),
            "403": ((403, {}), 502, "cloud_error"),
            "400": ((400, {}), (502, 503), None),
            "500": ((500, {"error": "db"}), 503, "busy"),
            "503": ((503, {}), 503, "busy"),
            "429": ((429, {}), 503, "busy"),
            "redirect": (away, (502, 503), None),
            "empty": (b"", (502, 503), None),
            "no JSON": (b"<html>", (502, 503), None),
            "no console": (b"{}", (502, 503), None),
            "a list": (b"[]", (502, 503), None),
            "null": (b'{"console": null}', (502, 503), None),
            "deep": (deep, (502, 503), None),
            "huge": (good + b" " * 10_000_000, (502, 503), None),
            "not UTF-8": (b'{"console": {"id": "\xff"}}', (502, 503), None),
            "cut": (fake_broker.cut_at_once, 503, "busy"),
            "cut in body": (fake_broker.cut_in_body, 503, "busy"),
        }
        for name, (answer, wanted, code) in rows.items():
            with self.subTest(name):
                # Each with a gateway of its own: no circuit is broken yet.
                broker = self.start_broker(None)
                broker.answers[broker_case.TOKEN] = answer
                self.begin(self.entry(broker), name=name.replace(" ", "-"))
                status, body = self.ask()
                self._check_status(status, wanted, body)
                said = json.loads(body)
                if code:
                    self.assertEqual(said["code"], code)
                self.assertNotIn("127.0.0.1", said["error"])
                self.made.stop()  # its log is complete then
                self.assertFalse(self.made.records("ticket_issued"))

    def test_silent(self):
        self.broker.answers[broker_case.TOKEN] = fake_broker.silent
        self.begin()
        status, body = self.ask()
        self.assertEqual(status, 504, body)
        self.assertEqual(json.loads(body)["code"], "cloud_error")

    def test_wrong_bearer(self):
        """The administrator is told, the user not why; then it is mended."""
        entry = self.entry(self.broker, bearer="an-old-one")
        self.begin(entry)
        self.broker.answers[broker_case.TOKEN] = self._GOOD
        status, body = self.ask()
        self.assertEqual(status, 502, body)
        record = self.made.wait_record("cloud_failed")
        self.assertEqual(record["cloud"], "desks")
        self.assertEqual(record["service"], "broker")
        self.assertNotIn("an-old-one", self.made.process.errors())
        with open(entry["bearer_file"], "w", encoding="ascii") as stream:
            stream.write(broker_case.BEARER)
        polling.until(lambda: self.ask()[0] == 200, "the new one", _LIMIT_S)

    def test_what_is_no_token(self):
        """Nothing of it goes to the broker."""
        self.begin()
        for token in (
            *("", "short", "x" * 257, "token/../of", "token%20of%20a"),
            *("token%0d%0ax:y", "t%C3%B6ken-of-a", "token%00of-a-user"),
        ):
            with self.subTest(token):
                status, body = self.ask(token)
                self.assertEqual(status, 400, body)
                self.assertEqual(json.loads(body)["code"], "bad_link")
        self.assertFalse(self.broker.requests)

    def test_token_in_percents(self):
        self.begin()
        self.broker.answers[broker_case.TOKEN] = self._GOOD
        self.assertEqual(self.ask("Token%2Eof%7Ea_user-1")[0], 200)
        self.assertEqual(self.broker.tokens(), [broker_case.TOKEN])

    def test_each_cloud_has_its_tokens(self):
        """By path and by Host; no token is shown to another's broker."""
        names = ("desks", "labs", "home")
        bearer = broker_case.BEARER
        brokers = {name: self.start_broker(bearer) for name in names}
        for name, broker in brokers.items():
            answer = {**self._GOOD, "title": name}
            broker.answers = {broker_case.TOKEN: answer}
        self.begin(
            self.entry(brokers["desks"], "desks"),
            self.entry(brokers["labs"], "labs", paths=["/labs"]),
            self.entry(
                brokers["home"], "home", hosts=["home.example.test"]
            ),
        )
        self.assertEqual(self.take()["title"], "desks")
        self.assertEqual(self.take(path="/labs")["title"], "labs")
        home = ("-H", "Host: Home.Example.Test:8443")
        status, body = self.ask(broker_case.TOKEN, "/console.vv", *home)
        self.assertEqual(status, 200)
        self.assertEqual(gateway.vv_entries(body)["title"], "home")
        self.assertEqual(self.ask(path="/nova")[0], 404)
        for broker in brokers.values():
            self.assertEqual(broker.tokens(), [broker_case.TOKEN])

    def _check_rows(self, *rows):
        """A bad console is no reason not to ask for the next one."""
        self.begin()
        for number, (name, changes, wanted) in enumerate(rows):
            with self.subTest(name):
                console = {**self._GOOD, **changes}
                console = {
                    key: value
                    for key, value in console.items()
                    if value is not None or name == "null"
                }
                token = f"{broker_case.TOKEN}.{number}"
                self.broker.answers[token] = console
                status, body = self.ask(token)
                self._check_status(status, wanted, body)
                self.assertIn(token, self.broker.tokens())

    def _check_status(self, status, wanted, body):
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        self.assertIn(status, wanted, body[:300])


if __name__ == "__main__":
    runner.main("openssl", "curl")
