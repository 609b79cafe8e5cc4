#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants every kind of violation and expects it to be found."""

import os
import tempfile
import unittest

from tools.tidy import cpp_functions, formatting, layers, one_name
from tools.tidy import shape, tidy, tree
from tools.tidy import words

HEAD = "// SPDX-License-Identifier: Apache-2.0\n"


def source(path, text):
    return tree.Source(path, tree.kind_of(path, text), text)


def messages(check, path, text):
    return [v.message for v in check(source(path, text))]


class LayersTest(unittest.TestCase):
    def _include(self, path, included):
        return messages(layers.check, path, "#include %s\n" % included)

    def test_the_way_of_the_layers_is_free(self):
        for path, included in (
            ("proto/link.cc", '"proto/wire.h"'),
            ("gateway/io/leg.h", '"gateway/base/check.h"'),
            ("gateway/door/door.cc", '"gateway/auth/vault.h"'),
            ("gateway/worker.cc", '"gateway/session/session.h"'),
            ("gateway/base/clock.cc", "<unistd.h>"),
            ("gateway/tls/boring.h", "<openssl/ssl.h>"),
            ("bench/load.cc", '"tests/peer/peer_loop.h"'),
        ):
            self.assertEqual(self._include(path, included), [], path)

    def test_the_way_back_is_not(self):
        for path, included in (
            ("proto/link.cc", '"gateway/base/check.h"'),
            ("gateway/base/clock.cc", '"gateway/io/driver.h"'),
            ("gateway/base/clock.cc", '"proto/wire.h"'),
            ("gateway/io/leg.cc", '"gateway/relay/pump.h"'),
            ("gateway/relay/pump.cc", '"gateway/session/session.h"'),
            ("gateway/control/admin.cc", '"gateway/worker.h"'),
        ):
            self.assertEqual(len(self._include(path, included)), 1, path)

    def test_production_knows_no_tests(self):
        include = '"tests/peer/traffic.h"'
        self.assertEqual(len(self._include("gateway/io/leg.cc", include)), 1)
        self.assertEqual(self._include("gateway/io/leg_test.cc", include), [])

    def test_libraries_stay_at_home(self):
        for path, included in (
            ("gateway/relay/pump.cc", "<openssl/ssl.h>"),
            ("gateway/relay/pump.cc", "<liburing.h>"),
            ("gateway/control/config.cc", '"simdjson.h"'),
            ("gateway/base/log.cc", '"absl/synchronization/mutex.h"'),
        ):
            self.assertEqual(len(self._include(path, included)), 1, included)

    def test_paths_start_at_the_root(self):
        self.assertEqual(len(self._include("proto/link.cc", '"wire.h"')), 1)


class OneNameTest(unittest.TestCase):
    def _names(self, **texts):
        sources = [
            tree.Source(path.replace("__", "/") + ".h", "cpp", text)
            for path, text in texts.items()
        ]
        return [violation.path for violation in one_name.check(sources)]

    def test_two_types_of_one_name(self):
        text = "namespace spicegate {\nstruct A {\n};\n}  // namespace x\n"
        self.assertEqual(
            self._names(gateway__io__a=text, tests__peer__a=text),
            ["tests/peer/a.h"],
        )

    def test_other_heads_of_types(self):
        for head in ("class A final : public B {", "enum class A : int {"):
            text = "namespace spicegate {\n%s\n};\n" % head
            self.assertEqual(len(self._names(a=text, b=text)), 1, head)

    def test_what_may_share_a_name(self):
        text = "namespace spicegate {\n%s\n}  // namespace\n"
        own = "struct A {\n};"
        for other in (
            "struct A;",
            "namespace {\nstruct A {\n};\n}  // namespace",
            "namespace x {\nstruct A {\n};\n}  // namespace x",
            "struct B::A {\n};",
        ):
            self.assertEqual(
                self._names(a=text % own, b=text % other), [], other
            )
        self.assertEqual(
            self._names(bench__load__a=text % own, gateway__a=text % own), []
        )


class FunctionsTest(unittest.TestCase):
    def _lengths(self, text):
        found = cpp_functions.functions(text)
        return [last - first + 1 for first, last in found]

    def test_finds_functions_in_scopes(self):
        text = (
            "namespace a {\nclass alignas(64) B {\n  int F() const {\n"
            "    if (x) {\n      y();\n    }\n  }\n};\n}\n"
        )
        self.assertEqual(self._lengths(text), [5])

    def test_knows_constructors_and_operators(self):
        text = "A::A(int b) : b_(b), c_{1} {\n  F();\n}\n"
        self.assertEqual(self._lengths(text), [3])
        text = "bool A::operator==(const A& b) const {\n  return 1;\n}\n"
        self.assertEqual(self._lengths(text), [3])

    def test_is_not_fooled_by_literals(self):
        text = "void F() {\n  a = '{';\n  b = \"}{\";\n  c = 1'000; // {\n}\n"
        self.assertEqual(self._lengths(text), [5])
        text = 'void F() {\n  a = R"x({{{\n)")x";\n}\n'
        self.assertEqual(self._lengths(text), [4])

    def test_tables_and_lambdas_are_no_functions(self):
        self.assertEqual(self._lengths("int a[F(1)] = {\n1,\n2};\n"), [])
        self.assertEqual(self._lengths("auto f = [](int a) {\n};\n"), [])

    def test_unbraced(self):
        def found(text):
            return [word for _, word in cpp_functions.unbraced(text)]

        self.assertEqual(found("if (a(b)) return;"), ["if"])
        self.assertEqual(found("for (;;)\n  x();"), ["for"])
        self.assertEqual(found("if (a) {\n} else b();"), ["else"])
        self.assertEqual(found("do {\n} while (a);"), [])
        self.assertEqual(found("if constexpr (a) {\n} else if (b) {\n}"), [])


class ShapeTest(unittest.TestCase):
    def test_head(self):
        self.assertEqual(len(messages(shape.check_head, "a/b.cc", "int x;")), 1)
        script = "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n"
        self.assertEqual(messages(shape.check_head, "tools/x", script), [])
        self.assertEqual(
            len(messages(shape.check_head, "tools/x", "#!/bin/sh\n")), 1
        )

    def test_guard(self):
        text = "#ifndef SPICEGATE_A_H_\n#define SPICEGATE_A_H_\n"
        self.assertEqual(messages(shape.check_guard, "a.h", text), [])
        self.assertEqual(len(messages(shape.check_guard, "b.h", text)), 2)

    def test_lengths(self):
        long_file = "int x;\n" * (shape.MAX_FILE_LINES + 1)
        found = messages(shape.check_length, "a.cc", long_file)
        self.assertEqual(len(found), 1)
        body = "  x();\n" * (shape.MAX_FUNCTION_LINES - 1)
        text = "void F() {\n%s}\n"
        self.assertEqual(
            len(messages(shape.check_functions, "a.cc", text % body)), 1
        )
        self.assertEqual(
            messages(shape.check_functions, "a.cc", text % body[7:]), []
        )
        text = "def f():\n" + "    x = 1\n" * shape.MAX_FUNCTION_LINES
        self.assertEqual(len(messages(shape.check_functions, "a.py", text)), 1)

    def test_columns(self):
        line = "x = 1; " * 12
        self.assertEqual(len(messages(shape.check_columns, "a.cc", line)), 1)
        line = "#include <%s>" % ("x" * 80)
        self.assertEqual(messages(shape.check_columns, "a.cc", line), [])

    def test_readme(self):
        sources = [source("a/b.cc", "")]
        self.assertEqual(len(list(shape.check_readmes(sources))), 1)
        sources.append(source("a/README.md", ""))
        self.assertEqual(list(shape.check_readmes(sources)), [])


class WordsTest(unittest.TestCase):
    def test_banned(self):
        for text in ("TO" "DO: later", "see /home" "/me/x", "XX" "X"):
            self.assertEqual(len(messages(words.check, "a.md", text)), 1, text)

    def test_innocent(self):
        for text in ("mktemp x.XXXXXX", "a//home//b", "$HOME/work/x", "todo"):
            self.assertEqual(messages(words.check, "a.md", text), [], text)


class TreeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def _write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def test_reads_ours_and_only_ours(self):
        self._write("a/b.cc", HEAD)
        self._write("bazel-out/c.cc", HEAD)
        self._write("a/x_corpus/d", "TO" "DO")
        self._write("a/testdata/e.cc", "")
        paths = [s.path for s in tree.read_sources(self.root)]
        self.assertEqual(paths, ["a/b.cc"])

    def test_all_checks_together(self):
        self._write("gateway/io/b.cc", '#include "gateway/relay/pump.h"\n')
        found = tidy.check_sources(tree.read_sources(self.root))
        self.assertEqual(len(found), 3, found)

    @unittest.skipUnless(formatting.find(), "clang-format 14 is not installed")
    def test_format(self):
        self._write(".clang-format", "BasedOnStyle: Google\n")
        self._write("a/b.cc", HEAD + "int   x ;\nint   y ;\n")
        self._write("a/c.cc", HEAD + "int z;\n")
        sources = tree.read_sources(self.root)
        program = formatting.find()
        found = list(formatting.check(program, self.root, sources))
        self.assertEqual([(v.path, v.line) for v in found], [("a/b.cc", 2)])
        formatting.fix(program, self.root, sources)
        self.assertEqual(
            list(formatting.check(program, self.root, sources)), []
        )


if __name__ == "__main__":
    unittest.main(verbosity=2)
