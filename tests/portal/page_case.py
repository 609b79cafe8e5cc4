# SPDX-License-Identifier: Apache-2.0
"""What every page of the portal has to be, judged by a browser."""

import re
import unittest

from tests.portal import browser

SCHEMES = ("light", "dark")
# The narrowest that WCAG 2.2 (1.4.10, reflow) asks for.
PHONE = {"width": 320, "height": 640, "mobile": True}
# Means over a page that is nearly all background.
_LIGHT_FROM, _DARK_TO = 160, 100
_MIN_TEXT_COLOURS = 12  # what smooth letters have at the very least
_OWN_URL = rf"^(https://{browser.HOST}:|data:)"
_RGB = re.compile(r"rgba?\((\d+), (\d+), (\d+)(?:, 1)?\)")


class PageCase(unittest.TestCase):
    """One browser for all tests of a class, a tab for each of them.

    Attributes:
      browser: a browser.Browser; set by start_browser().
    """

    @classmethod
    def start_browser(cls, trusted=()):
        cls.browser = browser.Browser(trusted)
        cls.addClassCleanup(cls.browser.stop)

    def check_page(self, tab, scheme, status=200):
        """All that holds of each page, whatever is on it.

        Args:
          tab: a browser.Tab where the page is open and at rest.
          scheme: of SCHEMES, as the tab was opened with.
          status: of the page.
        """
        self.check_accessible(tab)
        self.check_picture(tab, scheme)
        facts = tab.facts()
        self.check_alone(facts, status)
        self.check_width(facts)
        return facts

    def check_accessible(self, tab):
        """No violation of axe-core's rules, contrast among them."""
        found = tab.axe()
        self.assertEqual(found["violations"], [])
        undecided = [
            rule for rule in found["undecided"] if "contrast" in rule["id"]
        ]
        self.assertEqual(undecided, [])
        for rule in ("color-contrast", "document-title", "html-has-lang"):
            self.assertIn(rule, found["passed"])

    def check_picture(self, tab, scheme):
        """Something is painted, in the scheme's light."""
        shot = tab.shot()
        self.assertGreaterEqual(shot["colours"], _MIN_TEXT_COLOURS, shot)
        self.assertLess(shot["mostCommon"], 0.99, shot)
        if scheme == "dark":
            self.assertLess(shot["light"], _DARK_TO, shot)
        else:
            self.assertGreater(shot["light"], _LIGHT_FROM, shot)

    def check_alone(self, facts, status=200):
        """Nothing asked of others, told to others, kept or complained of."""
        for request in facts["requests"]:
            self.assertRegex(request["url"], _OWN_URL)
            self.assertEqual(request["referrer"], "", request)
        self.assertEqual(self.browser.strangers(), [])
        self.assertEqual(facts["cookies"], [])
        self.assertEqual(facts["stored"], 0)
        self.assertEqual(facts["scripts"], 0)
        self.assertEqual(facts["referrer"], "")
        # The browser says this itself of every error page.
        own = f"the server responded with a status of {status} "
        complaints = facts["complaints"]
        if status >= 400:
            complaints = [c for c in complaints if own not in c["text"]]
        self.assertEqual(complaints, [])

    def check_width(self, facts):
        """Nobody has to scroll sideways."""
        self.assertLessEqual(facts["scrollWidth"], facts["viewWidth"])


def contrast(one, other):
    """WCAG's contrast ratio of two of the browser's colours, 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour):
    """Relative luminance as WCAG 2.2 defines it; ValueError if not opaque."""
    match = _RGB.fullmatch(colour)
    if not match:
        raise ValueError(f"not an opaque colour: {colour!r}")
    parts = [int(part) / 255 for part in match.groups()]
    red, green, blue = (
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4
        for p in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
