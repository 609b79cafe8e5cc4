# SPDX-License-Identifier: Apache-2.0
"""The portal's pages are sound: markup, headings, policy and contrast.

What only a browser knows is asked of one in tests/portal.
"""

import base64
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

_DUMP = os.path.abspath(sys.argv.pop(1))

_EMPTY = {"meta", "link", "path"}  # neither content nor an end tag
_KNOWN = _EMPTY | set(
    "html head title style body main svg h1 h2 p a ol ul li dl dt dd code "
    "strong bdi".split()
)
# WCAG 2, AA: of text, and of what shows where a control is.
_TEXT_CONTRAST = 4.5
_SHAPE_CONTRAST = 3.0


def _luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4
        for p in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _schemes(style):
    """The custom properties of the light and of the dark scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in (light, dark)
    ]


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([_DUMP, folder], check=True)
            cls.pages = {}
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    cls.pages[name] = file.read()
        cls.style_source = cls.pages.pop("style_source.txt")

    def each(self):
        self.assertGreater(len(self.pages), 12)
        for name, text in self.pages.items():
            with self.subTest(page=name):
                yield text, xml.etree.ElementTree.fromstring(text)

    def test_is_html_with_a_language_and_a_charset(self):
        for text, root in self.each():
            self.assertTrue(text.startswith("<!DOCTYPE html>\n"))
            self.assertEqual(root.tag, "html")
            self.assertEqual(root.get("lang"), "en")
            self.assertEqual([child.tag for child in root], ["head", "body"])
            self.assertLess(text.index('<meta charset="utf-8"/>'), 1000)

    def test_has_known_elements_only(self):
        for text, root in self.each():
            for element in root.iter():
                self.assertIn(element.tag, _KNOWN)
                if element.tag in _EMPTY:
                    self.assertEqual(len(element), 0)
                    self.assertIsNone(element.text)
            # XML would take <p/> for a paragraph, HTML for its beginning.
            for tag in re.findall(r"<(\w+)[^<>]*/>", text):
                self.assertIn(tag, _EMPTY)
            # HTML has names for more than these, XML does not know them.
            self.assertEqual(
                set(re.findall(r"&[^;]*;", text))
                - {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"},
                set(),
            )

    def test_has_one_heading_that_is_the_title(self):
        for _, root in self.each():
            headings = [e.tag for e in root.iter() if e.tag in ("h1", "h2")]
            self.assertEqual(headings[0], "h1")
            self.assertEqual(headings.count("h1"), 1)
            heading = root.find(".//h1")
            self.assertEqual(heading.get("id"), "title")
            self.assertEqual(heading.text, root.find("head/title").text)

    def test_has_all_of_its_text_in_the_landmark(self):
        for _, root in self.each():
            (main,) = root.find("body")
            self.assertEqual(main.tag, "main")
            self.assertRegex(main.get("data-code"), "^[a-z_]+$")

    def test_has_ids_once(self):
        for _, root in self.each():
            ids = [e.get("id") for e in root.iter() if e.get("id")]
            self.assertEqual(len(ids), len(set(ids)))

    def test_runs_and_fetches_nothing(self):
        for text, root in self.each():
            for element in root.iter():
                for name, value in element.attrib.items():
                    self.assertFalse(name.startswith("on"), name)
                    self.assertNotIn(name, ("src", "srcset", "style"))
                    if name == "href":
                        self.assertRegex(value, r"^(data:|\?token=|$)")
            style = root.find("head/style").text
            self.assertNotRegex(style, r"url\(|@import|</|<!--|&")
            self.assertNotIn("javascript:", text)

    def test_has_the_style_of_the_policy(self):
        for _, root in self.each():
            style = root.find("head/style").text
            digest = hashlib.sha256(style.encode()).digest()
            self.assertEqual(
                self.style_source,
                "sha256-" + base64.b64encode(digest).decode(),
                "kPortalStyleHash is out of date",
            )

    def test_hands_out_the_file(self):
        root = xml.etree.ElementTree.fromstring(self.pages["ready.html"])
        link = root.find(".//a[@id='download']")
        self.assertRegex(link.get("href"), r"^\?token=[0-9a-f-]{36}&file=1$")
        refresh = root.find(".//meta[@http-equiv='refresh']")
        # Any wait would be too short for somebody.
        self.assertEqual(refresh.get("content"), "0;url=" + link.get("href"))

    def test_reloads_nothing_else(self):
        for text, root in self.each():
            code = root.find("body/main").get("data-code")
            self.assertEqual("http-equiv" in text, code == "ready")

    def test_says_what_clouds_say_as_text(self):
        for name in ("ready_hostile.html", "error_hostile.html"):
            root = xml.etree.ElementTree.fromstring(self.pages[name])
            said = [e.text for e in root.iter("bdi")]
            self.assertIn("</bdi></main><script src='//x/'>\"&copy;", said[0])
            self.assertIn("B\u00fcro", said[0])

    def test_has_contrast_in_both_schemes(self):
        style = xml.etree.ElementTree.fromstring(
            self.pages["ready.html"]
        ).find("head/style").text
        for scheme in _schemes(style):
            for text, ground, least in (
                ("text", "page", _TEXT_CONTRAST),
                ("text", "card", _TEXT_CONTRAST),
                ("text", "code", _TEXT_CONTRAST),
                ("soft", "card", _TEXT_CONTRAST),
                ("on-strong", "strong", _TEXT_CONTRAST),
                ("strong", "card", _SHAPE_CONTRAST),
            ):
                self.assertGreaterEqual(
                    _contrast(scheme[text], scheme[ground]),
                    least,
                    "%s on %s" % (text, ground),
                )

    def test_shows_the_focus_and_minds_motion(self):
        style = xml.etree.ElementTree.fromstring(
            self.pages["ready.html"]
        ).find("head/style").text
        self.assertRegex(style, r":focus-visible \{\s*outline: 3px solid")
        still = style.split("@media (prefers-reduced-motion: no-preference)")
        self.assertEqual(len(still), 2)
        self.assertNotRegex(still[0], "transition|animation")


if __name__ == "__main__":
    unittest.main()
