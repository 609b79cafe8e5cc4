# SPDX-License-Identifier: Apache-2.0
"""The portal as people see it who have a browser and a link."""

import shutil
import uuid
from urllib import parse

from tests.portal import browser
from tests.portal import page_case
from tests.testbed import case
from tests.testbed import gateway
from tests.testbed import identity
from tests.testbed import nova
from tests.testbed import nova_faults
from tests.testbed import pki
from tests.testbed import polling
from tests.testbed import portal
from tests.testbed import processes
from tests.testbed import runner

_LIMIT_S = 60
_TICKET = r"^[0-9A-Za-z]{48}$"
_MAX_STOPS = 10
_MIN_TARGET = 24  # CSS pixels, WCAG 2.2, 2.5.8
_MIN_OUTLINE = 2  # CSS pixels, WCAG 2.2, 2.4.13
_MIN_OUTLINE_CONTRAST = 3  # WCAG 2.2, 1.4.11
_POLICY = {
    "default-src": ["'none'"],
    "img-src": ["data:"],
    "form-action": ["'none'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}
_HEADERS = {
    "cache-control": "no-store",
    "pragma": "no-cache",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow, noarchive",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "strict-transport-security": "max-age=31536000",
    "cross-origin-resource-policy": "same-origin",
    "vary": "Accept",
}


class _PortalCase(case.Case, page_case.PageCase):
    """A browser for the class; a cloud and a gateway for each test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        made = processes.temporary_directory()
        cls.addClassCleanup(shutil.rmtree, made, ignore_errors=True)
        cls.authority = pki.Authority(made, kind=pki.ECDSA)
        names = (f"DNS:{browser.HOST}", "DNS:localhost")
        cls.pair = cls.authority.issue("portal", names=names, kind=pki.ECDSA)
        cls.start_browser([cls.pair[0]])

    def setUp(self):
        super().setUp()
        self.nova = nova.Nova()
        self.addCleanup(self.nova.stop)
        self.identity = identity.Identity(self.nova.url)
        self.addCleanup(self.identity.stop)

    def start_portal(self, portal_failures=10000, **cloud):
        """Args: cloud: keys of the cloud."""
        cloud = portal.nova_cloud(
            self.directory, self.nova, self.identity, **cloud
        )
        certificate, key = self.pair
        made = self.start_gateway(
            (),
            clouds=[cloud],
            portal={
                "address": "127.0.0.1:0",
                "certificate": certificate,
                "key": key,
            },
            limits={"portal_failures": portal_failures},
        )
        self.door = portal.Portal(made, self.authority.cert_path)
        self.gateway = made

    def url(self, token=None, path=portal.PAGE_PATH):
        query = "" if token is None else f"?token={token}"
        return f"https://{browser.HOST}:{self.door.port}{path}{query}"

    def check_file(self, file, console):
        """A connection file of this gateway for this console."""
        entries = gateway.vv_entries(file["text"].encode())
        self.assertEqual(file["name"], f"prod.{console.instance}.vv")
        self.assertEqual(entries["type"], "spice")
        self.assertEqual(entries["host"], "localhost")
        self.assertEqual(int(entries["tls-port"]), self.gateway.tls_port)
        self.assertRegex(entries["password"], _TICKET)
        return entries["password"]

    def check_error(self, url, status, code, schemes=page_case.SCHEMES):
        """The page at url is this error, wherever it is looked at."""
        views = [(scheme, {}) for scheme in schemes]
        views.append((schemes[0], page_case.PHONE))
        for scheme, how in views:
            with self.subTest(code=code, scheme=scheme, **how):
                with self.browser.tab(scheme=scheme, **how) as tab:
                    answer = tab.goto(url)
                    self.assertEqual(answer["status"], status)
                    self.check_headers(answer["headers"])
                    facts = self.check_page(tab, scheme, status)
                    self.assertEqual(facts["code"], code)
                    self.assertEqual(facts["headings"], [facts["title"]])

    def check_headers(self, headers):
        self.assertEqual(_HEADERS | headers, headers)
        self.assertNotIn("set-cookie", headers)
        self.assertRegex(headers["content-type"], "^text/html; *charset=utf-8$")
        policy = {}
        for directive in headers["content-security-policy"].split(";"):
            name, *values = directive.split()
            policy[name] = values
        (style,) = policy.pop("style-src")
        self.assertRegex(style, "^'(sha256|nonce)-[A-Za-z0-9+/=_-]{20,}'$")
        self.assertEqual(policy, _POLICY)

    def num_answers(self, **labels):
        return self.gateway.metrics().sum(
            "spicegate_portal_answers_total", **labels
        )

    def num_tickets(self):
        return self.gateway.metrics().sum("spicegate_tickets_issued_total")


class ReadyTest(_PortalCase):
    """A link that is good."""

    def setUp(self):
        super().setUp()
        self.start_portal()
        self.console = self.nova.add_console()

    def open(self, tab):
        """Opens the link; returns the file that comes by itself."""
        answer = tab.goto(self.url(self.console.token))
        self.assertEqual(answer["status"], 200)
        self.check_headers(answer["headers"])
        (file,) = tab.files(1)
        return file

    def test_page(self):
        for scheme in page_case.SCHEMES:
            for how in ({}, page_case.PHONE):
                with self.subTest(scheme=scheme, **how):
                    with self.browser.tab(scheme=scheme, **how) as tab:
                        self.check_file(self.open(tab), self.console)
                        facts = self.check_page(tab, scheme)
                        self.assertEqual(facts["code"], "ready")
                        self.assertEqual(facts["headings"], [facts["title"]])
                        self.assertEqual(facts["language"], "en")
                        self.assertIn("virt-viewer", facts["text"])

    def test_one_ticket(self):
        with self.browser.tab() as tab:
            ticket = self.check_file(self.open(tab), self.console)
            asked = tab.facts()["requests"]
        self.assertEqual(self.num_tickets(), 1)
        issued = self.gateway.wait_record("ticket_issued", limit_s=_LIMIT_S)
        self.assertEqual(issued["console"], f"prod.{self.console.instance}")
        self.assertEqual(issued["cloud"], "prod")
        self.assertEqual(issued["source"], "127.0.0.1")
        log = self.gateway.process.errors()
        self.assertNotIn(ticket, log)
        self.assertNotIn(self.console.token, log)
        # The link, the file, and nothing else; data: is no request.
        paths = [r["url"] for r in asked if not r["url"].startswith("data:")]
        self.assertEqual(paths[0], self.url(self.console.token))
        self.assertEqual(paths[1:], [paths[0] + "&file=1"])
        self.assertEqual(self.num_answers(), 2)

    def test_keyboard_alone(self):
        for scheme in page_case.SCHEMES:
            with self.subTest(scheme), self.browser.tab(scheme=scheme) as tab:
                first = self.check_file(self.open(tab), self.console)
                background = tab.facts()["background"]
                button = self.reach_button(tab)
                self.check_focus(button, background)
                before = self.num_tickets()
                tab.press("Enter")
                second = self.check_file(tab.files(2)[1], self.console)
                # The same for a few seconds, as long as nobody has used it.
                self.assertEqual(
                    self.num_tickets(), before + (first != second)
                )

    def reach_button(self, tab):
        """Goes through the page once by Tab; comes back to its only link."""
        stops = []
        for _ in range(_MAX_STOPS):
            tab.press("Tab")
            at = tab.focus()
            if at["tag"] == "body" or at in stops:
                break
            stops.append(at)
        self.assertEqual(len(stops), 1, stops)
        while tab.focus() != stops[0]:
            tab.press("Tab")
        return stops[0]

    def check_focus(self, at, background):
        self.assertEqual(at["tag"], "a")
        self.assertEqual(at["href"], self.url(self.console.token) + "&file=1")
        self.assertTrue(at["visible"], at)
        self.assertNotEqual(at["outlineStyle"], "none")
        self.assertGreaterEqual(at["outlineWidth"], _MIN_OUTLINE)
        self.assertGreaterEqual(
            page_case.contrast(at["outlineColor"], background),
            _MIN_OUTLINE_CONTRAST,
        )
        self.assertGreaterEqual(min(at["width"], at["height"]), _MIN_TARGET)

    def test_back(self):
        """The button of the browser brings a page, never an old file."""
        with self.browser.tab() as tab:
            self.check_file(self.open(tab), self.console)
            self.assertEqual(tab.goto(self.url(path="/"))["status"], 200)
            # A page that was asked for anew brings its file along.
            num_files = 1 if tab.back() else 2
            tab.files(num_files)
            self.assertEqual(tab.facts()["code"], "ready")
            self.reach_button(tab)
            tab.press("Enter")
            file = tab.files(num_files + 1)[-1]
            self.check_file(file, self.console)
        # All of them were the gateway's own answers, none a cache's.
        self.assertEqual(self.num_answers(kind="file"), num_files + 1)

    def test_file_alone(self):
        with self.browser.tab() as tab:
            url = self.url(self.console.token, portal.FILE_PATH)
            self.assertEqual(tab.goto(url), {})
            (file,) = tab.files(1)
            self.check_file(file, self.console)
        self.assertEqual(self.num_tickets(), 1)


class ErrorTest(_PortalCase):
    """Links that are not, and clouds that are not well."""

    def setUp(self):
        super().setUp()
        self.console = self.nova.add_console()

    def test_expired(self):
        self.start_portal()
        self.check_error(self.url(uuid.uuid4()), 404, "expired_link")
        self.nova.forget(self.console.instance)
        self.check_error(self.url(self.console.token), 404, "expired_link")
        self.assertEqual(self.num_tickets(), 0)

    def test_bad_links(self):
        self.start_portal()
        evil = parse.quote('"><script>alert(1)</script>')
        for token in (None, "", "short", evil):
            with self.subTest(token):
                url = self.url(token)
                self.check_error(url, 400, "bad_link", ("light",))
        self.check_error(self.url(), 400, "bad_link")
        self.assertEqual(self.nova.count(), 0)

    def test_broken_cloud_comes_back(self):
        self.start_portal()
        self.nova.misbehave(nova_faults.status(500))
        url = self.url(self.console.token)
        self.check_error(url, 503, "busy")
        with self.browser.tab() as tab:
            self.assertEqual(tab.goto(url)["status"], 503)
            self.nova.behave()
            polling.until(
                lambda: self.retry(tab) == "ready", "the desktop", _LIMIT_S
            )
            self.check_file(tab.files(1)[0], self.console)

    def retry(self, tab):
        """Follows the page's link by keyboard; returns the next page's code."""
        tab.press("Tab")
        tab.follow("Enter")
        return tab.facts()["code"]

    def test_cloud_refuses_the_gateway(self):
        self.start_portal()
        self.nova.misbehave(nova_faults.status(403))
        self.check_error(self.url(self.console.token), 502, "cloud_error")

    def test_silent_cloud(self):
        self.start_portal()
        self.nova.misbehave(nova_faults.slow(_LIMIT_S))
        with self.browser.tab() as tab:
            answer = tab.goto(self.url(self.console.token))
            self.assertIn(answer["status"], (503, 504))
            self.check_page(tab, "light", answer["status"])

    def test_too_many(self):
        self.start_portal(portal_failures=1)
        for scheme in page_case.SCHEMES:
            with self.subTest(scheme):
                polling.until(
                    lambda s=scheme: self.check_too_many(s), "429", _LIMIT_S
                )

    def check_too_many(self, scheme):
        """Whether the browser came before a failure was forgiven."""
        with self.browser.tab(scheme=scheme) as tab:
            polling.until(
                lambda: self.door.ask(uuid.uuid4()).status == 429,
                "429 for a machine",
                _LIMIT_S,
            )
            answer = tab.goto(self.url(uuid.uuid4()))
            if answer["status"] != 429:
                return False
            self.assertGreater(int(answer["headers"]["retry-after"]), 0)
            self.check_headers(answer["headers"])
            facts = self.check_page(tab, scheme, 429)
            self.assertEqual(facts["code"], "too_many")
            return True

    def test_without_tls_where_that_is_required(self):
        self.start_portal(
            servers={
                "require_secure": True,
                "ca_file": self.authority.cert_path,
            }
        )
        url = self.url(self.console.token)
        self.check_error(url, 409, "not_available")

    def test_another_kind_of_console(self):
        self.start_portal()
        console = self.nova.add_console(kind=nova.NOVNC)
        url = self.url(console.token)
        self.check_error(url, 404, "expired_link", ("light",))

    def test_nowhere(self):
        self.start_portal()
        url = self.url(path="/elsewhere")
        self.check_error(url, 404, "not_found", ("light",))

    def test_front(self):
        self.start_portal()
        self.check_error(self.url(path="/"), 200, "front")


class MachineTest(_PortalCase):
    """Whoever does not ask for a page gets none."""

    def test_errors_are_json(self):
        self.start_portal()
        console = self.nova.add_console()
        for token, status, code in (
            (uuid.uuid4(), 404, "expired_link"),
            ("short", 400, "bad_link"),
        ):
            for path in (portal.PAGE_PATH, portal.FILE_PATH):
                found = self.door.error(token, path, accept="application/json")
                self.assertEqual(found[:2], (status, code))
                self.assertNotIn("<", found[2])
        self.nova.misbehave(nova_faults.status(403))
        found = self.door.error(console.token, accept="application/json")
        self.assertEqual(found[:2], (502, "cloud_error"))

    def test_files_for_machines_pages_for_people(self):
        self.start_portal()
        console = self.nova.add_console()
        for accept in ("*/*", "application/json", "application/x-virt-viewer"):
            answer = self.door.ask(
                console.token, portal.PAGE_PATH, accept=accept
            )
            self.assertEqual(answer.status, 200)
            self.assertEqual(
                answer.headers["content-type"], "application/x-virt-viewer"
            )
        answer = self.door.ask(
            console.token, portal.PAGE_PATH, accept=portal.BROWSER
        )
        self.assertIn("text/html", answer.headers["content-type"])


if __name__ == "__main__":
    runner.main(*browser.PROGRAMS)
