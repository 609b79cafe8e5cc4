# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the repositories that Bazel 4.2.3 itself loads.

Bazel's built-in packages load @rules_cc, @rules_java and (for any cc_test)
@remote_coverage_tools. The native rules they wrap are all this project needs.
"""

def _native_rules_impl(ctx):
    package = ctx.attr.package
    toolchain = ""
    if package == "cc":
        toolchain = """toolchain_type(
    name = "toolchain_type",
    visibility = ["//visibility:public"],
)
"""
    ctx.file("WORKSPACE", "workspace(name = %r)\n" % ctx.name)
    ctx.file(package + "/BUILD.bazel", toolchain)
    ctx.file(
        package + "/defs.bzl",
        "".join(["%s = native.%s\n" % (r, r) for r in ctx.attr.rules]),
    )

native_rules = repository_rule(
    implementation = _native_rules_impl,
    doc = "A repository with PACKAGE/defs.bzl that re-exports native rules.",
    attrs = {
        "package": attr.string(mandatory = True),
        "rules": attr.string_list(mandatory = True),
    },
)

_COVERAGE_BUILD = """package(default_visibility = ["//visibility:public"])

[sh_binary(
    name = name,
    srcs = ["tool.sh"],
) for name in ["coverage_report_generator", "lcov_merger"]]
"""

def _coverage_tools_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = %r)\n" % ctx.name)
    ctx.file("BUILD.bazel", _COVERAGE_BUILD)
    ctx.symlink(ctx.attr.tool, "tool.sh")

coverage_tools = repository_rule(
    implementation = _coverage_tools_impl,
    doc = "The two coverage tools that every cc_test names, as one script.",
    attrs = {"tool": attr.label(allow_single_file = True, mandatory = True)},
)
