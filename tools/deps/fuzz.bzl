# SPDX-License-Identifier: Apache-2.0
"""fuzz_test: one target that is a regression test and a fuzzer."""

def fuzz_test(name, srcs, deps, corpus, tags = [], size = "small", **kwargs):
    """Defines a fuzz target around LLVMFuzzerTestOneInput.

    Without a config it is an ordinary cc_test that feeds every file of the
    corpus to the target once. With --config=fuzz it is a libFuzzer binary with
    ASan and UBSan; tools/fuzz runs it over the corpus directory.

    Args:
      name: FOO_fuzz; its corpus is in FOO_corpus/.
      srcs: the file that defines LLVMFuzzerTestOneInput.
      deps: what it calls.
      corpus: files of the checked-in corpus, at least one.
      tags: area tags beside "asan", "fuzz" and "unit".
      size: Bazel test size.
      **kwargs: passed on to cc_test.
    """
    if not corpus:
        fail("fuzz_test %s: the corpus is empty" % name)
    native.cc_test(
        name = name,
        size = size,
        srcs = srcs + select({
            "//tools/deps:fuzzing": [],
            "//conditions:default": ["//tools/deps:fuzz_main.cc"],
        }),
        args = select({
            "//tools/deps:fuzzing": ["-runs=20000", "-max_total_time=20"],
            "//conditions:default": [],
        }) + ["$(locations %s)" % f for f in corpus],
        data = corpus,
        linkopts = select({
            "//tools/deps:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        tags = depset(["asan", "fuzz", "unit"] + tags).to_list(),
        deps = deps,
        **kwargs
    )
