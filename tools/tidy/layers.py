# SPDX-License-Identifier: Apache-2.0
"""Who may include whom.

The one table of the project's layers. Bazel's visibility says the same a second
time; here it is said in one place, and test files follow it too.
"""

import re

from tools.tidy import tree

_BASE = {"gateway/base"}
_IO = _BASE | {"gateway/io", "proto"}

# Layer -> other layers of ours that its files may include. A file belongs to
# the longest layer that its path begins with.
ALLOWED = {
    "proto": set(),
    "gateway/base": set(),
    "gateway/io": _BASE,
    "gateway/tls": _BASE | {"gateway/io"},
    "gateway/auth": _BASE,
    "gateway/console": _BASE,
    "gateway/qmp": _BASE | {"gateway/console", "proto"},
    "gateway/relay": _IO | {"gateway/console"},
    "gateway/server_link": _IO
    | {"gateway/auth", "gateway/console", "gateway/tls"},
    "gateway/door": _IO | {"gateway/auth", "gateway/tls"},
    "gateway/session": _IO
    | {
        "gateway/auth",
        "gateway/console",
        "gateway/door",
        "gateway/relay",
        "gateway/server_link",
    },
    "gateway/http": _BASE,
    "gateway/http_client": _BASE,
    "gateway/cloud": _BASE | {"gateway/console", "gateway/http_client"},
    "gateway/portal": _BASE | {"gateway/console", "gateway/http"},
    "gateway/control": _BASE
    | {
        "gateway/cloud",
        "gateway/console",
        "gateway/http",
        "gateway/tls",
        "proto",
    },
    # main, worker and server compose the product.
    "gateway": {
        "gateway/auth",
        "gateway/base",
        "gateway/cloud",
        "gateway/console",
        "gateway/control",
        "gateway/door",
        "gateway/http",
        "gateway/http_client",
        "gateway/io",
        "gateway/portal",
        "gateway/qmp",
        "gateway/relay",
        "gateway/server_link",
        "gateway/session",
        "gateway/tls",
        "proto",
    },
}

# Outside libraries that only some layers may touch. Tests may use any.
CONFINED = {
    "openssl/": {"gateway/tls", "gateway/auth"},
    "simdjson": {"gateway/base"},
    "liburing": {"gateway/io"},
    "prometheus/": {"gateway/control"},
    "curl/": {"gateway/http_client"},
    # False reports under ThreadSanitizer, and absent in Debian's abseil.
    "absl/synchronization/": set(),
    "absl/log/": set(),
}

_INCLUDE = re.compile(r'^\s*#\s*include\s*(?P<open>["<])(?P<path>[^">]+)[">]')
_TEST_FILE = re.compile(r"_(test|fuzz|bench)\.cc$")
_OURS = ("gateway", "proto", "tests", "bench", "tools")


def layer_of(path):
    """The layer a path belongs to, or None outside gateway/ and proto/."""
    parts = path.split("/")[:-1]
    while parts:
        if "/".join(parts) in ALLOWED:
            return "/".join(parts)
        parts.pop()
    return None


def _judge_ours(layer, included, is_test):
    target = included.split("/")[0]
    if target not in _OURS:
        return "includes %s: paths start at the root" % included
    if target in ("tests", "bench", "tools"):
        return None if is_test else "production code includes %s" % included
    other = layer_of(included)
    if other == layer or other in ALLOWED[layer]:
        return None
    return "%s may not include %s (tools/tidy/layers.py)" % (layer, other)


def _judge_library(layer, included):
    for prefix, homes in CONFINED.items():
        if included.startswith(prefix) and layer not in homes:
            return "%s may not be included in %s" % (included, layer)
    return None


def check(source):
    """Violations of the include direction in one file."""
    layer = layer_of(source.path)
    if source.kind != "cpp" or not layer:
        return
    is_test = bool(_TEST_FILE.search(source.path))
    for number, line in enumerate(source.lines, 1):
        match = _INCLUDE.match(line)
        if not match:
            continue
        included = match.group("path")
        message = None
        if included.startswith(tuple(o + "/" for o in _OURS)):
            message = _judge_ours(layer, included, is_test)
        elif match.group("open") == '"' and "/" not in included:
            message = "includes %s: paths start at the root" % included
        elif not is_test:
            message = _judge_library(layer, included)
        if message:
            yield tree.Violation(source.path, number, message)
