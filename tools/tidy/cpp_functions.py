# SPDX-License-Identifier: Apache-2.0
"""Functions and statements of a C++ file, by its braces alone."""

import re

# Comments, raw strings, strings, characters; a ' between digits is none.
_NOT_CODE = re.compile(
    r"//[^\n]*"
    r"|/\*.*?\*/"
    r'|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.DOTALL | re.MULTILINE)
_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
_CONTROL = re.compile(r"^(if|for|while|switch|catch|do|else|try|return)\b")


def blank(text):
    """The text without comments, literals and directives; lines stay."""

    def newlines(match):
        return "\n" * match.group(0).count("\n") or " "

    return _DIRECTIVE.sub(newlines, _NOT_CODE.sub(newlines, text))


def _strip_pairs(text, opening, closing):
    inner = re.escape(opening + closing)
    pattern = re.compile(
        "%s[^%s]*%s" % (re.escape(opening), inner, re.escape(closing))
    )
    while pattern.search(text):
        text = pattern.sub(" ", text)
    return text


def is_function(header):
    """Whether `header`, the code before a brace, announces a function body."""
    header = re.sub(r"\boperator\s*(\(\)|[^\w\s(]+)", "operator_", header)
    outside = _strip_pairs(_strip_pairs(header, "(", ")"), "<", ">").strip()
    if "(" not in header or "=" in outside or _CONTROL.match(outside):
        return False
    # `class alignas(64) Slab` and `struct iovec Foo()`: in a scope, what
    # stands behind the parentheses is a name.
    scope = _SCOPE.search(outside)
    return not (scope and re.search(r"(alignas|__attribute__)", header))


def functions(text):
    """Yields (first line, last line) of each outermost function body.

    Relies on clang-format's spaces: a body's brace has one before it, that of
    a braced initializer (`: size_{1}`) has none and leaves its header alive.
    """
    headers, inside, start = [], None, 1
    header, line = "", 1
    for char in blank(text):
        if char == "{":
            initializer = header != "" and not header[-1].isspace()
            if inside is None and not initializer and is_function(header):
                inside, start = len(headers), line
            headers.append(header if initializer else "")
            header = ""
        elif char == "}":
            header = headers.pop() if headers else ""
            if inside == len(headers):
                yield start, line
                inside = None
        elif char == ";":
            header = ""
        else:
            line += char == "\n"
            header += char


_STATEMENT = re.compile(r"\b(?P<word>if|for|while|else|do)\b")
_BODY = ("{", "[[likely]]", "[[unlikely]]")


def _behind_condition(code, at):
    """The index behind the parentheses that open at or after `at`."""
    depth = 0
    for index in range(at, len(code)):
        if code[index] == "(":
            depth += 1
        elif code[index] == ")":
            depth -= 1
            if depth == 0:
                return index + 1
    return len(code)


def unbraced(text):
    """Yields (line, word) of each if, else or loop without braces."""
    code = blank(text)
    for match in _STATEMENT.finditer(code):
        word, at = match.group("word"), match.end()
        if word in ("if", "for", "while"):
            at = _behind_condition(code, at)
        rest = code[at:].lstrip()
        if word == "else" and rest.startswith("if"):
            continue
        # The foot of do { } while (x); has no body of its own.
        if word == "while" and rest.startswith(";"):
            continue
        if not rest.startswith(_BODY):
            yield code.count("\n", 0, match.start()) + 1, word
