# SPDX-License-Identifier: Apache-2.0
"""That the browser tells what is wrong with a page: one that has it all."""

import http.server
import shutil
import ssl
import threading

from tests.portal import browser
from tests.portal import page_case
from tests.testbed import pki
from tests.testbed import processes
from tests.testbed import runner

_STRANGER = "https://other.example.test"
_GOOD = f"""<!doctype html><html lang="en"><head><title>Good</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<meta name="color-scheme" content="light dark"><style>
body {{ background: light-dark(#eee, #111); color: light-dark(#111, #eee); }}
a {{ color: inherit; }}</style></head>
<body><main><h1>Good</h1><p><a href="/file">A file</a></p>
{"<p>Words, as on every page, and more of them.</p>" * 12}
</main></body></html>"""
_PAGES = {
    "/good": _GOOD,
    "/contrast": _GOOD.replace("<h1>", '<h1 style="color: #555">', 1),
    "/language": _GOOD.replace(' lang="en"', ""),
    "/image": _GOOD.replace("<h1>", f'<img alt="" src="{_STRANGER}/i"><h1>'),
    "/wide": _GOOD.replace("<h1>", '<h1 style="width: 2000px">'),
    "/script": _GOOD.replace("<h1>", "<script>1 +</script><h1>"),
    "/store": _GOOD.replace(
        "<h1>", "<script>localStorage.a = 1</script><h1>"
    ),
    "/light": _GOOD.replace('content="light dark"', 'content="light"'),
    "/blank": _GOOD.replace("<body>", '<body style="opacity: 0">'),
}
_KIND = "application/x-virt-viewer"


class HarnessTest(page_case.PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = processes.temporary_directory()
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        names = (f"DNS:{browser.HOST}",)
        pair = pki.Authority(directory).issue("server", names=names)
        cls.certificate = pair[0]
        cls.server = _Server(pair)
        cls.addClassCleanup(cls.server.stop)
        cls.start_browser([pair[0]])

    def open(self, tab, path):
        return tab.goto(f"https://{browser.HOST}:{self.server.port}{path}")

    def assert_bad(self, path, check, scheme="light", **how):
        """The check passes for the good page and fails for this one."""
        with self.browser.tab(scheme=scheme, **how) as tab:
            self.open(tab, "/good")
            check(tab)
        with self.browser.tab(scheme=scheme, **how) as tab:
            self.open(tab, path)
            with self.assertRaises(self.failureException):
                check(tab)

    def alone(self, tab):
        self.check_alone(tab.facts())

    def test_a_good_page_passes(self):
        for scheme in page_case.SCHEMES:
            with self.browser.tab(scheme=scheme) as tab:
                self.assertEqual(self.open(tab, "/good")["status"], 200)
                self.check_page(tab, scheme)

    def test_axe(self):
        self.assert_bad("/contrast", self.check_accessible, "dark")
        self.assert_bad("/language", self.check_accessible)

    def test_pictures(self):
        self.assert_bad(
            "/light", lambda tab: self.check_picture(tab, "dark"), "dark"
        )
        self.assert_bad(
            "/blank", lambda tab: self.check_picture(tab, "light")
        )

    def test_a_page_that_is_too_wide(self):
        self.assert_bad(
            "/wide", lambda tab: self.check_width(tab.facts()),
            **page_case.PHONE,
        )

    def test_what_a_page_does_beside_the_point(self):
        for path in ("/script", "/store", "/cookie", "/policy"):
            with self.subTest(path):
                self.assert_bad(path, self.alone)

    def test_an_error_page_is_another_matter(self):
        with self.browser.tab() as tab:
            self.assertEqual(self.open(tab, "/404")["status"], 404)
            self.check_alone(tab.facts(), 404)
            with self.assertRaises(self.failureException):
                self.check_alone(tab.facts(), 200)

    def test_a_referrer_is_told(self):
        with self.browser.tab() as tab:
            self.open(tab, "/good")
            tab.press("Tab")
            tab.press("Enter")
            (file,) = tab.files(1)
            self.assertEqual(file["name"], "a.vv")
            self.assertEqual(file["text"], "[virt-viewer]\n")
            with self.assertRaises(self.failureException):
                self.check_alone(tab.facts())

    def test_requests_to_others(self):
        own = browser.Browser([self.certificate])
        self.addCleanup(own.stop)
        with own.tab() as tab:
            self.open(tab, "/image")
            facts = tab.facts()
        self.assertIn(_STRANGER + "/i", [r["url"] for r in facts["requests"]])
        with self.assertRaises(self.failureException):
            self.check_alone(facts)
        # Not by the tab's own account alone.
        self.assertIn(_STRANGER.partition("//")[2], " ".join(own.strangers()))

    def test_whom_it_trusts(self):
        names = (f"DNS:{browser.HOST}",)
        directory = processes.temporary_directory(self)
        server = _Server(pki.Authority(directory).issue("x", names=names))
        self.addCleanup(server.stop)
        with self.browser.tab() as tab:
            with self.assertRaisesRegex(RuntimeError, "ERR_CERT_AUTHORITY"):
                tab.goto(f"https://{browser.HOST}:{server.port}/good")

    def test_contrast(self):
        self.assertEqual(
            page_case.contrast("rgb(255, 255, 255)", "rgb(0, 0, 0)"), 21
        )
        self.assertAlmostEqual(
            page_case.contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)"),
            4.48,
            places=2,
        )


class _Server:
    """The pages, over TLS."""

    def __init__(self, pair):
        self._server = _Quiet(("127.0.0.1", 0), _Handler)
        self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.context.load_cert_chain(*pair)
        self.port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        ).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A browser that does not trust us goes in mid-handshake."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def setup(self):
        # Here, so that nobody waits for another's handshake.
        self.request = self.server.context.wrap_socket(
            self.request, server_side=True
        )
        super().setup()

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/file":
            more = {"Content-Disposition": 'attachment; filename="a.vv"'}
            self.answer(200, "[virt-viewer]\n", _KIND, more)
        elif self.path == "/404":
            self.answer(404, _GOOD)
        elif self.path == "/cookie":
            self.answer(200, _GOOD, more={"Set-Cookie": "a=b"})
        elif self.path == "/policy":
            page = _PAGES["/wide"]
            more = {"Content-Security-Policy": "default-src 'none'"}
            self.answer(200, page, more=more)
        elif self.path in _PAGES:
            self.answer(200, _PAGES[self.path])
        else:
            self.answer(404, "")

    def answer(self, status, text, kind="text/html", more=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in dict(more).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    runner.main(*browser.PROGRAMS)
